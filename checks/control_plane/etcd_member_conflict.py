"""An etcd member and its cluster do not agree on who it is."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import CLUSTER, Evidence, Finding, Layer, Severity, check, present, shorten
from kdiag.facts import Cluster, EtcdLogs, Manifests, static_pod

_LATELY = 300
#: What a member that was removed says of itself before it ends, as a warning and once.
_OUT = re.compile(r"data-dir used by this member must be removed|permanently removed from the cluster")
_SAID = (
    (
        re.compile(r"has already been bootstrapped"),
        "its data is gone and the cluster still lists it: it may not start as new",
    ),
    (
        re.compile(rf"{_OUT.pattern}|member has been removed"),
        "it was removed from the cluster and still has its old data",
    ),
    (re.compile(r"cluster ID mis-?match"), "its data, or its peer's, is that of another cluster"),
    (
        re.compile(r"member count is unequal|unmatched member while checking PeerURLs"),
        "--initial-cluster lists other members than the cluster",
    ),
    (
        re.compile(r"couldn't find local name|has different advertised URLs|--initial-cluster has .* but missing"),
        "its own name or address is not in --initial-cluster",
    ),
)


@check(
    title="etcd member and cluster disagree",
    severity=Severity.ERROR,
    layer=Layer.ETCD,
    explains=(
        "control_plane/api_server_unreachable",
        "control_plane/etcd_member_down",
        "control_plane/etcd_not_running",
    ),
    tags=("etcd",),
)
def etcd_member_conflict(logs: EtcdLogs, cluster: Cluster, manifests: Manifests | None) -> Iterator[Finding]:
    """After a member was lost, replaced or restored. Its data directory must be emptied, and it be added again."""
    members = sum(bool(own) for _, own in logs)
    for node, own in logs:
        if not own:
            continue
        log = own[0]
        hits = [
            (x, why)
            for x in log.lines
            for pattern, why in _SAID
            if pattern.search(x.text) and x.when and cluster.age(x.when) < _LATELY
        ]
        if not hits:
            continue
        line, why = hits[-1]
        out = any(_OUT.search(x.text) for x, _ in hits)
        if line.level not in ("fatal", "panic", "error") and len(hits) < 3 and not out:
            continue  # a peer that was not yet told of the change
        pod = static_pod("etcd", node)
        yield Finding(
            pod,
            f"{pod.name} cannot be a member: {why}",
            evidence=(Evidence(f"sudo tail -n 20 {log.path}", shorten(line.text, 300), node),),
            next=(
                *(
                    []
                    if out
                    else [f"on a healthy member: etcdctl member list, then etcdctl member remove ID of {node}"]
                ),
                f"ssh {node} sudo mv /var/lib/etcd/member /root/etcd-member-old    # keep it",
                f"on a healthy member: etcdctl member add {node} --peer-urls={_peer(node, manifests)}",
                f"ssh {node} sudo grep -n -e initial-cluster /etc/kubernetes/manifests/etcd.yaml    # state: existing",
            ),
            touches=present(pod, static_pod("kube-apiserver", node), CLUSTER if members == 1 else None),
            severity=Severity.CRITICAL if members == 1 else Severity.ERROR,
        )


def _peer(node: str, manifests: Manifests | None) -> str:
    """The URL by which the other members are to know it."""
    found = manifests.get(node) if manifests else None
    manifest = found.of("etcd") if found else None
    told = manifest.value("initial-advertise-peer-urls") if manifest else ""
    return told or f"https://ADDRESS-OF-{node.upper()}:2380"

"""A kube-proxy pod runs and is ready, and cannot write its rules into the kernel."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Gap, Layer, Ref, Severity, Skip, check, kubectl, listing, shorten
from kdiag.facts import NO_KUBE_PROXY, Cluster, DaemonSets, Logs, Pods, kube_proxy, plain, unread

_FAILED = re.compile(
    r"Sync failed|Failed to execute iptables-restore|nft(?:ables)? .*failed|Failed to (?:sync|ensure|create) .*chain"
    r"|iptables-restore.*(?:failed|unknown option)|ipvs.*(?:failed|not supported)"
)
#: It tries again every 30 seconds: these are the seconds between two attempts, at the least and at the most.
_AGAIN = 5
_RECENT = 120


@check(
    title="kube-proxy cannot write its rules",
    severity=Severity.ERROR,
    layer=Layer.PROXY,
    explains=(
        "network/coredns_cannot_reach_api",
        "application/dependency_unreachable",
        "network/kube_proxy_rules_missing",
    ),
    tags=("kube-proxy", "service"),
    namespaces=("kube-system",),
)
def kube_proxy_sync_fails(
    daemonsets: DaemonSets, pods: Pods, logs: Logs | None, cluster: Cluster
) -> Iterator[Finding | Gap | Skip]:
    """Services that were there before work on; what changed since does not. Two attempts in a row failed, the last now.

    What one attempt says of both families of addresses is no second failure: the first one on a node finds no table.
    """
    daemonset = kube_proxy(daemonsets)
    if daemonset is None:
        yield Skip(NO_KUBE_PROXY)
        return
    failing: dict[str, tuple[str, str]] = {}
    for pod in pods.by_owner.get(daemonset.metadata.uid, ()):
        if not pod.ready:
            continue
        lines = [li for li in (logs.lines(pod.namespace, pod.name) if logs else ()) if _FAILED.search(li.text)]
        times = [li.when for li in lines if li.when]
        again = any(_AGAIN <= (times[0] - when).total_seconds() < _RECENT for when in times)
        if again and cluster.age(times[0]) < _RECENT:
            told = next((li.text for li in lines if "Sync failed" not in li.text), lines[0].text)
            failing[pod.node] = (pod.name, plain(told))
    if gap := unread(logs, [p for p in pods.by_owner.get(daemonset.metadata.uid, ()) if p.ready]):
        yield gap
    if not failing:
        return
    node, (name, said) = next(iter(sorted(failing.items())))
    ref = daemonset.ref()
    yield Finding(
        ref,
        shorten(f"DaemonSet {ref.path} cannot write its rules on {listing(sorted(failing))}: {said}", 220),
        evidence=(Evidence(kubectl("logs", name, namespace=ref.namespace), shorten(said, 300)),),
        next=(
            f"ssh {node} sudo nft list table ip kube-proxy | head"
            if "nftables" in said
            else f"ssh {node} sudo iptables-save -t nat | grep -c KUBE-SVC",
            f"ssh {node} 'lsmod | grep -E \"ip_tables|nf_tables|ip_vs\"; sudo iptables --version'",
            kubectl("delete", "pod", name, namespace=ref.namespace),
        ),
        touches=tuple(Ref("Node", n) for n in sorted(failing)),
    )

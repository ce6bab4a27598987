"""So many etcd members are away that the others may not elect a leader."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import CLUSTER, ETCD_FAILS, Evidence, Finding, Layer, Severity, check, listing, shorten, ssh
from kdiag.facts import Cluster, EtcdAnswers, EtcdLogs, Manifests, static_pod

_LATELY = 90
_ELECTION = 15  # an election takes seconds
_NO_LEADER = re.compile(r"no leader|RAFT NO LEADER|lost leader|is starting a new election|leader: none", re.IGNORECASE)
_LEADER = re.compile(r"elected leader|became leader|leader changed from none")


@check(
    title="etcd has lost its quorum",
    severity=Severity.CRITICAL,
    layer=Layer.ETCD,
    explains=(
        *ETCD_FAILS,
        "control_plane/etcd_member_down",
    ),
    tags=("etcd",),
)
def etcd_quorum_lost(
    logs: EtcdLogs, cluster: Cluster, answers: EtcdAnswers | None, manifests: Manifests | None
) -> Iterator[Finding]:
    """A member that runs and knows no leader for a minute says so; which ones are away, their nodes tell."""
    found: list[tuple[str, str]] = []
    for node, own in logs:
        answer = answers.get(node) if answers else None
        if (answer and answer.answered and answer.leader) or not own:
            continue
        late = [x for x in own[0].lines if x.when and cluster.age(x.when) < _LATELY]
        without = [x for x in late if _NO_LEADER.search(f"{x.text} {' '.join(x.fields.values())}")]
        again = [x for x in late if _LEADER.search(x.text)]
        if again and without and (again[-1].when or cluster.taken) >= (without[-1].when or cluster.taken):
            continue
        moments = [x.when for x in without if x.when]
        if len(without) >= 3 and (max(moments) - min(moments)).total_seconds() >= _ELECTION:
            found.append((node, without[-1].text))
    if not found:
        return
    node = found[0][0]
    mine = manifests.get(node) if manifests else None
    manifest = mine.of("etcd") if mine else None
    listed = [m.partition("=")[0] for m in manifest.value("initial-cluster").split(",")] if manifest else []
    away = sorted({n for n in listed if n} - {n for n, _ in found})
    yield Finding(
        CLUSTER,
        f"etcd has no leader: too few of its members reach each other ({listing([n for n, _ in found])} run without one"
        + (f"; {listing(away)} do not answer)" if away else ")"),
        evidence=tuple(
            Evidence("sudo tail -n 20 /var/log/pods/kube-system_etcd-*/etcd/*.log", shorten(text, 240), name)
            for name, text in found[:3]
        ),
        next=(
            *(f"ssh {name} sudo crictl ps -a --name etcd    # bring this member back first" for name in away[:2]),
            ssh(node, "sudo ss -tn state syn-sent 'dport = :2380'") + "    # who is not reached: firewall, network?",
            "members lost for good: restore a snapshot, or start one member with --force-new-cluster: see the page",
        ),
        touches=(*(static_pod("etcd", n) for n, _ in found), *(static_pod("kube-apiserver", n) for n, _ in found)),
    )

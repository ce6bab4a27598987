"""The data of one etcd member is not what the others have, and etcd has raised the alarm for it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import CLUSTER, Evidence, Finding, Layer, Severity, check, present, shorten
from kdiag.facts import ETCDCTL, Cluster, EtcdAnswers, EtcdLog, EtcdLogs, static_pod

_SAID = re.compile(
    r"etcdserver: corrupt cluster|found (?:data inconsistency|hash mismatch)|alarm:CORRUPT|data-corruption"
)
_LATELY = 600


@check(
    title="etcd's members hold different data",
    severity=Severity.CRITICAL,
    layer=Layer.ETCD,
    explains=(
        "control_plane/api_server_cannot_reach_etcd",
        "control_plane/api_server_unhealthy",
        "control_plane/api_server_unreachable",
        "control_plane/component_exits",
        "control_plane/etcd_not_running",
        "control_plane/leader_election_lost",
        "control_plane/static_pod_restarting",
    ),
    tags=("etcd", "storage"),
)
def etcd_corrupted(answers: EtcdAnswers, cluster: Cluster, logs: EtcdLogs | None) -> Iterator[Finding]:
    """The alarm CORRUPT is kept by the cluster until somebody disarms it, so that one member's answer is enough."""
    told: list[tuple[str, str]] = []
    raised = False
    for node, answer in answers:
        alarm = "CORRUPT" in answer.alarms or any("CORRUPT" in e for e in answer.errors)
        line = _line((logs.get(node) if logs else None) or (), cluster)
        raised = raised or alarm
        if alarm or (line and not answer.answered):
            told.append((node, line))
    if not told:
        return
    node = told[0][0]
    yield Finding(
        CLUSTER,
        f"etcd's members do not hold the same data: {'alarm CORRUPT' if raised else 'a member says so'} ({node})",
        evidence=present(
            Evidence(f"sudo {ETCDCTL} alarm list", "alarm:CORRUPT", source=node) if raised else None,
            *(
                Evidence("sudo tail -n 50 /var/log/pods/kube-system_etcd-*/etcd/*.log", shorten(line, 300), source=name)
                for name, line in told[:3]
                if line
            ),
        ),
        next=(
            f'CTL="{ETCDCTL}"',
            f"ssh {node} sudo $CTL endpoint hashkv --cluster -w table    # whose hash differs from the others'?",
            f"ssh {node} sudo $CTL snapshot save /var/lib/etcd/before.db    # of a member that agrees with the most",
            "take the one that differs out, empty its data directory and add it again: see the page",
        ),
        touches=tuple(static_pod("etcd", name) for name, _ in told),
    )


def _line(own: tuple[EtcdLog, ...], cluster: Cluster) -> str:
    for log in own[:1]:
        for line in reversed(log.lines):
            said = f"{line.text} {' '.join(line.fields.values())}"
            if line.when and cluster.age(line.when) < _LATELY and _SAID.search(said):
                return said
    return ""

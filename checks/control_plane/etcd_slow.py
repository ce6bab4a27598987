"""Writes of etcd to its disk take too long, again and again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime

from kdiag.check import Evidence, Finding, Layer, Severity, check, shorten
from kdiag.facts import PEER_AWAY, Cluster, EtcdLine, EtcdLogs, static_pod

_WINDOW = 300
_SYNC = re.compile(r"slow fdatasync|sync duration of .* expected less than")
_BEAT = re.compile(r"failed to send out heartbeat on time")
_APPLY = re.compile(
    r"apply request took too long|took too long \(.*\) to execute|read-only range request .* took too long"
)
_LEADER = re.compile(r"lost leader|elected leader|raft\.node: .* changed leader|leader changed")


@check(
    title="etcd is slow",
    severity=Severity.WARNING,
    layer=Layer.ETCD,
    explains=("control_plane/leader_election_lost",),
    tags=("etcd", "storage"),
)
def etcd_slow(logs: EtcdLogs, cluster: Cluster) -> Iterator[Finding]:
    """By the rate within five minutes: every etcd writes such a line now and then, and many at its start."""
    for node, own in logs:
        if not own or not own[0].lines:
            continue
        log = own[0]
        lines = [x for x in log.lines if x.when and 0 <= cluster.age(x.when) < _WINDOW and not _starting(x, log.lines)]
        sync = [x for x in lines if _SYNC.search(x.message)]
        beat = [x for x in lines if _BEAT.search(x.message)]
        apply = [x for x in lines if _APPLY.search(x.message) and _seconds(x) >= 0.5]
        # Messages to a peer that is away wait, and another leader is chosen, on the best of disks.
        away = any(PEER_AWAY.search(x.message) for x in lines)
        leader = [] if away else [x for x in lines if _LEADER.search(x.message)]
        if len(sync) < 3 and len(beat) < 5 and len(apply) < 20:
            continue
        kinds = (
            (sync, "slow writes to disk (fdatasync)"),
            (beat, "late heartbeats"),
            (apply, "requests over 0.5 s"),
        )
        shown, what = max(((found, words) for found, words in kinds if found), key=lambda k: _weight(k[0], sync, beat))
        pod = static_pod("etcd", node)
        worst = max(shown, key=_seconds)
        lost = ", and it lost its leader" if leader else ""
        yield Finding(
            pod,
            f"{pod.name} is slow: {what} again and again within 5 minutes{lost}",
            evidence=(
                Evidence(
                    f"sudo tail -n 400 {log.path}",
                    f"{len(sync)} slow fdatasync, {len(beat)} late heartbeats, {len(apply)} slow requests",
                    node,
                ),
                Evidence("", shorten(_quote(worst), 240), node),
            ),
            next=(
                f"ssh {node} df -h /var/lib/etcd    # full? a network disk?",
                f"ssh {node} sudo iostat -x 1 5    # who writes? move it away from etcd's disk",
                f"ssh {node} uptime    # or no CPU is left for it",
            ),
            # A slow disk stays slow. Requests wait as well while a member is away or the machine is busy: that passes.
            severity=Severity.ERROR
            if leader and len(sync) >= 3
            else Severity.WARNING
            if len(sync) >= 3 or (leader and len(beat) >= 5)
            else Severity.INFO,
        )


def _weight(found: Sequence[EtcdLine], sync: Sequence[EtcdLine], beat: Sequence[EtcdLine]) -> tuple[bool, bool, int]:
    return (found is sync and len(sync) >= 3, found is beat and len(beat) >= 5, len(found))


def _starting(line: EtcdLine, lines: Sequence[EtcdLine]) -> bool:
    """Within a minute of a start: then it reads its whole database."""
    starts: list[datetime] = [x.when for x in lines if x.when and "Initialize and start etcd" in x.message]
    return any(line.when is not None and 0 <= (line.when - s).total_seconds() < 60 for s in starts)


def _seconds(line: EtcdLine) -> float:
    match = re.search(r"(?:(\d+)m)?([\d.]+)(ms|s|µs)", line.fields.get("took", "") or line.message)
    if not match:
        return 0.0
    unit = {"ms": 0.001, "s": 1.0, "µs": 0.000001}[match[3]]
    try:
        return int(match[1] or 0) * 60 + float(match[2]) * unit
    except ValueError:
        return 0.0


def _quote(line: EtcdLine) -> str:
    took = line.fields.get("took", "")
    return f"{line.message}{f': took {took}' if took else ''}"

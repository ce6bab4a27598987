"""A node's clock differs from that of the other nodes, so certificates, tokens, leases and logs no longer agree."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from statistics import median

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, Skip, check, duration
from kdiag.facts import Clocks, ClockServices, Manifests

# Nodes are read at once, but the last answer may come as late as the run lasts.
_LIMIT = 90
# Certificates are made valid from five minutes before their time.
_REFUSED = 300


@check(
    title="Clocks of the nodes differ",
    severity=Severity.WARNING,
    layer=Layer.HOST,
    explains=(
        "worker_node/node_not_ready",
        "worker_node/node_heartbeat_stale",
        "control_plane/clock_skewed",
        "control_plane/certificate_not_yet_valid",
        "control_plane/certificate_expired",
        "worker_node/kubelet_client_certificate_expired",
        "worker_node/kubelet_unauthorized",
    ),
    tags=("clock", "node", "certificates"),
)
def clock_differs_between_nodes(
    clocks: Clocks, services: ClockServices | None, manifests: Manifests | None
) -> Iterator[Finding | Skip]:
    """Of three or more nodes the majority is right; of two, the one that runs the API server sets the time."""
    seen = {node: when.timestamp() for node, when in clocks}
    if len(seen) < 2:
        yield Skip("one node has nothing to compare its clock with")
        return
    leaders = [n for n in seen if (m := manifests.get(n) if manifests else None) and m.control_plane]
    right = median(seen.values()) if len(seen) > 2 else seen[leaders[0]] if len(leaders) == 1 else min(seen.values())
    for node, when in sorted(seen.items()):
        off = when - right
        if abs(off) < _LIMIT:
            continue
        apart = duration(timedelta(seconds=round(abs(off))))
        side = "ahead of" if off > 0 else "behind"
        others = [n for n in sorted(seen) if abs(seen[n] - right) < _LIMIT and n != node]
        told = services.get(node) if services else None
        evidence = [
            Evidence("date", f"{clocks.by_node[node]:%Y-%m-%d %H:%M:%S} UTC", source=node),
            *(Evidence("date", f"{clocks.by_node[n]:%Y-%m-%d %H:%M:%S} UTC", source=n) for n in others[:2]),
        ]
        if told:
            synced = told.get("NTPSynchronized", "?")
            evidence.append(Evidence("timedatectl show", f"NTPSynchronized={synced} NTP={told.get('NTP', '?')}", node))
        yield Finding(
            Ref("Node", node),
            f"the clock of {node} is {apart} {side} that of {', '.join(others[:3]) or 'the others'}",
            evidence=tuple(evidence),
            next=(
                f"ssh {node} timedatectl; ssh {node} chronyc tracking",
                f"ssh {node} sudo timedatectl set-ntp true    # or sudo chronyc makestep, where chrony runs",
            ),
            severity=Severity.ERROR if abs(off) >= _REFUSED else Severity.WARNING,
        )

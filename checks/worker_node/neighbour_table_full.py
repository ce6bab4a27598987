"""A node knows as many neighbours as its kernel allows, so it reaches no address that is new to it."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import TRAFFIC_LOST, Evidence, Finding, Layer, Ref, Severity, check
from kdiag.facts import Kernels

_NEAR = 0.95
_LIMIT = "net.ipv4.neigh.default.gc_thresh3"


@check(
    title="Neighbour table is full",
    severity=Severity.ERROR,
    layer=Layer.HOST,
    explains=TRAFFIC_LOST,
    tags=("arp", "node", "network"),
)
def neighbour_table_full(kernels: Kernels) -> Iterator[Finding]:
    """Each pod of the node is an entry, and each address beyond its tunnels. Idle ones go only above gc_thresh1."""
    for node, kernel in kernels:
        most, count = kernel.number(_LIMIT), kernel.neighbours
        if not most or count is None or count < most * _NEAR:
            continue
        full = count >= most
        effect = ": it reaches no address that is new to it" if full else ""
        yield Finding(
            Ref("Node", node),
            f"the neighbour (ARP) table of {node} {'is full' if full else 'is nearly full'} (at most {most}){effect}",
            evidence=(
                Evidence("head -2 /proc/net/stat/arp_cache", f"entries {count:08x}: {count}", source=node),
                Evidence(f"sysctl {_LIMIT}", f"{_LIMIT} = {most}", source=node),
            ),
            next=(
                f"ssh {node} sudo sysctl -w {_LIMIT}={most * 4}    # undo: the same with {most}",
                f"ssh {node} \"sudo dmesg -T | grep -i 'neighbo.* table overflow' | tail -3\"",
                f"ssh {node} \"ip neigh | awk '{{print \\$3}}' | sort | uniq -c\"    # which interface has most",
            ),
            severity=None if full else Severity.WARNING,
        )

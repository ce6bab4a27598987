"""A node does not forward packets, so its pods reach nothing on other nodes, and nothing there reaches them."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import TRAFFIC_LOST, Evidence, Finding, Gap, Layer, Ref, Severity, check
from kdiag.facts import Interfaces, Kernels


@check(
    title="Node does not forward packets",
    severity=Severity.ERROR,
    layer=Layer.HOST,
    explains=(
        *TRAFFIC_LOST,
        "network/coredns_upstream_unreachable",
    ),
    tags=("sysctl", "node", "network"),
)
def ip_forward_off(kernels: Kernels, interfaces: Interfaces | None) -> Iterator[Finding | Gap]:
    """The bridge plugin turns it on whenever it makes a pod, so it may be on again before anybody looks."""
    for node, kernel in kernels:
        if kernel.number("net.ipv4.ip_forward") != 0:
            continue
        found = interfaces.get(node) if interfaces else None
        # A node that has IPv6 alone needs only that one.
        four = found is None or any(not a.ip.is_loopback and not a.ip.is_link_local for i in found for a in i.addresses)
        if not four and kernel.number("net.ipv6.conf.all.forwarding") == 1:
            continue
        if found is None and kernel.number("net.ipv6.conf.all.forwarding") == 1:
            yield Gap(node, "its addresses were not seen: it may need IPv6 alone")
            continue
        yield Finding(
            Ref("Node", node),
            f"{node} does not forward packets (net.ipv4.ip_forward is 0): its pods are cut off from other nodes",
            evidence=(Evidence("sysctl net.ipv4.ip_forward", "net.ipv4.ip_forward = 0", source=node),),
            next=(
                f"ssh {node} sudo sysctl -w net.ipv4.ip_forward=1",
                f"ssh {node} 'grep -rn ip_forward /etc/sysctl.conf /etc/sysctl.d /run/sysctl.d /usr/lib/sysctl.d'"
                "    # what turns it off at the next boot",
            ),
        )

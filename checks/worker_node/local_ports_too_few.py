"""A node gives its programs next to no ports for the connections that they open."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check
from kdiag.facts import Kernels

#: The default is 28,232; no machine does with so few.
_FEW = 500
_NAME = "net.ipv4.ip_local_port_range"
_USUAL = "32768 60999"


@check(
    title="Ports for outgoing connections are too few",
    severity=Severity.WARNING,
    layer=Layer.HOST,
    explains=("application/dependency_unreachable", "network/kube_proxy_cannot_reach_api"),
    tags=("node", "network", "sysctl"),
)
def local_ports_too_few(kernels: Kernels) -> Iterator[Finding]:
    """The kubelet, the network plugin and host-network pods share them; ordinary pods have a range of their own."""
    for node, kernel in kernels:
        ports = kernel.local_ports
        if ports is None or not 0 <= ports[1] - ports[0] < _FEW:
            continue
        count = ports[1] - ports[0] + 1
        yield Finding(
            Ref("Node", node),
            f"programs of {node} have {count} ports for connections that they open ({_NAME} {ports[0]} {ports[1]}): "
            '"cannot assign requested address"',
            evidence=(Evidence(f"sysctl {_NAME}", f"{_NAME} = {ports[0]} {ports[1]}", source=node),),
            next=(
                f"ssh {node} \"sudo sysctl -w {_NAME}='{_USUAL}'\"    # undo: the same with '{ports[0]} {ports[1]}'",
                f"ssh {node} grep -rsn ip_local_port_range /etc/sysctl.conf /etc/sysctl.d /usr/lib/sysctl.d    # what "
                "sets it at boot",
            ),
        )

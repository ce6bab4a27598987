"""The address that a node is registered with is on none of its interfaces, so nothing reaches its kubelet or pods."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing
from kdiag.facts import HostResolvers, Interfaces, Nodes


@check(
    title="Node has another address than registered",
    severity=Severity.ERROR,
    layer=Layer.HOST,
    explains=(
        "worker_node/node_not_ready",
        "worker_node/kubelet_unreachable",
        "worker_node/metrics_server_unavailable",
        "worker_node/node_heartbeat_stale",
    ),
    tags=("kubelet", "node", "network"),
)
def node_address_changed(
    interfaces: Interfaces, nodes: Nodes | None, resolvers: HostResolvers | None
) -> Iterator[Finding]:
    """A kubelet registers an address when it starts; with --node-ip it insists on one and does not start without."""
    for node, found in interfaces:
        known = nodes.get(node) if nodes else None
        told = resolvers.get(node) if resolvers else None
        wanted = {"--node-ip": told.node_ip if told else "", "InternalIP": known.address if known else ""}
        for source, address in wanted.items():
            if not _four(address) or interfaces.has(node, address):
                continue
            if known and known.virtual:
                continue
            flag = wanted["--node-ip"]
            if source == "InternalIP" and _four(flag) and not interfaces.has(node, flag):
                continue  # one finding: the flag decides
            path = (told.node_ip_in if told else "") or "/var/lib/kubelet/kubeadm-flags.env"
            line = told.node_ip_line if told else 0
            own = [f"{a.ip} ({i.name})" for i in found for a in i.addresses if not a.ip.is_loopback and i.up]
            asked = (
                Evidence(kubectl("get", "node", node, "-o", "wide"), f"INTERNAL-IP {address}")
                if source == "InternalIP"
                else Evidence(
                    f"sed -n {line}p {path}" if line else f"grep node-ip {path}", f"--node-ip={address}", node
                )
            )
            where = f", {path}:{line}" if line else ""
            what = "is registered with" if source == "InternalIP" else f"is told to use (--node-ip{where})"
            yield Finding(
                Ref("Node", node),
                f"{node} {what} {address}, which none of its interfaces has: it has {listing(own) or 'none'}",
                evidence=(asked, Evidence("ip addr show", listing(own, 5) or "no address", source=node)),
                next=(
                    f"ssh {node} ip addr show    # give it the old address back, in DHCP or netplan; or:",
                    f"ssh -t {node} sudoedit {path}    # line {line}"
                    if line and source != "InternalIP"
                    else f"ssh {node} grep -n node-ip /var/lib/kubelet/kubeadm-flags.env /etc/default/kubelet",
                    f"ssh {node} sudo systemctl restart kubelet    # registers the address that it finds",
                ),
                key=source,
                severity=Severity.WARNING if known and known.ready else Severity.ERROR,
            )


def _four(address: str) -> bool:
    try:
        found = IPv4Address(address)
    except ValueError:
        return False
    return not found.is_unspecified

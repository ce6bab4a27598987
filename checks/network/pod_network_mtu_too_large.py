"""The packets of a node's pod network are larger than what its own network carries."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check
from kdiag.facts import Interface, Interfaces, NetworkSetup, NetworkSetups, read_object

# What a tunnel adds to each packet, by the name that its plugin gives it. Cilium's carries its own number on routes.
_TUNNELS = (
    (re.compile(r"flannel-v6\.\d+"), 70, "VXLAN over IPv6"),
    (re.compile(r"flannel\.\d+|vxlan\.calico"), 50, "VXLAN"),
    (re.compile(r"vxlan-v6\.calico"), 70, "VXLAN over IPv6"),
    (re.compile(r"flannel-wg|wireguard\.cali"), 60, "WireGuard"),
    (re.compile(r"tunl0"), 20, "IP in IP"),
)
# Plugins that put pods on a bridge, and how they call it.
_BRIDGES = {"bridge": "cni0", "flannel": "cni0"}
_INSIDE = re.compile(
    r"lo$|cni|flannel|vxlan|tunl|wireguard|wg|cali|veth|lxc|cilium|docker|podman|nerdctl|br-[0-9a-f]{12}|kube-|nodelocaldns"
    r"|weave|datapath|dummy|virbr|vnet|tap|tun|antrea|ovn|ovs|genev|gre|sit|ip6tnl|erspan|tailscale|kilo"
)


@check(
    title="Packets of the pod network are too large",
    severity=Severity.WARNING,
    layer=Layer.CNI,
    tags=("network", "mtu", "cni"),
)
def pod_network_mtu_too_large(interfaces: Interfaces, setups: NetworkSetups | None) -> Iterator[Finding]:
    """Measured by the widest interface of the node, whichever of them the pods' packets take."""
    for node, links in interfaces:
        bridges = set(_named(setups.get(node) if setups else None))
        outside = [i for i in links if i.up and i.addresses and not _INSIDE.match(i.name) and i.name not in bridges]
        if not outside:
            continue
        widest = max(outside, key=lambda i: i.mtu)
        for link in links:
            extra, what = _extra(link, bridges)
            if not what or not link.up or not link.addresses or link.mtu + extra <= widest.mtu:
                continue
            head = f" and {extra} bytes of {what} header" if extra else ""
            yield Finding(
                Ref("Node", node),
                f"pod network of {node} is too wide: {link.name} has MTU {link.mtu}{head}, {widest.name} carries "
                f"{widest.mtu}: large packets are lost or cut up",
                evidence=(
                    Evidence(f"ip addr show {link.name}", f"mtu {link.mtu}", source=node),
                    Evidence(f"ip addr show {widest.name}", f"mtu {widest.mtu}", source=node),
                ),
                next=(
                    f"ssh {node} ping -c 3 -M do -s {link.mtu - 28} POD-IP    # on another node; -s 1000 works",
                    *_repair(link.name, widest.mtu - extra, node),
                    "restart the pods of each node after the change: theirs keep the number that they were made with",
                ),
                key=link.name,
            )


def _named(setup: NetworkSetup | None) -> Iterator[str]:
    """The bridges that the plugin's configuration names."""
    document = read_object(setup.first.text) if setup and setup.first else {}
    plugins = document.get("plugins", [document])
    for plugin in plugins if isinstance(plugins, list) else []:
        kind = str(plugin.get("type")) if isinstance(plugin, dict) else ""
        if kind in _BRIDGES:
            given = plugin.get("delegate") if kind == "flannel" else plugin
            name = given.get("bridge") if isinstance(given, dict) else None
            yield name if isinstance(name, str) else _BRIDGES[kind]


def _extra(link: Interface, bridges: set[str]) -> tuple[int, str]:
    """How much is added to a packet of this interface, and by what; empty for one that is not the pods'."""
    for pattern, size, what in _TUNNELS:
        if pattern.fullmatch(link.name):
            return size, what
    return (0, "bridge") if link.name in bridges else (0, "")


def _repair(name: str, mtu: int, node: str) -> tuple[str, ...]:
    if name.startswith("flannel"):
        return ("kubectl -n kube-flannel edit configmap kube-flannel-cfg    # Backend: no MTU, or one that fits",)
    if "cali" in name or name == "tunl0":
        return (
            f'kubectl patch felixconfiguration default --type=merge -p \'{{"spec":{{"mtu":{mtu}}}}}\'    # or less',
        )
    return (f"ssh {node} sudo grep -rn mtu /etc/cni/net.d    # {mtu} or less",)

"""A node has no route, or a wrong one, to the pods of another node, where the network plugin relies on routes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network

from kdiag.check import TRAFFIC_LOST, Evidence, Finding, Layer, Ref, Severity, Skip, check, listing
from kdiag.facts import Cluster, Interfaces, Nodes, Route, Routes, route_to

_BOOT = 120
_TUNNELS = ("flannel", "vxlan", "tunl", "cilium")


@check(
    title="Route to another node's pods is missing",
    severity=Severity.ERROR,
    layer=Layer.CNI,
    explains=TRAFFIC_LOST,
    tags=("cni", "routes", "node", "network"),
)
def routes_to_pods_missing(
    routes: Routes, interfaces: Interfaces, cluster: Cluster, nodes: Nodes | None
) -> Iterator[Finding | Skip]:
    """Clouds and tunnels route elsewhere: it is a fault only where other nodes have such routes."""
    addresses = {node: a for node, _ in interfaces if (a := _address(node, interfaces, routes, nodes))}
    for item in nodes.items if nodes else ():
        if item.address:
            addresses[item.name] = item.address
    pods = {node: n for node in addresses if (n := _pods(node, interfaces, nodes))}
    if len({*pods.values()}) != len(pods):
        yield Skip("nodes share one network of pods")
        return
    if not any(_direct(found, node, pods, addresses) for node, found in routes):
        yield Skip("pods of other nodes are not reached by way of their nodes' addresses")
        return
    young = {n.name for n in nodes.items if cluster.age(n.created) < _BOOT} if nodes else set()
    for node, found in routes:
        wrong: dict[str, str] = {}
        parts: dict[str, Route] = {}  # what leads some of a node's pods astray
        if node not in pods or node in young:
            continue
        for other, network in sorted(pods.items()):
            if other == node or other in young:
                continue
            route = route_to(found, network.network_address + 1)
            if route is not None and route.kind:
                wrong[other] = f"{route.kind} {route.network}"
            elif route is None or route.network.prefixlen == 0:
                wrong[other] = f"no route to {network}"
            elif route.network == network and route.via and _stranger(route, other, addresses):
                wrong[other] = f"{network} via {route.via}, which is not {other} ({addresses[other]})"
            elif nodes and (part := _part(found, network, addresses)):
                parts[other] = part
                wrong[other] = f"{part.network} via {part.via}, which is no node, goes before {network}"
        if not wrong:
            continue
        other = min(wrong)
        device = next((r.device for r in found if r.network.prefixlen == 0), "eth0")
        yield Finding(
            Ref("Node", node),
            f"pods on {node} do not reach pods on {listing(sorted(wrong))}: {wrong[other]}",
            evidence=(
                Evidence("ip route", listing(list(wrong.values())), source=node),
                Evidence(
                    "kubectl get nodes -o custom-columns=NAME:.metadata.name,PODS:.spec.podCIDR",
                    f"{other} {pods[other]}, its address {addresses[other]}",
                ),
            ),
            next=(
                f"ssh {node} sudo ip route del {parts[other].network}    # undo: the same with add"
                if other in parts
                else f"ssh {node} sudo ip route replace {pods[other]} via {addresses[other]} dev {device}",
                f"kubectl get pods -A -o wide --field-selector=spec.nodeName={node}"
                "    # the network plugin's pod should keep the routes: restart it, read its log",
            ),
            touches=tuple(Ref("Node", o) for o in sorted(wrong)),
        )


def _address(node: str, interfaces: Interfaces, routes: Routes, nodes: Nodes | None) -> str:
    known = nodes.get(node) if nodes else None
    if known and known.address:
        return known.address
    uplink = next((r.device for r in routes.get(node) or () if r.network.prefixlen == 0), "")
    return next((str(a.ip) for i in interfaces.get(node) or () if i.name == uplink for a in i.addresses), "")


def _pods(node: str, interfaces: Interfaces, nodes: Nodes | None) -> IPv4Network | None:
    known = nodes.get(node) if nodes else None
    if known and known.spec.pod_cidr:
        try:
            return IPv4Network(known.spec.pod_cidr)
        except ValueError:
            return None
    for interface in interfaces.get(node) or ():
        if interface.name in ("cni0", "cbr0") and interface.addresses:
            return interface.addresses[0].network
    return None


def _direct(found: tuple[Route, ...], node: str, pods: Mapping[str, IPv4Network], addresses: Mapping[str, str]) -> bool:
    """Whether the node reaches some other node's pods through that node's own address."""
    theirs = {(network, addresses[other]) for other, network in pods.items() if other != node}
    return any((r.network, r.via) in theirs and not r.device.startswith(_TUNNELS) for r in found)


def _part(found: tuple[Route, ...], network: IPv4Network, addresses: Mapping[str, str]) -> Route | None:
    """A route to some of a node's pods, which leads to nobody's address. That of a program is its own affair."""
    for route in found:
        inside = route.network != network and route.network.subnet_of(network) and route.via
        if inside and route.protocol in ("", "boot", "static") and route.via not in addresses.values():
            return None if route.device.startswith(_TUNNELS) else route
    return None


def _stranger(route: Route, other: str, addresses: Mapping[str, str]) -> bool:
    """Whether a route to a node's pods leads to another node, or to an address of that net that is nobody's."""
    if route.via == addresses[other]:
        return False
    try:
        IPv4Address(route.via)
    except ValueError:
        return False
    return not route.device.startswith(_TUNNELS)

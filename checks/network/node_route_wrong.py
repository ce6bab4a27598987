"""A node's own routing table throws away what it sends to other nodes, or leads nowhere beyond its own network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address

from kdiag.check import CLUSTER, TRAFFIC_LOST, Evidence, Finding, Layer, Ref, Severity, check, listing
from kdiag.facts import Interfaces, Nodes, Route, Routes, route_to

#: Interfaces of pods, tunnels and containers.
_INNER = ("cni", "cbr", "flannel", "vxlan", "tunl", "cali", "cilium", "docker", "veth", "lo", "kube")


@check(
    title="Node's routes lead nowhere",
    severity=Severity.ERROR,
    layer=Layer.HOST,
    explains=(
        *TRAFFIC_LOST,
        "application/registry_unreachable",
        "control_plane/api_server_cannot_reach_etcd",
        "control_plane/api_server_unreachable",
        "control_plane/component_exits",
        "control_plane/etcd_member_down",
        "control_plane/etcd_quorum_lost",
        "control_plane/static_pod_failing",
        "network/coredns_upstream_unreachable",
        "network/kube_proxy_cannot_reach_api",
        "worker_node/node_heartbeat_stale",
        "worker_node/node_not_ready",
    ),
    tags=("routes", "node", "network"),
)
def node_route_wrong(routes: Routes, interfaces: Interfaces, nodes: Nodes | None) -> Iterator[Finding]:
    """What rejects on purpose (blackhole, unreachable) is wrong only where it hides a node's address."""
    addresses = dict(_addresses(interfaces, routes, nodes))
    known = {n.name for n in nodes.items} if nodes else set()
    servers = {n.name for n in nodes.items if n.control_plane} if nodes else set()
    gates = {node: _gate(found) for node, found in routes}
    for node, found in routes:
        if node not in addresses:
            continue
        lost = _lost(node, found, addresses)
        for route in sorted({*lost.values()}, key=str):
            others = sorted(other for other, one in lost.items() if one == route)
            text = f"{route.kind} {str(route.network).removesuffix('/32')}"
            yield Finding(
                Ref("Node", node),
                f"{node} reaches nothing on {listing(others)} ({addresses[others[0]]}): its route {text} rejects it",
                evidence=(
                    Evidence("ip route", text, source=node),
                    Evidence(f"ip route get {addresses[others[0]]}", "an error, no way", source=node),
                ),
                next=(
                    f"ssh {node} sudo ip route del {text}",
                    f"ssh {node} grep -rsn {route.network.network_address} /etc/netplan /etc/network "
                    "/etc/systemd/network /etc/NetworkManager/system-connections    # or it comes back at boot",
                ),
                touches=(CLUSTER,) if node in servers else (),
                key=text,
                severity=Severity.CRITICAL if servers & {*others, node} or not known else None,
            )
        elsewhere = next((gate for gate in gates.values() if gate), None)
        if gates[node] or elsewhere is None or not _sees(elsewhere, found):
            continue
        device = next((r.device for r in found if _holds(r, addresses[node])), "eth0")
        yield Finding(
            Ref("Node", node),
            f"{node} has no default route: nothing leads to registries, outside names and, from the node, to Services",
            evidence=(
                Evidence("ip route show default", "nothing", source=node),
                Evidence(
                    "ip route show default",
                    f"default via {elsewhere.via} dev {elsewhere.device}",
                    source=next(other for other, gate in gates.items() if gate),
                ),
            ),
            next=(
                f"ssh {node} sudo ip route add default via {elsewhere.via} dev {device}",
                f"ssh {node} ls /etc/netplan /etc/network /etc/systemd/network    # what should set it at boot",
            ),
            key="default",
        )


def _addresses(interfaces: Interfaces, routes: Routes, nodes: Nodes | None) -> Iterator[tuple[str, IPv4Address]]:
    """The address of each node as the others know it, else the one by which it goes out."""
    for node, found in interfaces:
        ways = [r for r in routes.get(node) or () if not r.kind and not r.device.startswith(_INNER)]
        uplink = next((r.device for r in ways if r.network.prefixlen == 0), "") or next(
            (r.device for r in ways if not r.via), ""
        )
        if own := next((a.ip for i in found if i.name == uplink for a in i.addresses), None):
            yield node, own
    for item in nodes.items if nodes else ():
        try:
            yield item.name, IPv4Address(item.address)
        except ValueError:
            continue


def _lost(node: str, found: tuple[Route, ...], addresses: Mapping[str, IPv4Address]) -> dict[str, Route]:
    """The other nodes whose addresses a route rejects."""
    lost: dict[str, Route] = {}
    for other, address in addresses.items():
        route = route_to(found, address) if other != node else None
        if route is not None and route.kind in ("blackhole", "unreachable", "prohibit"):
            lost[other] = route
    return lost


def _gate(found: tuple[Route, ...]) -> Route | None:
    """The default route."""
    return next((r for r in found if r.network.prefixlen == 0 and not r.kind and (r.via or r.device)), None)


def _holds(route: Route, address: IPv4Address) -> bool:
    return not route.via and not route.kind and address in route.network


def _sees(gate: Route, found: tuple[Route, ...]) -> bool:
    """Whether the gateway of another node is in a network of this one, too."""
    try:
        via = IPv4Address(gate.via)
    except ValueError:
        return False
    return any(_holds(r, via) for r in found)

"""A node's own routes or routing rules throw away what it sends, or lead it where nobody takes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network

from kdiag.check import CLUSTER, TRAFFIC_LOST, Evidence, Finding, Layer, Ref, Severity, check, listing
from kdiag.facts import (
    REJECTS,
    DaemonSets,
    Interfaces,
    Nodes,
    Policy,
    PolicyRoutes,
    Route,
    Routes,
    Services,
    Way,
    kube_proxy,
    route_to,
)

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
        "worker_node/kubelet_unreachable",
        "worker_node/node_heartbeat_stale",
        "worker_node/node_not_ready",
    ),
    tags=("routes", "node", "network"),
)
def node_route_wrong(
    routes: Routes,
    interfaces: Interfaces,
    policies: PolicyRoutes | None,
    nodes: Nodes | None,
    services: Services | None,
    daemonsets: DaemonSets | None,
) -> Iterator[Finding]:
    """What rejects on purpose (blackhole, unreachable) is wrong only where it hides a node, its pods or Services."""
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
        policy = policies.get(node) if policies else None
        if policy and policy.own:
            yield from _ruled(node, policy, found, addresses, _ranges(nodes), servers)
        # In IPVS mode it is an address of the node; others than kube-proxy may act before a packet is routed.
        api = _service(services) if daemonsets and kube_proxy(daemonsets) else None
        if api and interfaces.get(node) and not interfaces.has(node, str(api)):
            yield from _no_service(node, found, api)
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


def _service(services: Services | None) -> IPv4Address | None:
    """The address of the API server's own Service."""
    found = services.get("kubernetes", "default") if services else None
    try:
        return IPv4Address(found.spec.cluster_ip) if found else None
    except ValueError:
        return None


def _no_service(node: str, found: tuple[Route, ...], api: IPv4Address) -> Iterator[Finding]:
    """What the node itself sends is routed before kube-proxy's rules lead it elsewhere; what pods send, after."""
    route = route_to(found, api)
    if route is None or route.kind not in REJECTS or route.network.prefixlen == 0:
        return
    text = f"{route.kind} {route.network}"
    yield Finding(
        Ref("Node", node),
        f"programs and host-network pods on {node} reach no Service: its route {text} rejects {api}",
        evidence=(
            Evidence("ip route", text, source=node),
            Evidence(f"ip route get {api}", "an error, no way", source=node),
        ),
        next=(f"ssh {node} sudo ip route del {text}    # undo: the same with add",),
        key=text,
    )


def _ranges(nodes: Nodes | None) -> dict[str, IPv4Network]:
    """The addresses of each node's pods."""
    found: dict[str, IPv4Network] = {}
    for item in nodes.items if nodes else ():
        try:
            found[item.name] = IPv4Network(item.spec.pod_cidr)
        except ValueError:
            continue
    return found


def _ruled(
    node: str,
    policy: Policy,
    main: tuple[Route, ...],
    addresses: Mapping[str, IPv4Address],
    ranges: Mapping[str, IPv4Network],
    servers: set[str],
) -> Iterator[Finding]:
    """What rules of the node (ip rule) take away from its main table: what it sends itself, and what its pods send."""
    told: set[Way] = set()
    sources = [("", addresses[node])]
    if own := ranges.get(node):
        sources.append(("pods on ", own.network_address + 2))
    for who, source in sources:
        lost: dict[Way, set[str]] = {}
        for other, target in _targets(node, addresses, ranges):
            way = policy.way(source, target)
            if way and way not in told and way.rule.table != "main" and _astray(way, route_to(main, target)):
                lost.setdefault(way, set()).add(other if target in addresses.values() else f"pods of {other}")
        told |= {*lost}
        for way, others in lost.items():
            critical = not who and bool(not servers or servers & {*others, node})
            yield _by_rule(node, who, way, others, critical=critical)


def _targets(
    node: str, addresses: Mapping[str, IPv4Address], ranges: Mapping[str, IPv4Network]
) -> Iterator[tuple[str, IPv4Address]]:
    for other, address in addresses.items():
        if other != node:
            yield other, address
    for other, network in ranges.items():
        if other != node:
            yield other, network.network_address + 2


def _astray(way: Way, right: Route | None) -> bool:
    """Whether it is rejected, or sent to another machine than the one that the main table names."""
    if way.rejected:
        return True
    if way.route is None or right is None or right.kind or not right.via:
        return False
    return bool(way.route.via) and way.route.via != right.via and right.network.prefixlen > 0


def _by_rule(node: str, who: str, way: Way, lost: set[str], *, critical: bool) -> Finding:
    others = sorted(o for o in lost if o.removeprefix("pods of ") == o or o.removeprefix("pods of ") not in lost)
    shown = listing(others, 4)
    if all(o.startswith("pods of ") for o in others):
        shown = f"pods of {listing([o.removeprefix('pods of ') for o in others], 4)}"
    rule, route = way.rule, way.route
    led = f"{route.kind} {_short(route)}".strip() + (f" via {route.via}" if route.via else "") if route else ""
    does = f"leads to {led} of table {rule.table}" if route else "rejects it"
    table = [Evidence(f"ip route show table {rule.table}", led, source=node)] if route else []
    return Finding(
        Ref("Node", node),
        f"{who}{node} {'do' if who else 'does'} not reach {shown}: {'its' if not who else 'the'} rule "
        f'{rule.preference} "{rule.text}" {does}',
        evidence=(Evidence("ip rule", f"{rule.preference}: {rule.text}", source=node), *table),
        next=(
            f"ssh {node} sudo ip rule del pref {rule.preference}    # undo: ip rule add pref {rule.preference} "
            f"{rule.text}",
            f"ssh {node} grep -rsn -i -e rule -e policy /etc/netplan /etc/network /etc/systemd/network "
            "/etc/NetworkManager/dispatcher.d    # or it comes back at boot",
        ),
        key=f"rule {rule.preference} {who}",
        severity=Severity.CRITICAL if critical else None,
    )


def _short(route: Route) -> str:
    return "default" if route.network.prefixlen == 0 else str(route.network)


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
        if route is not None and route.kind in REJECTS:
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

"""The network plugin of a node gives its pods addresses that belong to another node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network

from kdiag.check import NO_POD_NETWORK, TRAFFIC_LOST, Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing
from kdiag.facts import (
    Interfaces,
    NetworkConfig,
    NetworkSetups,
    Nodes,
    Pod,
    Pods,
    Route,
    Routes,
    file_line,
    route_to,
)

_Range = IPv4Network | IPv6Network
_BRIDGE = "cni0"


@check(
    title="Pods of a node get another node's addresses",
    severity=Severity.ERROR,
    layer=Layer.CNI,
    explains=(*NO_POD_NETWORK, *TRAFFIC_LOST, "network/routes_to_pods_missing"),
    tags=("cni", "node", "network"),
)
def pod_subnet_wrong(
    setups: NetworkSetups, nodes: Nodes, interfaces: Interfaces | None, routes: Routes | None, pods: Pods | None
) -> Iterator[Finding]:
    """Only for a range that stands in the plugin's file, and where the Node has one: others hand them out anew."""
    ranges = {n.name: found for n in nodes.items if (found := _range(n.spec.pod_cidr))}
    right = [node for node, setup in setups if _own(setup.first, ranges.get(node))]
    yield from _bridges(interfaces, ranges)
    yield from _gone(interfaces, routes, ranges, pods)
    for node, setup in setups:
        first, mine = setup.first, ranges.get(node)
        if first is None or first.fault or mine is None or _own(first, mine):
            continue
        for text in first.subnets:
            subnet = _range(text)
            if subnet is None or subnet.version != mine.version:
                continue
            whose = next((n for n, other in ranges.items() if n != node and _overlap(subnet, other)), "")
            if not whose and not right:
                continue  # nobody here goes by the ranges of the Nodes
            behind = next((c for c in setup.configs[1:] if not c.fault and _own(c, mine)), None)
            lines = first.text.splitlines()
            line = next((n for n, each in enumerate(lines, 1) if text in each), 0) if len(lines) > 1 else 0
            yield Finding(
                Ref("Node", node),
                f"{node} gives its pods {'addresses of ' + whose if whose else 'addresses that lead to no node'}: "
                + (
                    f"{first.path} ({text}) comes before {behind.name}, which has {mine}"
                    if behind
                    else f"{first.path} says {text}, and the range of {node} is {mine}"
                ),
                evidence=(
                    file_line(
                        first.path, line, first.text.splitlines()[line - 1].strip()[:200] if line else text, node
                    ),
                    Evidence(
                        kubectl("get", "nodes", "-o", "custom-columns=NAME:.metadata.name,CIDR:.spec.podCIDR"),
                        f"{node} {mine}" + (f", {whose} {ranges[whose]}" if whose else ""),
                    ),
                ),
                next=(
                    *(
                        [f"ssh {node} sudo mv {first.path} /root/    # {behind.name} counts then"]
                        if behind
                        else [
                            f"ssh -t {node} sudoedit {first.path}    # {f'line {line}: ' if line else ''}{mine}",
                            f"ssh {node} sudo ip link delete cni0    # it keeps the old address, and is made anew",
                        ]
                    ),
                    kubectl("get", "pods", "-A", "-o", "wide", f"--field-selector=spec.nodeName={node}")
                    + "    # delete those with an address of the wrong range",
                ),
                key=text,
            )


def _bridges(interfaces: Interfaces | None, ranges: Mapping[str, _Range]) -> Iterator[Finding]:
    """A bridge that was made for another range and stayed: only where the others' bridges are in theirs."""
    bridges = {
        node: one
        for node, found in interfaces or ()
        for one in found
        if one.name == _BRIDGE and one.addresses and isinstance(ranges.get(node), IPv4Network)
    }
    astray = {n: b for n, b in bridges.items() if not any(_overlap(a.network, ranges[n]) for a in b.addresses)}
    if len(astray) == len(bridges):
        return
    for node, bridge in sorted(astray.items()):
        has = bridge.addresses[0]
        yield Finding(
            Ref("Node", node),
            f"the bridge {_BRIDGE} of {node} has {has}, and the range of {node} is {ranges[node]}: "
            "no new pod starts there, and those that run are cut off",
            evidence=(
                Evidence(f"ip -4 addr show {_BRIDGE}", f"inet {has}", node),
                Evidence(kubectl("get", "node", node, "-o", "jsonpath={.spec.podCIDR}"), str(ranges[node])),
            ),
            next=(
                f"ssh {node} sudo ip link delete {_BRIDGE}    # the network plugin makes it anew for the next pod",
                kubectl("get", "pods", "-A", "-o", "wide", f"--field-selector=spec.nodeName={node}")
                + "    # delete those that hung on it: they are made anew",
            ),
            key=_BRIDGE,
        )


def _gone(
    interfaces: Interfaces | None, routes: Routes | None, ranges: Mapping[str, _Range], pods: Pods | None
) -> Iterator[Finding]:
    """A bridge that somebody deleted under the pods that hang on it: only where other nodes have theirs."""
    known = dict(interfaces or ())
    if pods is None or routes is None or not any(one.name == _BRIDGE for found in known.values() for one in found):
        return
    lost: dict[str, list[Pod]] = {}
    for pod in pods.items:
        mine = ranges.get(pod.node)
        if pod.node not in known or mine is None or pod.finished or pod.deleted or pod.spec.host_network:
            continue
        here = known[pod.node]
        if any(one.name == _BRIDGE for one in here) or not _address_in(pod.ip, mine):
            continue
        led = _led(routes.get(pod.node), pod.ip)
        if not led and not any(_overlap(a.network, mine) for one in here for a in one.addresses):
            lost.setdefault(pod.node, []).append(pod)
    for node, found in sorted(lost.items()):
        names = listing(sorted(f"{p.namespace}/{p.name}" for p in found), 3)
        yield Finding(
            Ref("Node", node),
            f"the bridge {_BRIDGE} of {node} is gone: pods that hung on it are cut off, {names}",
            evidence=(
                Evidence("ip link show", f"no {_BRIDGE}, and no interface in {ranges[node]}", node),
                Evidence(
                    kubectl("get", "pods", "-A", "-o", "wide", f"--field-selector=spec.nodeName={node}"),
                    f"{found[0].name} {found[0].ip}",
                ),
            ),
            next=(
                kubectl("delete", "pod", found[0].name, namespace=found[0].namespace)
                + "    # and the others: the network plugin makes the bridge anew for the next pod",
            ),
            touches=tuple(p.ref() for p in found[:100]),
            key="gone",
        )


def _led(routes: tuple[Route, ...] | None, address: str) -> bool:
    """Whether the node itself leads packets for a pod to an interface of its own, as Calico does; so where unseen."""
    try:
        found = route_to(routes or (), IPv4Address(address))
    except ValueError:
        return True
    return routes is None or (found is not None and found.network.prefixlen > 0 and not found.via)


def _address_in(text: str, network: _Range) -> bool:
    try:
        return ip_address(text) in network
    except ValueError:
        return False


def _range(text: str) -> _Range | None:
    try:
        return ip_network(text, strict=False) if text else None
    except ValueError:
        return None


def _overlap(one: _Range, other: _Range | None) -> bool:
    return other is not None and one.version == other.version and one.overlaps(other)


def _own(config: NetworkConfig | None, mine: _Range | None) -> bool:
    """Whether a file gives addresses of the node's own range."""
    return any((found := _range(s)) and _overlap(found, mine) for s in config.subnets) if config else False

"""A node's packet filter drops what is sent to one Service: before kube-proxy's rules lead it on, or behind them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface

from kdiag.check import TRAFFIC_LOST, Evidence, Finding, Gap, Layer, Ref, Severity, check, listing, shorten, ssh
from kdiag.facts import (
    ASKED_BY_ALL,
    EndpointSlices,
    Fate,
    Filter,
    Filters,
    Interfaces,
    Judgement,
    NftTable,
    NftTables,
    Nodes,
    Packet,
    Routes,
    Service,
    Services,
)

#: Who closes so many ports at once means it.
_MANY_PORTS = 100
#: Chains of those who keep Services and policies themselves.
_OWN = ("KUBE-", "cali-", "CILIUM_", "FLANNEL-")
_MOST = 500


@check(
    title="Rule of a node drops a Service",
    severity=Severity.ERROR,
    layer=Layer.PROXY,
    explains=(*TRAFFIC_LOST, "network/kube_proxy_cannot_reach_api", "network/pod_sandbox_fails"),
    tags=("service", "iptables", "firewall", "network"),
)
def service_blocked(
    filters: Filters,
    nft: NftTables,
    interfaces: Interfaces,
    services: Services,
    slices: EndpointSlices,
    routes: Routes | None,
    nodes: Nodes | None,
) -> Iterator[Finding | Gap]:
    """Only what is certainly dropped, and by a rule that lets other packets between nodes and pods pass."""
    places = {node: p for node, _ in interfaces if (p := _place(node, interfaces, routes, nodes))}
    plain = [s for s in services.items if _plain(s) and any(e.ready for e in slices.endpoints(s))]
    for node, table in filters:
        here = places.get(node)
        tables = nft.get(node) or ()
        if here is None or table.legacy or not any(map(_drops, (table, *(t.filter for t in tables)))):
            continue
        if len(plain) > _MOST:
            yield Gap(f"{node} iptables-filter", f"followed for {_MOST} Services of {len(plain)} only")
        ways = [way for service in plain[:_MOST] for way in _ways(service, here, places, slices)]
        yield from _of_node(here, _Tables(table, tables), ways, places)


@dataclass(frozen=True, slots=True)
class _Place:
    """A node: its address, the interface of that, and the bridge of its pods."""

    name: str
    address: str
    uplink: str
    bridge: str
    pods: IPv4Interface | None


@dataclass(frozen=True, slots=True)
class _Way:
    """A packet on its way to a Service: where it is judged, who sends it, and the address that it is known by."""

    hook: str
    packet: Packet
    service: Service
    who: str
    to: str
    node_port: int = 0


@dataclass(frozen=True, slots=True)
class _Tables:
    filter: Filter
    beside: tuple[NftTable, ...]

    def judge(self, hook: str, packet: Packet) -> tuple[Judgement, NftTable | None] | None:
        """Who certainly drops it there: iptables' filter (None), or a table beside it."""
        if hook == "forward":
            judged = self.filter.judge("FORWARD", packet)
            if judged.fate is Fate.DROPPED:
                return judged, None
        for table in self.beside:
            found = table.judge("FORWARD", packet) if hook == "forward" else table.early(hook, packet)
            if found and found.fate is Fate.DROPPED:
                return found, table
        return None


def _drops(table: Filter) -> bool:
    """Whether a person or a program other than Kubernetes wrote a rule that drops anything."""
    return any(
        rule.target in ("DROP", "REJECT")
        for chain, rules in table.chains.items()
        if not chain.startswith(_OWN)
        for rule in rules
    )


def _plain(service: Service) -> bool:
    try:
        return not service.external and bool(IPv4Address(service.spec.cluster_ip))
    except ValueError:
        return False


def _place(node: str, interfaces: Interfaces, routes: Routes | None, nodes: Nodes | None) -> _Place | None:
    found = interfaces.get(node) or ()
    owner = {str(a.ip): i.name for i in found for a in i.addresses}
    known = nodes.get(node) if nodes else None
    uplink = next((r.device for r in (routes.get(node) if routes else None) or () if r.network.prefixlen == 0), "")
    address = known.address if known and known.address in owner else ""
    address = address or next((a for a, name in owner.items() if name == uplink), "")
    bridge = next((i for i in found if i.name in ("cni0", "cbr0") and i.addresses), None)
    if not address:
        return None
    tunnel = next((i.name for i in found if i.name.startswith("flannel.") or i.name == "vxlan.calico"), "")
    way = tunnel or owner[address]
    return _Place(node, address, way, bridge.name if bridge else "", bridge.addresses[0] if bridge else None)


def _ways(service: Service, here: _Place, places: Mapping[str, _Place], slices: EndpointSlices) -> Iterator[_Way]:
    others = [p for p in places.values() if p.name != here.name]
    address = service.spec.cluster_ip
    for port in service.spec.ports:
        protocol, to = port.protocol.lower(), f"{address}:{port.port}"
        packet = Packet(protocol=protocol, destination=address, port=port.port)
        if here.pods:
            pod = replace(packet, source=str(here.pods.ip + 1), into=here.bridge, among=str(here.pods.network))
            yield _Way("prerouting", pod, service, "pods on ", to)
        own = replace(packet, source=here.address)
        yield _Way("output", own, service, "programs of ", to)
        if port.node_port and others:
            outside = replace(
                packet, source=others[0].address, destination=here.address, port=port.node_port, local=True
            )
            yield _Way("prerouting", outside, service, "", f"{here.address}:{port.node_port}", port.node_port)
    if here.pods is None:
        return
    for item in slices.of_service(service):
        ends = sorted(a for e in item.endpoints or () if e.ready for a in e.addresses)
        for part in item.ports or ():
            seen: set[str] = set()
            for end in ends:
                where = next((p for p in places.values() if p.pods and _within(end, p)), None)
                if where is None or where.pods is None or where.name in seen or not part.port:
                    continue
                seen.add(where.name)  # of several on one node, one: a rule for one alone leaves the others
                remote = next((p for p in others if p.pods), None) if where is here else where
                if remote is None or remote.pods is None:
                    continue
                packet = Packet(protocol=part.protocol.lower(), destination=end, port=part.port)
                if where is here:
                    packet = replace(packet, source=str(remote.pods.ip + 1), into=here.uplink, out=here.bridge)
                    packet = replace(packet, among=str(remote.pods.network))
                else:
                    packet = replace(packet, source=str(here.pods.ip + 1), into=here.bridge, out=here.uplink)
                    packet = replace(packet, among=str(here.pods.network))
                who = "other nodes' pods" if where is here else "pods on "
                yield _Way("forward", packet, service, who, f"{end}:{part.port}")


def _within(address: str, place: _Place) -> bool:
    try:
        return bool(place.pods and IPv4Address(address) in place.pods.network)
    except ValueError:
        return False


def _of_node(here: _Place, tables: _Tables, ways: list[_Way], places: Mapping[str, _Place]) -> Iterator[Finding]:
    told = {judged[0].rule for packet in _every(here, places) if (judged := tables.judge("forward", packet))}
    found: dict[str, list[tuple[_Way, Judgement, NftTable | None]]] = {}
    for way in ways:
        hit = tables.judge(way.hook, way.packet)
        if hit is None or hit[0].rule in told or hit[0].rule.startswith("-P "):
            continue  # firewall_blocks_kubernetes says so
        if way.node_port and _wide(hit[0].rule):
            continue
        found.setdefault(re.sub(r"^-A \w+ ", "", hit[0].rule), []).append((way, *hit))
    for text, hits in found.items():
        yield _finding(here, text, hits)


def _every(here: _Place, places: Mapping[str, _Place]) -> Iterator[Packet]:
    """What passes between pods here and elsewhere, whatever it is, and the questions for names."""
    for other in places.values():
        if here.pods is None or other.pods is None or other.name == here.name:
            continue
        mine, theirs = str(here.pods.ip + 1), str(other.pods.ip + 1)
        for protocol, port in (("tcp", 0), ("udp", 53)):
            packet = Packet(protocol=protocol, port=port, among=str(here.pods.network))
            yield replace(packet, source=mine, destination=theirs, into=here.bridge, out=here.uplink)
            yield replace(packet, source=theirs, destination=mine, into=here.uplink, out=here.bridge)


def _wide(rule: str) -> bool:
    """Whether a rule closes a whole range of ports, or all."""
    ports = re.search(r"dports? (?:\{ ?)?([\d:,\- ]+)", rule)
    if ports is None:
        return True
    ranges = re.findall(r"(\d{1,5})[:-](\d{1,5})", ports[1])
    return any(int(last) - int(first) >= _MANY_PORTS for first, last in ranges)


def _finding(here: _Place, text: str, hits: list[tuple[_Way, Judgement, NftTable | None]]) -> Finding:
    way, judged, table = hits[0]
    names = list(dict.fromkeys(h[0].service.ref().path for h in hits))
    ports = sorted({h[0].node_port for h in hits if h[0].node_port})
    only_ports = all(h[0].node_port for h in hits)
    single = len(names) == 1 and names[0] not in ASKED_BY_ALL
    name = table.name if table else "filter"
    iptables = table is None or table.iptables
    rule = judged.rule
    chain = rule.split()[1] if iptables else ""
    if only_ports:
        what = (
            f"node port {listing([str(p) for p in ports], 3)} of Service {listing(names, 3)} is closed on {here.name}"
        )
    else:
        senders = dict.fromkeys(f"{h[0].who}{here.name if h[0].who.endswith(' ') else ''}" for h in hits if h[0].who)
        to = f" ({way.to})" if len(names) == 1 else ""
        what = f"connections from {listing(list(senders), 3)} to Service {listing(names, 3)}{to} are dropped"
        what += f" on {here.name}" if "other nodes' pods" in senders else ""
    which = f"a rule in {chain} of table {name}" if iptables else f"a rule of nftables' table {name}"
    show = "iptables-save -t " + name if iptables else f"nft list table {table.family if table else ''} {name}"
    if iptables:
        command = "sudo iptables" + (f" -t {name}" if name != "filter" else "")
        every = dict.fromkeys(h[1].rule for h in hits)
        steps = (
            ssh(here.name, f"{command} -S {chain}") + "    # who put it there: firewalld, a script, a person?",
            *(ssh(here.name, f"{command} {one.replace('-A ', '-D ', 1)}") for one in list(every)[:2]),
        )
    else:
        full = f"{table.family if table else ''} {name}"
        handle = table.handles.get(rule, "CHAIN handle N") if table else ""
        steps = (
            f"ssh {here.name} sudo nft -a list table {full}    # who put it there: firewalld, a person?",
            f"ssh {here.name} sudo nft delete rule {full} {handle}",
        )
    packet = way.packet
    return Finding(
        way.service.ref() if single else Ref("Node", here.name),
        shorten(f"{what}: {which}", 260),
        evidence=(
            Evidence(show, rule, source=here.name),
            Evidence("", f"meets it: {packet.protocol} {packet.source} to {packet.destination}:{packet.port}"),
        ),
        next=steps,
        touches=tuple(dict.fromkeys(h[0].service.ref() for h in hits))[:50],
        key=f"{here.name} {text}",
        severity=Severity.WARNING if only_ports else None,
    )

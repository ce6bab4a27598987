"""A node's packet filter drops what Kubernetes sends: to the kubelet, the API server, etcd or between pods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface

from kdiag.check import CLUSTER, Evidence, Finding, Gap, Layer, Ref, Severity, check, listing, shorten, ssh, whole
from kdiag.facts import (
    Fate,
    Filter,
    Filters,
    Interface,
    Interfaces,
    Manifests,
    NftTable,
    NftTables,
    Nodes,
    Packet,
    Routes,
)

_BETWEEN = "packets between its pods and other nodes"
_APART = "pods here and there do not reach each other"
_NAMES = "DNS (UDP port 53) between its pods and other nodes"
_NO_NAMES = "its pods find no name that a DNS pod elsewhere knows"


@check(
    title="Firewall blocks Kubernetes",
    severity=Severity.ERROR,
    layer=Layer.HOST,
    explains=(
        "worker_node/node_not_ready",
        "worker_node/node_heartbeat_stale",
        "worker_node/kubelet_unreachable",
        "worker_node/metrics_server_unavailable",
        "control_plane/static_pod_failing",
        "control_plane/static_pod_restarting",
        "control_plane/webhook_call_fails",
        "control_plane/api_service_unavailable",
        "network/coredns_cannot_reach_api",
        "network/coredns_upstream_unreachable",
        "application/dependency_unreachable",
        "application/dependency_name_unresolved",
        "control_plane/api_server_unreachable",
        "control_plane/api_server_cannot_reach_etcd",
        "control_plane/component_exits",
        "control_plane/etcd_member_down",
        "control_plane/etcd_quorum_lost",
    ),
    tags=("firewall", "iptables", "node", "network"),
)
def firewall_blocks_kubernetes(
    filters: Filters,
    interfaces: Interfaces,
    routes: Routes,
    nodes: Nodes | None,
    manifests: Manifests | None,
    nft: NftTables | None,
) -> Iterator[Finding | Gap]:
    """Follows the packets that must pass through the rules, and speaks only where one is certainly dropped."""
    machines = {node: m for node, found in interfaces if (m := _machine(node, found, routes, nodes, manifests))}
    for node, table in filters:
        here = machines.get(node)
        if table.legacy:
            yield Gap(
                f"{node} iptables-filter",
                "the other backend of iptables has rules, which this one does not show",
            )
            continue
        if here is None:
            yield Gap(f"{node} interfaces", "no address by which other nodes reach it")
            continue
        tables = (nft.get(node) if nft else None) or ()
        every = tuple(_paths(here, _unlike(here, machines, (table, *(t.filter for t in tables)))))
        for rule, paths in _blocked(table, every):
            yield _by_iptables(here, paths, rule, "filter")
        for beside in tables:
            if not beside.read:
                yield Gap(f"{node} nft", f"table {beside.family} {beside.name} was not read: there are too many")
            yield from _by_nft(here, beside, every)


def _blocked(table: Filter | NftTable, every: tuple[_Path, ...]) -> list[tuple[str, list[_Path]]]:
    """The rules that certainly drop some of the packets, each with those."""
    blocked: dict[str, list[_Path]] = {}
    for path in every:
        judged = table.judge(path.chain, path.packet)
        if judged is not None and judged.fate is Fate.DROPPED:
            blocked.setdefault(judged.rule, []).append(path)
    return sorted(blocked.items())


def _by_iptables(here: _Machine, paths: list[_Path], rule: str, table: str) -> Finding:
    """A rule or policy of one of its tables; without ``-t`` it is filter."""
    chain = rule.split()[1]
    iptables = "sudo iptables" + (f" -t {table}" if table != "filter" else "")
    remove = f"-P {chain} ACCEPT" if rule.startswith("-P ") else f"-D{rule.removeprefix('-A')}"
    shown = paths[0].chain if table == "filter" else chain
    return _finding(
        here,
        paths,
        rule,
        f"iptables-save -t {table}",
        (
            ssh(here.name, f"{iptables} -S {shown}") + "    # who put it there: firewalld, ufw, a person?",
            ssh(here.name, f"{iptables} {remove}") + "    # or allow the port in the tool that made the rule",
        ),
    )


def _by_nft(here: _Machine, table: NftTable, every: tuple[_Path, ...]) -> Iterator[Finding]:
    """What a table drops that iptables does not show."""
    name = f"{table.family} {table.name}"
    for rule, paths in _blocked(table, every):
        if table.iptables:
            yield _by_iptables(here, paths, rule, table.name)
            continue
        show = f"ssh {here.name} sudo nft -a list table {name}    # who put it there: firewalld, a person?"
        chain = rule.removeprefix("-P ").partition(" ")[0]
        if rule.startswith("-P "):
            rule = f"chain {chain}: policy drop"
            remove = ssh(here.name, f"sudo nft chain {name} {chain} '{{ policy accept; }}'")
        else:
            remove = f"ssh {here.name} sudo nft delete rule {name} {table.handles.get(rule, 'CHAIN handle N')}"
        if table.name == "firewalld":
            ports = sorted({f"{p.packet.port}/{p.packet.protocol}" for p in paths if p.packet.port})
            allow = " ".join(f"--add-port={port}" for port in ports)
            remove = f"ssh {here.name} sudo firewall-cmd {allow or '--list-all'}    # then --runtime-to-permanent"
        yield _finding(here, paths, rule, f"nft list table {name}", (show, remove))


def _finding(here: _Machine, paths: list[_Path], rule: str, command: str, steps: tuple[str, ...]) -> Finding:
    if any(p.what == _BETWEEN for p in paths):
        paths = [p for p in paths if p.what != _NAMES]  # that is among all packets
    what = listing(list(dict.fromkeys(p.what for p in paths)), 4)
    harm = listing(list(dict.fromkeys(p.harm for p in paths)), 2)
    vital = any(p.vital for p in paths)
    return Finding(
        Ref("Node", here.name),
        shorten(f"the firewall of {here.name} drops {what}: {harm}", 220),
        evidence=(
            Evidence(command, rule, source=here.name),
            Evidence("", f"a packet of each of these meets it: {'; '.join(dict.fromkeys(str(p) for p in paths[:4]))}"),
        ),
        next=steps,
        touches=(CLUSTER,) if vital and here.control_plane else (),
        key=rule,
        severity=Severity.CRITICAL if vital else Severity.ERROR,
    )


@dataclass(frozen=True, slots=True)
class _Machine:
    name: str
    address: str
    uplink: str
    control_plane: bool
    etcd: bool
    api_port: int
    pods: tuple[tuple[str, IPv4Interface], ...]  # bridges that pods hang on
    tunnels: tuple[tuple[str, int], ...]  # overlay interfaces, and the UDP port of each


@dataclass(frozen=True, slots=True)
class _Path:
    chain: str
    packet: Packet
    what: str
    harm: str
    vital: bool = False

    def __str__(self) -> str:
        p = self.packet
        port = f":{p.port}" if p.port else ""
        return f"{p.protocol} {p.source} to {p.destination}{port}"


def _machine(
    node: str,
    found: tuple[Interface, ...],
    routes: Routes,
    nodes: Nodes | None,
    manifests: Manifests | None,
) -> _Machine | None:
    uplink = next((r.device for r in routes.get(node) or () if r.network.prefixlen == 0 and r.device), "")
    known = nodes.get(node) if nodes else None
    own = [str(a.ip) for i in found for a in i.addresses if i.name == uplink]
    every = {str(a.ip): i.name for i in found for a in i.addresses}
    address = known.address if known and known.address in every else (own[0] if own else "")
    if not address:
        return None
    files = manifests.get(node) if manifests else None
    server = files.of("kube-apiserver") if files else None
    port = whole(server.value("secure-port")) if server else None
    return _Machine(
        node,
        address,
        every.get(address, uplink),
        server is not None,
        bool(files and files.of("etcd")),
        6443 if port is None else port,
        tuple((i.name, i.addresses[0]) for i in found if i.name in ("cni0", "cbr0") and i.addresses),
        tuple(
            (i.name, 4789 if i.name == "vxlan.calico" else 8472)
            for i in found
            if i.name == "vxlan.calico" or i.name.startswith("flannel.")
        ),
    )


def _unlike(here: _Machine, machines: Mapping[str, _Machine], filters: Sequence[Filter]) -> list[_Machine]:
    """The other nodes; of those that run the same and that no rule here tells apart, one."""
    found: dict[object, _Machine] = {}
    for name, other in sorted(machines.items()):
        if name == here.name:
            continue
        addresses = (other.address, *(str(pods.ip + 1) for _, pods in other.pods[:1]))
        near = bool(here.pods and other.pods and here.pods[0][1].network == other.pods[0][1].network)
        runs = (other.control_plane, other.etcd, other.api_port, other.tunnels, len(addresses), near)
        found.setdefault((runs, tuple(f.place(a) for f in filters for a in addresses)), other)
    return list(found.values())


def _paths(here: _Machine, others: list[_Machine]) -> Iterator[_Path]:
    yield from _inward(here, others)
    yield from _within(here)
    for other in others:
        if other.control_plane:
            packet = Packet(
                source=here.address, destination=other.address, port=other.api_port, into="", out=here.uplink
            )
            yield _Path(
                "OUTPUT",
                packet,
                f"its own connections to port {other.api_port}",
                "its kubelet does not reach the API server",
                True,
            )
    yield from _through(here, others)


def _inward(here: _Machine, others: list[_Machine]) -> Iterator[_Path]:
    for other in others:

        def to(port: int, protocol: str = "tcp", source: str = other.address) -> Packet:
            return Packet(
                protocol=protocol, source=source, destination=here.address, port=port, into=here.uplink, local=True
            )

        if other.control_plane:
            yield _Path("INPUT", to(10250), "TCP port 10250 (kubelet)", "kubectl logs, exec and metrics fail there")
        if here.control_plane:
            port = here.api_port
            yield _Path(
                "INPUT", to(port), f"TCP port {port} (kube-apiserver)", "other nodes do not reach the API server", True
            )
            if here.etcd and other.etcd:
                for port in (2379, 2380):
                    yield _Path("INPUT", to(port), f"TCP port {port} (etcd)", "etcd loses its peers", True)
        for name, port in here.tunnels:
            if any(n == name for n, _ in other.tunnels):
                yield _Path(
                    "INPUT", to(port, "udp"), f"UDP port {port} ({name})", "pods do not reach other nodes' pods"
                )


def _within(here: _Machine) -> Iterator[_Path]:
    def own(port: int, address: str) -> Packet:
        return Packet(source=address, destination=address, port=port, into="lo", local=True)

    if here.etcd:
        yield _Path("INPUT", own(2379, "127.0.0.1"), "TCP port 2379 (etcd)", "the API server does not reach etcd", True)
        out = Packet(source="127.0.0.1", destination="127.0.0.1", port=2379, out="lo", local=True)
        yield _Path("OUTPUT", out, "TCP port 2379 (etcd)", "the API server does not reach etcd", True)
    if here.control_plane:
        port = here.api_port
        yield _Path(
            "INPUT",
            own(port, here.address),
            f"TCP port {port} (kube-apiserver)",
            "the node does not reach its own API server",
            True,
        )
        for bridge, pods in here.pods:
            packet = Packet(
                source=str(pods.ip + 1),
                destination=here.address,
                port=port,
                into=bridge,
                local=True,
                among=str(pods.network),
            )
            yield _Path(
                "INPUT", packet, f"TCP port {port} (kube-apiserver) from pods", "its pods do not reach the API server"
            )


def _through(here: _Machine, others: list[_Machine]) -> Iterator[_Path]:
    for bridge, mine in here.pods[:1]:
        for other in others:
            for _, theirs in other.pods[:1]:
                if theirs.network == mine.network:
                    continue
                tunnel = here.tunnels[0][0] if here.tunnels else here.uplink
                for protocol, port, what, harm in (("tcp", 0, _BETWEEN, _APART), ("udp", 53, _NAMES, _NO_NAMES)):
                    inward = Packet(
                        protocol=protocol,
                        source=str(theirs.ip + 1),
                        destination=str(mine.ip + 1),
                        port=port,
                        into=tunnel,
                        out=bridge,
                        among=str(mine.network),
                    )
                    yield _Path("FORWARD", inward, what, harm)
                    outward = Packet(
                        protocol=protocol,
                        source=str(mine.ip + 1),
                        destination=str(theirs.ip + 1),
                        port=port,
                        into=bridge,
                        out=tunnel,
                        among=str(mine.network),
                    )
                    yield _Path("FORWARD", outward, what, harm)

"""The kubelet looks for the API server at an address where it is not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Gap, Layer, Ref, Severity, check, present, ssh, whole
from kdiag.facts import (
    HOSTS,
    Cluster,
    Entry,
    HostName,
    HostResolvers,
    JournalLog,
    KubeletJournal,
    Kubelets,
    KubeletSetup,
    Manifests,
    Nodes,
    Units,
    file_line,
    hosted,
    journal_line,
    retry,
    setups,
)

#: A kubelet that does not reach its API server says so every few seconds.
_LATELY = 90
_FAILS = re.compile(
    r"connection refused|no such host|i/o timeout|no route to host|network is unreachable|TLS handshake timeout"
    r"|server gave HTTP response|x509: certificate is (?:valid for|not valid)"
    r"|context deadline exceeded|Temporary failure"
    r"|server misbehaving"
    r"|could not find the requested resource|invalid port|http2: client connection|EOF"
)

#: The lines about the node itself tell more than those about what it watches.
_OWN = re.compile(r"register node|node status|ensure lease")


@check(
    title="Kubelet looks for the API server elsewhere",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=(
        "control_plane/certificate_names_incomplete",
        "worker_node/kubelet_crash_loops",
        "worker_node/kubelet_not_running",
        "worker_node/node_not_ready",
        "worker_node/node_heartbeat_stale",
        "application/pod_not_ready",
    ),
    tags=("node", "kubelet", "config", "apiserver"),
)
def kubelet_server_wrong(
    kubelets: Kubelets,
    units: Units,
    cluster: Cluster,
    journal: KubeletJournal,
    manifests: Manifests | None,
    nodes: Nodes | None,
    resolvers: HostResolvers | None,
) -> Iterator[Finding | Gap]:
    """Said only where the kubelet itself fails there, and the API server is known to be at another place."""
    own = _listening(manifests, nodes)
    for node, setup, unit in setups(kubelets, units):
        access, log = setup.kubeconfig, journal.get(node)
        if access is None or not access.server or log is None or not (unit.running or unit.active == "activating"):
            continue
        place = (access.host, access.port)
        others = Counter(
            (other.kubeconfig.host, other.kubeconfig.port)
            for name, other in kubelets
            if name != node and other.kubeconfig and other.kubeconfig.server and other.kubeconfig.port
        )
        if led := _led_astray(node, setup, log, resolvers, own, cluster):
            line, meant, entry = led
            yield Finding(
                Ref("Node", node),
                f"kubelet on {node} looks for the API server at {line.address}: {HOSTS}:{line.line} says so of "
                f"{access.host}, which is at {meant}",
                evidence=(
                    file_line(HOSTS, line.line, f"{line.address} {access.host}", node),
                    file_line(access.path, access.server_line, f"server: {access.server}", node),
                    journal_line(entry, node),
                ),
                next=retry(node, f"ssh -t {node} sudoedit {HOSTS}    # line {line.line}: {meant} {access.host}"),
                touches=hosted(node, manifests, cluster),
                key=HOSTS,
            )
            continue
        if place in others or place in own or _local(place, own):
            continue
        if _used(cluster.server) == place:
            continue  # it is where the user looks as well
        used = _used(cluster.server) if nodes is not None and not nodes.gaps else None
        right = _best(place, used, others, own)
        failing = _failing(log, access.server, place, cluster)
        if failing and _dialled(failing) & {*others, *own, used}:
            continue  # another name of the right place
        if right is None or (failing is None and access.port):
            continue
        if right[0] != place[0] and used is None and (manifests is None or manifests.gaps):
            yield Gap(node, f"whether an API server is at {place[0]} was not seen: not all nodes were")
            continue
        wrong = "port" if right[0] == place[0] or not access.port else "address"
        yield Finding(
            Ref("Node", node),
            f"kubelet on {node} looks for the API server at {access.server} ({access.path}:{access.server_line}): "
            f"wrong {wrong}, it is at {right[0]}:{right[1]}",
            evidence=present(
                file_line(access.path, access.server_line, f"server: {access.server}", node),
                journal_line(failing, node) if failing else None,
                Evidence("", f"{right[0]}:{right[1]} is what {_who(right, used, others, own)} has"),
            ),
            next=retry(
                node,
                ssh(node, f"sudo sed -i.before 's#server: .*#server: https://{right[0]}:{right[1]}#' {access.path}")
                + f"    # undo: the copy {access.path}.before",
            ),
            touches=hosted(node, manifests, cluster),
        )


def _led_astray(
    node: str,
    setup: KubeletSetup,
    log: JournalLog,
    resolvers: HostResolvers | None,
    own: dict[tuple[str, int], str],
    cluster: Cluster,
) -> tuple[HostName, str, Entry] | None:
    """The line of the node's hosts file that leads the API server's name elsewhere, and where that is."""
    access = setup.kubeconfig
    named = resolvers.get(node) if resolvers and access else None
    line = named.names.get(access.host) if named and access else None
    if resolvers is None or access is None or line is None or line.address in {host for host, _ in own}:
        return None
    failing = _failing(log, access.server, (access.host, access.port), cluster)
    said = Counter(other.names[access.host].address for name, other in resolvers if access.host in other.names)
    del said[line.address]
    literal = sorted(host for (host, _), name in own.items() if host != name and access.host == name)
    meant = said.most_common(1)[0][0] if said else literal[0] if literal else ""
    return (line, meant, failing) if failing and meant else None


def _listening(manifests: Manifests | None, nodes: Nodes | None) -> dict[tuple[str, int], str]:
    """Where the API servers listen, by their manifests: addresses with their port, and the node."""
    found: dict[tuple[str, int], str] = {}
    for name, one in manifests or ():
        server = one.of("kube-apiserver")
        if server is None:
            continue
        port = whole(server.value("secure-port", "6443"))
        if port is None:
            continue
        node = nodes.get(name) if nodes else None
        for host in (server.value("advertise-address"), node.address if node else "", name):
            if host:
                found[host.lower(), port] = name
    ports = {port for _, port in found} or {6443}
    for node in nodes.items if nodes else ():
        if node.control_plane:  # it may be down, and the address is right all the same
            found.update({(host, port): node.name for host in (node.address, node.name.lower()) for port in ports})
    return found


def _local(place: tuple[str, int], own: dict[tuple[str, int], str]) -> bool:
    """Whether it is the node itself, or a proxy on it: kubespray has one on every node."""
    ports = {port for _, port in own}
    return place[0] in ("localhost", "127.0.0.1", "::1") and (not ports or place[1] in ports)


def _used(server: str) -> tuple[str, int] | None:
    match = re.match(r"(?:https?://)?\[?([A-Za-z0-9.:_-]+?)\]?(?::(\d{1,5}))?(?:/.*)?$", server)
    return (match[1].lower(), int(match[2] or 443)) if match else None


def _best(
    place: tuple[str, int],
    used: tuple[str, int] | None,
    others: Counter[tuple[str, int]],
    own: dict[tuple[str, int], str],
) -> tuple[str, int] | None:
    """The right place: what most other nodes have, then what answers us, then what a manifest says."""
    known = [p for p, _ in others.most_common()] + ([used] if used else []) + sorted(own)
    same = [p for p in known if p[0] == place[0]]
    return same[0] if same else known[0] if known else None


def _who(
    right: tuple[str, int],
    used: tuple[str, int] | None,
    others: Counter[tuple[str, int]],
    own: dict[tuple[str, int], str],
) -> str:
    if right in others:
        return "the kubelet.conf of the other nodes"
    return "the kubeconfig in use" if right == used else f"the kube-apiserver manifest of {own.get(right, '?')}"


def _dialled(entry: Entry) -> set[tuple[str, int] | None]:
    """The addresses that a name led to."""
    return {(host, int(port)) for host, port in re.findall(r"dial tcp \[?([0-9a-fA-F.:]+?)\]?:(\d{1,5}):", entry.text)}


def _failing(log: JournalLog, server: str, place: tuple[str, int], cluster: Cluster) -> Entry | None:
    host = re.escape(place[0])
    there = re.compile(rf"{re.escape(server)}|(?<![\w.]){host}(?::{place[1]})?(?![\w.])", re.IGNORECASE)
    found: Entry | None = None
    for entry in reversed(log.entries):
        if entry.when and cluster.age(entry.when) > _LATELY:
            break
        if there.search(entry.text) and _FAILS.search(entry.text) and "10250" not in entry.text:
            if _OWN.search(entry.text):
                return entry
            found = found or entry
    return found

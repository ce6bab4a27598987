"""A serving certificate lacks a name or address by which its clients call it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from kdiag.check import CLUSTER, Evidence, Finding, Layer, Ref, Severity, check, listing
from kdiag.facts import Certificate, Certificates, Manifest, Manifests, Pki, manifest_repair, static_pod

_RUN_THERE = {"/etc/kubernetes/controller-manager.conf", "/etc/kubernetes/scheduler.conf"}


@check(
    title="Serving certificate lacks a name",
    severity=Severity.ERROR,
    layer=Layer.HOST,
    explains=(
        "control_plane/api_server_cannot_reach_etcd",
        "control_plane/api_server_unhealthy",
        "control_plane/api_server_unreachable",
        "control_plane/controller_manager_not_running",
        "control_plane/leader_election_lost",
        "control_plane/scheduler_not_running",
        "network/coredns_cannot_reach_api",
        "worker_node/kubelet_unauthorized",
        "worker_node/node_heartbeat_stale",
        "worker_node/node_not_ready",
    ),
    explains_here=("control_plane/manifest_differs_between_nodes",),
    tags=("certificates", "apiserver", "etcd"),
)
def certificate_names_incomplete(certificates: Certificates, manifests: Manifests | None) -> Iterator[Finding]:
    """The names that kubeconfigs, --etcd-servers and the kubernetes Service lead to must be in the certificate."""
    masters = [(node, pki) for node, pki in certificates if pki.control_plane]
    serving: list[tuple[str, str, Certificate]] = []
    for node, pki in masters:
        api = _manifest(manifests, node)
        path, key = (
            api.on_host(api.value(flag))[1] if api and api.value(flag) else f"{pki.folder}/apiserver.{end}"
            for flag, end in (("tls-cert-file", "crt"), ("tls-private-key-file", "key"))
        )
        if pki.apart(path, key):
            return  # it is not in use: certificate_key_mismatch names the two
        if cert := pki.get(path):
            serving.append((node, path, cert))
            yield from _own(node, path, cert, api, _manifest(manifests, node, "kube-controller-manager"))
            yield from _etcd(node, pki, api)
    # Where the files of a node could not be listed, its own components tell that it is one.
    hidden = any(not pki.control_plane and _RUN_THERE & pki.kubeconfigs.keys() for _, pki in certificates)
    if len(serving) == len(masters) and serving and not hidden:
        found = [_manifest(manifests, node) for node, _ in masters]
        yield from _callers(certificates, serving, sni=any(m and m.flag("tls-sni-cert-key") for m in found))


def _manifest(manifests: Manifests | None, node: str, part: str = "kube-apiserver") -> Manifest | None:
    found = manifests.get(node) if manifests else None
    return found.of(part) if found else None


def _callers(
    certificates: Certificates, serving: list[tuple[str, str, Certificate]], *, sni: bool
) -> Iterator[Finding]:
    wanted: dict[str, list[tuple[str, str]]] = {}
    for node, pki in certificates:
        for path, config in sorted(pki.kubeconfigs.items()):
            if sni and not re.fullmatch(r"[0-9a-fA-F.:]+", config.host):
                continue  # for a name it may have another certificate
            if config.host and not any(covers(c, config.host) for *_, c in serving):
                wanted.setdefault(config.host, []).append((node, path))
    for host, places in sorted(wanted.items()):
        node, path, cert = serving[0]
        callers = listing([f"{n}:{p}" for n, p in places], 2)
        yield Finding(
            Ref("Node", node),
            f"kube-apiserver's certificate on {node} is not valid for {host}, to which {callers} lead",
            evidence=(
                Evidence(
                    f"sudo openssl x509 -noout -ext subjectAltName -in {path}", listing(cert.names, 12) or "none", node
                ),
                Evidence(f"sudo grep server: {places[0][1]}", f"server: https://{host}", places[0][0]),
            ),
            next=tuple(_renew(node, path, "apiserver", f"--apiserver-cert-extra-sans {host}")),
            touches=(*(Ref("Node", n) for n, _ in places), static_pod("kube-apiserver", node)),
            key=host,
        )


def _own(node: str, path: str, cert: Certificate, api: Manifest | None, manager: Manifest | None) -> Iterator[Finding]:
    """The first address of the Services' range: by it the pods call the API server."""
    given = api.flag("service-cluster-ip-range") if api else None
    first = _first(given.value) if given else ""
    if api is None or given is None or not first or not cert.names or covers(cert, first):
        return
    names = Evidence(f"sudo openssl x509 -noout -ext subjectAltName -in {path}", listing(cert.names, 12), node)
    pod = static_pod("kube-apiserver", node)
    other = manager.flag("service-cluster-ip-range") if manager else None
    if manager and other and _first(other.value) and covers(cert, _first(other.value)):
        yield Finding(
            pod,
            f"{pod.name} has another range of Services than the cluster: {api.where(given.line)} --{given.name}="
            f"{given.value}; kube-controller-manager and the certificate are of {other.value}",
            evidence=(api.quote(node, given.line), manager.quote(node, other.line), names),
            next=manifest_repair(node, api, given.line, f"--{given.name}={other.value}"),
            touches=(Ref("Service", "kubernetes", "default"), pod, CLUSTER),
            key=first,
        )
        return
    yield Finding(
        Ref("Node", node),
        f"kube-apiserver's certificate on {node} is not valid for {first}, the address of the Service kubernetes: "
        "pods cannot talk to it",
        evidence=(
            names,
            Evidence(f"sudo grep -n {given.name} {api.path}", f"--{given.name}={given.value}", node),
        ),
        next=tuple(_renew(node, path, "apiserver", "--service-cidr CIDR    # the right one")),
        touches=(Ref("Service", "kubernetes", "default"), pod),
        key=first,
    )


def _first(ranges: str) -> str:
    try:
        return str(ipaddress.ip_network(ranges.split(",")[0].strip(), strict=False)[1])
    except (ValueError, IndexError):
        return ""


def _etcd(node: str, pki: Pki, api: Manifest | None) -> Iterator[Finding]:
    serving = f"{pki.folder}/etcd/server.crt"
    cert = pki.get(serving)
    if api is None or cert is None or pki.apart(serving, f"{pki.folder}/etcd/server.key"):
        return
    for url in api.value("etcd-servers").split(","):
        host = url.partition("://")[2].rpartition(":")[0].strip("[]")
        if (
            not host
            or not url.startswith("https://")
            or host not in ("127.0.0.1", "localhost", "::1", *_own_addresses(api))
        ):
            continue
        if not covers(cert, host):
            yield Finding(
                Ref("Node", node),
                f"etcd's certificate on {node} is not valid for {host}, to which --etcd-servers leads",
                evidence=(
                    Evidence(
                        f"sudo openssl x509 -noout -ext subjectAltName -in {serving}",
                        listing(cert.names, 12) or "none",
                        node,
                    ),
                    Evidence(
                        f"sudo grep -n etcd-servers {api.path}", f"--etcd-servers={api.value('etcd-servers')}", node
                    ),
                ),
                next=tuple(_renew(node, serving, "etcd-server", "")),
                touches=(static_pod("kube-apiserver", node), static_pod("etcd", node), CLUSTER),
                key=f"etcd {host}",
                severity=Severity.CRITICAL,
            )


def _own_addresses(api: Manifest) -> tuple[str, ...]:
    return (api.value("advertise-address"),) if api.value("advertise-address") else ()


def covers(cert: Certificate, host: str) -> bool:
    """Whether a client that calls this host takes the certificate."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.lower().rstrip(".")
        _, _, parent = name.partition(".")
        return any(n.lower() == name or (n.startswith("*.") and n[2:].lower() == parent) for n in cert.names)
    for name in cert.names:
        try:
            if ipaddress.ip_address(name) == address:
                return True
        except ValueError:
            continue
    return False


def _renew(node: str, path: str, phase: str, more: str) -> Iterator[str]:
    stem = path.removesuffix(".crt")
    yield f"ssh {node} sudo mkdir -p /root/old-pki && ssh {node} sudo mv {path} {stem}.key /root/old-pki/"
    yield f"ssh {node} sudo kubeadm init phase certs {phase} {more}".rstrip()

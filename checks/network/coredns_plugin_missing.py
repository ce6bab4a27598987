"""The Corefile lacks a plugin that its pods' probes or all clients ask, or listens on another port than declared."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, Skip, check, kubectl, whole
from kdiag.facts import (
    DIRECTIVES,
    ClusterDNS,
    ConfigMaps,
    Container,
    ServerBlock,
    Workload,
    corefile_map,
    parse_corefile,
)

# The probe, the path that it asks, the plugin that answers, and its usual port.
_ASKED = (("readiness", "/ready", "ready", 8181), ("liveness", "/health", "health", 8080))

_ONWARD = "forward . /etc/resolv.conf"
#: What may answer for names outside of the cluster.
_ABROAD = ("forward", "proxy", "grpc", "import", "template", "file", "auto", "secondary", "erratic", "unbound")


@check(
    title="Corefile lacks what its pods are asked for",
    severity=Severity.ERROR,
    layer=Layer.DNS,
    explains=(
        "application/dependency_name_unresolved",
        "application/liveness_probe_kills",
        "application/pod_not_ready",
        "application/readiness_probe_fails",
        "application/rollout_stuck",
        "application/workload_unavailable",
        "network/cluster_dns_unavailable",
        "network/service_has_no_ready_endpoint",
    ),
    tags=("dns", "coredns", "config", "probes"),
    namespaces=("kube-system", "openshift-dns"),
)
def coredns_plugin_missing(dns: ClusterDNS, configs: ConfigMaps) -> Iterator[Finding | Skip]:
    """The file is right in itself, and CoreDNS starts with it: only what stands around it tells what it lacks."""
    if not dns.known or not dns.workloads:
        yield Skip(dns.unknown)
        return
    for workload in dns.workloads:
        name, key = corefile_map(workload)
        config = configs.get(name, workload.namespace) if name else None
        blocks = parse_corefile(config.data.get(key, "")).blocks if config else ()
        if not blocks or any(b.all("import") for b in blocks):
            continue
        container = next((c for c in workload.pod_spec.containers if "-conf" in (*c.command, *c.args)), None)
        for part, fault, effect, line in _lacks(container, blocks) if container else ():
            yield Finding(
                Ref("ConfigMap", name, workload.namespace),
                f"{effect}: the {key} of ConfigMap {workload.namespace}/{name} {fault}",
                evidence=(
                    Evidence(kubectl("get", "configmap", name, "-o", "yaml", namespace=workload.namespace), fault),
                    Evidence(_get(workload), line),
                ),
                next=(
                    kubectl("edit", "configmap", name, namespace=workload.namespace) + f"    # {part}",
                    kubectl("get", "pods", "-l", "k8s-app=kube-dns", namespace=workload.namespace),
                ),
                touches=(workload.ref(), dns.reference),
                key=part,
                severity=Severity.WARNING if part == _ONWARD else Severity.CRITICAL if dns.down else None,
            )


def _get(workload: Workload) -> str:
    return kubectl("get", workload.ref().kind.lower(), workload.name, "-o", "yaml", namespace=workload.namespace)


def _lacks(container: Container, blocks: tuple[ServerBlock, ...]) -> Iterator[tuple[str, str, str, str]]:
    """What is to be added, what the file lacks, what follows, and who asks for it."""
    probes = {kind: probe.http_get for kind, probe in container.probes() if probe.http_get}
    for kind, path, plugin, usual in _ASKED:
        asked = probes.get(kind)
        if asked is None or asked.path != path:
            continue
        port = container.port_number(asked.port)
        given = next((d for b in blocks for d in b.all(plugin)), None)
        effect = "CoreDNS never becomes ready" if kind == "readiness" else "CoreDNS is killed again and again"
        shown = f"the {kind} probe asks GET :{port}{path}"
        if given is None:
            yield plugin, f"has no plugin {plugin}", effect, shown
        elif given.args and given.args[0].rpartition(":")[2] != str(port):
            address = given.args[0]
            yield f"{plugin} :{port}", f"has {plugin} on {address} (line {given.line}), not on :{port}", effect, shown
        elif not given.args and port != usual:
            yield f"{plugin} :{port}", f"has {plugin} on its port {usual}, not on :{port}", effect, shown
    ports = sorted({p.container_port for p in container.ports if p.name.startswith("dns") or p.container_port == 53})
    listens = {
        _port(z) for b in blocks for z in b.zones if not z.startswith(("tls://", "https://", "quic://", "grpc://"))
    }
    if ports and listens and not listens & set(ports) and 0 not in listens:
        yield (
            f".:{ports[0]}",
            f"listens on port {min(listens)}",
            f"nobody answers DNS on port {ports[0]}",
            f"its container declares port {ports[0]}, and the Service leads there",
        )

    names = {d.name for b in blocks for d in b.directives}
    if not names & set(_ABROAD) and names <= DIRECTIVES:  # a misspelt one is another fault
        yield (
            _ONWARD,
            "has no plugin forward",
            "names outside the cluster are not found",
            "what is not the cluster's own is handed on to no other resolver",
        )


def _port(zone: str) -> int:
    """The port of a server block's zone; 0 where it cannot be told."""
    zone = zone.removeprefix("dns://")
    before, colon, port = zone.rpartition(":")
    if not colon or "]" in port or (":" in before and not before.endswith("]")):
        return 53
    return (whole(port) or 0) if len(port) < 6 else 0

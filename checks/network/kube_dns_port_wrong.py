"""The DNS Service does not lead its port 53 to the port on which the DNS pods listen."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import CLUSTER, Evidence, Finding, Layer, Severity, Skip, check, kubectl, listing
from kdiag.facts import ClusterDNS, Service, Workload


@check(
    title="DNS Service leads to the wrong port",
    severity=Severity.CRITICAL,
    layer=Layer.DNS,
    explains=(
        "network/cluster_dns_unavailable",
        "application/dependency_name_unresolved",
    ),
    tags=("dns", "service"),
    namespaces=("kube-system", "openshift-dns"),
)
def kube_dns_port_wrong(dns: ClusterDNS) -> Iterator[Finding | Skip]:
    """Judged by the ports that the DNS pods declare, where they declare any."""
    service = dns.service
    if service is None or not dns.workloads:
        yield Skip("no DNS Service with pods behind it")
        return
    for protocol in ("UDP", "TCP"):
        said = _wrong(service, dns.workloads[0], protocol)
        if said is None:
            continue
        shown, why = said
        ref = service.ref()
        yield Finding(
            ref,
            f"DNS over {protocol} fails: Service {ref.path} {why}",
            evidence=(
                Evidence(kubectl("get", "service", ref.name, "-o", "yaml", namespace=ref.namespace), shown),
                Evidence(
                    kubectl(
                        "get",
                        dns.workloads[0].ref().kind.lower(),
                        dns.workloads[0].name,
                        "-o",
                        "yaml",
                        namespace=ref.namespace,
                    ),
                    f"containerPorts {listing(_declared(dns.workloads[0]), 5)}",
                ),
            ),
            next=(kubectl("edit", "service", ref.name, namespace=ref.namespace),),
            touches=(CLUSTER,) if protocol == "UDP" else (),
            key=protocol,
            severity=Severity.CRITICAL if protocol == "UDP" else Severity.WARNING,
        )


def _declared(workload: Workload) -> list[str]:
    ports = [p for c in workload.pod_spec.containers for p in c.ports]
    return [f"{p.name or '-'} {p.container_port}/{p.protocol}" for p in ports]


def _wrong(service: Service, workload: Workload, protocol: str) -> tuple[str, str] | None:
    ports = [p for c in workload.pod_spec.containers for p in c.ports if p.protocol == protocol]
    here = next((p for p in service.spec.ports if p.port == 53 and p.protocol == protocol), None)
    if here is None:
        have = listing([f"{p.port}/{p.protocol}" for p in service.spec.ports], 5)
        return f"ports {have}", f"has no port 53/{protocol}"
    if not ports:
        return None
    if isinstance(here.target, str):
        if any(p.name == here.target for p in ports):
            return None
        return f"53/{protocol} -> {here.target}", f"leads to port {here.target}, a name that no container port has"
    if any(p.container_port == here.target for p in ports):
        return None
    dns = next((p.container_port for p in ports if p.name.startswith("dns") or p.container_port == 53), None)
    if dns is None:
        return None
    return f"53/{protocol} -> {here.target}", f"leads to port {here.target}; the pods listen on {dns}"

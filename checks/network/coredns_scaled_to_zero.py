"""The workload that answers the cluster's DNS is scaled to zero."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, Skip, check, kubectl
from kdiag.facts import ClusterDNS, Deployment


@check(
    title="CoreDNS is scaled to zero",
    severity=Severity.CRITICAL,
    layer=Layer.DNS,
    explains=(
        "network/cluster_dns_unavailable",
        "application/workload_scaled_to_zero",
        "network/service_has_no_ready_endpoint",
        "network/service_without_endpoints",
    ),
    tags=("dns", "coredns"),
    namespaces=("kube-system", "openshift-dns"),
)
def coredns_scaled_to_zero(dns: ClusterDNS) -> Iterator[Finding | Skip]:
    """Critical where nothing else answers for the DNS Service."""
    if not dns.known:
        yield Skip(dns.unknown)
        return
    for workload in dns.workloads:
        if not isinstance(workload, Deployment) or workload.desired or dns.ready:
            continue
        ref = workload.ref()
        yield Finding(
            ref,
            f"{ref} is scaled to zero: nothing answers DNS in the cluster",
            evidence=(
                Evidence(
                    kubectl("get", "deployment", workload.name, namespace=workload.namespace),
                    "READY 0/0: spec.replicas is 0",
                ),
                Evidence(
                    kubectl("get", "endpointslices", "-l", "k8s-app=kube-dns", namespace=workload.namespace),
                    f"no ready endpoint of Service {dns.reference.name}",
                ),
            ),
            next=(kubectl("scale", "deployment", workload.name, "--replicas=2", namespace=workload.namespace),),
            touches=(dns.reference,),
        )

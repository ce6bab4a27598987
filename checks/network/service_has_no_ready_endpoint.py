"""A Service selects pods, but none of them is ready to take its traffic."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, listing, present
from kdiag.facts import (
    Backends,
    Cluster,
    Dependencies,
    EndpointSlices,
    Events,
    Idle,
    Ingresses,
    Jobs,
    Owners,
    Service,
    Workloads,
    idle,
    state_of,
    users,
)


@check(
    title="Service has no ready endpoint",
    severity=Severity.ERROR,
    layer=Layer.ENDPOINTS,
    explains=(
        "network/ingress_backend_unavailable",
        "control_plane/api_service_unavailable",
        "worker_node/metrics_server_unavailable",
        "application/dependency_unreachable",
        "application/init_container_waits",
    ),
    tags=("service", "endpoints"),
)
def service_has_no_ready_endpoint(
    backends: Backends,
    cluster: Cluster,
    slices: EndpointSlices | None,
    workloads: Workloads | None,
    owners: Owners | None,
    dependencies: Dependencies | None,
    ingresses: Ingresses | None,
    events: Events | None,
    jobs: Jobs | None,
) -> Iterator[Finding]:
    """A symptom: what keeps the pods from being ready is for other checks to say."""
    for service in backends.services.items:
        found = idle(service, backends, cluster, slices, workloads, events, jobs)
        if found is None:
            continue
        refs = {owners.top(p) if owners else p.ref() for p in found.pods} | {w.ref() for w in found.workloads}
        clients = users(service.ref(), dependencies, ingresses, owners)
        pods = "none of its pods is ready" if found.pods else str(sorted(refs)[0])
        used = [f"{ref} ({how})" for ref, how in clients]
        yield Finding(
            service.ref(),
            f"Service {service.ref().path} has no ready endpoint: {pods} ({found.reason})",
            evidence=present(*_evidence(service, found), Evidence("", f"used by {listing(used)}") if used else None),
            next=tuple(_next(service, found)),
            touches=(*sorted(refs), *(p.ref() for p in found.pods[:50])),
        )


def _evidence(service: Service, found: Idle) -> Iterator[Evidence]:
    label = f"kubernetes.io/service-name={service.name}"
    command = kubectl("get", "endpointslices", "-l", label, "-o", "yaml", namespace=service.namespace)
    yield Evidence(command, "no endpoint is ready")
    shown = [f"{p.name} {state_of(p)}" for p in found.pods]
    command = kubectl("get", "pods", "-l", service.selector_text, namespace=service.namespace)
    yield Evidence(command, listing(shown, 3) or "no pod")


def _next(service: Service, found: Idle) -> Iterator[str]:
    if found.pods:
        yield kubectl("describe", "pod", found.pods[0].name, namespace=service.namespace)
    for workload in found.workloads[:1]:
        kind = type(workload).__name__.lower()
        yield kubectl("describe", kind, workload.name, namespace=service.namespace)
        yield kubectl("get", "events", "--field-selector=reason=FailedCreate", namespace=service.namespace)

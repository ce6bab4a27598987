"""An Ingress leads to a Service behind which nothing is ready: its clients see 502, 503 or 504."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, listing
from kdiag.facts import (
    Backends,
    Cluster,
    EndpointSlices,
    Events,
    Ingresses,
    Jobs,
    Service,
    Workloads,
    behind,
    find_port,
    idle,
    selects,
)


@check(
    title="Ingress leads to a Service without a ready endpoint",
    severity=Severity.ERROR,
    layer=Layer.INGRESS,
    tags=("ingress", "endpoints"),
)
def ingress_backend_unavailable(
    ingresses: Ingresses,
    backends: Backends,
    cluster: Cluster,
    slices: EndpointSlices,
    workloads: Workloads,
    events: Events | None,
    jobs: Jobs | None,
) -> Iterator[Finding]:
    """A symptom: why the Service has no endpoint is for other checks to say."""
    for ingress in ingresses.items:
        if ingress.standby:
            continue
        places: dict[str, list[str]] = {}
        for where, backend in ingress.backends:
            places.setdefault(backend.name, []).append(where)
        for name, paths in places.items():
            service = backends.services.get(name, ingress.namespace)
            if (
                service is None
                or (reason := _reason(service, backends, cluster, slices, workloads, events, jobs)) is None
            ):
                continue
            label = f"kubernetes.io/service-name={name}"
            yield Finding(
                ingress.ref(),
                f"Ingress {ingress.ref().path} leads {listing(paths, 2)} to Service {name},"
                f" which has no ready endpoint: {reason}",
                evidence=(
                    Evidence(
                        kubectl("describe", "ingress", ingress.name, namespace=ingress.namespace),
                        f"{listing(paths, 2)} → {name}",
                    ),
                    Evidence(kubectl("get", "endpointslices", "-l", label, namespace=ingress.namespace), reason),
                ),
                next=(kubectl("describe", "service", name, namespace=ingress.namespace),),
                touches=(service.ref(),),
                key=name,
                severity=Severity.WARNING if reason.endswith("scaled to 0") else Severity.ERROR,
            )


def _reason(
    service: Service,
    backends: Backends,
    cluster: Cluster,
    slices: EndpointSlices,
    workloads: Workloads,
    events: Events | None,
    jobs: Jobs | None,
) -> str | None:
    if service.external:
        return None
    if found := idle(service, backends, cluster, slices, workloads, events, jobs):
        return found.reason
    endpoints = slices.endpoints(service)
    if not service.spec.selector:
        return None if endpoints or cluster.age(service.created) < 60 else "it has no selector and no endpoint"
    pods = backends.of(service)
    if not pods and not endpoints:
        # Also a ReplicaSet that an operator has scaled down: the preview of a rollout that has none at present.
        scaled_down = behind(service, workloads) or tuple(
            r
            for r in workloads.replicasets.within(service.namespace)
            if r.controller
            and r.controller.kind != "Deployment"
            and selects(service.spec.selector, r.spec.template.metadata.labels)
        )
        if not scaled_down:
            return f"no pod has {service.selector_text}"
        stopped = [w for w in scaled_down if w.desired == 0]
        return f"{stopped[0].ref()} is scaled to 0" if len(stopped) == len(scaled_down) else None
    ready = [p for p in pods if p.ready and not p.terminating]
    ports = service.spec.ports
    if ready and ports and not any(find_port(p.spec, port.target, port.protocol) for p in ready for port in ports):
        return f"its pods have no port named {ports[0].target}"
    return None

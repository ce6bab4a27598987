"""An Ingress leads to a Service that does not exist, or to a port that the Service does not have."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing, nearest, present
from kdiag.facts import BackendService, Ingress, IngressClasses, Ingresses, Service, Services, Workload, Workloads


@check(
    title="Ingress leads to a Service or port that does not exist",
    severity=Severity.ERROR,
    layer=Layer.INGRESS,
    tags=("ingress", "service", "port"),
)
def ingress_backend_missing(
    ingresses: Ingresses, services: Services, classes: IngressClasses | None, workloads: Workloads | None
) -> Iterator[Finding]:
    """One finding for each backend of an Ingress, whatever number of paths, and of ports of none, lead to it."""
    for ingress in ingresses.items:
        if not services.covers(ingress.namespace) or ingress.metadata.deletion_timestamp:
            continue
        places: dict[BackendService, list[str]] = {}
        for where, backend in ingress.backends:
            lost = not services.get(backend.name, ingress.namespace)
            same = next((b for b in places if b.name == backend.name), backend) if lost else backend
            places.setdefault(same, []).append(where)
        for backend, paths in places.items():
            # An AWS load balancer's action: described in an annotation of that name, there is no Service.
            if backend.port.name == "use-annotation":
                continue
            service = services.get(backend.name, ingress.namespace)
            if service is None:
                yield _no_service(ingress, backend, paths, services, workloads)
            elif not _has_port(service, backend, ingress, classes):
                yield _no_port(ingress, backend, paths, service)


def _has_port(service: Service, backend: BackendService, ingress: Ingress, classes: IngressClasses | None) -> bool:
    wanted = backend.port.name or backend.port.number
    if not wanted or service.external or service.port(wanted):
        return True
    # ingress-nginx also takes the target port's number for the Service's.
    return _nginx(ingress, classes) and any(str(wanted) == str(p.target) for p in service.spec.ports)


def _nginx(ingress: Ingress, classes: IngressClasses | None) -> bool:
    name = ingress.spec.ingress_class_name or ingress.metadata.annotations.ingress_class
    found = classes.get(name) if classes and name else None
    if found is None and classes and not name:
        found = next((c for c in classes.items if c.default), None)
    return "nginx" in (found.spec.controller if found else name) and (
        found is None or "nginx.org" not in found.spec.controller
    )


def _no_service(
    ingress: Ingress, backend: BackendService, paths: list[str], services: Services, workloads: Workloads | None
) -> Finding:
    here = [s.name for s in services.within(ingress.namespace)]
    meant = nearest(backend.name, here)
    named = workloads.within(ingress.namespace) if workloads else ()
    lone = None if meant else next((w for w in named if w.name == backend.name), None)
    others = [s for s in services.items if s.name == backend.name]
    near = ""
    if meant:
        near = f"; there is {meant}"
    elif lone:
        near = f"; {lone.ref().kind} {lone.name} has none"
    elif len(others) == 1:
        near = f"; it is in namespace {others[0].namespace}"
    evidence = [
        _ingress_line(ingress, backend, paths),
        Evidence(
            kubectl("get", "service", backend.name, namespace=ingress.namespace),
            f'Error from server (NotFound): services "{backend.name}" not found',
        ),
        Evidence(kubectl("get", "services", namespace=ingress.namespace), listing(sorted(here), 5) or "no Service"),
    ]
    return Finding(
        ingress.ref(),
        f"Ingress {ingress.ref().path} leads {listing(paths, 2)} to Service {backend.name}, which does not exist{near}",
        evidence=tuple(evidence),
        next=present(
            _exposed(lone, backend) if lone else None,
            kubectl("edit", "ingress", ingress.name, namespace=ingress.namespace)
            + (f"   # backend.service.name: {meant}" if meant else ""),
        ),
        touches=(Ref("Service", backend.name, ingress.namespace),),
        key=backend.name,
    )


def _exposed(workload: Workload, backend: BackendService) -> str:
    """The Service that it has not, or has no more."""
    port = backend.port.number or next((p.container_port for c in workload.pod_spec.containers for p in c.ports), 80)
    words = ("expose", workload.ref().kind.lower(), workload.name, f"--port={port}")
    return kubectl(*words, namespace=workload.namespace) + "   # with --target-port, where its pods listen on another"


def _no_port(ingress: Ingress, backend: BackendService, paths: list[str], service: Service) -> Finding:
    wanted = backend.port.name or backend.port.number
    has = [f"{p.port}{f' ({p.name})' if p.name else ''}" for p in service.spec.ports]
    meant: str | int | None = None
    if len(service.spec.ports) == 1:
        meant = service.spec.ports[0].port
    elif isinstance(wanted, str):
        meant = nearest(wanted, [p.name for p in service.spec.ports if p.name])
    else:
        meant = next((p.port for p in service.spec.ports if p.target == wanted), None)
    field = "name" if isinstance(meant, str) else "number"
    return Finding(
        ingress.ref(),
        f"Ingress {ingress.ref().path} leads {listing(paths, 2)} to port {wanted} of Service {service.name},"
        f" which has only {listing(has, 4) or 'no port'}",
        evidence=(
            _ingress_line(ingress, backend, paths),
            Evidence(
                kubectl("get", "service", service.name, namespace=service.namespace),
                f"PORT(S) {listing([f'{p.port}/{p.protocol}' for p in service.spec.ports], 4) or '<none>'}",
            ),
        ),
        next=(
            kubectl("edit", "ingress", ingress.name, namespace=ingress.namespace)
            + (f"   # backend.service.port.{field}: {meant}" if meant else ""),
        ),
        touches=(service.ref(),),
        key=f"{backend.name}:{wanted}",
    )


def _ingress_line(ingress: Ingress, backend: BackendService, paths: list[str]) -> Evidence:
    port = backend.port.name or backend.port.number
    return Evidence(
        kubectl("describe", "ingress", ingress.name, namespace=ingress.namespace),
        f"{listing(paths, 2)} → {backend.name}:{port}",
    )

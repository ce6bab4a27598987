"""An HTTPRoute of the Gateway API leads to a Service, a port or a Gateway that does not exist."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, Skip, check, kubectl, listing, nearest
from kdiag.facts import BackendRef, Gateways, HTTPRoute, HTTPRoutes, ParentRef, Service, Services

_GATEWAY = ("gateway.networking.k8s.io", "Gateway")


@check(
    title="HTTPRoute leads to what does not exist",
    severity=Severity.ERROR,
    layer=Layer.INGRESS,
    tags=("ingress", "gateway", "service", "port"),
)
def route_backend_missing(
    services: Services, routes: HTTPRoutes | None, gateways: Gateways | None
) -> Iterator[Finding | Skip]:
    """What a route leads to with weight 0, and what is no Service or Gateway, is its controller's matter."""
    if routes is None or not routes.items:
        yield Skip("there is no HTTPRoute")
        return
    for route in routes.items:
        if route.metadata.deletion_timestamp:
            continue
        for backend in route.backends:
            if not services.covers(backend.namespace):
                continue
            service = services.get(backend.name, backend.namespace)
            if service is None:
                yield _no_service(route, backend, services)
            elif backend.port is not None and not service.external and service.port(backend.port) is None:
                yield _no_port(route, backend, service)
        for parent in route.spec.parent_refs:
            home = parent.namespace or route.namespace
            known = gateways is not None and gateways.covers(home)
            if gateways and known and (parent.group, parent.kind) == _GATEWAY and not gateways.get(parent.name, home):
                yield _no_gateway(route, parent, home, gateways)


def _where(route: HTTPRoute) -> str:
    return listing(route.spec.hostnames, 2) or "every host"


def _said(route: HTTPRoute, kind: str) -> Iterator[Evidence]:
    """What a controller wrote of it, if one looks after it."""
    for parent in route.status.parents:
        for condition in parent.conditions:
            if condition.type == kind and condition.status == "False":
                yield Evidence(
                    kubectl("get", "httproute", route.name, "-o", "yaml", namespace=route.namespace),
                    f"{kind} False, {condition.reason}: {condition.message}",
                )
                return


def _no_service(route: HTTPRoute, backend: BackendRef, services: Services) -> Finding:
    here = sorted(s.name for s in services.within(backend.namespace))
    meant = nearest(backend.name, here)
    others = [s.namespace for s in services.items if s.name == backend.name]
    near = f"; there is {meant}" if meant else f"; it is in namespace {others[0]}" if len(others) == 1 else ""
    name = backend.name if backend.namespace == route.namespace else f"{backend.namespace}/{backend.name}"
    return Finding(
        route.ref(),
        f"HTTPRoute {route.ref().path} leads {_where(route)} to Service {name}, which does not exist{near}",
        evidence=(
            *_said(route, "ResolvedRefs"),
            Evidence(
                kubectl("get", "service", backend.name, namespace=backend.namespace),
                f'Error from server (NotFound): services "{backend.name}" not found',
            ),
            Evidence(kubectl("get", "services", namespace=backend.namespace), listing(here, 5) or "no Service"),
        ),
        next=(_edit(route, f"backendRefs: name: {meant}" if meant else ""),),
        key=f"{backend.namespace}/{backend.name}",
    )


def _no_port(route: HTTPRoute, backend: BackendRef, service: Service) -> Finding:
    has = [str(p.port) for p in service.spec.ports]
    meant = has[0] if len(has) == 1 else ""
    return Finding(
        route.ref(),
        f"HTTPRoute {route.ref().path} leads {_where(route)} to port {backend.port} of Service {service.name},"
        f" which has only {listing(has, 4) or 'no port'}",
        evidence=(
            *_said(route, "ResolvedRefs"),
            Evidence(
                kubectl("get", "service", service.name, namespace=service.namespace),
                f"PORT(S) {listing([f'{p.port}/{p.protocol}' for p in service.spec.ports], 4) or '<none>'}",
            ),
        ),
        next=(_edit(route, f"backendRefs: port: {meant}" if meant else ""),),
        touches=(service.ref(),),
        key=f"{service.namespace}/{service.name}:{backend.port}",
    )


def _no_gateway(route: HTTPRoute, parent: ParentRef, home: str, gateways: Gateways) -> Finding:
    here = sorted(g.name for g in gateways.within(home))
    others = [g.namespace for g in gateways.items if g.name == parent.name]
    meant = nearest(parent.name, here) or (here[0] if len(here) == 1 else "")
    near = f"; there is {meant}" if meant else f"; it is in namespace {others[0]}" if len(others) == 1 else ""
    name = parent.name if home == route.namespace else f"{home}/{parent.name}"
    return Finding(
        route.ref(),
        f"HTTPRoute {route.ref().path} is attached to Gateway {name}, which does not exist{near}",
        evidence=(
            Evidence(
                kubectl("get", "gateway", parent.name, namespace=home),
                f'Error from server (NotFound): gateways.gateway.networking.k8s.io "{parent.name}" not found',
            ),
            Evidence(kubectl("get", "gateways", namespace=home), listing(here, 5) or "no Gateway"),
        ),
        next=(_edit(route, f"parentRefs: name: {meant}" if meant else ""),),
        key=f"gateway {home}/{parent.name}",
    )


def _edit(route: HTTPRoute, hint: str) -> str:
    command = kubectl("edit", "httproute", route.name, namespace=route.namespace)
    return command + (f"   # {hint}" if hint else "")

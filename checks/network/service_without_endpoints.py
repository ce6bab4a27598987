"""A Service without a selector has no endpoint, and somebody uses it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from kdiag.check import SERVICE_DEAD, Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing, nearest
from kdiag.facts import (
    Backends,
    Cluster,
    Dependencies,
    EndpointSlice,
    EndpointSlices,
    Ingresses,
    Nodes,
    Owners,
    Service,
    ServicePort,
    labels_text,
    selects,
    users,
)

_MANAGER = "endpointslice.kubernetes.io/managed-by"
_MIRROR = "endpointslicemirroring-controller.k8s.io"
_START = 60  # seconds in which whoever makes a Service also writes its endpoints


@check(
    title="Service without a selector has no endpoint",
    severity=Severity.ERROR,
    layer=Layer.ENDPOINTS,
    explains=SERVICE_DEAD,
    tags=("service", "endpoints"),
)
def service_without_endpoints(
    backends: Backends,
    slices: EndpointSlices,
    cluster: Cluster,
    dependencies: Dependencies | None,
    ingresses: Ingresses | None,
    owners: Owners | None,
    nodes: Nodes | None,
) -> Iterator[Finding]:
    """Operators, leader elections and StatefulSets keep such Services empty on purpose: unused, one is fine."""
    for service in backends.services.items:
        if service.spec.selector or service.external:
            continue
        addresses = sorted({a for e in slices.endpoints(service) for a in e.addresses})
        # Written by hand, or by an operator: a pod that was made anew has another address.
        gone = [a for a in addresses if dependencies and dependencies.no_pod(a, nodes)]
        strange = _strange(service, slices)
        if addresses and len(gone) < len(addresses) and strange is None:
            continue
        if (service.namespace, service.name) == ("default", "kubernetes") or service.metadata.annotations.leader:
            continue
        if cluster.age(service.created) < (_START / 2 if strange else _START) or service.metadata.deletion_timestamp:
            continue
        clients = users(service.ref(), dependencies, ingresses, owners)
        # A headless one is often named for its DNS domain alone: only an Ingress or load balancer needs an endpoint.
        if service.headless:
            clients = tuple((ref, how) for ref, how in clients if ref.kind == "Ingress")
        if addresses and not clients:
            continue
        namesake, sure = (None, False) if clients or service.headless else _namesake(service, backends, owners)
        if not clients and service.spec.type == "ClusterIP" and namesake is None:
            continue
        meant = _meant(service, backends)
        if clients:
            who = f"{clients[0][0]} names it ({clients[0][1]})"
        elif namesake:
            who = f"no other Service leads to {namesake}"
        else:
            who = f"it is of type {service.spec.type}"
        if addresses and strange and len(gone) < len(addresses):
            yield _misnamed(service, *strange, who)
            continue
        has = f"no selector, and no pod has the address of its endpoint {listing(gone, 2)}" if gone else ""
        stray = None if addresses else _stray(service, backends, slices)
        yield Finding(
            service.ref(),
            f"Service {service.ref().path} has {has or 'no selector and no endpoint'}; {who}"
            + (f"; EndpointSlice {stray.name} {_belongs(stray)}" if stray else ""),
            evidence=tuple(_evidence(service, backends, clients, gone)),
            next=(*(_label(service, stray) if stray else ()), *_next(service, meant)),
            touches=(stray.ref(),) if stray else (),
            severity=Severity.ERROR if clients or sure else Severity.WARNING,
        )


def _strange(service: Service, slices: EndpointSlices) -> tuple[ServicePort, EndpointSlice] | None:
    """A port of a Service that none of its slices has by that name, and a slice: kube-proxy joins the two by name."""
    found = [s for s in slices.of_service(service) if s.endpoints and s.ports]
    if service.headless or not found:
        return None
    names = {(p.name or "", p.protocol or "TCP") for s in found for p in s.ports or ()}
    lost = next((p for p in service.spec.ports if (p.name, p.protocol or "TCP") not in names), None)
    return (lost, found[0]) if lost else None


def _misnamed(service: Service, port: ServicePort, found: EndpointSlice, who: str) -> Finding:
    named = listing([f"{p.name or 'without a name'} ({p.protocol or 'TCP'})" for p in found.ports or ()], 3)
    ours = f"{port.name or 'without a name'} ({port.protocol or 'TCP'})"
    namespace = service.namespace
    patch = [{"op": "add", "path": "/ports/0/name", "value": port.name}]
    return Finding(
        service.ref(),
        f"Service {service.ref().path} leads nowhere at port {port.port}: EndpointSlice {found.name} calls its port"
        f" {_name(found)}, the Service {_quoted(port.name)}; {who}",
        evidence=(
            Evidence(kubectl("get", "service", service.name, "-o", "yaml", namespace=namespace), f"port {ours}"),
            Evidence(kubectl("get", "endpointslice", found.name, "-o", "yaml", namespace=namespace), f"port {named}"),
        ),
        next=(
            kubectl("patch", "endpointslice", found.name, "--type=json", "-p", json.dumps(patch), namespace=namespace)
            if len(found.ports or ()) == 1 and found.labels.get(_MANAGER, "") != _MIRROR
            else kubectl("edit", "endpoints", service.name, namespace=namespace) + "   # the name of the port"
            if found.labels.get(_MANAGER, "") == _MIRROR
            else kubectl("edit", "endpointslice", found.name, namespace=namespace) + "   # the names of its ports",
        ),
        touches=(found.ref(),),
        key=f"port {port.port}",
        severity=Severity.ERROR,
    )


def _name(found: EndpointSlice) -> str:
    return listing([_quoted(p.name or "") for p in found.ports or ()], 2)


def _quoted(name: str) -> str:
    return f'"{name}"'


def _stray(service: Service, backends: Backends, slices: EndpointSlices) -> EndpointSlice | None:
    """A slice, written by hand, that belongs to no Service that there is, and whose ports would fit this one's."""
    there = {s.name for s in backends.services.within(service.namespace)}
    wanted = {p.target for p in service.spec.ports} | {p.port for p in service.spec.ports}
    found = [
        s
        for s in slices.within(service.namespace)
        if s.endpoints and not s.managed and s.service not in there and any(p.port in wanted for p in s.ports or ())
    ]
    near = [s for s in found if nearest(service.name, [s.service, s.name])]
    return (near or found)[0] if len(near or found) == 1 else None


def _belongs(stray: EndpointSlice) -> str:
    return f"is labelled for {stray.service}" if stray.service else "has no label kubernetes.io/service-name"


def _label(service: Service, stray: EndpointSlice) -> Iterator[str]:
    label = f"kubernetes.io/service-name={service.name}"
    yield kubectl("label", "endpointslice", stray.name, "--overwrite", label, namespace=stray.namespace)


def _namesake(service: Service, backends: Backends, owners: Owners | None) -> tuple[Ref | None, bool]:
    """The workload of the same name to which nothing leads: the selector was lost, for sure where the ports fit."""
    selectors = [s.spec.selector for s in backends.services.within(service.namespace) if s.spec.selector]
    for labels, pods in backends.label_sets(service.namespace) if owners else ():
        pod = next((p for p in pods if p.phase == "Running" and owners and owners.top(p).name == service.name), None)
        if pod is None or owners is None or any(selects(selector, labels) for selector in selectors):
            continue
        declared = [p for c in pod.spec.containers for p in c.ports]
        known = {p.name for p in declared} | {p.container_port for p in declared}
        fits = bool(service.spec.ports) and all(p.target in known for p in service.spec.ports)
        if fits or not declared:
            return owners.top(pod), fits
    return None, False


def _meant(service: Service, backends: Backends) -> Mapping[str, str] | None:
    """One label of running pods whose value is, nearly, the Service's name."""
    found: dict[tuple[str, str], None] = {}
    for labels, pods in backends.label_sets(service.namespace):
        for key, value in labels.items():
            if any(p.phase == "Running" for p in pods) and (value == service.name or nearest(service.name, [value])):
                found[key, value] = None
    exact = [kv for kv in found if kv[1] == service.name] or list(found)
    return dict(exact[:1]) if len(exact) == 1 else None


def _evidence(
    service: Service, backends: Backends, clients: tuple[tuple[object, str], ...], gone: Sequence[str]
) -> Iterator[Evidence]:
    namespace = service.namespace
    yield Evidence(kubectl("get", "service", service.name, "-o", "wide", namespace=namespace), "SELECTOR <none>")
    label = f"kubernetes.io/service-name={service.name}"
    yield Evidence(
        kubectl("get", "endpointslices", "-l", label, namespace=namespace), listing(gone, 3) or "no endpoint"
    )
    shown = [f"{pods[0].name} {labels_text(labels)}" for labels, pods in backends.label_sets(namespace)]
    if shown:
        yield Evidence(kubectl("get", "pods", "--show-labels", namespace=namespace), listing(shown, 3))
    if clients:
        yield Evidence("", f"used by {listing([f'{ref} ({how})' for ref, how in clients])}")


def _next(service: Service, meant: Mapping[str, str] | None) -> Iterator[str]:
    name, namespace = service.name, service.namespace
    if meant:
        patch = json.dumps({"spec": {"selector": dict(meant)}}, separators=(",", ":"))
        yield kubectl("patch", "service", name, "--type=merge", "-p", patch, namespace=namespace)
    else:
        yield kubectl("edit", "service", name, namespace=namespace) + "   # add spec.selector"
    yield (
        f"or, for a backend outside the cluster: an EndpointSlice labelled kubernetes.io/service-name={name},"
        f" or Endpoints of that very name ({kubectl('get', 'endpoints', namespace=namespace)})"
    )

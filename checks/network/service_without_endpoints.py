"""A Service without a selector has no endpoint, and somebody uses it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from kdiag.check import SERVICE_DEAD, Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing, nearest
from kdiag.facts import (
    Backends,
    Cluster,
    Dependencies,
    EndpointSlices,
    Ingresses,
    Nodes,
    Owners,
    Service,
    labels_text,
    selects,
    users,
)

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
        gone = [a for a in addresses if dependencies and dependencies.nobody(a, nodes) == "no pod has that address"]
        if addresses and len(gone) < len(addresses):
            continue
        if (service.namespace, service.name) == ("default", "kubernetes") or service.metadata.annotations.leader:
            continue
        if cluster.age(service.created) < _START or service.metadata.deletion_timestamp:
            continue
        clients = users(service.ref(), dependencies, ingresses, owners)
        # A headless one is often named for its DNS domain alone: only an Ingress or load balancer needs an endpoint.
        if service.headless:
            clients = tuple((ref, how) for ref, how in clients if ref.kind == "Ingress")
        if gone and not clients:
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
        has = f"no selector, and no pod has the address of its endpoint {listing(gone, 2)}" if gone else ""
        yield Finding(
            service.ref(),
            f"Service {service.ref().path} has {has or 'no selector and no endpoint'}; {who}",
            evidence=tuple(_evidence(service, backends, clients, gone)),
            next=tuple(_next(service, meant)),
            severity=Severity.ERROR if clients or sure else Severity.WARNING,
        )


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
    yield f"or, for a backend outside the cluster: an EndpointSlice labelled kubernetes.io/service-name={name}"

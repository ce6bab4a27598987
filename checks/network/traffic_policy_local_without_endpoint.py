"""A Service keeps traffic on the node where it arrives, and no endpoint is on that node."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import SERVICE_DEAD, Evidence, Finding, Layer, Severity, check, kubectl, listing
from kdiag.facts import Backends, Cluster, Dependencies, EndpointSlices, Nodes, Owners, Pod, Service, stalled

_EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"


@check(
    title="Local traffic policy leaves clients without an endpoint",
    severity=Severity.ERROR,
    layer=Layer.ENDPOINTS,
    explains=SERVICE_DEAD,
    tags=("service", "endpoints"),
)
def traffic_policy_local_without_endpoint(
    backends: Backends,
    slices: EndpointSlices,
    cluster: Cluster,
    dependencies: Dependencies | None,
    nodes: Nodes | None,
    owners: Owners | None,
) -> Iterator[Finding]:
    """A node without an endpoint is by design; a client on such a node, or a load balancer without any, is not."""
    for service in backends.services.items:
        if "Local" not in (service.spec.internal_traffic_policy, service.spec.external_traffic_policy):
            continue
        if service.external or service.headless or not slices.of_service(service):
            continue
        ready = [e for e in slices.endpoints(service) if e.ready]
        if not ready:
            continue  # that no pod is ready is another fault
        places = {e.node_name for e in ready if e.node_name}
        if service.spec.internal_traffic_policy == "Local" and dependencies:
            yield from _inside(service, places, backends, cluster, dependencies, owners, nodes)
        if service.spec.external_traffic_policy == "Local" and nodes:
            yield from _outside(service, places, nodes)


def _inside(
    service: Service,
    places: set[str],
    backends: Backends,
    cluster: Cluster,
    dependencies: Dependencies,
    owners: Owners | None,
    nodes: Nodes | None,
) -> Iterator[Finding]:
    # A DaemonSet's pod that is on its way will serve the node in a moment.
    coming = {p.node for p in backends.of(service) if not p.ready and not p.terminating and not stalled(p, cluster)}
    stranded: list[Pod] = []
    templates = {id(p.spec) for p in dependencies.clients.get(service.ref(), ())}
    for group in dependencies.pods.templates:
        if id(group[0].spec) in templates:
            stranded += [
                p for p in group if p.node and p.node not in places | coming and not p.finished and not p.terminating
            ]
    if not stranded:
        if owners and nodes and not templates:  # who is known to ask is served
            yield from _partly(service, places | coming, backends, owners, nodes)
        return
    who = sorted({str(owners.top(p) if owners else p.ref()) for p in stranded})
    where = sorted({p.node for p in stranded})
    yield Finding(
        service.ref(),
        f"Service {service.ref().path} has internalTrafficPolicy Local and no endpoint on {listing(where, 3)},"
        f" where {listing(who, 2)} runs",
        evidence=(
            _policy(service, f"Internal Traffic Policy: Local; endpoints on {listing(sorted(places), 3) or 'no node'}"),
            Evidence(
                kubectl("get", "pods", "-o", "wide", namespace=stranded[0].namespace),
                listing([f"{p.name} on {p.node}" for p in stranded], 3),
            ),
        ),
        next=(
            _lift(service, "internal"),
            "or run the backend on every node, as a DaemonSet",
        ),
        key="internal",
    )


def _partly(service: Service, places: set[str], backends: Backends, owners: Owners, nodes: Nodes) -> Iterator[Finding]:
    """A Deployment behind such a Service: only a DaemonSet has a pod on each node. Nobody is known to ask elsewhere."""
    if any(owners.top(p).kind not in ("Deployment", "StatefulSet") for p in backends.of(service)):
        return
    without = sorted(
        n.name
        for n in nodes.items
        if n.name not in places
        and not n.spec.unschedulable
        and not any(t.effect in ("NoSchedule", "NoExecute") for t in n.spec.taints)
    )
    if not without:
        return
    there = listing(sorted(places), 3)
    yield Finding(
        service.ref(),
        f"Service {service.ref().path} has internalTrafficPolicy Local and endpoints on {there} alone: who asks it on"
        f" {listing(without, 3)} gets no answer",
        evidence=(_policy(service, f"Internal Traffic Policy: Local; endpoints on {there}"),),
        next=(
            _lift(service, "internal"),
            "or run the backend on every node, as a DaemonSet",
        ),
        key="internal",
        severity=Severity.WARNING,
    )


def _outside(service: Service, places: set[str], nodes: Nodes) -> Iterator[Finding]:
    if service.spec.type != "LoadBalancer":
        return  # which node a client of a NodePort uses cannot be known
    reachable = [n for n in sorted(places) if (node := nodes.get(n)) and _EXCLUDED not in node.labels]
    if reachable or any(nodes.get(n) is None for n in places):
        return
    yield Finding(
        service.ref(),
        f"Service {service.ref().path} has externalTrafficPolicy Local and endpoints only on"
        f" {listing(sorted(places), 3) or 'no node'}, which load balancers leave out",
        evidence=(
            _policy(service, "External Traffic Policy: Local"),
            Evidence(
                kubectl("get", "nodes", "-l", _EXCLUDED), listing(sorted(places), 3) or "the endpoints name no node"
            ),
        ),
        next=(
            _lift(service, "external"),
            "or let the pods run on nodes that the load balancer uses",
        ),
        key="external",
    )


def _policy(service: Service, shown: str) -> Evidence:
    return Evidence(kubectl("describe", "service", service.name, namespace=service.namespace), shown)


def _lift(service: Service, traffic: str) -> str:
    """The command that lets traffic from inside (internal) or outside (external) go to every node."""
    change = f'{{"spec":{{"{traffic}TrafficPolicy":"Cluster"}}}}'
    return kubectl("patch", "service", service.name, "-p", change, namespace=service.namespace)

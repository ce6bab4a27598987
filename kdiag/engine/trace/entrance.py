"""How a request comes in from outside: an Ingress with its class and rules, a load balancer, a port of the nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kdiag.check import kubectl
from kdiag.engine.intake import Facts
from kdiag.facts import BackendService, Cluster, EndpointSlices, Ingress, IngressClasses, Nodes, Service
from kdiag.model.step import State, Step
from kdiag.model.text import listing, nearest


def served(facts: Facts, ingress: Ingress) -> Iterator[Step]:
    """The hop of an Ingress: the class that serves it, and where."""
    ref = ingress.ref()
    title = str(ref)
    command = kubectl("get", "ingress", ingress.name, "-o", "wide", namespace=ingress.namespace)
    classes = facts.get(IngressClasses)
    name = ingress.spec.ingress_class_name or ingress.metadata.annotations.ingress_class
    addresses = [a.ip or a.hostname for a in ingress.status.load_balancer.ingress]
    if classes is not None and not classes.gaps:
        names = [c.name for c in classes.items]
        if ingress.spec.ingress_class_name and not classes.get(ingress.spec.ingress_class_name):
            close = nearest(name, names)
            there = f"did you mean {close}?" if close else f"there is {listing(names) or 'none'}"
            yield Step(
                state=State.BROKEN,
                title=title,
                detail=f"IngressClass {name} does not exist; {there}",
                command=kubectl("get", "ingressclasses"),
                ref=ref,
            )
            return
        if not name and not addresses and not any(c.default for c in classes.items):
            yield Step(
                state=State.BROKEN if names else State.UNKNOWN,
                title=title,
                detail="names no IngressClass and no class is the default: no controller serves it"
                if names
                else "names no IngressClass and there is none; nothing tells whether a controller serves it",
                command=kubectl("get", "ingressclasses"),
                ref=ref,
                blocks=bool(names),
            )
            return
    by = f"class {name}" if name else "the default class"
    if addresses:
        yield Step(state=State.OK, title=title, detail=f"{by}, at {listing(addresses)}", command=command, ref=ref)
    else:
        yield Step(
            state=State.UNKNOWN,
            title=title,
            detail=f"{by}; its controller has written no address (some never do)",
            command=command,
            ref=ref,
            blocks=False,
        )


def entrances(facts: Facts, service: Service, level: int) -> Iterator[Step]:
    """The hops by which a Service is reached from outside: its load balancer and its ports on the nodes."""
    kind = service.spec.type
    if kind not in ("NodePort", "LoadBalancer"):
        return
    ref = service.ref()
    command = kubectl("get", "service", service.name, "-o", "wide", namespace=service.namespace)
    if kind == "LoadBalancer":
        addresses = [a.hostname or a.ip for a in service.status.load_balancer.ingress]
        cluster = facts.get(Cluster)
        age = cluster.age(service.created) if cluster else 0.0
        if addresses:
            yield Step(
                state=State.OK,
                title="LoadBalancer",
                detail=listing(addresses),
                command=command,
                ref=ref,
                level=level,
            )
        else:
            yield Step(
                state=State.UNKNOWN if age < 300 else State.BROKEN,
                title="LoadBalancer",
                detail="has no address yet" if age < 300 else "has no address: no controller has given it one",
                command=kubectl("describe", "service", service.name, namespace=service.namespace),
                ref=ref,
                level=level,
            )
    ports = [str(p.node_port) for p in service.spec.ports if p.node_port]
    if not ports:
        return
    nodes = facts.get(Nodes)
    where = "on every node"
    if service.spec.external_traffic_policy == "Local":
        slices = facts.get(EndpointSlices)
        local = sorted({e.node_name for e in slices.endpoints(service) if e.ready} if slices else set())
        where = f"only on {listing(local) or 'no node'}, which has an endpoint (externalTrafficPolicy Local)"
    elif nodes is not None and nodes.items:
        where = f"on every node: {listing([n.address or n.name for n in nodes.items])}"
    yield Step(state=State.OK, title=f"NodePort {listing(ports)}", detail=where, command=command, ref=ref, level=level)


def matching(backends: Sequence[tuple[str, BackendService]], wanted: str) -> tuple[tuple[str, BackendService], ...]:
    """The rule that serves ``host/path`` (or ``/path``, of any host): the longest that matches, else the default."""
    host, _, path = wanted.partition("/")
    found: list[tuple[int, int, tuple[str, BackendService]]] = []
    for where, service in backends:
        of_host, slash, of_path = where.partition("/")
        if not slash:
            continue
        wild = of_host == "*" or (of_host.startswith("*.") and host.partition(".")[2] == of_host[2:])
        prefix = of_path.rstrip("/")
        if (wild or not host or of_host == host) and (not prefix or path == prefix or path.startswith(f"{prefix}/")):
            found.append((of_host == host, len(of_path), (where, service)))
    if found:
        return (max(found, key=lambda f: f[:2])[2],)
    return tuple(b for b in backends if b[0] == "default backend")

"""Follow a request hop by hop: the entrance, the Service, its endpoints, the pods, and what the pods talk to.

Pure: a walk over facts. What lies behind a broken hop is not judged. A hop that could not be seen is UNKNOWN.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kdiag.check import kubectl
from kdiag.engine.intake import Facts
from kdiag.engine.podstate import why_not_ready
from kdiag.engine.reach import Ways
from kdiag.errors import UsageError
from kdiag.facts import (
    Backends,
    BackendService,
    Cluster,
    Container,
    Dependencies,
    Dependency,
    Endpoint,
    EndpointSlice,
    EndpointSlices,
    Fact,
    Ingress,
    IngressClasses,
    Ingresses,
    Namespaces,
    NetworkPolicies,
    Nodes,
    Owners,
    Pod,
    Pods,
    Service,
    ServicePort,
    Services,
    Workloads,
    is_address,
    labels_text,
    selects,
)
from kdiag.model.result import Ref
from kdiag.model.step import State, Step
from kdiag.model.text import listing, nearest, plural, whole

#: What a walk reads; a missing one makes the hops that need it UNKNOWN.
READS: tuple[type[Fact], ...] = (
    Services,
    EndpointSlices,
    Pods,
    Backends,
    Dependencies,
    Ingresses,
    IngressClasses,
    Namespaces,
    NetworkPolicies,
    Nodes,
    Owners,
    Workloads,
)
_DEEP = 6
_MOST = 400
_KINDS = {
    "service": "Service",
    "services": "Service",
    "svc": "Service",
    "ingress": "Ingress",
    "ingresses": "Ingress",
    "ing": "Ingress",
    "pod": "Pod",
    "pods": "Pod",
    "po": "Pod",
}
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_HOST_VARIABLE = re.compile(r"(?:^|[_.-])(?:host(?:s|name)?|addr(?:ess)?|server|url|uri|dsn|endpoint)$", re.IGNORECASE)
_YOUNG = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a walk begins. ``port`` is a Service's port by number or name, ``path`` an Ingress's ``host/path``."""

    kind: str
    namespace: str
    name: str
    port: str = ""
    path: str = ""

    @property
    def ref(self) -> Ref:
        """The object."""
        return Ref(self.kind, self.name, self.namespace)

    @classmethod
    def parse(cls, text: str, namespace: str = "", default: str = "default") -> Start:
        """Read ``shop/web:80``, ``web`` with a namespace, ``ingress/shop/web/host/path`` or ``pod/shop/web-1``.

        Raises UsageError for anything else.
        """
        words = text.split("/")
        kind = "Service"
        # A namespace may be called as a kind is: two words are a kind only where the namespace is known.
        if words[0].lower() in _KINDS and (len(words) > 2 or namespace):
            kind = _KINDS[words.pop(0).lower()]
        if namespace:
            inside = namespace
            if len(words) > 1 and words[0] == namespace:
                words.pop(0)
        else:
            inside = words.pop(0) if len(words) > 1 else default
        name, *path = words
        port = ""
        if kind == "Service":
            name, _, port = name.partition(":")
        if path and kind != "Ingress":
            raise UsageError(f"{text!r} names no {kind}: write NAMESPACE/NAME, or NAME with -n NAMESPACE")
        for word in (inside, name):
            if not _NAME.fullmatch(word) or len(word) > 253:
                raise UsageError(
                    f"{text!r} is nothing to trace ({word!r} cannot be a name): write NAMESPACE/SERVICE[:PORT], "
                    "ingress/NAMESPACE/NAME or pod/NAMESPACE/NAME"
                )
        if port and not re.fullmatch(r"[a-zA-Z0-9-]{1,63}", port):
            raise UsageError(f"{port!r} is no port: write a number or the name of a port of the Service")
        return cls(kind=kind, namespace=inside, name=name, port=port, path="/".join(path))


def trace(start: Start, facts: Facts) -> tuple[Step, ...]:
    """The hops from the user to the last thing that is known, in order."""
    return tuple(_Walk(facts).run(start))


def _key(name: str, namespace: str, port: str | int) -> tuple[str, str, str]:
    return name, namespace, str(port)


class _Walk:
    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._seen: set[tuple[str, str, str]] = set()
        self._count = 0
        self._cluster = facts.get(Cluster)
        self._ways = Ways(facts)

    def run(self, start: Start) -> Iterator[Step]:
        match start.kind:
            case "Ingress":
                steps = self._ingress(start)
            case "Pod":
                steps = self._named_pod(start)
            case _:
                steps = self._service(start.name, start.namespace, start.port, 0, entrance=True)
        for step in steps:
            self._count += 1
            if self._count > _MOST:
                yield Step(
                    state=State.UNKNOWN,
                    title=f"more than {_MOST} hops",
                    detail="the rest is not followed",
                    blocks=False,
                )
                return
            yield step

    # What could not be seen

    def _blind(self, kind: type[Services | EndpointSlices | Pods | Ingresses], namespace: str) -> str:
        """Why objects of a kind in a namespace could not be seen; empty when they could."""
        fact = self._facts.get(kind)
        if fact is None:
            return f"{kind.__name__} were not collected"
        if fact.gaps:
            return str(fact.gaps[0])
        if fact.absent:
            return f"the server does not have {kind.__name__} in a version that kdiag reads"
        if fact.scope and fact.scope != namespace:
            return f"only namespace {fact.scope} was read"
        return ""

    def _absent(self, ref: Ref, kind: type[Services | Pods | Ingresses], level: int) -> Step:
        """The hop of an object that was not found: not there, or not seen."""
        command = kubectl("get", ref.kind.lower(), ref.name, namespace=ref.namespace)
        if reason := self._blind(kind, ref.namespace):
            return Step(state=State.UNKNOWN, title=str(ref), detail=reason, command=command, ref=ref, level=level)
        return Step(
            state=State.BROKEN,
            title=str(ref),
            detail=f"does not exist{self._near(ref, kind)}",
            command=kubectl("get", f"{ref.kind.lower()}s" if ref.kind != "Ingress" else "ingresses", "-A"),
            ref=ref,
            level=level,
        )

    def _near(self, ref: Ref, kind: type[Services | Pods | Ingresses]) -> str:
        """What was probably meant: the name in another namespace, a near name, a near namespace."""
        namespaces = self._facts.get(Namespaces)
        fact = self._facts.get(kind)
        if fact is None:
            return ""
        where = ""
        if namespaces is not None and not namespaces.gaps and not namespaces.get(ref.namespace):
            close = nearest(ref.namespace, [n.name for n in namespaces.items])
            where = f": there is no namespace {ref.namespace}" + (f" ({close}?)" if close else "")
        elsewhere = sorted(item.namespace for item in fact.items if item.name == ref.name)
        if elsewhere:
            return f"{where}; {ref.kind} {ref.name} is in namespace {listing(elsewhere)}"
        close = nearest(ref.name, [item.name for item in fact.within(ref.namespace)])
        return where + (f"; did you mean {ref.kind} {ref.namespace}/{close}?" if close else "")

    # From outside

    def _ingress(self, start: Start) -> Iterator[Step]:
        ingresses = self._facts.get(Ingresses)
        ingress = ingresses.get(start.name, start.namespace) if ingresses else None
        if ingress is None:
            yield self._absent(start.ref, Ingresses, 0)
            return
        served = list(self._class(ingress))
        yield from served
        if any(s.state is State.BROKEN for s in served):
            return
        chosen = ingress.backends
        command = kubectl("describe", "ingress", ingress.name, namespace=ingress.namespace)
        if start.path:
            chosen = _matching(chosen, start.path)
            if not chosen:
                rules = listing([where for where, _ in ingress.backends], 4) or "none"
                yield Step(
                    state=State.BROKEN,
                    title=f"rule for {start.path}",
                    detail=f"no rule of the Ingress matches and it has no default backend; its rules: {rules}",
                    command=command,
                    ref=start.ref,
                )
                return
        if not chosen:
            yield Step(
                state=State.UNKNOWN,
                title="rules",
                detail="the Ingress leads to no Service",
                command=command,
                ref=start.ref,
            )
        several = len(chosen) > 1
        for where, backend in chosen:
            if several or start.path:
                yield Step(
                    state=State.OK, title=f"rule {where}", detail=f"leads to Service {backend.name}", ref=start.ref
                )
            port: str | int = backend.port.name or backend.port.number or ""
            yield from self._service(backend.name, ingress.namespace, port, int(several or bool(start.path)))

    def _class(self, ingress: Ingress) -> Iterator[Step]:
        ref = ingress.ref()
        title = str(ref)
        command = kubectl("get", "ingress", ingress.name, "-o", "wide", namespace=ingress.namespace)
        classes = self._facts.get(IngressClasses)
        name = ingress.spec.ingress_class_name or ingress.metadata.annotations.ingress_class
        addresses = [a.ip or a.hostname for a in ingress.status.load_balancer.ingress]
        if classes is not None and not classes.gaps and not classes.absent:
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
                    state=State.BROKEN,
                    title=title,
                    detail="names no IngressClass and no class is the default: no controller serves it",
                    command=kubectl("get", "ingressclasses"),
                    ref=ref,
                )
                return
        served = f"class {name}" if name else "the default class"
        if addresses:
            yield Step(
                state=State.OK, title=title, detail=f"{served}, at {listing(addresses)}", command=command, ref=ref
            )
        else:
            yield Step(
                state=State.UNKNOWN,
                title=title,
                detail=f"{served}; its controller has written no address (some never do)",
                command=command,
                ref=ref,
                blocks=False,
            )

    def _entrances(self, service: Service, level: int) -> Iterator[Step]:
        kind = service.spec.type
        if kind not in ("NodePort", "LoadBalancer"):
            return
        ref = service.ref()
        command = kubectl("get", "service", service.name, "-o", "wide", namespace=service.namespace)
        if kind == "LoadBalancer":
            addresses = [a.hostname or a.ip for a in service.status.load_balancer.ingress]
            age = self._cluster.age(service.created) if self._cluster else 0.0
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
        nodes = self._facts.get(Nodes)
        where = "on every node"
        if service.spec.external_traffic_policy == "Local":
            slices = self._facts.get(EndpointSlices)
            local = sorted({e.node_name for e in slices.endpoints(service) if e.ready} if slices else set())
            where = f"only on {listing(local) or 'no node'}, which has an endpoint (externalTrafficPolicy Local)"
        elif nodes is not None and nodes.items:
            where = f"on every node: {listing([n.address or n.name for n in nodes.items])}"
        yield Step(
            state=State.OK, title=f"NodePort {listing(ports)}", detail=where, command=command, ref=ref, level=level
        )

    # The Service

    def _service(
        self,
        name: str,
        namespace: str,
        port: str | int,
        level: int,
        *,
        entrance: bool = False,
        client: Pod | None = None,
        depth: int = 0,
    ) -> Iterator[Step]:
        ref = Ref("Service", name, namespace)
        services = self._facts.get(Services)
        service = services.get(name, namespace) if services else None
        if service is None:
            yield self._absent(ref, Services, level)
            return
        command = kubectl("get", "service", name, "-o", "wide", namespace=namespace)
        key = _key(name, namespace, port)
        if key in self._seen:
            yield Step(state=State.OK, title=str(ref), detail="is on this way already", ref=ref, level=level)
            return
        self._seen.add(key)
        if service.external:
            yield from self._external(service, port, level, client=client, depth=depth)
            return
        if entrance:
            yield from self._entrances(service, level)
        number = whole(str(port))
        wanted = [service.port(str(port) if number is None else number)] if port else list(service.spec.ports)
        ports = [p for p in wanted if p is not None]
        if port and not ports:
            # A name without a translation in between: whatever port a client names reaches the pods.
            if service.headless:
                there = _ports_text(service) or "none"
                yield Step(
                    state=State.UNKNOWN,
                    title=f"{ref}:{port}",
                    detail=f"headless, and does not list port {port} (it lists {there}); the pods' own port counts",
                    command=command,
                    ref=ref,
                    level=level,
                )
            else:
                yield Step(
                    state=State.BROKEN,
                    title=f"{ref}:{port}",
                    detail=f"has no port {port}; it has {_ports_text(service)}",
                    command=command,
                    ref=ref,
                    level=level,
                )
                return
        address = "headless" if service.headless else f"ClusterIP {service.spec.cluster_ip or '(none)'}"
        shown = ", ".join(_mapping(p) for p in ports)
        if not port or ports:
            yield Step(
                state=State.OK,
                title=f"{ref}:{port}" if port else str(ref),
                detail=f"{address}{f', port {shown}' if shown else ''}",
                command=command,
                ref=ref,
                level=level,
            )
        yield from self._behind(service, ports, level, client=client, depth=depth)

    def _external(
        self, service: Service, port: str | int, level: int, *, client: Pod | None, depth: int
    ) -> Iterator[Step]:
        ref, host = service.ref(), service.spec.external_name.rstrip(".")
        command = kubectl("get", "service", service.name, "-o", "wide", namespace=service.namespace)
        labels = host.split(".")
        if is_address(host):
            yield Step(
                state=State.BROKEN,
                title=str(ref),
                detail=f"is an ExternalName of {host}, which is an address: DNS takes it for a name, and none is there",
                command=command,
                ref=ref,
                level=level,
            )
        elif len(labels) > 2 and labels[2] == "svc":
            yield Step(
                state=State.OK,
                title=str(ref),
                detail=f"is another name for {host}",
                command=command,
                ref=ref,
                level=level,
            )
            if _key(labels[0], labels[1], port) in self._seen:
                yield Step(
                    state=State.BROKEN,
                    title=f"Service {labels[1]}/{labels[0]}",
                    detail="leads back to where this way came from: the names go in a circle",
                    command=command,
                    ref=Ref("Service", labels[0], labels[1]),
                    level=level,
                )
                return
            yield from self._service(labels[0], labels[1], port, level, client=client, depth=depth)
        else:
            yield Step(
                state=State.UNKNOWN,
                title=str(ref),
                detail=f"leads out of the cluster, to {host}: not judged",
                command=command,
                ref=ref,
                level=level,
                blocks=False,
            )

    # The endpoints and the pods

    def _behind(
        self, service: Service, ports: Sequence[ServicePort], level: int, *, client: Pod | None, depth: int
    ) -> Iterator[Step]:
        pods: dict[str, Pod] = {}
        for port in ports or (None,):
            several = len(ports) > 1
            title = f"endpoints of port {port.name or port.port}" if port and several else "endpoints"
            steps, reached, number = self._endpoints(service, port, title, level)
            yield from steps
            if any(s.state is not State.OK and s.blocks for s in steps) or not reached:
                continue
            found, pod_step = self._targets(service, reached, level)
            if pod_step:
                yield pod_step
            if not found:
                continue
            if number is not None:
                yield from self._container_port(found, number, port, level)
                yield from self._ways.closed(client, found, number, port.protocol if port else "TCP", level)
            pods.update((p.path, p) for p in found)
        yield from self._next_hops(tuple(pods.values()), level, depth)

    def _endpoints(
        self, service: Service, port: ServicePort | None, title: str, level: int
    ) -> tuple[list[Step], list[Endpoint], int | None]:
        """The hop of the endpoints, those that take traffic, and the port number that they take it on."""
        slices = self._facts.get(EndpointSlices)
        of_port: list[tuple[Endpoint, int | None]] = []
        for one in slices.of_service(service) if slices else ():
            for number in _numbers(one, port):
                of_port += [(e, number) for e in one.endpoints or ()]
        ready = [(e, n) for e, n in of_port if e.ready]
        command = kubectl(
            "get", "endpointslices", "-l", f"kubernetes.io/service-name={service.name}", namespace=service.namespace
        )

        def step(state: State, detail: str, shown: str = command) -> list[Step]:
            return [Step(state=state, title=title, detail=detail, command=shown, ref=service.ref(), level=level)]

        if ready:
            total, good = len({_who(e) for e, _ in of_port}), len({_who(e) for e, _ in ready})
            off = [e for e, _ in of_port if not e.ready]
            rest = f"; {self._first_reason(service, off)}" if off else ""
            text = f"{good} of {plural(total, 'endpoint')} ready{rest}"
            return step(State.OK, text), [e for e, _ in ready], ready[0][1]
        if reason := self._blind(EndpointSlices, service.namespace):
            return step(State.UNKNOWN, reason), [], None
        serving = [(e, n) for e, n in of_port if e.conditions.serving]
        if serving:
            many = len({_who(e) for e, _ in serving})
            text = f"none is ready; {plural(many, 'pod that is', 'pods that are')} being deleted still serve"
            return step(State.UNKNOWN, text), [], None
        if not service.spec.selector:
            text = "none: the Service has no selector, so whoever made it must write its EndpointSlice"
            return step(State.BROKEN, text if not of_port else "none is ready"), [], None
        state, detail, shown = self._why_none(service, port)
        return step(state, detail, shown or command), [], None

    def _why_none(self, service: Service, port: ServicePort | None) -> tuple[State, str, str]:
        """Why a Service with a selector has no endpoint that takes traffic."""
        namespace = service.namespace
        backends = self._facts.get(Backends)
        pods = backends.of(service) if backends else ()
        if reason := self._blind(Pods, namespace):
            return State.UNKNOWN, f"none is ready, and the pods could not be seen: {reason}", ""
        selector = service.selector_text
        if not pods:
            return (
                State.BROKEN,
                f"none: {self._why_no_pod(service)}",
                kubectl("get", "pods", "-l", selector, namespace=namespace),
            )
        if port and isinstance(port.target, str) and not any(_named(p, port) for p in pods):
            there = sorted({p.name for pod in pods for c in _serving(pod) for p in c.ports if p.name})
            close = nearest(port.target, there)
            they = f"they have {listing(there) or 'none'}"
            text = f"none: no selected pod has a container port called {port.target!r}; {they}"
            show = kubectl("get", "pods", "-l", selector, "-o", "jsonpath={..ports}", namespace=namespace)
            return State.BROKEN, text + (f" (was {close} meant?)" if close else ""), show
        running = [p for p in pods if p.ready and p.ip and not p.terminating]
        if running:
            pod = running[0]
            if self._cluster and self._cluster.age(pod.created) < _YOUNG:
                return State.UNKNOWN, f"none yet, and {pod.name} has just become ready: look again", ""
            return (
                State.BROKEN,
                (
                    f"none is ready, though Pod {pod.name} is: the EndpointSlice is not kept up to date "
                    "(kube-controller-manager writes it)"
                ),
                "",
            )
        reasons = [f"{p.name} {why_not_ready(p)}" for p in pods]
        more = f" and {len(reasons) - 1:,} more" if len(reasons) > 1 else ""
        show = kubectl("describe", "pod", pods[0].name, namespace=namespace)
        return State.BROKEN, f"none of {plural(len(pods), 'pod')} is ready: {reasons[0]}{more}", show

    def _why_no_pod(self, service: Service) -> str:
        """Why the selector finds no pod: nothing is made, or nothing has these labels."""
        selector, namespace = service.spec.selector, service.namespace
        workloads = self._facts.get(Workloads)
        for workload in workloads.items if workloads and not workloads.gaps else ():
            if workload.namespace == namespace and selects(selector, workload.spec.template.metadata.labels):
                ref = workload.ref()
                zero = getattr(workload.spec, "replicas", None) == 0
                return f"{ref} is scaled to 0" if zero else f"{ref} has the labels and has made no pod"
        backends = self._facts.get(Backends)
        best: tuple[int, str] | None = None
        for labels, pods in backends.label_sets(namespace) if backends else ():
            wrong = {k: v for k, v in selector.items() if labels.get(k) != v}
            if not all(
                k in labels and (len(wrong) < len(selector) or nearest(v, [labels[k]])) for k, v in wrong.items()
            ):
                continue
            text = f"{plural(len(pods), 'pod has', 'pods have')} {labels_text({k: labels[k] for k in wrong})}"
            if best is None or len(wrong) < best[0]:
                best = (len(wrong), text)
        return f"no pod has {service.selector_text}" + (f"; {best[1]}" if best else "")

    def _first_reason(self, service: Service, off: Sequence[Endpoint]) -> str:
        pods = self._facts.get(Pods)
        for endpoint in off:
            ref = endpoint.target_ref
            pod = pods.get(ref.name, service.namespace) if pods and ref else None
            if pod is not None:
                return f"{pod.name} {why_not_ready(pod)}"
        return f"{len(off)} not ready"

    def _targets(
        self, service: Service, reached: Sequence[Endpoint], level: int
    ) -> tuple[tuple[Pod, ...], Step | None]:
        """The pods behind the endpoints, and their hop."""
        names = sorted(
            {
                (e.target_ref.name, e.target_ref.namespace or service.namespace)
                for e in reached
                if e.target_ref and e.target_ref.kind == "Pod"
            }
        )
        if not names:
            addresses = sorted({a for e in reached for a in e.addresses})
            nodes = self._facts.get(Nodes)
            known = {n.address: n.name for n in nodes.items} if nodes else {}
            shown = listing([f"{a} ({known[a]})" if a in known else a for a in addresses])
            return (), Step(
                state=State.UNKNOWN,
                title="addresses",
                detail=f"{shown}: no pods of this cluster's own, not judged",
                ref=service.ref(),
                level=level,
                blocks=False,
            )
        pods = self._facts.get(Pods)
        found = [p for name, ns in names if pods and (p := pods.get(name, ns))]
        command = kubectl("get", "pod", names[0][0], "-o", "wide", namespace=names[0][1])
        ref = Ref("Pod", *names[0])
        if not found:
            reason = self._blind(Pods, service.namespace) or "the endpoint names it, and no such pod was seen"
            return (), Step(state=State.UNKNOWN, title=str(ref), detail=reason, command=command, ref=ref, level=level)
        good = [p for p in found if p.ready]
        more = f"; so {'is' if len(good) == 2 else 'are'} {len(good) - 1:,} more" if len(good) > 1 else ""
        if good:
            pod = good[0]
            command = kubectl("get", "pod", pod.name, "-o", "wide", namespace=pod.namespace)
            return tuple(good), Step(
                state=State.OK,
                title=str(pod.ref()),
                detail=f"ready on {pod.node or 'no node'}{more}",
                command=command,
                ref=pod.ref(),
                level=level,
            )
        pod = found[0]
        why = why_not_ready(pod)
        published = service.spec.publish_not_ready_addresses or service.metadata.annotations.tolerate_unready == "true"
        detail = (
            f"{why}; published all the same (publishNotReadyAddresses)"
            if published
            else f"{why}, and the EndpointSlice calls it ready: it changed just now, or the slice is out of date"
        )
        return (), Step(
            state=State.UNKNOWN,
            title=str(pod.ref()),
            detail=detail,
            command=kubectl("describe", "pod", pod.name, namespace=pod.namespace),
            ref=pod.ref(),
            level=level,
        )

    def _named_pod(self, start: Start) -> Iterator[Step]:
        pods = self._facts.get(Pods)
        pod = pods.get(start.name, start.namespace) if pods else None
        if pod is None:
            yield self._absent(start.ref, Pods, 0)
            return
        if not pod.ready:
            done = pod.phase == "Succeeded"
            yield Step(
                state=State.OK if done else State.BROKEN,
                title=str(pod.ref()),
                detail="has run to its end" if done else why_not_ready(pod),
                command=kubectl("describe", "pod", pod.name, namespace=pod.namespace),
                ref=pod.ref(),
            )
            return
        yield Step(
            state=State.OK,
            title=str(pod.ref()),
            detail=f"ready on {pod.node or 'no node'}",
            command=kubectl("get", "pod", pod.name, "-o", "wide", namespace=pod.namespace),
            ref=pod.ref(),
        )
        yield from self._next_hops((pod,), 0, 0)

    def _container_port(self, pods: Sequence[Pod], number: int, port: ServicePort | None, level: int) -> Iterator[Step]:
        """Whether something listens: a passing probe proves it, a declaration proves nothing."""
        pod = pods[0]
        command = kubectl("port-forward", f"pod/{pod.name}", f"{number}", namespace=pod.namespace)
        title = f"container port {number}"
        protocol = port.protocol if port else "TCP"
        for container in _serving(pod):
            probe = container.readiness_probe
            probed = probe and not (probe.http_get and probe.http_get.host) and probe.port
            if probed and container.port_number(probed) == number and protocol == "TCP":
                yield Step(
                    state=State.OK,
                    title=title,
                    detail=f"the readiness probe of container {container.name} passes on it",
                    command=command,
                    ref=pod.ref(),
                    level=level,
                )
                return
        declared = {p.container_port: c.name for c in _serving(pod) for p in c.ports if p.protocol == protocol}
        if number in declared:
            detail = f"declared by container {declared[number]}; whether it listens cannot be seen from here"
        elif declared:
            detail = (
                f"no container declares it (they declare {listing(map(str, sorted(declared)))}); "
                "a port may be open undeclared, but this one may be a wrong number"
            )
        else:
            detail = "no container declares ports; whether one listens cannot be seen from here"
        yield Step(
            state=State.UNKNOWN,
            title=title,
            detail=detail,
            command=command,
            ref=pod.ref(),
            level=level,
            blocks=bool(declared) and number not in declared,
        )

    # What the pods talk to

    def _next_hops(self, pods: Sequence[Pod], level: int, depth: int) -> Iterator[Step]:
        dependencies = self._facts.get(Dependencies)
        if not pods or dependencies is None:
            return
        distinct: dict[object, Pod] = {}
        for pod in pods:
            distinct.setdefault((pod.owner.uid if pod.owner else pod.path, pod.template_hash), pod)
        done: set[tuple[str, int]] = set()
        for pod in distinct.values():
            found = _distinct(dependencies.of(pod))
            yield from self._from_secrets(pod, {d.variable for d in found}, level + 1)
            for dependency in found:
                if (dependency.host, dependency.port) in done:
                    continue
                done.add((dependency.host, dependency.port))
                yield from self._next_hop(pod, dependency, dependencies, level + 1, depth + 1)
        if dependencies.configmaps.gaps and any(_from_configmap(p) for p in distinct.values()):
            yield Step(
                state=State.UNKNOWN,
                title="further hosts",
                detail=f"ConfigMaps could not be read ({dependencies.configmaps.gaps[0]})",
                level=level + 1,
                blocks=False,
            )

    def _next_hop(
        self, pod: Pod, dependency: Dependency, dependencies: Dependencies, level: int, depth: int
    ) -> Iterator[Step]:
        place = f"{dependency.host}:{dependency.port}" if dependency.port else dependency.host
        title = f"{dependency.variable} names {place}"
        origin = f"{dependency.origin}, container {dependency.container}"
        command = (
            kubectl("get", "configmap", dependency.source.name, "-o", "yaml", namespace=pod.namespace)
            if dependency.source
            else kubectl("set", "env", f"pod/{pod.name}", "--list", namespace=pod.namespace)
        )

        def step(state: State, detail: str, *, blocks: bool = True) -> Step:
            return Step(
                state=state, title=title, detail=detail, command=command, ref=pod.ref(), level=level, blocks=blocks
            )

        target = dependencies.resolve(dependency.host, pod.namespace)
        if target is None:
            yield step(
                State.UNKNOWN, f"outside of the cluster as far as can be seen: not judged ({origin})", blocks=False
            )
            return
        if target.service is None and not self._blind(Services, target.namespace):
            near = self._near(Ref("Service", target.name, target.namespace), Services)
            telling = bool(_HOST_VARIABLE.search(dependency.variable)) or dependency.port or "://" in dependency.value
            if target.certain or (near and telling):
                what = f"Service {target.namespace}/{target.name} does not exist{near} ({origin})"
                yield step(State.BROKEN, what)
            else:
                yield step(
                    State.UNKNOWN,
                    f"no Service {target.namespace}/{target.name}; a host outside, or no host at all ({origin})",
                    blocks=False,
                )
            return
        if depth > _DEEP:
            yield step(State.UNKNOWN, f"not followed further than {_DEEP} Services", blocks=False)
            return
        dns = self._ways.dns(pod)
        yield step(State.BROKEN, f"{dns} ({origin})") if dns else step(State.OK, origin)
        if not dns:
            yield from self._service(
                target.name, target.namespace, dependency.port or "", level, client=pod, depth=depth
            )

    def _from_secrets(self, pod: Pod, known: set[str], level: int) -> Iterator[Step]:
        for container in pod.spec.containers:
            for env in container.env:
                ref = env.value_from.secret_key_ref if env.value_from else None
                if ref is None or env.name in known or not _HOST_VARIABLE.search(env.name):
                    continue
                show = ["get", "secret", ref.name, "-o", f"jsonpath={{.data.{ref.key.replace('.', chr(92) + '.')}}}"]
                yield Step(
                    state=State.UNKNOWN,
                    title=f"{env.name} of Secret {ref.name}",
                    detail=f"key {ref.key}, container {container.name}: kdiag does not read Secrets",
                    command=f"{kubectl(*show, namespace=pod.namespace)} | base64 -d",
                    ref=Ref("Secret", ref.name, pod.namespace),
                    level=level,
                    blocks=False,
                )


def _matching(backends: Sequence[tuple[str, BackendService]], wanted: str) -> tuple[tuple[str, BackendService], ...]:
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


def _numbers(one: EndpointSlice, port: ServicePort | None) -> Iterator[int | None]:
    """The port numbers on which the endpoints of a slice take what comes to a Service's port."""
    if port is None:
        yield None
        return
    for p in one.ports or ():
        if (p.name, p.protocol) == (port.name, port.protocol):
            yield p.port


def _who(endpoint: Endpoint) -> str:
    """What stands behind an endpoint; one pod has one in each address family."""
    return endpoint.target_ref.name if endpoint.target_ref else ",".join(endpoint.addresses)


def _serving(pod: Pod) -> tuple[Container, ...]:
    """The containers whose ports a Service may name."""
    return (*pod.spec.containers, *(c for c in pod.spec.init_containers if c.sidecar))


def _named(pod: Pod, port: ServicePort) -> bool:
    return any(p.name == port.target and p.protocol == port.protocol for c in _serving(pod) for p in c.ports)


def _mapping(port: ServicePort) -> str:
    name = f"{port.name} " if port.name else ""
    return f"{name}{port.port}" + (f" to {port.target}" if port.target != port.port else "")


def _ports_text(service: Service) -> str:
    return listing([f"{p.port} ({p.name})" if p.name else str(p.port) for p in service.spec.ports], 5)


def _distinct(found: Sequence[Dependency]) -> list[Dependency]:
    """Each host once for each port; without a port only where no other names one."""
    with_port = {d.host for d in found if d.port}
    kept: dict[tuple[str, int], Dependency] = {}
    for d in found:
        if d.port or d.host not in with_port:
            kept.setdefault((d.host, d.port), d)
    return list(kept.values())


def _from_configmap(pod: Pod) -> bool:
    return any(source.config_map_ref for c in pod.spec.all_containers for source in c.env_from) or any(
        e.value_from and e.value_from.config_map_key_ref for c in pod.spec.all_containers for e in c.env
    )

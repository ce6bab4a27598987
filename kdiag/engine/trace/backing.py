"""What stands behind a Service: its endpoints, why there is none, the pods, and the port that they listen on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kdiag.check import kubectl
from kdiag.engine.intake import Facts
from kdiag.engine.podstate import why_not_ready
from kdiag.engine.trace.sight import Sight
from kdiag.facts import (
    Backends,
    Cluster,
    Container,
    Endpoint,
    EndpointSlice,
    EndpointSlices,
    Nodes,
    Pod,
    Pods,
    Service,
    ServicePort,
    Workloads,
    labels_text,
    selects,
)
from kdiag.model.result import Ref
from kdiag.model.step import State, Step
from kdiag.model.text import listing, nearest, plural

#: A pod that became ready so many seconds ago may not be among the endpoints yet.
_YOUNG = 60.0


class Backing:
    """The hops behind a Service."""

    def __init__(self, facts: Facts, sight: Sight) -> None:
        self._facts = facts
        self._sight = sight
        self._cluster = facts.get(Cluster)

    def endpoints(
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
        if reason := self._sight.blind(EndpointSlices, service.namespace):
            return step(State.UNKNOWN, reason), [], None
        serving = [(e, n) for e, n in of_port if e.conditions.serving]
        if serving:
            many = len({_who(e) for e, _ in serving})
            text = f"none is ready; {plural(many, 'pod that is', 'pods that are')} being deleted still serve"
            return step(State.UNKNOWN, text), [], None
        if not service.spec.selector:
            text = "none: the Service has no selector, so whoever made it must write its EndpointSlice"
            strange = next((s for s in slices.of_service(service) if s.endpoints and s.ports), None) if slices else None
            if strange and port and not of_port:
                theirs = listing([f'"{p.name}"' for p in strange.ports or ()], 2)
                text = f'none: EndpointSlice {strange.name} calls its port {theirs}, the Service "{port.name}"'
            return step(State.BROKEN, text if not of_port else "none is ready"), [], None
        state, detail, shown = self._why_none(service, port)
        return step(state, detail, shown or command), [], None

    def _why_none(self, service: Service, port: ServicePort | None) -> tuple[State, str, str]:
        """Why a Service with a selector has no endpoint that takes traffic."""
        namespace = service.namespace
        backends = self._facts.get(Backends)
        pods = backends.of(service) if backends else ()
        if reason := self._sight.blind(Pods, namespace):
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

    def targets(self, service: Service, reached: Sequence[Endpoint], level: int) -> tuple[tuple[Pod, ...], Step | None]:
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
            reason = self._sight.blind(Pods, service.namespace) or "the endpoint names it, and no such pod was seen"
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

    def container_port(self, pods: Sequence[Pod], number: int, port: ServicePort | None, level: int) -> Iterator[Step]:
        """Whether something listens: a passing probe proves it, a declaration proves nothing.

        Of pods that differ, each gets its share of the requests: those that declare other ports are told apart.
        """
        fixed = port is not None and isinstance(port.target, int)  # by a name each pod has a number of its own
        odd = [p for p in pods if fixed and port and _elsewhere(p, number, port.protocol)]
        usual = [p for p in pods if p not in odd] or list(pods)
        yield self._listens(usual[0], number, port, level)
        if len(odd) == len(pods) or not odd:
            return
        declared = sorted({p.container_port for c in _serving(odd[0]) for p in c.ports})
        yield Step(
            state=State.UNKNOWN,
            title=str(odd[0].ref()),
            detail=f"gets requests too ({len(odd):,} of {plural(len(pods), 'pod')}) and declares port "
            f"{listing(map(str, declared))}, not {number}",
            command=kubectl("get", "pod", odd[0].name, "--show-labels", namespace=odd[0].namespace),
            ref=odd[0].ref(),
            level=level,
        )

    def _listens(self, pod: Pod, number: int, port: ServicePort | None, level: int) -> Step:
        """The hop of one pod's port."""
        # A free port at the near end: 80 is root's, and 5432 may be taken there.
        command = kubectl("port-forward", f"pod/{pod.name}", f":{number}", namespace=pod.namespace)
        title = f"container port {number}"
        protocol = port.protocol if port else "TCP"
        for container in _serving(pod):
            probe = container.readiness_probe
            probed = probe and not (probe.http_get and probe.http_get.host) and probe.port
            if probed and container.port_number(probed) == number and protocol == "TCP":
                return Step(
                    state=State.OK,
                    title=title,
                    detail=f"the readiness probe of container {container.name} passes on it",
                    command=command,
                    ref=pod.ref(),
                    level=level,
                )
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
        return Step(
            state=State.UNKNOWN,
            title=title,
            detail=detail,
            command=command,
            ref=pod.ref(),
            level=level,
            blocks=bool(declared) and number not in declared,
        )


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


def _elsewhere(pod: Pod, number: int, protocol: str) -> bool:
    """Whether its containers declare ports, and neither this one nor ask it themselves."""
    declared = {p.container_port for c in _serving(pod) for p in c.ports if p.protocol == protocol}
    probed = {c.port_number(q.port) for c in _serving(pod) for _, q in c.probes() if q.port is not None}
    return bool(declared) and number not in declared | probed


def _named(pod: Pod, port: ServicePort) -> bool:
    return any(p.name == port.target and p.protocol == port.protocol for c in _serving(pod) for p in c.ports)

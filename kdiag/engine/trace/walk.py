"""Follow a request hop by hop: the entrance, the Service, its endpoints, the pods, and what the pods talk to.

Pure: a walk over facts. What lies behind a broken hop is not judged. A hop that could not be seen is UNKNOWN.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from kdiag.check import kubectl
from kdiag.engine.intake import Facts
from kdiag.engine.podstate import why_not_ready
from kdiag.engine.reach import Ways
from kdiag.engine.trace.backing import Backing
from kdiag.engine.trace.entrance import entrances, matching, served
from kdiag.engine.trace.sight import Sight
from kdiag.engine.trace.start import Start
from kdiag.facts import (
    Backends,
    Dependencies,
    Dependency,
    EndpointSlices,
    Fact,
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
)
from kdiag.model.result import Ref
from kdiag.model.step import State, Step
from kdiag.model.text import listing, whole

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
_HOST_VARIABLE = re.compile(r"(?:^|[_.-])(?:host(?:s|name)?|addr(?:ess)?|server|url|uri|dsn|endpoint)$", re.IGNORECASE)


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
        self._sight = Sight(facts)
        self._backing = Backing(facts, self._sight)
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

    # From outside

    def _ingress(self, start: Start) -> Iterator[Step]:
        ingresses = self._facts.get(Ingresses)
        ingress = ingresses.get(start.name, start.namespace) if ingresses else None
        if ingress is None:
            yield self._sight.absent(start.ref, Ingresses, 0)
            return
        found = list(served(self._facts, ingress))
        yield from found
        if any(s.state is State.BROKEN for s in found):
            return
        chosen = ingress.backends
        command = kubectl("describe", "ingress", ingress.name, namespace=ingress.namespace)
        if start.path:
            chosen = matching(chosen, start.path)
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
            yield self._sight.absent(ref, Services, level)
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
            yield from entrances(self._facts, service, level)
        number = whole(str(port))
        wanted = [service.port(str(port) if number is None else number)] if port else list(service.spec.ports)
        ports = [p for p in wanted if p is not None]
        if port and not ports:
            # A name without a translation in between: whatever port a client names reaches the pods.
            there = _ports_text(service)
            detail = f"headless, and does not list port {port} (it lists {there or 'none'}); the pods' own port counts"
            yield Step(
                state=State.UNKNOWN if service.headless else State.BROKEN,
                title=f"{ref}:{port}",
                detail=detail if service.headless else f"has no port {port}; it has {there}",
                command=command,
                ref=ref,
                level=level,
            )
            if not service.headless:
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
            steps, reached, number = self._backing.endpoints(service, port, title, level)
            yield from steps
            if any(s.state is not State.OK and s.blocks for s in steps) or not reached:
                continue
            found, pod_step = self._backing.targets(service, reached, level)
            if pod_step:
                yield pod_step
            if not found:
                continue
            if number is not None:
                yield from self._backing.container_port(found, number, port, level)
                yield from self._ways.closed(client, found, number, port.protocol if port else "TCP", level)
            pods.update((p.path, p) for p in found)
        yield from self._next_hops(tuple(pods.values()), level, depth)

    def _named_pod(self, start: Start) -> Iterator[Step]:
        pods = self._facts.get(Pods)
        pod = pods.get(start.name, start.namespace) if pods else None
        if pod is None:
            yield self._sight.absent(start.ref, Pods, 0)
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
        if target.service is None and not self._sight.blind(Services, target.namespace):
            near = self._sight.near(Ref("Service", target.name, target.namespace), Services)
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

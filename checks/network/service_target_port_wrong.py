"""A Service leads to a port on which none of its pods listens."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kdiag.check import SERVICE_DEAD, Evidence, Finding, Layer, Severity, check, kubectl, listing, nearest
from kdiag.facts import (
    APIServices,
    Backends,
    Dependencies,
    EndpointSlices,
    Ingresses,
    Logs,
    MutatingWebhooks,
    Pod,
    PodSpec,
    Service,
    ServicePort,
    ValidatingWebhooks,
    declared,
    find_port,
    image_port,
    listeners,
    mentions,
)

_DNS = ("kube-system", "kube-dns")  # has a check of its own
_MESH_PROBES = range(15000, 15100)  # where a mesh takes the application's probes to
_OFTEN = {80: {8080, 8000, 5000, 3000}, 443: {8443}, 8080: {80}, 8443: {443}}


@check(
    title="Service leads to a port that its pods do not have",
    severity=Severity.ERROR,
    layer=Layer.ENDPOINTS,
    explains=(
        *SERVICE_DEAD,
        "control_plane/webhook_call_fails",
        "control_plane/api_service_unavailable",
        "worker_node/metrics_server_unavailable",
    ),
    tags=("service", "endpoints", "port"),
)
def service_target_port_wrong(
    backends: Backends,
    slices: EndpointSlices | None,
    ingresses: Ingresses | None,
    validating: ValidatingWebhooks | None,
    mutating: MutatingWebhooks | None,
    apis: APIServices | None,
    dependencies: Dependencies | None,
    logs: Logs | None,
) -> Iterator[Finding]:
    """A name that no pod declares is certain. A number is not: a port is open without being declared.

    A chart lists ports of parts that are switched off: such a port beside one that works hurts nobody who does not
    name it.
    """
    called = set(_called(validating, mutating, apis))
    for service in backends.services.items:
        if service.external or not service.spec.selector or (service.namespace, service.name) == _DNS:
            continue
        pods = backends.live(service)
        if pods and (two := _crossed(service, backends)):
            yield _swapped(service, *two)
            continue
        for number, port in enumerate(service.spec.ports) if pods else ():
            beside = _beside(service, port, backends) and (service.namespace, service.name, port.port) not in called
            beside = beside and not _asked(service, port, ingresses, dependencies)
            if beside and service.headless:
                continue  # only its name is asked for: the port that a client takes is its own
            if isinstance(port.target, str):
                yield from _by_name(service, number, port, backends, slices, beside=beside)
            elif (guess := _by_number(service, port, pods, backends, used=_used(service, dependencies))) is not None:
                refused = _refused(service, port, dependencies, logs)
                if beside and not refused and set(guess.ports) <= _led_to(service, port, backends):
                    continue  # it is not another port misspelt: a program may listen where it does not say so
                sure = (guess.sure and not beside) or refused
                severity = Severity.ERROR if sure else Severity.WARNING
                yield _finding(service, number, port, pods, guess, refused, severity)


def _crossed(service: Service, backends: Backends) -> tuple[ServicePort, ServicePort] | None:
    """Two ports of a Service each of which leads to the container's port that has the other's name."""
    if len(service.spec.ports) < 2:
        return None
    called: dict[str, set[str]] = {}
    for port in service.spec.ports:
        names = (_name_of(spec, port) for spec in backends.templates(service))
        called[port.name] = {name for name in names if name}
    for port in service.spec.ports:
        for other in service.spec.ports:
            apart = port.name and other.name and port.name != other.name
            if apart and called[port.name] == {other.name} and called[other.name] == {port.name}:
                return port, other
    return None


def _name_of(spec: PodSpec, port: ServicePort) -> str:
    """The name of the container's port that a port of a Service leads to."""
    found = (p for p in declared(spec) if port.target in (p.name, p.container_port) and p.protocol == port.protocol)
    return next((p.name for p in found), "")


def _swapped(service: Service, port: ServicePort, other: ServicePort) -> Finding:
    numbers = [service.spec.ports.index(p) for p in (port, other)]
    patch = [
        {"op": "replace", "path": f"/spec/ports/{number}/targetPort", "value": target}
        for number, target in zip(numbers, (other.target, port.target), strict=True)
    ]
    change = json.dumps(patch, separators=(",", ":"))
    return Finding(
        service.ref(),
        f"Service {service.ref().path} leads its ports crosswise: {port.name} ({port.port}) to its pods' port"
        f" {other.name}, and {other.name} ({other.port}) to their port {port.name}",
        evidence=(_service_line(service, port), _service_line(service, other)),
        next=(kubectl("patch", "service", service.name, "--type=json", "-p", change, namespace=service.namespace),),
        key="crossed",
    )


def _beside(service: Service, port: ServicePort, backends: Backends) -> bool:
    """Whether another port of the Service leads to one that its pods declare."""
    specs = backends.templates(service)
    return any(
        find_port(spec, other.target, other.protocol) is not None
        if isinstance(other.target, str)
        else any((p.container_port, p.protocol) == (other.target, other.protocol) for p in declared(spec))
        for other in service.spec.ports
        if other is not port
        for spec in specs
    )


def _called(
    validating: ValidatingWebhooks | None, mutating: MutatingWebhooks | None, apis: APIServices | None
) -> Iterator[tuple[str, str, int]]:
    """The Services, with their ports, that the API server itself calls."""
    hooks = [h for v in (validating.items if validating else ()) for h in v.webhooks]
    hooks += [h for m in (mutating.items if mutating else ()) for h in m.webhooks]
    for hook in hooks:
        if target := hook.client_config.service:
            yield target.namespace, target.name, target.port
    for api in apis.items if apis else ():
        if served := api.spec.service:
            yield served.namespace, served.name, served.port


def _asked(service: Service, port: ServicePort, ingresses: Ingresses | None, dependencies: Dependencies | None) -> bool:
    """Whether an Ingress or a workload names this port, or names none and may mean it; who is outside names any."""
    if service.spec.type not in ("", "ClusterIP"):
        return True
    for ingress in ingresses.within(service.namespace) if ingresses else ():
        for _, backend in ingress.backends:
            if backend.name == service.name and service.port(backend.port.name or backend.port.number) is port:
                return True
    for pod in dependencies.clients.get(service.ref(), ()) if dependencies else ():
        for told in dependencies.of(pod) if dependencies else ():
            target = dependencies.resolve(told.host, pod.namespace) if dependencies else None
            if target and target.service is service and (told.port or _usual(told.value)) in (port.port, 0):
                return True
    return False


def _usual(value: str) -> int:
    """The port that a URL without one means."""
    return {"http": 80, "https": 443}.get(value.partition("://")[0].lower(), 0)


def _by_name(
    service: Service, number: int, port: ServicePort, backends: Backends, slices: EndpointSlices | None, *, beside: bool
) -> Iterator[Finding]:
    specs, pods = backends.templates(service), backends.live(service)
    every = [p for s in specs for c in (*s.containers, *s.init_containers) for p in c.ports]
    if any(find_port(s, port.target, port.protocol) for s in specs) or any(p.name == port.target for p in every):
        return  # some pods have it; or they have it with the other protocol, which is another fault
    names = list(dict.fromkeys(p.name for p in every if p.name and p.protocol == port.protocol))
    numbers = list(dict.fromkeys(p.container_port for p in every if p.protocol == port.protocol))
    shown = [f"{p.container_port}/{p.protocol}{' name ' + p.name if p.name else ''}" for p in dict.fromkeys(every)]
    meant: str | int | None = nearest(
        str(port.target), [n for n in names if n not in {p.target for p in service.spec.ports}]
    )
    free = set(numbers) - {p.target for p in service.spec.ports}
    if meant is None and len(numbers) == 1 and free:
        meant = names[0] if len(names) == 1 else numbers[0]
    has = f"they have {listing(names)}" if names else "they declare no port name" if every else "they declare no port"
    evidence = [
        _service_line(service, port),
        Evidence(
            kubectl(
                "get", "pod", pods[0].name, "-o", "jsonpath={.spec.containers[*].ports}", namespace=pods[0].namespace
            ),
            listing(shown, 4) or "no ports",
        ),
    ]
    found = slices.of_service(service) if slices else ()
    if found and not any(p.name == port.name for s in found for p in s.ports or ()):
        command = kubectl(
            "get", "endpointslices", "-l", f"kubernetes.io/service-name={service.name}", namespace=service.namespace
        )
        ports = [str(p.port) for s in found for p in s.ports or ()]
        evidence.append(Evidence(command, f"PORTS {','.join(ports) or '<unset>'}: nothing for port {port.port}"))
    yield Finding(
        service.ref(),
        f"Service {service.ref().path} leads to the port named {port.target}; no pod of it has one, {has}",
        evidence=tuple(evidence),
        next=(_patch(service, number, meant),),
        key=str(port.port),
        severity=Severity.WARNING if beside or service.headless else Severity.ERROR,  # DNS gives the pods all the same
    )


@dataclass(frozen=True, slots=True)
class _Guess:
    """What the pods listen on instead; ``sure`` where more than a declaration says so."""

    ports: tuple[int, ...]
    sure: bool
    why: str


def _used(service: Service, dependencies: Dependencies | None) -> bool:
    return dependencies is not None and service.ref() in dependencies.clients


def _by_number(
    service: Service, port: ServicePort, pods: Sequence[Pod], backends: Backends, *, used: bool
) -> _Guess | None:
    target, specs = int(port.target), backends.templates(service)
    taken: set[int] = set()  # declared for this protocol
    proven: set[int] = set()  # by a probe that the pods pass, or by what the image is known to do
    images = True  # whether every container is one that listens on one port only
    silent = 0  # containers that say nothing of a port
    for spec in specs:
        if any(p.container_port == target for p in declared(spec)):
            return None
        said: set[int] = set()
        for container in listeners(spec):
            if mentions(container, target) or image_port(container) == target:
                return None
            mine = {p.container_port for p in container.ports if p.protocol == port.protocol}
            probes = {container.port_number(p.port) for _, p in container.probes() if p.port is not None}
            checked = {p for p in probes if p is not None and p not in _MESH_PROBES}
            known = image_port(container)
            images &= known is not None
            taken |= mine
            proven |= (checked if port.protocol == "TCP" else set()) | ({known} if known else set())
            said |= mine | checked | ({known} if known else set())
            silent += not (checked or known or (mine and not container.env_from))
        if not said:
            return None
    instead = tuple(sorted(taken or proven))
    if not instead:
        return None
    elsewhere = _led_to(service, port, backends) & set(instead)
    single = len(instead) == 1
    close = single and _close(target, instead[0])
    elsewhere = set() if images else elsewhere
    if elsewhere and not (close and single and not silent):
        return None  # the declared port has its Service; this may be a second, undeclared one
    if silent and not close:
        return None  # a container that declares nothing may be the one that is meant
    ready = any(p.ready for p in pods)
    proof = single and set(instead) <= proven
    sure = bool(single and ready and not silent and (used or not elsewhere) and (proof or close))
    return _Guess(instead, sure, "listen on" if proof and ready else "declare")


def _led_to(service: Service, port: ServicePort, backends: Backends) -> set[int]:
    """The numbers that other Services, or other ports of this one, lead to in the same namespace's pods."""
    found: set[int] = set()
    mine = {id(p) for p in backends.of(service)}
    for other in backends.services.within(service.namespace):
        if other.name != service.name and not (mine & {id(p) for p in backends.of(other)}):
            continue
        found |= {int(p.target) for p in other.spec.ports if p is not port and isinstance(p.target, int)}
    return found


def _close(wrong: int, right: int) -> bool:
    """Whether one number was probably written for the other: 80 for 8080, 3360 for 3306."""
    a, b = str(wrong), str(right)
    return (
        wrong in _OFTEN.get(right, ())
        or (len(a) == len(b) and sorted(a) == sorted(b))
        or (nearest(a, [b]) is not None and min(len(a), len(b)) >= 2)
    )


def _refused(service: Service, port: ServicePort, dependencies: Dependencies | None, logs: Logs | None) -> str:
    """The newest line in which a client was refused at this Service's port."""
    if dependencies is None or logs is None:
        return ""
    for pod in dependencies.clients.get(service.ref(), ()):
        for line in logs.lines(pod.namespace, pod.name):
            text = line.text
            if "refused" in text and (service.name in text or f"{service.spec.cluster_ip}:{port.port}" in text):
                return f"{pod.name}: {text.strip()[:160]}"
    return ""


def _finding(
    service: Service,
    number: int,
    port: ServicePort,
    pods: Sequence[Pod],
    guess: _Guess,
    refused: str,
    severity: Severity,
) -> Finding:
    pod = next((p for p in pods if p.ready), pods[0])
    ports = listing(map(str, guess.ports), 4)
    evidence = [
        _service_line(service, port),
        Evidence(
            kubectl("get", "pod", pod.name, "-o", "jsonpath={.spec.containers[*].ports}", namespace=pod.namespace),
            listing([f"{p.container_port}/{p.protocol}" for p in declared(pod.spec)], 4) or "no port is declared",
        ),
    ]
    for container in listeners(pod.spec):
        for name, probe in container.probes():
            if probe.port is not None:
                what = f"{name} probe of {container.name} asks port {probe.port}"
                evidence.append(Evidence(kubectl("describe", "pod", pod.name, namespace=pod.namespace), what))
        if known := image_port(container):
            evidence.append(Evidence("", f"image {container.image} listens on {known} unless it is told otherwise"))
    if refused:
        evidence.append(Evidence("", f"a client's log: {refused}"))
    meant = guess.ports[0] if len(guess.ports) == 1 else None
    raw = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}:{port.target}/proxy/"
    return Finding(
        service.ref(),
        f"Service {service.ref().path} leads to port {port.target} of its pods, which {guess.why} {ports}",
        evidence=tuple(evidence[:5]),
        next=(
            f"{kubectl('get', '--raw', raw)}   # connection refused: nothing listens there",
            _patch(service, number, meant),
        ),
        key=str(port.port),
        severity=severity,
    )


def _service_line(service: Service, port: ServicePort) -> Evidence:
    return Evidence(
        kubectl("describe", "service", service.name, namespace=service.namespace),
        f"Port {port.name or '<unset>'} {port.port}/{port.protocol}, TargetPort {port.target}/{port.protocol}",
    )


def _patch(service: Service, number: int, meant: str | int | None) -> str:
    if meant is None:
        return kubectl("edit", "service", service.name, namespace=service.namespace)
    patch = json.dumps(
        [{"op": "replace", "path": f"/spec/ports/{number}/targetPort", "value": meant}], separators=(",", ":")
    )
    return kubectl("patch", "service", service.name, "--type=json", "-p", patch, namespace=service.namespace)

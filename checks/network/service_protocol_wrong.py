"""A Service forwards UDP to a port that speaks TCP, or TCP to one that speaks UDP."""

from __future__ import annotations

import json
from collections.abc import Iterator

from kdiag.check import SERVICE_DEAD, Evidence, Finding, Layer, Severity, check, kubectl, listing
from kdiag.facts import Backends, Pod, PodSpec, Service, ServicePort, declared, image_port, listeners

_DNS = ("kube-system", "kube-dns")  # has a check of its own
_QUIC = (443, 8443)  # one number, both protocols


@check(
    title="Service uses the wrong protocol for its port",
    severity=Severity.ERROR,
    layer=Layer.ENDPOINTS,
    explains=SERVICE_DEAD,
    tags=("service", "endpoints", "port", "protocol"),
)
def service_protocol_wrong(backends: Backends) -> Iterator[Finding]:
    """TCP is what a manifest that says nothing means, so TCP declared proves little and UDP declared proves much."""
    for service in backends.services.items:
        if service.external or not service.spec.selector or (service.namespace, service.name) == _DNS:
            continue
        pods = backends.live(service)
        for number, port in enumerate(service.spec.ports) if pods else ():
            if (proof := _proof(service, port, backends)) is not None:
                yield _finding(service, number, port, pods[0], proof)


def _proof(service: Service, port: ServicePort, backends: Backends) -> tuple[str, str] | None:
    """The protocol that the pods speak there, and how we know; None when it may well be right."""
    specs = backends.templates(service)
    found = [_declared(s, port) for s in specs]
    if not all(found) or any(port.protocol in protocols for protocols in found):
        return None
    spoken = next(iter(found[0]))
    if isinstance(port.target, str):
        return spoken, f"the name {port.target} is declared for {spoken} only, so the port has no endpoint"
    for other in backends.services.within(service.namespace):
        if other.spec.selector != service.spec.selector:
            continue
        served = any(p.target == port.target and p.protocol == spoken for p in other.spec.ports)
        if served and (other.name == service.name or port.target in _QUIC):
            return None  # both are served, and one was not declared
    if spoken == "UDP":
        return spoken, "the containers declare it for UDP"
    for container in (c for s in specs for c in listeners(s)):
        for name, probe in container.probes():
            if probe.exec is None and probe.port is not None and container.port_number(probe.port) == port.target:
                return spoken, f"the {name} probe of container {container.name} reaches it over TCP"
        if image_port(container) == port.target:
            return spoken, f"image {container.image} serves TCP there"
    return None


def _declared(spec: PodSpec, port: ServicePort) -> set[str]:
    return {p.protocol for p in declared(spec) if port.target in (p.container_port, p.name)}


def _finding(service: Service, number: int, port: ServicePort, pod: Pod, proof: tuple[str, str]) -> Finding:
    spoken, why = proof
    shown = [f"{p.container_port}/{p.protocol}{' name ' + p.name if p.name else ''}" for p in declared(pod.spec)]
    value = [{"op": "replace", "path": f"/spec/ports/{number}/protocol", "value": spoken}]
    patch = json.dumps(value, separators=(",", ":"))
    return Finding(
        service.ref(),
        f"Service {service.ref().path} forwards {port.protocol} port {port.port} to {port.target}, where its pods"
        f" speak {spoken}",
        evidence=(
            Evidence(
                kubectl("get", "service", service.name, namespace=service.namespace),
                f"PORT(S) {port.port}/{port.protocol}",
            ),
            Evidence(
                kubectl("get", "pod", pod.name, "-o", "jsonpath={.spec.containers[*].ports}", namespace=pod.namespace),
                listing(shown, 4),
            ),
            Evidence("", why),
        ),
        next=(kubectl("patch", "service", service.name, "--type=json", "-p", patch, namespace=service.namespace),),
        key=f"{port.port}/{port.protocol}",
    )

"""A pod's own hosts file leads the name of a Service to another address."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from kdiag.check import DEPENDENT_FAILS, Evidence, Finding, Layer, Ref, Severity, check, kubectl, present, shorten
from kdiag.facts import Complaint, Complaints, Dependencies, EndpointSlices, Owners, Pod, Service, edit_template, living


@check(
    title="Host alias hides a Service",
    severity=Severity.ERROR,
    layer=Layer.DEPENDENCY,
    explains=(*DEPENDENT_FAILS, "application/dependency_unreachable"),
    tags=("dns", "service", "config"),
)
def host_alias_hides_service(
    dependencies: Dependencies, slices: EndpointSlices, owners: Owners, complaints: Complaints | None
) -> Iterator[Finding]:
    """An alias may be meant: an error where the log complains of it, a warning where nobody has its address."""
    seen: set[tuple[Ref, str]] = set()
    for group in dependencies.pods.templates:
        pod = living(group)
        if pod is None or not pod.spec.host_aliases:
            continue
        workload = owners.top(pod)
        for host, address, service in _hidden(pod, dependencies, slices):
            proof = _proof(complaints, workload, host, address)
            dead = address not in dependencies.pod_addresses and _near(address, service, dependencies)
            if (workload, host) in seen or not (proof or dead):
                continue
            seen.add((workload, host))
            yield Finding(
                workload,
                f"{workload} has {host} in its hosts file at {address}, which is not Service {service.ref().path}",
                evidence=present(
                    Evidence(
                        kubectl("get", "pod", pod.name, "-o", "jsonpath={.spec.hostAliases}", namespace=pod.namespace),
                        f"{address} {host}",
                    ),
                    Evidence(
                        kubectl("get", "service", service.name, namespace=service.namespace),
                        f"CLUSTER-IP {service.spec.cluster_ip}",
                    ),
                    Evidence(kubectl(*proof.command, namespace=pod.namespace), shorten(proof.said.text, 200))
                    if proof
                    else None,
                ),
                next=(edit_template(workload, f"hostAliases: take {host} out"),),
                touches=(service.ref(),),
                key=host,
                severity=Severity.ERROR if proof else Severity.WARNING,
                since=proof.since if proof else "",
            )


def _hidden(pod: Pod, dependencies: Dependencies, slices: EndpointSlices) -> Iterator[tuple[str, str, Service]]:
    """The aliases for names of Services that it is told of, where the address is none of that Service's."""
    told = {d.host.rstrip(".").lower() for d in dependencies.of(pod)}
    for alias in pod.spec.host_aliases:
        for host in alias.hostnames:
            target = dependencies.resolve(host, pod.namespace) if host.lower() in told else None
            service = target.service if target else None
            if service is None or service.external or alias.ip.startswith(("127.", "::1")):
                continue  # a proxy in the pod itself is meant
            own = {service.spec.cluster_ip} | {a for e in slices.endpoints(service) for a in e.addresses}
            if alias.ip not in own:
                yield host, alias.ip, service


def _near(address: str, service: Service, dependencies: Dependencies) -> bool:
    """Whether it is an address as the cluster gives them, to Services or to pods."""
    known = [service.spec.cluster_ip, *(p.ip for p in dependencies.pods.within(service.namespace))]
    try:
        nets = {ipaddress.ip_network(f"{k}/16", strict=False) for k in known if k not in ("", "None") and "." in k}
        return any(ipaddress.ip_address(address) in net for net in nets)
    except ValueError:
        return False


def _proof(complaints: Complaints | None, workload: Ref, host: str, address: str) -> Complaint | None:
    found = complaints.unmended.get(workload, ()) if complaints else ()
    return next((c for c in found if c.said.host in (host.lower(), address)), None)

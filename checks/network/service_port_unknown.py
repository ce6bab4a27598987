"""A workload talks to a port that the Service which it names does not have."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import (
    DEPENDENT_FAILS,
    Evidence,
    Finding,
    Layer,
    Ref,
    Severity,
    check,
    kubectl,
    listing,
    present,
    shorten,
)
from kdiag.facts import (
    Backends,
    Cluster,
    Complaint,
    Complaints,
    Dependencies,
    Dependency,
    Owners,
    Pod,
    Service,
    Topic,
    Workloads,
    declared,
    edit_template,
    listeners,
    living,
    mentions,
)


@check(
    title="Workload names a port that the Service does not have",
    severity=Severity.ERROR,
    layer=Layer.DEPENDENCY,
    explains=(
        *DEPENDENT_FAILS,
        "application/dependency_unreachable",
    ),
    tags=("service", "config"),
)
def service_port_unknown(
    dependencies: Dependencies,
    owners: Owners,
    cluster: Cluster,
    complaints: Complaints | None,
    backends: Backends | None,
    workloads: Workloads | None,
) -> Iterator[Finding]:
    """An error where the log says so, the workload fails or the setting is new; an old unused one is a warning."""
    seen: set[tuple[Ref, Ref, int]] = set()
    for group in dependencies.pods.templates:
        pod = living(group)
        if pod is None or pod.namespace == "kube-system":
            continue
        workload = owners.top(pod)
        template = workloads.template(workload) if workloads else None
        said = complaints.unmended.get(workload, ()) if complaints else ()
        for dependency in dependencies.of(pod):
            target = dependencies.resolve(dependency.host, pod.namespace)
            service = target.service if target else None
            if service is None or not (_lacks(service, dependency.port) or _passed(service, dependency.port, backends)):
                continue
            key = (workload, service.ref(), dependency.port)
            if key in seen or not dependency.plain or dependencies.outdated(dependency, pod, template):
                continue
            seen.add(key)
            proof = next((c for c in said if _about(c, service, dependency.port, dependencies)), None)
            hurt = proof is not None or _failing(group) or cluster.fresh(pod.created)
            hurt = hurt or cluster.fresh(service.metadata.creation_timestamp)
            yield _finding(workload, pod, service, dependency.port, dependency, proof, hurt=hurt)
    for complaint in _unreachable(complaints) if complaints else ():
        target = dependencies.asked(complaint.said.host, complaint.pod.namespace)
        service = target.service if target else None
        if service is None or not _lacks(service, complaint.said.port):
            continue
        key = (complaint.workload, service.ref(), complaint.said.port)
        if key not in seen and dependencies.by_address.get(complaint.said.host) is None:
            seen.add(key)
            told = dependencies.told(complaint.pod, complaint.said.host)
            template = workloads.template(complaint.workload) if workloads else None
            if told and dependencies.outdated(told, complaint.pod, template):
                continue
            yield _finding(complaint.workload, complaint.pod, service, complaint.said.port, told, complaint, hurt=True)


def _unreachable(complaints: Complaints) -> Iterator[Complaint]:
    """Of any age: a port that the Service lacks still cannot have answered since."""
    for items in complaints.unmended.values():
        yield from (c for c in items if c.said.topic is Topic.UNREACHABLE and c.pod.namespace != "kube-system")


def _lacks(service: Service, port: int) -> bool:
    """Whether nothing answers on that port: a headless Service and an outside name have none of their own."""
    if not port or service.headless or service.external or not service.spec.ports:
        return False
    return all(p.port != port for p in service.spec.ports)


def _passed(service: Service, port: int, backends: Backends | None) -> bool:
    """Whether it is the port of a headless Service which leads to another one: DNS gives pods, and maps no ports."""
    named = service.port(port) if port and service.headless and backends else None
    if named is None or backends is None or not isinstance(named.target, int) or named.target == port:
        return False
    specs = {id(p.spec): p.spec for p in backends.of(service)}.values()
    return bool(specs) and all(
        any(p.container_port == named.target for p in declared(spec))
        and all(p.container_port != port for p in declared(spec))
        and not any(mentions(c, port) for c in listeners(spec))
        for spec in specs
    )


def _about(complaint: Complaint, service: Service, port: int, dependencies: Dependencies) -> bool:
    if complaint.said.topic is not Topic.UNREACHABLE or complaint.said.port not in (0, port):
        return False
    target = dependencies.asked(complaint.said.host, complaint.pod.namespace)
    return target is not None and target.service is service


def _failing(group: tuple[Pod, ...]) -> bool:
    return any(not p.ready and any(s.restart_count for s in p.all_statuses) for p in group)


def _finding(
    workload: Ref,
    pod: Pod,
    service: Service,
    port: int,
    dependency: Dependency | None,
    proof: Complaint | None,
    *,
    hurt: bool,
) -> Finding:
    # Of a headless Service, DNS gives the pods, and their ports are what counts.
    numbers = [p.target if service.headless else p.port for p in service.spec.ports]
    ports = listing(
        [f"{n}{f' ({p.name})' if p.name else ''}" for n, p in zip(numbers, service.spec.ports, strict=True)]
    )
    lacks = f"has only port {ports}" if not service.headless else f"is headless: its pods listen on {ports}"
    where = f" ({dependency.origin})" if dependency else ""
    evidence = [
        Evidence(
            kubectl("get", "service", service.name, namespace=service.namespace),
            f"CLUSTER-IP None, targetPort {ports}" if service.headless else f"PORT(S) {ports}",
        )
    ]
    if dependency:
        command = kubectl("get", workload.kind.lower(), workload.name, "-o", "yaml", namespace=pod.namespace)
        evidence.insert(0, Evidence(command, f"{dependency.origin}: {shorten(dependency.value, 80)}, port {port}"))
    if proof:
        evidence.append(Evidence(kubectl(*proof.command, namespace=proof.pod.namespace), shorten(proof.said.text, 200)))
    place = dependency.source if dependency and dependency.source else workload
    return Finding(
        workload,
        f"{workload} talks to {service.ref().path}:{port}{where}; Service {service.name} {lacks}",
        evidence=tuple(evidence),
        next=(
            edit_template(place, f"{port} → {numbers[0]}"),
            "or give it an address: make the Service anew without clusterIP: None"
            if service.headless
            else f"only if {port} is what clients should use: "
            + kubectl("edit", "service", service.name, namespace=service.namespace),
        ),
        touches=present(service.ref(), dependency.source if dependency and dependency.source else None),
        key=f"{service.name}:{port}",
        severity=Severity.ERROR if hurt else Severity.WARNING,
        since=proof.since if proof else "",
    )

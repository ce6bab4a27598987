"""A workload talks to a port that the Service which it names does not have."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import DEPENDENT_FAILS, Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing, shorten
from kdiag.facts import Cluster, Complaint, Complaints, Dependencies, Dependency, Owners, Pod, Service, Topic

#: A workload or Service newer than this that names a port in vain is a fresh mistake: seconds.
_FRESH = 6 * 3600.0


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
    dependencies: Dependencies, owners: Owners, cluster: Cluster, complaints: Complaints | None
) -> Iterator[Finding]:
    """An error where the log says so, the workload fails or the setting is new; an old unused one is a warning."""
    seen: set[tuple[Ref, Ref, int]] = set()
    for group in dependencies.pods.templates:
        pod = next((p for p in group if not p.finished and not p.terminating), None)
        if pod is None or pod.namespace == "kube-system":
            continue
        workload = owners.top(pod)
        said = complaints.by_workload.get(workload, ()) if complaints else ()
        for dependency in dependencies.of(pod):
            target = dependencies.resolve(dependency.host, pod.namespace)
            service = target.service if target else None
            if service is None or not _lacks(service, dependency.port):
                continue
            key = (workload, service.ref(), dependency.port)
            if key in seen or not dependency.plain:
                continue
            seen.add(key)
            proof = next((c for c in said if _about(c, service, dependency.port, dependencies)), None)
            hurt = proof is not None or _failing(group) or cluster.age(pod.created) < _FRESH
            hurt = hurt or cluster.age(service.metadata.creation_timestamp) < _FRESH
            yield _finding(workload, pod, service, dependency.port, dependency, proof, hurt=hurt)
    for complaint in complaints.about(Topic.UNREACHABLE) if complaints else ():
        target = dependencies.asked(complaint.said.host, complaint.pod.namespace)
        service = target.service if target else None
        if service is None or not _lacks(service, complaint.said.port):
            continue
        key = (complaint.workload, service.ref(), complaint.said.port)
        if key not in seen and dependencies.by_address.get(complaint.said.host) is None:
            seen.add(key)
            told = dependencies.told(complaint.pod, complaint.said.host)
            yield _finding(complaint.workload, complaint.pod, service, complaint.said.port, told, complaint, hurt=True)


def _lacks(service: Service, port: int) -> bool:
    """Whether nothing answers on that port: a headless Service and an outside name have none of their own."""
    if not port or service.headless or service.external or not service.spec.ports:
        return False
    return all(p.port != port for p in service.spec.ports)


def _about(complaint: Complaint, service: Service, port: int, dependencies: Dependencies) -> bool:
    if complaint.said.topic is not Topic.UNREACHABLE or complaint.said.port not in (0, port):
        return False
    target = dependencies.asked(complaint.said.host, complaint.pod.namespace)
    return target is not None and target.service is service


def _failing(group: tuple[Pod, ...]) -> bool:
    return any(not p.ready and any(s.restart_count for s in p.all_statuses) for p in group[:20])


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
    ports = listing([f"{p.port}{f' ({p.name})' if p.name else ''}" for p in service.spec.ports])
    where = f" ({dependency.origin})" if dependency else ""
    evidence = [Evidence(kubectl("get", "service", service.name, namespace=service.namespace), f"PORT(S) {ports}")]
    if dependency:
        command = kubectl("get", workload.kind.lower(), workload.name, "-o", "yaml", namespace=pod.namespace)
        evidence.insert(0, Evidence(command, f"{dependency.origin}: {shorten(dependency.value, 80)}, port {port}"))
    if proof:
        evidence.append(Evidence(kubectl(*proof.command, namespace=proof.pod.namespace), shorten(proof.said.text, 200)))
    edit = (
        kubectl("edit", "configmap", dependency.source.name, namespace=pod.namespace)
        if dependency and dependency.source
        else kubectl("edit", workload.kind.lower(), workload.name, namespace=pod.namespace)
    )
    return Finding(
        workload,
        f"{workload} talks to {service.ref().path}:{port}{where}; Service {service.name} has only port {ports}",
        evidence=tuple(evidence),
        next=(
            f"{edit}   # {port} → {service.spec.ports[0].port}",
            f"only if {port} is what clients should use: "
            + kubectl("edit", "service", service.name, namespace=service.namespace),
        ),
        touches=(service.ref(), *((dependency.source,) if dependency and dependency.source else ())),
        key=f"{service.name}:{port}",
        severity=Severity.ERROR if hurt else Severity.WARNING,
        since=proof.since if proof else "",
    )

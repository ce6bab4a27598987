"""Workloads are ready only when another one answers, and that one waits for them in its turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kdiag.check import DEPENDENT_FAILS, Evidence, Finding, Layer, Ref, Severity, check, kubectl, shorten
from kdiag.facts import (
    Backends,
    Cluster,
    Complaint,
    Complaints,
    Dependencies,
    Owners,
    Service,
    Topic,
    Workloads,
    stalled,
)


@check(
    title="Workloads wait for each other",
    severity=Severity.ERROR,
    layer=Layer.DEPENDENCY,
    explains=(*DEPENDENT_FAILS, "application/dependency_unreachable", "network/service_has_no_ready_endpoint"),
    tags=("dependency", "readiness", "probes"),
)
def workloads_wait_for_each_other(
    workloads: Workloads,
    complaints: Complaints,
    dependencies: Dependencies,
    backends: Backends,
    owners: Owners,
    cluster: Cluster,
) -> Iterator[Finding]:
    """A circle is one only where each has nothing else to complain of, and was refused: there is no endpoint.

    Who gets no answer at all may be cut off by the network.
    """
    waits: dict[Ref, tuple[Ref, Service, Complaint]] = {}
    for ref in complaints.unmended:
        workload = workloads.get(ref)
        if workload is None:
            continue
        pods = [p for p in workloads.pods_of(workload) if not p.terminating and not p.finished]
        down = workload.desired and not any(p.ready for p in pods) and any(stalled(p, cluster) for p in pods)
        if down and (found := _only(ref, complaints, dependencies, backends, owners)):
            waits[ref] = found
    seen: set[Ref] = set()
    for start in sorted(waits):
        circle = _circle(start, waits)
        if circle and not seen & set(circle):
            seen |= set(circle)
            yield _finding(circle, waits)


def _only(
    ref: Ref, complaints: Complaints, dependencies: Dependencies, backends: Backends, owners: Owners
) -> tuple[Ref, Service, Complaint] | None:
    """The one workload that this one is refused by, where that is all that it complains of."""
    found: dict[Ref, tuple[Ref, Service, Complaint]] = {}
    for complaint in complaints.unmended.get(ref, ()):
        target = dependencies.asked(complaint.said.host, complaint.pod.namespace) if complaint.said.host else None
        service = target.service if target else None
        pods = backends.of(service) if service else ()
        refused = complaint.said.topic is Topic.UNREACHABLE and "refused" in complaint.said.text.lower()
        if service is None or not refused or not pods or any(p.ready for p in pods):
            return None
        for other in {owners.top(p) for p in pods}:
            found[other] = (other, service, complaint)
    return next(iter(found.values())) if len(found) == 1 and ref not in found else None


def _circle(start: Ref, waits: dict[Ref, tuple[Ref, Service, Complaint]]) -> tuple[Ref, ...]:
    """The workloads from this one round to it again; empty where the way leads elsewhere."""
    way = [start]
    while (now := waits.get(way[-1])) is not None:
        if now[0] == start:
            return tuple(way)
        if now[0] in way:
            return ()
        way.append(now[0])
    return ()


def _finding(circle: Sequence[Ref], waits: dict[Ref, tuple[Ref, Service, Complaint]]) -> Finding:
    first, rest = circle[0], circle[1:]
    ways = ", ".join(f"{ref} for Service {waits[ref][1].name}" for ref in rest)
    evidence = []
    for ref in circle[:3]:
        _, _, complaint = waits[ref]
        command = kubectl(*complaint.command, namespace=complaint.pod.namespace)
        evidence.append(Evidence(command, shorten(complaint.said.text, 200)))
    service = waits[circle[-1]][1]
    patch = '{"spec":{"publishNotReadyAddresses":true}}'
    return Finding(
        first,
        f"{first} waits for Service {waits[first][1].name}, and {ways}: none of them is ready before the other",
        evidence=tuple(evidence),
        next=(
            kubectl("edit", first.kind.lower(), first.name, namespace=first.namespace)
            + "   # a readinessProbe that does not ask the other: it says whether this one works",
            kubectl("patch", "service", service.name, "-p", patch, namespace=service.namespace)
            + "   # lets them find each other once; take it back then",
        ),
        touches=(*rest, *(waits[ref][1].ref() for ref in circle), *(waits[ref][2].pod.ref() for ref in circle)),
        key=" ".join(str(ref) for ref in rest),
    )

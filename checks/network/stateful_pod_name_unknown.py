"""A workload is told to talk to a pod of a StatefulSet that the StatefulSet does not have."""

from __future__ import annotations

import json
import re
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
    Cluster,
    Complaint,
    Complaints,
    Dependencies,
    Dependency,
    Owners,
    Pod,
    Service,
    StatefulSet,
    StatefulSets,
    edit_template,
    living,
    stalled,
)

_ORDINAL = re.compile(r"(?P<name>.+)-(?P<number>\d{1,6})")


@check(
    title="Workload names a pod that its StatefulSet does not have",
    severity=Severity.ERROR,
    layer=Layer.DEPENDENCY,
    explains=(
        *DEPENDENT_FAILS,
        "application/dependency_name_unresolved",
        "application/dependency_unreachable",
        "network/service_has_no_ready_endpoint",
    ),
    tags=("dns", "statefulset", "config"),
)
def stateful_pod_name_unknown(
    dependencies: Dependencies,
    statefulsets: StatefulSets,
    owners: Owners,
    cluster: Cluster,
    complaints: Complaints | None,
) -> Iterator[Finding]:
    """db-2.db of a StatefulSet with one pod. Who names others of its pods as well may live with the rest."""
    seen: set[tuple[Ref, str]] = set()
    for group in dependencies.pods.templates:
        pod = living(group)
        if pod is None or pod.namespace == "kube-system":
            continue
        workload = owners.top(pod)
        named = [(d, *found) for d in dependencies.of(pod) if (found := _stateful(d, pod, dependencies, statefulsets))]
        there = {s.ref() for _, s, number in named if number < s.desired}
        for dependency, stateful, number in named:
            missing = f"{stateful.name}-{number}"
            if workload == stateful.ref() and _waits(pod, stateful, number, dependencies, cluster):
                said = next(_said(complaints, workload, dependency), None)
                if said and (workload, missing) not in seen:
                    seen.add((workload, missing))
                    yield _deadlock(pod, dependency, stateful, missing, said)
            if number < stateful.desired or not stateful.desired or (workload, missing) in seen:
                continue
            if dependencies.pods.get(missing, stateful.namespace):
                continue  # its numbers begin elsewhere, or it is on its way out
            seen.add((workload, missing))
            said = next(_said(complaints, workload, dependency), None)
            fresh = cluster.fresh(pod.created) and stateful.ref() not in there
            yield _finding(workload, dependency, stateful, missing, said, hurt=bool(said) or fresh)
    for stateful in statefulsets.items:
        for complaint in complaints.unresolved.get(stateful.ref(), ()) if complaints else ():
            missing = complaint.said.host.lower().partition(".")[0]
            mine = _ORDINAL.fullmatch(missing)
            if mine is None or mine["name"] != stateful.name or (stateful.ref(), missing) in seen:
                continue
            if _waits(complaint.pod, stateful, int(mine["number"]), dependencies, cluster):
                seen.add((stateful.ref(), missing))
                yield _deadlock(complaint.pod, None, stateful, missing, complaint)
                break
            if service := _unpublished(complaint, dependencies, cluster):
                yield _nameless(stateful, service, complaint)
                break


def _stateful(
    dependency: Dependency, pod: Pod, dependencies: Dependencies, statefulsets: StatefulSets
) -> tuple[StatefulSet, int] | None:
    """The StatefulSet and the number of the pod that a name of the form ``db-2.db`` means."""
    first, _, rest = dependency.host.lower().partition(".")
    target = dependencies.resolve(dependency.host, pod.namespace)
    match = _ORDINAL.fullmatch(first)
    if not rest or match is None or target is None or target.service is None or target.name == first:
        return None
    stateful = statefulsets.get(match["name"], target.namespace)
    return (stateful, int(match["number"])) if stateful else None


def _waits(pod: Pod, stateful: StatefulSet, number: int, dependencies: Dependencies, cluster: Cluster) -> bool:
    """Whether this pod runs and is not ready, and so is the reason why one of a higher number is not made."""
    ordered = stateful.spec.pod_management_policy == "OrderedReady"
    mine = _ORDINAL.fullmatch(pod.name)
    if not ordered or mine is None or not int(mine["number"]) < number < stateful.desired or pod.ready or pod.restarts:
        return False
    there = dependencies.pods.get(f"{stateful.name}-{number}", stateful.namespace)
    return there is None and stalled(pod, cluster)


def _unpublished(complaint: Complaint, dependencies: Dependencies, cluster: Cluster) -> Service | None:
    """The Service that gives no name to the peer which a pod waits for: neither of the two is ready yet."""
    pod, host = complaint.pod, complaint.said.host.lower()
    target = dependencies.asked(host, pod.namespace)
    service = target.service if target else None
    peer = dependencies.pods.get(host.partition(".")[0], pod.namespace)
    if service is None or not service.headless or service.publishes_unready or peer is None or peer.name == pod.name:
        return None
    same = peer.owner is not None and pod.owner is not None and peer.owner.uid == pod.owner.uid
    waits = not (pod.ready or peer.ready) and not (pod.restarts or peer.restarts)
    return service if same and waits and stalled(pod, cluster) and stalled(peer, cluster) else None


def _said(complaints: Complaints | None, workload: Ref, dependency: Dependency) -> Iterator[Complaint]:
    host = dependency.host.lower()
    for complaint in complaints.unresolved.get(workload, ()) if complaints else ():
        if complaint.said.host == host or complaint.said.host.startswith(f"{host}."):
            yield complaint


def _deadlock(pod: Pod, dependency: Dependency | None, stateful: StatefulSet, missing: str, said: Complaint) -> Finding:
    ref, namespace = stateful.ref(), stateful.namespace
    told = f" ({dependency.origin})" if dependency else ""
    return Finding(
        ref,
        f"{ref} never gets beyond {pod.name}: that one waits for {missing}{told},"
        " which is made only when it is ready (OrderedReady)",
        evidence=(
            Evidence(
                kubectl("get", "statefulset", stateful.name, "-o", "yaml", namespace=namespace),
                f"podManagementPolicy OrderedReady, replicas {stateful.desired}",
            ),
            Evidence(kubectl(*said.command, namespace=namespace), shorten(said.said.text, 200)),
        ),
        next=(
            "podManagementPolicy: Parallel, which takes a new StatefulSet: "
            + kubectl("delete", "statefulset", stateful.name, "--cascade=orphan", namespace=namespace)
            + "   # and apply it anew",
            "or a readiness probe that does not wait for the other members",
        ),
        touches=(pod.ref(),),
        key=dependency.host.lower() if dependency else missing,
        severity=Severity.ERROR,
        since=said.since,
    )


def _nameless(stateful: StatefulSet, service: Service, said: Complaint) -> Finding:
    ref, namespace = stateful.ref(), stateful.namespace
    patch = json.dumps({"spec": {"publishNotReadyAddresses": True}}, separators=(",", ":"))
    return Finding(
        ref,
        f"{ref} waits for itself: {said.pod.name} looks for {said.said.host}, and Service {service.name} names no pod"
        " that is not ready",
        evidence=(
            Evidence(
                kubectl("get", "service", service.name, "-o", "yaml", namespace=namespace),
                "clusterIP None, publishNotReadyAddresses false",
            ),
            Evidence(kubectl(*said.command, namespace=namespace), shorten(said.said.text, 200)),
        ),
        next=(
            kubectl("patch", "service", service.name, "-p", patch, namespace=namespace),
            "or a readiness probe that does not wait for the other members",
        ),
        touches=(said.pod.ref(), service.ref()),
        key=service.name,
        severity=Severity.ERROR,
        since=said.since,
    )


def _finding(
    workload: Ref, dependency: Dependency, stateful: StatefulSet, missing: str, said: Complaint | None, *, hurt: bool
) -> Finding:
    namespace, count = workload.namespace, stateful.desired
    pods = listing([f"{stateful.name}-{n}" for n in range(min(count, 4))] + (["…"] if count > 4 else []), 5)
    place = dependency.source or workload
    evidence = [
        Evidence(
            kubectl("get", workload.kind.lower(), workload.name, "-o", "yaml", namespace=namespace),
            f"{dependency.origin}: {shorten(dependency.value, 80)}",
        ),
        Evidence(kubectl("get", "statefulset", stateful.name, namespace=stateful.namespace), f"{count} wanted: {pods}"),
    ]
    if said:
        evidence.append(Evidence(kubectl(*said.command, namespace=namespace), shorten(said.said.text, 200)))
    return Finding(
        workload,
        f"{workload} names {dependency.host} in {dependency.origin}:"
        f" {stateful.ref()} has no pod {missing}, only {pods}",
        evidence=tuple(evidence),
        next=(
            edit_template(place, f"{missing} → {stateful.name}-0"),
            "or, if there should be such a pod: "
            + kubectl("scale", "statefulset", stateful.name, "--replicas=N", namespace=stateful.namespace),
        ),
        touches=present(stateful.ref(), dependency.source),
        key=dependency.host.lower(),
        severity=Severity.ERROR if hurt else Severity.WARNING,
        since=said.since if said else "",
    )

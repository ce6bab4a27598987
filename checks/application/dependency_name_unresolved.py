"""A workload's log says that the name of something that it needs does not resolve."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, shorten
from kdiag.facts import Cluster, Complaint, Complaints, Dependencies, Resolved, Topic

#: Of a Service that is there: how fresh the line must be for the name to be unresolved still, in seconds.
_STILL = 45.0
_RECURS = 30.0


@check(
    title="Name of a dependency does not resolve",
    severity=Severity.ERROR,
    layer=Layer.DEPENDENCY,
    explains_here=(
        "application/container_crashes",
        "application/init_container_fails",
        "application/init_container_waits",
        "application/readiness_probe_fails",
        "application/liveness_probe_kills",
        "application/startup_probe_fails",
        "application/pod_not_ready",
        "application/workload_unavailable",
        "application/job_failed",
    ),
    explains=(),  # what it breaks in turn folds under its cause: a Service that nobody answers for can be both
    tags=("dns", "service", "network"),
)
def dependency_name_unresolved(
    complaints: Complaints, cluster: Cluster, dependencies: Dependencies | None
) -> Iterator[Finding]:
    """Of a workload that runs well, only a name that it was told of and that no Service has, or what goes on."""
    seen: set[tuple[Ref, str]] = set()
    for complaint in complaints.about(Topic.UNRESOLVED):
        pod, said = complaint.pod, complaint.said
        told = dependencies.told(pod, said.host) if dependencies and said.host else None
        host = told.host if told else said.host  # without the search domains, which are tried in turn
        target = dependencies.asked(host, pod.namespace) if dependencies and host else None
        there = target is not None and target.service is not None
        if not complaint.failing and not _goes_on(complaint, cluster) and (there or target is None or told is None):
            continue
        workload = complaint.workload
        name = host or "a host"
        if (workload, host.split(".")[0]) in seen:
            continue
        seen.add((workload, host.split(".")[0]))
        evidence = [Evidence(kubectl(*complaint.command, namespace=pod.namespace), shorten(said.text, 200))]
        if told:
            command = kubectl("get", workload.kind.lower(), workload.name, "-o", "yaml", namespace=pod.namespace)
            evidence.append(Evidence(command, f"{told.origin}: {shorten(told.value, 80)}"))
        if target:
            command = kubectl("get", "service", target.name, namespace=target.namespace)
            evidence.append(Evidence(command, "it exists" if there else f'services "{target.name}" not found'))
        yield Finding(
            workload,
            f"{workload} cannot resolve {name}{f' ({told.origin})' if told else ''}{_why(target)}",
            evidence=tuple(evidence),
            next=tuple(_next(complaint, target, host or "NAME")),
            touches=(Ref("Service", target.name, target.namespace),) if target else (),
            key=name,
            severity=Severity.ERROR,
            since=complaint.since,
        )


def _why(target: Resolved | None) -> str:
    if target is None:
        return ""
    if target.service is not None:
        return ": the Service is there, its DNS does not answer"
    return f": namespace {target.namespace} has no Service {target.name}"


def _goes_on(complaint: Complaint, cluster: Cluster) -> bool:
    return cluster.age(complaint.when) <= _STILL and complaint.count >= 2 and complaint.span >= _RECURS


def _next(complaint: Complaint, target: Resolved | None, host: str) -> Iterator[str]:
    pod = complaint.pod
    yield kubectl("exec", pod.name, "-c", complaint.container, "--", "nslookup", host, namespace=pod.namespace)
    if target and target.service is None:
        yield kubectl("get", "services", "--all-namespaces") + "   # which of them was meant?"
    else:
        yield kubectl("get", "pods,service,endpointslices", "-l", "k8s-app=kube-dns", namespace="kube-system")

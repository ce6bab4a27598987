"""A StatefulSet names a governing Service that does not exist, so its pods have no names of their own."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing, nearest, present
from kdiag.facts import Dependencies, Services, StatefulSet, StatefulSets, Workloads, selects


@check(
    title="StatefulSet's Service does not exist",
    severity=Severity.WARNING,
    layer=Layer.DEPENDENCY,
    explains=(
        "application/dependency_name_unresolved",
        "application/workload_unavailable",
        "network/service_name_unknown",
    ),
    tags=("statefulset", "dns", "service"),
)
def statefulset_service_missing(
    statefulsets: StatefulSets, services: Services, workloads: Workloads, dependencies: Dependencies | None
) -> Iterator[Finding]:
    """The pods run all the same; only ``pod-0.service`` does not resolve, which a cluster of peers needs."""
    for statefulset in statefulsets.items:
        name, namespace = statefulset.spec.service_name, statefulset.namespace
        if not name or statefulset.desired < 1 or services.get(name, namespace) or not services.covers(namespace):
            continue
        users = _users(statefulset, workloads, dependencies)
        if statefulset.desired == 1 and not users:
            continue  # a single pod has no peers to find
        labels = statefulset.spec.template.metadata.labels
        near = [s.name for s in services.within(namespace) if s.headless and selects(s.spec.selector, labels)]
        close = nearest(name, near) or next(iter(near), None)
        yield Finding(
            statefulset.ref(),
            f"{statefulset.ref()} names the Service {name}, which does not exist: {statefulset.name}-0.{name} does not "
            "resolve" + (f"; there is {close}" if close else ""),
            evidence=present(
                Evidence(
                    kubectl(
                        "get",
                        "statefulset",
                        statefulset.name,
                        "-o",
                        "jsonpath={.spec.serviceName}",
                        namespace=namespace,
                    ),
                    name,
                ),
                Evidence(
                    kubectl("get", "services", namespace=namespace),
                    listing(sorted(s.name for s in services.within(namespace)), 5) or "none",
                ),
                Evidence("", f"named by {listing(users, 3)}") if users else None,
            ),
            next=(
                kubectl("create", "service", "clusterip", name, "--clusterip=None", namespace=namespace),
                kubectl("set", "selector", f"service/{name}", _selector(statefulset), namespace=namespace),
                "spec.serviceName cannot be changed: another name needs a new StatefulSet",
            ),
            touches=(Ref("Service", name, namespace),),
            severity=Severity.ERROR if users else Severity.WARNING,
        )


def _users(statefulset: StatefulSet, workloads: Workloads, dependencies: Dependencies | None) -> list[str]:
    """The workloads of the namespace that are told a host of this Service."""
    found: list[str] = []
    if dependencies is None:
        return found
    service = statefulset.spec.service_name
    for workload in workloads.items:
        if workload.namespace != statefulset.namespace or workload.desired < 1:
            continue
        for dependency in dependencies.of_spec(workload.pod_spec, workload.namespace):
            labels = dependency.host.split(".")
            if labels[0] == service or (len(labels) > 1 and labels[1] == service):
                found.append(f"{workload.ref().kind} {workload.name} ({dependency.variable}={dependency.host})")
                break
    return found


def _selector(statefulset: StatefulSet) -> str:
    return ",".join(f"{k}={v}" for k, v in sorted(statefulset.spec.selector.match_labels.items()))

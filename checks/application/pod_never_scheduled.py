"""Pods wait for a node, and no scheduler has looked at them yet."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl
from kdiag.facts import Claims, Cluster, Owners, Pods, SystemLeases, never_scheduled


@check(
    title="No scheduler looks at a pod",
    severity=Severity.ERROR,
    layer=Layer.SCHEDULING,
    explains=(
        "application/workload_unavailable",
        "application/pod_not_ready",
    ),
    tags=("scheduling",),
)
def pod_never_scheduled(
    pods: Pods, owners: Owners, cluster: Cluster, claims: Claims | None, leases: SystemLeases | None
) -> Iterator[Finding]:
    """A scheduler that works leaves a PodScheduled condition within a second, whatever it decides."""
    lease = leases.get("kube-scheduler", "kube-system") if leases else None
    age = lease.age(cluster.taken) if lease and lease.spec.holder_identity else None
    alive = age is not None and age < 30
    # A live scheduler may hold a pod back before it binds it, for a volume or a device.
    waiting_pods = never_scheduled(pods, claims, cluster.taken, 600 if alive else 30)
    for ref, waiting in owners.group(waiting_pods).items():
        first = waiting[0]
        yield Finding(
            ref,
            f"{ref} waits for a node: no scheduler has looked at its pods"
            if ref.kind != "Pod"
            else f"{ref} waits for a node: no scheduler has looked at it",
            evidence=(
                Evidence(
                    kubectl("describe", "pod", first.name, namespace=first.namespace),
                    "Status: Pending, Node: <none>, no condition PodScheduled, Events: <none>",
                ),
            ),
            next=(
                kubectl("get", "lease", "kube-scheduler", "-o", "yaml", namespace="kube-system"),
                kubectl("get", "pods", "-l", "component=kube-scheduler", "-o", "wide", namespace="kube-system"),
            ),
            touches=(Ref("Lease", "kube-scheduler", "kube-system"), *(p.ref() for p in waiting[:100])),
        )

"""No controller manager holds the Lease, so what is asked of the cluster is not carried out."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import CONTROLLERS, Evidence, Finding, Gap, Layer, Ref, Severity, check, kubectl, listing
from kdiag.facts import (
    Cluster,
    Events,
    Pods,
    ReplicaSets,
    SystemLeases,
    Workloads,
    leaderless,
    too_early,
)

_NAME = "kube-controller-manager"
_MOST = 5000


@check(
    title="Controller manager does not run",
    severity=Severity.CRITICAL,
    layer=Layer.CONTROLLERS,
    explains=(
        "application/workload_unavailable",
        "application/rollout_stuck",
        "network/endpointslice_stale",
        "application/pods_cannot_be_created",
        "application/configmap_missing",
        "application/cronjob_not_running",
        "application/service_account_missing",
        "application/namespace_stuck_terminating",
        "application/pod_waits_for_claim",
        "control_plane/kubelet_certificate_request_pending",
        "application/autoscaler_blind",
    ),
    tags=("controller-manager", "rollout"),
    namespaces=("kube-system",),
)
def controller_manager_not_running(
    leases: SystemLeases,
    pods: Pods,
    cluster: Cluster,
    workloads: Workloads | None,
    replicasets: ReplicaSets | None,
    events: Events | None,
) -> Iterator[Finding | Gap]:
    """The Lease tells it within seconds; pods made since it was renewed speak against it."""
    waiting = [w.ref() for w in workloads.items if not w.observed] if workloads else []
    waiting += [r.ref() for r in replicasets.items if not r.observed] if replicasets else []
    lease = leases.get(_NAME, "kube-system")
    found = leaderless(_NAME, lease, pods, cluster.taken, idle=bool(waiting))
    if found is None:
        return
    if early := too_early(found.pods, pods, leases, events, cluster.taken):
        yield Gap(_NAME, early)
        return
    evidence = [*found.evidence(_NAME, cluster.taken)]
    if waiting:
        evidence.append(
            Evidence(
                kubectl("get", "deployments,replicasets,statefulsets,daemonsets", "-A", "-o", "yaml"),
                f"status.observedGeneration is behind on {listing([str(w) for w in waiting])}",
            )
        )
    yield Finding(
        Ref("Lease", _NAME, "kube-system"),
        f"no controller manager works: {found.why} {'kube-system/' + _NAME if lease else _NAME}",
        evidence=tuple(evidence),
        next=found.steps(_NAME),
        touches=(CONTROLLERS, *(p.ref() for p in found.pods), *waiting[:_MOST]),
        since=found.since.isoformat() if found.since else "",
    )

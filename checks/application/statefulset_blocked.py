"""A StatefulSet does not replace a broken pod of its old template, though the template has been corrected."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, whole
from kdiag.facts import Cluster, Pod, StatefulSet, Workloads, stalled, state_of


@check(
    title="StatefulSet waits for a broken old pod",
    severity=Severity.ERROR,
    layer=Layer.ROLLOUT,
    explains=(
        "application/pod_not_ready",
        "application/workload_unavailable",
    ),
    explains_here=(
        "application/config_key_missing",
        "application/configmap_missing",
        "application/container_command_not_found",
        "application/container_crashes",
        "application/container_exits_cleanly",
        "application/container_mount_fails",
        "application/container_out_of_memory",
        "application/image_name_invalid",
        "application/image_never_pulled",
        "application/image_not_found",
        "application/image_pull_denied",
        "application/init_container_fails",
        "application/liveness_probe_kills",
        "application/readiness_probe_fails",
        "application/registry_unreachable",
        "application/secret_missing",
        "application/startup_probe_fails",
    ),
    tags=("rollout", "statefulset"),
)
def statefulset_blocked(workloads: Workloads, cluster: Cluster) -> Iterator[Finding]:
    """With OrderedReady the controller waits for each pod to be Ready before it goes on, even to repair it."""
    for workload in workloads.items:
        if not isinstance(workload, StatefulSet) or not workload.observed:
            continue
        update = workload.status.update_revision
        strategy = workload.spec.update_strategy
        on_delete = strategy.type == "OnDelete"
        if not update or (workload.spec.pod_management_policy != "OrderedReady" and not on_delete):
            continue
        for pod in workloads.pods_of(workload):
            revision = pod.labels.get("controller-revision-hash")
            if not revision or revision == update or pod.ready or not stalled(pod, cluster):
                continue
            if not on_delete and _ordinal(pod) < strategy.rolling_update.partition:
                continue  # the partition keeps it at the old template on purpose
            yield _finding(workload, pod, on_delete=on_delete)
            break


def _ordinal(pod: Pod) -> int:
    return whole(pod.name.rpartition("-")[2]) or 0


def _finding(workload: StatefulSet, pod: Pod, *, on_delete: bool) -> Finding:
    namespace = workload.namespace
    why = "its update strategy is OnDelete" if on_delete else "it waits for that pod to be Ready first"
    return Finding(
        workload.ref(),
        f"{workload.ref()} does not replace {pod.name}, which fails with the old template: {why}",
        evidence=(
            Evidence(
                kubectl("get", "pod", pod.name, "--show-labels", namespace=namespace),
                f"{state_of(pod)}, controller-revision-hash={pod.labels.get('controller-revision-hash')}",
            ),
            Evidence(
                kubectl("get", "statefulset", workload.name, "-o", "jsonpath={.status}", namespace=namespace),
                f"updateRevision {workload.status.update_revision}, {workload.ready} of {workload.desired} ready",
            ),
        ),
        next=(
            kubectl("delete", "pod", pod.name, namespace=namespace),
            kubectl("rollout", "status", f"statefulset/{workload.name}", namespace=namespace),
        ),
        touches=(pod.ref(),),
        key=pod.name,
    )

"""A rollout waits for itself: its new pods fit only where its old pods are, and those may not go first."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, plural
from kdiag.facts import Deployment, Pod, Workloads, scaled

_HELD = {
    "didn't match pod anti-affinity rules": "required pod anti-affinity keeps it off every node that has an old one",
    "didn't have free ports for the requested pod ports": "its hostPort is taken on every node by an old one",
}


@check(
    title="Rollout waits for itself",
    severity=Severity.ERROR,
    layer=Layer.SCHEDULING,
    explains=(
        "application/workload_unavailable",
        "application/pod_not_ready",
        "application/pod_affinity_unsatisfiable",
        "application/host_port_taken",
    ),
    tags=("rollout", "scheduling"),
)
def rollout_deadlocked(workloads: Workloads) -> Iterator[Finding]:
    """With maxUnavailable 0 an old pod goes only after a new one is ready, which the old one prevents."""
    for workload in workloads.items:
        if not isinstance(workload, Deployment) or workload.desired < 1 or workload.spec.strategy.type == "Recreate":
            continue
        rolling = workload.spec.strategy.rolling_update
        surge = scaled(rolling.max_surge, workload.desired, up=True, default="25%")
        missing = scaled(rolling.max_unavailable, workload.desired, up=False, default="25%")
        if missing or not surge:
            continue  # an old pod may go first
        sets = workloads.replicasets.by_owner.get(workload.metadata.uid, ())
        if sum(1 for s in sets if s.desired) < 2:
            continue
        new = next((s for s in sets if s.revision == workload.revision), sets[0])
        for pod in workloads.pods.by_owner.get(new.metadata.uid, ()):
            reason = _reason(workload, pod)
            if reason:
                yield _finding(workload, pod, *reason)
                break


def _reason(workload: Deployment, pod: Pod) -> tuple[str, str] | None:
    scheduled = pod.condition("PodScheduled")
    if pod.node or not scheduled or scheduled.status != "False":
        return None
    own = workload.spec.template.metadata.labels
    for text, why in _HELD.items():
        if text not in scheduled.message:
            continue
        if "anti-affinity" in text:
            anti = pod.spec.affinity.pod_anti_affinity if pod.spec.affinity else None
            terms = anti.required_during_scheduling_ignored_during_execution if anti else ()
            if not any(t.label_selector and t.label_selector.matches(own) for t in terms):
                continue  # another workload's pods keep it away
        elif not any(p.host_port for c in pod.spec.containers for p in c.ports):
            continue
        return why, scheduled.message
    return None


def _finding(workload: Deployment, pod: Pod, why: str, message: str) -> Finding:
    name, namespace = f"deployment/{workload.name}", workload.namespace
    patch = '{"spec":{"strategy":{"rollingUpdate":{"maxSurge":0,"maxUnavailable":1}}}}'
    return Finding(
        workload.ref(),
        f"{workload.ref()} cannot roll: maxUnavailable is 0, so a new pod must come first, and {why}",
        evidence=(
            Evidence(kubectl("describe", "pod", pod.name, namespace=namespace), f"FailedScheduling: {message}"),
            Evidence(
                kubectl("get", "deployment", workload.name, "-o", "jsonpath={.spec.strategy}", namespace=namespace),
                f"maxUnavailable {workload.spec.strategy.rolling_update.max_unavailable} of "
                f"{plural(workload.desired, 'replica')} is 0 (rounded down)",
            ),
        ),
        next=(
            kubectl("patch", "deployment", workload.name, "-p", patch, namespace=namespace),
            kubectl("rollout", "status", name, namespace=namespace),
        ),
        touches=(pod.ref(),),
        severity=Severity.WARNING if workload.ready >= workload.desired else Severity.ERROR,
    )

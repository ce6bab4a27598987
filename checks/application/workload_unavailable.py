"""A workload has fewer ready pods than it should have, for longer than a start takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, listing
from kdiag.facts import (
    Cluster,
    DaemonSet,
    Deployment,
    Events,
    Jobs,
    Logs,
    Pod,
    StatefulSet,
    Workload,
    Workloads,
    scaled,
    stalled,
    stands_by,
    state_of,
    waits_for_work,
)

_END = 120  # seconds that a pod may take to end before what waits for it counts as down
_PATIENT = 600  # seconds that somebody may well want between two pods of a StatefulSet
_START = 60  # seconds in which a controller makes the pods that are missing
_SHORT = {
    "Deployment": "deployment",
    "StatefulSet": "statefulset",
    "DaemonSet": "daemonset",
    "ReplicaSet": "replicaset",
    "ReplicationController": "replicationcontroller",
}


@check(
    title="Workload has too few ready pods",
    severity=Severity.ERROR,
    layer=Layer.ROLLOUT,
    explains=(
        "application/rollout_stuck",
        "network/service_has_no_ready_endpoint",
        "network/cluster_dns_unavailable",
        "control_plane/api_server_tunnel_down",
        "application/disruption_budget_blocks_drain",
    ),
    tags=("rollout", "workload"),
)
def workload_unavailable(
    workloads: Workloads, cluster: Cluster, events: Events | None, logs: Logs | None, jobs: Jobs | None
) -> Iterator[Finding]:
    """A symptom: what keeps the pods from being ready is for other checks to say."""
    for workload in workloads.items:
        if workload.desired < 1 or workload.metadata.deletion_timestamp:
            continue
        pods = [p for p in workloads.pods_of(workload) if not p.terminating and p.phase != "Succeeded"]
        ready = _ready(workload, pods)
        if ready >= workload.desired or not _broken(workload, pods, workloads, cluster, events):
            continue
        bad = [p for p in pods if not p.ready]
        if ready and len(pods) >= workload.desired and all(stands_by(p, logs) for p in bad):
            continue  # one leads, and the others are not ready on purpose
        if len(pods) >= workload.desired and all(waits_for_work(p, jobs) for p in bad):
            continue  # a migration, say, takes its time
        enough = ready > 0 and ready >= workload.desired - _may_miss(workload)
        ending = _waits_for(workload, pods, workloads, cluster)
        pauses = _pauses(workload, pods)
        if pauses and workload.spec.min_ready_seconds <= _PATIENT:
            continue  # one after the other, each after its pause
        why = f": minReadySeconds {pauses:,} after each pod, before the next" if pauses else ""
        if ending and ending.deleted:
            why = f": strategy Recreate waits for {ending.name} to end, until {ending.deleted:%H:%M} UTC at the latest"
        yield Finding(
            workload.ref(),
            f"{workload.ref()} has {ready} of {workload.desired:,} pods ready{why}",
            evidence=(*_evidence(workload, bad), *_ending(ending)),
            next=tuple(_next(workload, bad, ending, pauses)),
            touches=tuple(p.ref() for p in bad[:50]),
            severity=Severity.WARNING if enough or pauses else Severity.ERROR,
        )


def _ready(workload: Workload, pods: Sequence[Pod]) -> int:
    """The pods are the truth where they were seen: a controller that is dead leaves its last count behind."""
    counted = sum(1 for p in pods if p.ready)
    return min(counted, workload.ready) if pods and workload.observed else counted if pods else workload.ready


def _may_miss(workload: Workload) -> int:
    """How many pods a rollout of it may lack."""
    total = workload.desired
    if isinstance(workload, Deployment):
        if workload.spec.strategy.type == "Recreate":
            return 0
        rolling = workload.spec.strategy.rolling_update
        missing = scaled(rolling.max_unavailable, total, up=False, default="25%")
        surge = scaled(rolling.max_surge, total, up=True, default="25%")
        return missing if missing or surge else 1
    rolling = workload.spec.update_strategy.rolling_update
    if isinstance(workload, DaemonSet):
        return scaled(rolling.max_unavailable, total, up=True, default=1)
    return 1 if isinstance(workload, StatefulSet) else 0


def _broken(
    workload: Workload, pods: Sequence[Pod], workloads: Workloads, cluster: Cluster, events: Events | None
) -> bool:
    """Whether pods have failed or are late, or were never made; not what a rollout or a scale-up looks like."""
    failing = [p for p in pods if not p.ready and stalled(p, cluster, events)]
    if failing:
        return not _in_flight(workload, pods) or any(_certain(p) for p in failing)
    failure = workload.condition("ReplicaFailure")
    if failure and failure.status == "True":
        return True
    if len(pods) >= workload.desired:
        return False  # all there, some still starting
    if any(p.terminating for p in workloads.pods_of(workload)):
        return _waits_for(workload, pods, workloads, cluster) is not None  # they go before new ones come
    if isinstance(workload, Deployment) and workload.spec.paused and not _rolled(workload, workloads):
        return False  # rollout_paused says so
    if not workload.observed and workload.status.observed_generation:
        return False  # scaled a moment ago
    if any(not p.ready for p in pods) and isinstance(workload, StatefulSet):
        return False  # one after the other
    return _quiet(workload, pods, workloads, cluster)


def _waits_for(workload: Workload, pods: Sequence[Pod], workloads: Workloads, cluster: Cluster) -> Pod | None:
    """The pod that ends for minutes while nothing stands in its place: Recreate makes no new one before."""
    if pods or not isinstance(workload, Deployment) or workload.spec.strategy.type != "Recreate":
        return None
    # The time of deletion is the one at which its grace period is over.
    ending = [p for p in workloads.pods_of(workload) if p.deleted and cluster.age(p.deleted) + p.grace > _END]
    return ending[0] if ending else None


def _pauses(workload: Workload, pods: Sequence[Pod]) -> int:
    """The minReadySeconds that a StatefulSet waits for between pods, where that is all that it waits for."""
    pause = workload.spec.min_ready_seconds
    if not isinstance(workload, StatefulSet) or not pause or workload.spec.pod_management_policy != "OrderedReady":
        return 0
    ready = sum(1 for p in pods if p.ready)
    waits = 0 < ready == len(pods) < workload.desired and workload.status.available_replicas < ready
    return pause if waits else 0


def _certain(pod: Pod) -> bool:
    state = state_of(pod)
    return not state.startswith("Running, ") and state not in ("Pending", "ContainerCreating", "PodInitializing")


def _in_flight(workload: Workload, pods: Sequence[Pod]) -> bool:
    """Whether a rollout is under way that keeps as many pods as it promised."""
    if not isinstance(workload, Deployment) or workload.status.updated_replicas == workload.status.replicas:
        return False
    progressing = workload.condition("Progressing")
    if progressing and progressing.status == "False":
        return False
    return _ready(workload, pods) >= max(workload.desired - _may_miss(workload), 1)


def _rolled(workload: Deployment, workloads: Workloads) -> bool:
    return bool(workloads.replicasets.by_owner.get(workload.metadata.uid))


def _quiet(workload: Workload, pods: Sequence[Pod], workloads: Workloads, cluster: Cluster) -> bool:
    """Whether nothing has happened to it for as long as a controller takes to make pods."""
    moments = [workload.created, *(p.created for p in pods)]
    moments += [c.last_update_time or c.last_transition_time for c in workload.status.conditions]
    if isinstance(workload, Deployment):
        moments += [r.created for r in workloads.replicasets.by_owner.get(workload.metadata.uid, ())]
    known = [m for m in moments if m]
    return bool(known) and cluster.age(max(known)) > _START


def _evidence(workload: Workload, bad: Sequence[Pod]) -> Iterator[Evidence]:
    kind = _SHORT.get(type(workload).__name__, "workload")
    status = workload.condition("Available")
    shown = f"READY {workload.ready}/{workload.desired}"
    if status and status.status == "False":
        shown += f", Available=False: {status.message}"
    yield Evidence(kubectl("get", kind, workload.name, namespace=workload.namespace), shown)
    failure = workload.condition("ReplicaFailure")
    if failure and failure.status == "True":
        yield Evidence(kubectl("describe", kind, workload.name, namespace=workload.namespace), failure.message)
    if bad:
        states = Counter(map(state_of, bad))
        yield Evidence(
            kubectl("get", "pods", "-l", str(workload.spec.selector), namespace=workload.namespace),
            listing([f"{count} {state}" for state, count in sorted(states.items())], 4),
        )


def _ending(pod: Pod | None) -> Iterator[Evidence]:
    if pod and pod.deleted:
        hook = any(c.lifecycle and c.lifecycle.pre_stop for c in pod.spec.containers)
        yield Evidence(
            kubectl("get", "pod", pod.name, namespace=pod.namespace),
            f"Terminating, and has until {pod.deleted:%H:%M:%S} UTC to end (grace {pod.grace} s"
            + (", preStop runs first)" if hook else ")")
            + "; strategy Recreate makes no new pod before",
        )


def _next(workload: Workload, bad: Sequence[Pod], ending: Pod | None, pauses: int) -> Iterator[str]:
    kind = _SHORT.get(type(workload).__name__, "workload")
    if ending:
        yield kubectl("logs", ending.name, "--all-containers", "--tail=20", namespace=workload.namespace)
        sooner = kubectl("delete", "pod", ending.name, "--grace-period=5", namespace=workload.namespace)
        yield f"{sooner}   # where it has nothing left to finish"
    elif bad:
        yield kubectl("describe", "pod", bad[0].name, namespace=workload.namespace)
        if any(s.restart_count for s in bad[0].all_statuses):
            yield kubectl(
                "logs", bad[0].name, "--all-containers", "--previous", "--tail=20", namespace=workload.namespace
            )
    elif pauses:
        what = kubectl("edit", kind, workload.name, namespace=workload.namespace)
        yield f"{what}   # spec.minReadySeconds: seconds, not milliseconds"
    else:
        yield kubectl("describe", kind, workload.name, namespace=workload.namespace)
        yield kubectl("get", "events", "--field-selector=reason=FailedCreate", namespace=workload.namespace)
        failure = workload.condition("ReplicaFailure")
        if failure and failure.status == "True" and isinstance(workload, Deployment):
            again = kubectl("rollout", "restart", f"deployment/{workload.name}", namespace=workload.namespace)
            yield f"{again}   # where the reason is mended; by itself it is tried again within a quarter of an hour"

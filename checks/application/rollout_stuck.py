"""A rollout does not get on: the new revision's pods fail while the old ones stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, listing, plural
from kdiag.facts import (
    Cluster,
    DaemonSet,
    Deployment,
    Deployments,
    Pod,
    ReplicaSet,
    StatefulSet,
    Workload,
    Workloads,
    definite_failure,
    scaled,
    state_of,
    template_changes,
    unready_for,
)

_PATIENCE = 600  # seconds, as progressDeadlineSeconds has by default: these kinds have no such field


@check(
    title="Rollout is stuck",
    severity=Severity.ERROR,
    layer=Layer.ROLLOUT,
    tags=("rollout",),
)
def rollout_stuck(deployments: Deployments, workloads: Workloads, cluster: Cluster) -> Iterator[Finding]:
    """Only where there is a revision to go back to: a first rollout that fails is an unavailable workload."""
    for deployment in deployments.items:
        sets = workloads.replicasets.by_owner.get(deployment.metadata.uid, ())
        if deployment.spec.paused or deployment.desired < 1 or len(sets) < 2 or not deployment.observed:
            continue
        new = next((s for s in sets if s.revision == deployment.revision), sets[0])
        old = _served(s for s in sets if s is not new)
        pods = workloads.pods.by_owner.get(new.metadata.uid, ())
        if old is None or not _stuck(deployment, new, pods):
            continue
        serving = sum(
            1 for s in sets if s is not new for p in workloads.pods.by_owner.get(s.metadata.uid, ()) if p.ready
        )
        bad = [p for p in pods if not p.ready and not p.terminating]
        yield Finding(
            deployment.ref(),
            f"{deployment.ref()} is stuck at revision {new.revision}: {_trouble(new, bad)}" + _still(old, serving),
            evidence=tuple(_evidence(deployment, old, new, bad)),
            next=tuple(_next(deployment, old)),
            touches=(new.ref(), *(p.ref() for p in bad[:50])),
            severity=Severity.WARNING if _enough(deployment) else Severity.ERROR,
        )
    for workload in workloads.items:
        if isinstance(workload, (StatefulSet, DaemonSet)) and workload.observed and workload.desired:
            yield from _in_place(workload, workloads.pods_of(workload), cluster)


def _in_place(workload: Workload, pods: Sequence[Pod], cluster: Cluster) -> Iterator[Finding]:
    """A StatefulSet or DaemonSet replaces pod by pod, and waits for each: the first bad one holds up all others."""
    hashes = {p.template_hash for p in pods if p.template_hash}
    if len(hashes) < 2:
        return
    newest = max(pods, key=lambda p: p.created.timestamp() if p.created else 0.0).template_hash
    revision = workload.status.update_revision or newest
    old = [p for p in pods if p.template_hash != revision and p.ready]
    bad = [p for p in pods if p.template_hash == revision and not p.ready and not p.terminating]
    failing = [p for p in bad if definite_failure(p) or unready_for(p, cluster) > _PATIENCE]
    if not failing or not old:
        return
    kind, namespace = workload.ref().kind.lower(), workload.namespace
    yield Finding(
        workload.ref(),
        f"{workload.ref()} is stuck in its rollout: {failing[0].name} has the new template, and it "
        f"{_one(failing[0])}; {plural(len(old), 'pod')} of the old one still there",
        evidence=(
            Evidence(
                kubectl(
                    "get",
                    "pods",
                    "-l",
                    str(workload.spec.selector),
                    "-L",
                    "controller-revision-hash",
                    namespace=namespace,
                ),
                f"{failing[0].name} {failing[0].template_hash} {state_of(failing[0])}; "
                f"{old[0].name} {old[0].template_hash} Ready",
            ),
        ),
        next=(
            kubectl("rollout", "undo", f"{kind}/{workload.name}", namespace=namespace),
            kubectl("delete", "pod", failing[0].name, namespace=namespace)
            + "   # after the undo: a broken pod is not replaced by itself"
            if kind == "statefulset"
            else kubectl("rollout", "status", f"{kind}/{workload.name}", namespace=namespace),
        ),
        touches=tuple(p.ref() for p in bad[:50]),
        severity=Severity.WARNING if workload.ready * 2 > workload.desired else Severity.ERROR,
    )


def _one(pod: Pod) -> str:
    """What one pod does, in the singular."""
    words = {"run but are not ready": "runs but is not ready", "cannot pull their image": "cannot pull its image"}
    said = _words(pod)
    return words.get(said) or {"crash": "crashes", "fail in an init container": "fails in an init container"}.get(
        said, said.replace("are ", "is ", 1)
    )


def _served(sets: Iterator[ReplicaSet]) -> ReplicaSet | None:
    """The newest older revision, and rather one that still has ready pods."""
    older = list(sets)
    return next((s for s in older if s.ready), next(iter(older), None))


def _stuck(deployment: Deployment, new: ReplicaSet, pods: Sequence[Pod]) -> bool:
    progressing = deployment.condition("Progressing")
    if progressing and progressing.status == "False":
        return progressing.reason == "ProgressDeadlineExceeded" or _failing(new, pods)
    if progressing and progressing.reason == "NewReplicaSetAvailable":
        return False  # it had finished: what fails now is not the rollout
    if deployment.status.updated_replicas >= deployment.desired and new.ready >= deployment.desired:
        return False
    return _failing(new, pods)


def _failing(new: ReplicaSet, pods: Sequence[Pod]) -> bool:
    failure = new.condition("ReplicaFailure")
    return bool(failure and failure.status == "True") or any(definite_failure(p) for p in pods)


def _trouble(new: ReplicaSet, bad: Sequence[Pod]) -> str:
    if not bad:
        return (
            f"ReplicaSet {new.name} cannot make its pods" if new.condition("ReplicaFailure") else "no new pod is ready"
        )
    state, _ = Counter(map(_words, bad)).most_common(1)[0]
    return f"its pods {state}"


def _words(pod: Pod) -> str:
    """The same for the same fault: a pull that fails goes to and fro between two reasons."""
    state = state_of(pod)
    match state.removeprefix("Init:"):
        case "Running, not ready":
            return "run but are not ready"
        case "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull":
            return "cannot pull their image"
        case "CrashLoopBackOff" | "Error" | "OOMKilled" | "ContainerCannotRun" | "StartError":
            return "crash" if not state.startswith("Init:") else "fail in an init container"
    if state.startswith("Running, "):
        return f"run, but {state.removeprefix('Running, ')}"
    return f"are {state}"


def _still(old: ReplicaSet, serving: int) -> str:
    return f"; {plural(serving, 'pod')} of revision {old.revision} still there" if serving else ""


def _next(deployment: Deployment, old: ReplicaSet) -> Iterator[str]:
    name, namespace = f"deployment/{deployment.name}", deployment.namespace
    yield kubectl("rollout", "undo", name, f"--to-revision={old.revision}", namespace=namespace)
    yield kubectl("rollout", "status", name, "--timeout=2m", namespace=namespace)


def _enough(deployment: Deployment) -> bool:
    rolling = deployment.spec.strategy.rolling_update
    missing = scaled(rolling.max_unavailable, deployment.desired, up=False, default="25%")
    return deployment.ready >= max(deployment.desired - missing, 1)


def _evidence(deployment: Deployment, old: ReplicaSet, new: ReplicaSet, bad: Sequence[Pod]) -> Iterator[Evidence]:
    progressing = deployment.condition("Progressing")
    if progressing:
        yield Evidence(
            kubectl("rollout", "status", f"deployment/{deployment.name}", namespace=deployment.namespace),
            f"Progressing={progressing.status} {progressing.reason}: {progressing.message}",
        )
    yield Evidence(
        kubectl("get", "replicasets", "-l", str(deployment.spec.selector), namespace=deployment.namespace),
        f"revision {old.revision} {old.name} {old.ready}/{old.desired} ready; "
        f"revision {new.revision} {new.name} {new.ready}/{new.desired} ready",
    )
    changes = list(template_changes(old.pod_spec, new.pod_spec))
    if changes:
        yield Evidence(
            kubectl(
                "rollout",
                "history",
                f"deployment/{deployment.name}",
                f"--revision={new.revision}",
                namespace=deployment.namespace,
            ),
            f"changed since revision {old.revision}: {listing(changes, 4)}",
        )
    failure = new.condition("ReplicaFailure")
    if failure and failure.status == "True":
        yield Evidence(kubectl("describe", "replicaset", new.name, namespace=deployment.namespace), failure.message)
    if bad:
        yield Evidence(
            kubectl("get", "pod", bad[0].name, namespace=deployment.namespace),
            state_of(bad[0]),
        )

"""A paused Deployment has a change that is not rolled out."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import CLIENT_FAILS, Evidence, Finding, Layer, Severity, check, kubectl, listing, plural
from kdiag.facts import (
    Cluster,
    Complaints,
    Dependencies,
    Deployment,
    Deployments,
    Pod,
    ReplicaSet,
    ReplicaSets,
    Workloads,
    stalled,
    template_changes,
)

_SETTLED = 60  # seconds: pause, edit, resume is one ordinary move


@check(
    title="Rollout is paused with a change waiting",
    severity=Severity.WARNING,
    layer=Layer.ROLLOUT,
    explains=("network/service_has_no_ready_endpoint",),
    explains_here=(
        *CLIENT_FAILS,
        "application/liveness_probe_kills",
        "application/startup_probe_fails",
        "application/workload_unavailable",
    ),
    tags=("rollout",),
)
def rollout_paused(
    deployments: Deployments,
    replicasets: ReplicaSets,
    cluster: Cluster,
    workloads: Workloads | None,
    complaints: Complaints | None,
    dependencies: Dependencies | None,
) -> Iterator[Finding]:
    """A pause is no fault. An edit that has no effect for it is what somebody wonders about: it may be the mend."""
    for deployment in deployments.items:
        if not deployment.spec.paused or deployment.desired < 1:
            continue
        progressing = deployment.condition("Progressing")
        since = progressing.last_update_time or progressing.last_transition_time if progressing else deployment.created
        made = replicasets.by_owner.get(deployment.metadata.uid, ())
        running = [r for r in made if r.desired]
        if (made and not running) or not since or cluster.age(since) < _SETTLED:
            continue
        changes = _waiting(deployment, running) if running else []
        if not changes and len(running) == 1:
            continue
        failing = _unmended(deployment, workloads, cluster, complaints, dependencies) if changes else ()
        if not made:
            said = "is paused and was never rolled out: no pod of it is made"
        elif changes:
            said = f"is paused: a change of its template waits ({listing(changes, 2)})"
            are = "is" if len(failing) == 1 else "are"
            said += f" while {plural(len(failing), 'pod')} of the old one {are} not ready" if failing else ""
        else:
            said = f"is paused in the middle of a rollout, between revisions {listing(_revisions(running), 3)}"
        yield Finding(
            deployment.ref(),
            f"{deployment.ref()} {said}",
            evidence=(
                Evidence(
                    kubectl("describe", "deployment", deployment.name, namespace=deployment.namespace),
                    "Progressing Unknown DeploymentPaused" if progressing else "spec.paused is true",
                ),
                Evidence(
                    kubectl("get", "replicasets", "-o", "wide", namespace=deployment.namespace),
                    listing([f"{r.name} revision {r.revision} {r.ready}/{r.desired} ready" for r in running], 3)
                    or "No resources found",
                ),
            ),
            next=(
                kubectl("rollout", "resume", f"deployment/{deployment.name}", namespace=deployment.namespace),
                kubectl("rollout", "status", f"deployment/{deployment.name}", namespace=deployment.namespace),
            ),
            touches=tuple(pod.ref() for pod in failing),
            severity=Severity.ERROR if failing else Severity.WARNING if changes or not made else Severity.INFO,
        )


def _unmended(
    deployment: Deployment,
    workloads: Workloads | None,
    cluster: Cluster,
    complaints: Complaints | None,
    dependencies: Dependencies | None,
) -> tuple[Pod, ...]:
    """The pods that fail, where they do not complain of what the waiting template would ask for as well."""
    pods = tuple(p for p in workloads.pods_of(deployment) if stalled(p, cluster)) if workloads else ()
    if not pods or complaints is None or dependencies is None:
        return pods
    for complaint in complaints.by_workload.get(deployment.ref(), ()):
        told = dependencies.told(complaint.pod, complaint.said.host)
        if told and not dependencies.outdated(told, complaint.pod, deployment.pod_spec):
            return ()
    return pods


def _waiting(deployment: Deployment, running: list[ReplicaSet]) -> list[str]:
    """What differs from the newest revision that runs; nothing when some revision is already of this template."""
    found = [list(template_changes(r.pod_spec, deployment.pod_spec)) for r in running]
    return found[0] if all(found) else []


def _revisions(running: list[ReplicaSet]) -> list[str]:
    return [r.revision or r.name for r in reversed(running)]

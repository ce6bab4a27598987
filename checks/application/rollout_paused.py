"""A paused Deployment has a change that is not rolled out."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, listing
from kdiag.facts import Cluster, Deployment, Deployments, ReplicaSet, ReplicaSets, template_changes

_SETTLED = 60  # seconds: pause, edit, resume is one ordinary move


@check(
    title="Rollout is paused with a change waiting",
    severity=Severity.WARNING,
    layer=Layer.ROLLOUT,
    explains=("network/service_has_no_ready_endpoint",),
    tags=("rollout",),
)
def rollout_paused(deployments: Deployments, replicasets: ReplicaSets, cluster: Cluster) -> Iterator[Finding]:
    """A pause is no fault. An edit that has no effect for it is what somebody wonders about."""
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
        if not made:
            said = "is paused and was never rolled out: no pod of it is made"
        elif changes:
            said = f"is paused: a change of its template waits ({listing(changes, 2)})"
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
            severity=Severity.WARNING if changes or not made else Severity.INFO,
        )


def _waiting(deployment: Deployment, running: list[ReplicaSet]) -> list[str]:
    """What differs from the newest revision that runs; nothing when some revision is already of this template."""
    found = [list(template_changes(r.pod_spec, deployment.pod_spec)) for r in running]
    return found[0] if all(found) else []


def _revisions(running: list[ReplicaSet]) -> list[str]:
    return [r.revision or r.name for r in reversed(running)]

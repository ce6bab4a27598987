"""A rollout is declared failed before its pods have had the time that their probes give them."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl
from kdiag.facts import Container, Deployments


@check(
    title="Progress deadline is shorter than the start",
    severity=Severity.RISK,
    layer=Layer.ROLLOUT,
    tags=("rollout", "probes"),
)
def progress_deadline_shorter_than_start(deployments: Deployments) -> Iterator[Finding]:
    """Tools that wait for the rollout (Helm, pipelines) give up on a start that would have gone well."""
    for deployment in deployments.items:
        deadline = deployment.spec.progress_deadline_seconds
        start = max(map(_start, deployment.pod_spec.containers), default=0)
        need = start + deployment.spec.min_ready_seconds
        if deployment.desired < 1 or need < deadline:
            continue
        patch = f'{{"spec":{{"progressDeadlineSeconds":{need * 2}}}}}'
        yield Finding(
            deployment.ref(),
            f"{deployment.ref()} may take {need} s to become available by its probes, and is called failed after "
            f"{deadline} s",
            evidence=(
                Evidence(
                    kubectl("get", "deployment", deployment.name, "-o", "yaml", namespace=deployment.namespace),
                    f"probes allow {start} s, minReadySeconds {deployment.spec.min_ready_seconds}, "
                    f"progressDeadlineSeconds {deadline}",
                ),
            ),
            next=(kubectl("patch", "deployment", deployment.name, "-p", patch, namespace=deployment.namespace),),
        )


def _start(container: Container) -> int:
    """Seconds that the startup probe gives, and then the readiness probe's first answer."""
    startup, ready = container.startup_probe, container.readiness_probe
    budget = startup.initial_delay_seconds + startup.period_seconds * startup.failure_threshold if startup else 0
    return max(budget, ready.initial_delay_seconds if ready else 0)

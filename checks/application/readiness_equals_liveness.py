"""Liveness and readiness ask the same question with the same patience, so overload restarts containers."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl
from kdiag.facts import Fronts, Probe


@check(
    title="Liveness probe equals readiness probe",
    severity=Severity.RISK,
    layer=Layer.ROLLOUT,
    tags=("rollout", "probes"),
)
def readiness_equals_liveness(fronts: Fronts) -> Iterator[Finding]:
    """One question is fine as long as liveness waits clearly longer before it acts."""
    for front in fronts.items:
        for container in front.workload.pod_spec.containers:
            live, ready = container.liveness_probe, container.readiness_probe
            if not live or not ready or not live.same_as(ready) or _acts(live) >= 2 * _acts(ready):
                continue
            workload = front.workload
            kind = workload.ref().kind.lower()
            yield Finding(
                workload.ref(),
                f"{workload.ref()} asks the same of liveness and readiness: container {container.name} is restarted "
                f"after {_acts(live)} s, and taken out of {front.by} after {_acts(ready)} s",
                evidence=(
                    Evidence(
                        kubectl("get", kind, workload.name, "-o", "yaml", namespace=workload.namespace),
                        f"liveness {live.period_seconds} s × {live.failure_threshold} failures; "
                        f"readiness {ready.period_seconds} s × {ready.failure_threshold} failures",
                    ),
                ),
                next=(
                    kubectl("edit", kind, workload.name, namespace=workload.namespace)
                    + "   # a larger failureThreshold for liveness, or a question that needs no peer",
                ),
                key=container.name,
            )


def _acts(probe: Probe) -> int:
    """Seconds of failing until the probe acts."""
    return probe.period_seconds * probe.failure_threshold

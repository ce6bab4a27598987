"""Pods stop at once when they are deleted, while traffic is still on its way to them."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, listing
from kdiag.facts import Fronts


@check(
    title="preStop pause is missing",
    severity=Severity.RISK,
    layer=Layer.ROLLOUT,
    tags=("rollout", "shutdown"),
)
def pre_stop_missing(fronts: Fronts) -> Iterator[Finding]:
    """Leaving the Service and getting SIGTERM happen side by side; only a pause lets the first win."""
    for front in fronts.items:
        bare = [c.name for c in front.containers if c.lifecycle.pre_stop is None]
        if not bare or len(bare) < len(front.containers):
            continue
        workload = front.workload
        kind, grace = workload.ref().kind.lower(), workload.pod_spec.termination_grace_period_seconds
        yield Finding(
            workload.ref(),
            f"{workload.ref()} has no preStop pause: its pods get SIGTERM while {front.by} still sends them requests",
            evidence=(
                Evidence(
                    kubectl("get", kind, workload.name, "-o", "yaml", namespace=workload.namespace),
                    f"no lifecycle.preStop in container {listing(bare, 3)}; terminationGracePeriodSeconds {grace}",
                ),
            ),
            next=(
                kubectl("edit", kind, workload.name, namespace=workload.namespace)
                + f"   # lifecycle.preStop.sleep.seconds: {20 if front.ingresses else 5}, and a grace that is longer",
            ),
        )

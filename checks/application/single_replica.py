"""A workload that takes requests from outside has one replica: each restart of it is an outage."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Gap, Layer, Severity, check, kubectl
from kdiag.facts import Autoscalers, DaemonSet, Fronts


@check(
    title="Workload has a single replica",
    severity=Severity.RISK,
    layer=Layer.ROLLOUT,
    tags=("rollout", "availability"),
)
def single_replica(fronts: Fronts, autoscalers: Autoscalers | None) -> Iterator[Finding | Gap]:
    """A rollout with a surge bridges it; a drain, a lost node or a crash does not."""
    for front in fronts.items:
        workload = front.workload
        if workload.desired != 1 or not front.outside or isinstance(workload, DaemonSet):
            continue
        if autoscalers is None:
            yield Gap("horizontalpodautoscalers", f"not seen: one may give {workload.ref()} more replicas")
            continue
        if any(
            scaler.spec.min_replicas > 1
            and (scaler.spec.scale_target_ref.kind, scaler.spec.scale_target_ref.name)
            == (workload.ref().kind, workload.name)
            for scaler in autoscalers.within(workload.namespace)
        ):
            continue
        kind = workload.ref().kind.lower()
        yield Finding(
            workload.ref(),
            f"{workload.ref()} behind {front.by} has a single replica: a drain or a lost node takes it away",
            evidence=(
                Evidence(
                    kubectl("get", kind, workload.name, namespace=workload.namespace), f"READY {workload.ready}/1"
                ),
            ),
            next=(
                kubectl("scale", f"{kind}/{workload.name}", "--replicas=2", namespace=workload.namespace)
                + "   # if two may run side by side",
            ),
        )

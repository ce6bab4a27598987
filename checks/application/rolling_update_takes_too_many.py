"""A rollout may take half of the pods or more away before new ones are ready."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, plural
from kdiag.facts import Deployment, Fronts, scaled


@check(
    title="Rollout may take too many pods away",
    severity=Severity.RISK,
    layer=Layer.ROLLOUT,
    tags=("rollout", "strategy"),
)
def rolling_update_takes_too_many(fronts: Fronts) -> Iterator[Finding]:
    """maxUnavailable is rounded down and maxSurge up; where both come to 0, one pod may be missing."""
    for front in fronts.items:
        workload = front.workload
        if not isinstance(workload, Deployment):
            continue
        total, strategy = workload.desired, workload.spec.strategy
        if strategy.type == "Recreate":
            said = f"Recreate ends all {plural(total, 'pod')} before the first new one starts"
            shown = "strategy Recreate"
        else:
            rolling = strategy.rolling_update
            missing = scaled(rolling.max_unavailable, total, up=False, default="25%")
            surge = scaled(rolling.max_surge, total, up=True, default="25%")
            missing = min(missing if missing or surge else 1, total)
            if missing * 2 < total or not missing:
                continue
            shown = f"maxUnavailable {_text(rolling.max_unavailable)}, maxSurge {_text(rolling.max_surge)}"
            said = (
                f"{plural(total, 'replica')}, maxUnavailable {_text(rolling.max_unavailable)}: "
                f"{missing} may be missing, {total - missing} left"
            )
        patch = '{"spec":{"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1,"maxUnavailable":0}}}}'
        yield Finding(
            workload.ref(),
            f"{workload.ref()} behind {front.by} rolls with gaps: {said}",
            evidence=(
                Evidence(
                    kubectl(
                        "get",
                        "deployment",
                        workload.name,
                        "-o",
                        "jsonpath={.spec.strategy}",
                        namespace=workload.namespace,
                    ),
                    shown,
                ),
            ),
            next=(kubectl("patch", "deployment", workload.name, "-p", patch, namespace=workload.namespace),),
        )


def _text(value: int | str | None) -> str:
    return "25%" if value is None else str(value)

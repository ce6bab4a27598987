"""A disruption budget lets no pod go, even when all of them are well."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl
from kdiag.facts import DisruptionBudgets


@check(
    title="Disruption budget allows nothing",
    severity=Severity.RISK,
    layer=Layer.ROLLOUT,
    tags=("rollout", "drain", "disruption"),
)
def disruption_budget_allows_nothing(budgets: DisruptionBudgets) -> Iterator[Finding]:
    """The next drain, upgrade or scale-down of a node will hang on it."""
    for budget in budgets.items:
        status, spec = budget.status, budget.spec
        if not status.expected_pods or status.desired_healthy < status.expected_pods:
            continue
        rule = (
            f"minAvailable {spec.min_available}"
            if spec.min_available is not None
            else f"maxUnavailable {spec.max_unavailable}"
        )
        yield Finding(
            budget.ref(),
            f"{budget.ref()} can never let a pod go: {rule} of {status.expected_pods} means that "
            f"{status.desired_healthy} must be healthy",
            evidence=(
                Evidence(kubectl("get", "pdb", budget.name, namespace=budget.namespace), "ALLOWED DISRUPTIONS 0"),
            ),
            next=(
                "one replica more than must be healthy, or:",
                kubectl(
                    "patch",
                    "pdb",
                    budget.name,
                    "--type=merge",
                    "-p",
                    '{"spec":{"minAvailable":null,"maxUnavailable":1}}',
                    namespace=budget.namespace,
                ),
            ),
        )

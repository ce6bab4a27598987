"""A drain waits for pods that a disruption budget does not let go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing, plural
from kdiag.facts import Cluster, DisruptionBudgets, Node, Nodes, Pod, PodDisruptionBudget, Pods

_GIVEN_UP = 86_400  # seconds: nobody drains for a day; the node is only kept free of new pods
_PATIENCE = 600  # seconds in which evicted pods come back elsewhere and make room for the next


@check(
    title="Disruption budget blocks a drain",
    severity=Severity.WARNING,
    layer=Layer.ROLLOUT,
    tags=("drain", "rollout", "disruption"),
)
def disruption_budget_blocks_drain(
    budgets: DisruptionBudgets, nodes: Nodes, pods: Pods, cluster: Cluster
) -> Iterator[Finding]:
    """Only where somebody tries: a cordoned node still has pods of a budget that allows no disruption."""
    cordoned = [n for n in nodes.items if n.spec.unschedulable]
    here = [(n, p) for n in cordoned for p in pods.by_node.get(n.name, ()) if _evictable(p)]
    for budget in budgets.items:
        if budget.status.disruptions_allowed or not budget.spec.selector or not budget.status.expected_pods:
            continue
        stuck = [(n, p) for n, p in here if p.namespace == budget.namespace and budget.spec.selector.matches(p.labels)]
        if not stuck or not (_never(budget) or _waited(stuck[0][0], cluster)):
            continue
        kept = all(_waited(n, cluster, _GIVEN_UP) for n, _ in stuck)
        yield _finding(budget, stuck, Severity.INFO if kept else Severity.WARNING)
    yield from _doubled(budgets, here, cluster)


def _doubled(budgets: DisruptionBudgets, here: Sequence[tuple[Node, Pod]], cluster: Cluster) -> Iterator[Finding]:
    """Pods that more than one budget selects: the API server evicts none of them, whatever the budgets allow."""
    found: dict[tuple[Ref, ...], list[tuple[Node, Pod]]] = {}
    for node, pod in here:
        mine = [
            b.ref() for b in budgets.within(pod.namespace) if b.spec.selector and b.spec.selector.matches(pod.labels)
        ]
        if len(mine) > 1 and not _waited(node, cluster, _GIVEN_UP):
            found.setdefault(tuple(mine), []).append((node, pod))
    for kinds, stuck in found.items():
        budget, namespace = kinds[0], kinds[0].namespace
        names = sorted({n.name for n, _ in stuck})
        kept = listing([b.name for b in kinds], 3)
        yield Finding(
            budget,
            f"{budget} blocks the drain of {listing(names, 3)}: {stuck[0][1].name} belongs to more than one"
            f" budget ({kept})",
            evidence=(
                Evidence(kubectl("get", "pdb", namespace=namespace), f"{kept} select {stuck[0][1].name}"),
                Evidence("", "an eviction is refused: This pod has more than one PodDisruptionBudget"),
                Evidence(kubectl("get", "node", names[0]), "SchedulingDisabled"),
            ),
            next=(
                kubectl("delete", "pdb", kinds[-1].name, namespace=namespace) + "   # or the other: keep one of them",
            ),
            touches=(*(Ref("Node", n) for n in names), *(p.ref() for _, p in stuck[:20])),
            key="more than one",
        )


def _evictable(pod: Pod) -> bool:
    """A drain leaves the pods of DaemonSets and of the node itself; finished ones it deletes without asking."""
    return not (pod.finished or pod.mirror or pod.terminating or (pod.owner and pod.owner.kind == "DaemonSet"))


def _never(budget: PodDisruptionBudget) -> bool:
    """Whether no pod may go even when all are well."""
    return budget.status.desired_healthy >= budget.status.expected_pods


def _waited(node: Node, cluster: Cluster, seconds: int = _PATIENCE) -> bool:
    added = next((t.time_added for t in node.spec.taints if t.key == "node.kubernetes.io/unschedulable"), None)
    return added is not None and cluster.age(added) > seconds


def _finding(budget: PodDisruptionBudget, stuck: list[tuple[Node, Pod]], severity: Severity) -> Finding:
    status, namespace = budget.status, budget.namespace
    names = sorted({n.name for n, _ in stuck})
    needs = f"it needs {status.desired_healthy} healthy pods and has {status.current_healthy} of {status.expected_pods}"
    return Finding(
        budget.ref(),
        f"{budget.ref()} blocks the drain of {listing(names, 3)}: {needs}",
        evidence=(
            Evidence(kubectl("get", "pdb", budget.name, namespace=namespace), "ALLOWED DISRUPTIONS 0"),
            Evidence(
                kubectl(
                    "get", "pods", "-o", "wide", "--field-selector", f"spec.nodeName={names[0]}", namespace=namespace
                ),
                f"{plural(len(stuck), 'pod')} still there: {listing([p.name for _, p in stuck], 3)}",
            ),
            Evidence(kubectl("get", "node", names[0]), "SchedulingDisabled"),
        ),
        next=tuple(_next(budget, stuck[0][1])),
        touches=(*(Ref("Node", n) for n in names), *(p.ref() for _, p in stuck[:20])),
        severity=severity,
    )


def _next(budget: PodDisruptionBudget, pod: Pod) -> Iterator[str]:
    namespace = budget.namespace
    if budget.status.current_healthy < budget.status.expected_pods:
        yield "first make the pods healthy that are not: " + kubectl("get", "pods", "-o", "wide", namespace=namespace)
    elif pod.owner:
        yield f"give it one replica more, so that one may go: {kubectl('get', 'deploy,sts', namespace=namespace)}"
    yield kubectl("edit", "pdb", budget.name, namespace=namespace) + "   # e.g. maxUnavailable: 1"

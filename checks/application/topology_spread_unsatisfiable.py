"""A topology spread constraint that must hold leaves a pod no node."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, listing
from kdiag.facts import Claims, Cluster, Events, Scheduling, Stuck, Volumes, Why, unmet_spread


@check(
    title="Topology spread leaves a pod no node",
    severity=Severity.ERROR,
    layer=Layer.SCHEDULING,
    explains=(
        "application/pod_not_ready",
        "application/workload_unavailable",
    ),
    tags=("scheduling", "topology"),
)
def topology_spread_unsatisfiable(
    scheduling: Scheduling, cluster: Cluster, claims: Claims | None, volumes: Volumes | None, events: Events | None
) -> Iterator[Finding]:
    """Often a node that can take no pod counts as a domain all the same, and holds the others back."""
    for stuck in scheduling.stuck(Why.SPREAD, cluster.taken, claims, volumes, events):
        constraints = unmet_spread(stuck.pod.spec)
        keys = listing(dict.fromkeys(c.topology_key for c in constraints))
        yield Finding(
            stuck.owner,
            f"{stuck.owner} must spread over {keys}; {_why(stuck, scheduling)}",
            evidence=tuple(_evidence(stuck)),
            next=tuple(_next(stuck)),
            touches=tuple(p.ref() for p in stuck.pods[:50]),
            since=stuck.since,
        )


def _why(stuck: Stuck, scheduling: Scheduling) -> str:
    for c in unmet_spread(stuck.pod.spec):
        if not any(c.topology_key in n.labels for n in scheduling.nodes.items):
            return "no node has that label"
    # A domain counts although its nodes refuse the pod: nodeTaintsPolicy is Ignore by default.
    shut = [
        name
        for name, found in stuck.obstacles.items()
        if found and not any(o.why in (Why.SPREAD, Why.SELECTOR) for o in found)
    ]
    ignoring = [c for c in unmet_spread(stuck.pod.spec) if c.node_affinity_policy == "Ignore"]
    unwanted = [name for name, found in stuck.obstacles.items() if any(o.why is Why.SELECTOR for o in found)]
    if ignoring and unwanted:
        count = "counts as a domain" if len(unwanted) == 1 else "count as domains"
        return f"{listing(unwanted)} {count} (nodeAffinityPolicy Ignore), and its node selector keeps it from there"
    if shut:
        first = next(o for o in stuck.obstacles[shut[0]])
        return f"{listing(shut)} counts as a domain and can take no pod ({first.detail or first.why.value})"
    return "every domain that it may use has more pods than maxSkew allows"


def _evidence(stuck: Stuck) -> Iterator[Evidence]:
    yield Evidence(kubectl("describe", "pod", stuck.pod.name, namespace=stuck.pod.namespace), stuck.quote)
    for c in unmet_spread(stuck.pod.spec)[:2]:
        yield Evidence(
            kubectl("get", "pods", "-l", str(c.label_selector or ""), "-o", "wide", namespace=stuck.pod.namespace),
            listing([f"{n}: {o.detail or o.why.value}" for n, found in stuck.obstacles.items() for o in found], 4)
            + f"; maxSkew {c.max_skew}",
        )


def _next(stuck: Stuck) -> Iterator[str]:
    owner = stuck.owner
    kind = owner.kind.lower()
    if kind == "pod":
        yield f"make pod {owner.path} anew with whenUnsatisfiable: ScheduleAnyway"
        return
    edit = kubectl("edit", kind, owner.name, namespace=owner.namespace)
    if any(c.node_affinity_policy == "Ignore" for c in unmet_spread(stuck.pod.spec)):
        yield f"{edit}  # nodeAffinityPolicy: Honor in the constraint: nodes that it may not use no longer count"
    elif any(found and not any(o.why is Why.SPREAD for o in found) for found in stuck.obstacles.values()):
        yield f"{edit}  # nodeTaintsPolicy: Honor in the constraint: tainted nodes no longer count"
    yield f"{edit}  # whenUnsatisfiable: ScheduleAnyway, or a larger maxSkew"

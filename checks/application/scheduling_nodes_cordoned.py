"""A pod has no node because the nodes that could take it are cordoned."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, listing, plural
from kdiag.facts import Claims, Cluster, Events, Scheduling, Stuck, Volumes, Why


@check(
    title="Pods wait because nodes are cordoned",
    severity=Severity.ERROR,
    layer=Layer.SCHEDULING,
    explains=(
        "application/pod_not_ready",
        "application/workload_unavailable",
        "worker_node/node_cordoned",
    ),
    tags=("scheduling", "nodes", "drain"),
)
def scheduling_nodes_cordoned(
    scheduling: Scheduling, cluster: Cluster, claims: Claims | None, volumes: Volumes | None, events: Events | None
) -> Iterator[Finding]:
    """A cordon alone is maintenance and no fault; a pod that has nowhere else to go is."""
    for stuck in scheduling.stuck(Why.CORDONED, cluster.taken, claims, volumes, events):
        near = stuck.near or tuple(n for n in scheduling.nodes.items if n.spec.unschedulable)
        names = [n.name for n in near]
        all_cordoned = all(n.spec.unschedulable or n in stuck.background for n in scheduling.nodes.items)
        tied = stuck.details(Why.VOLUME)
        which = (
            "every node for ordinary pods is cordoned"
            if all_cordoned and len(names) > 1
            else f"the node of its volume, {listing(names)}, is cordoned"
            if tied and len(names) == 1
            else f"{listing(names) or 'the nodes that could take it'} {'is' if len(names) == 1 else 'are'} cordoned"
        )
        yield Finding(
            stuck.owner,
            f"{stuck.owner} has no node: {which}"
            + (f" ({listing(names)})" if all_cordoned and len(names) > 1 else "")
            + ("" if all_cordoned or tied else ", and no other node can take it")
            + _too_many(stuck, len(names)),
            evidence=tuple(_evidence(stuck, names)),
            next=(
                kubectl("uncordon", *names[:5]) + "  # when the maintenance is over",
                "kubectl get nodes  # SchedulingDisabled shows what is still cordoned",
            ),
            touches=(*(p.ref() for p in stuck.pods[:50]), *(n.ref() for n in near[:20])),
            since=stuck.since,
        )


def _too_many(stuck: Stuck, nodes: int) -> str:
    """What else is in the way of pods that keep away from each other: of each node, one of them has room."""
    affinity = stuck.pod.spec.affinity
    far = affinity.pod_anti_affinity if affinity else None
    terms = far.required_during_scheduling_ignored_during_execution if far else ()
    alone = any(
        t.topology_key == "kubernetes.io/hostname" and t.label_selector and t.label_selector.matches(stuck.pod.labels)
        for t in terms
    )
    more = len(stuck.pods) - nodes
    return f"; its anti-affinity leaves {plural(more, 'pod')} without one even then" if alone and more > 0 else ""


def _evidence(stuck: Stuck, names: list[str]) -> Iterator[Evidence]:
    yield Evidence(kubectl("describe", "pod", stuck.pod.name, namespace=stuck.pod.namespace), stuck.quote)
    yield Evidence("kubectl get nodes", f"SchedulingDisabled: {listing(names) or 'some'}")
    others = [
        f"{name}: {listing([o.detail or o.why.value for o in found])}"
        for name, found in stuck.obstacles.items()
        if name not in names and found
    ]
    if others:
        yield Evidence("", f"the others refuse it: {listing(others)}")

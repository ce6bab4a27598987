"""A pod's required affinity or anti-affinity to other pods leaves it no node."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, listing, nearest
from kdiag.facts import Claims, Cluster, Events, Scheduling, Stuck, Volumes, Why, edit_template, labels_text


@check(
    title="Pod affinity rules leave a pod no node",
    severity=Severity.ERROR,
    layer=Layer.SCHEDULING,
    explains=(
        "application/pod_not_ready",
        "application/workload_unavailable",
    ),
    tags=("scheduling", "affinity"),
)
def pod_affinity_unsatisfiable(
    scheduling: Scheduling, cluster: Cluster, claims: Claims | None, volumes: Volumes | None, events: Events | None
) -> Iterator[Finding]:
    """Affinity to pods that do not exist, anti-affinity with more replicas than nodes, or a label nodes lack."""
    for why in (Why.AFFINITY, Why.ANTI_AFFINITY):
        for stuck in scheduling.stuck(why, cluster.taken, claims, volumes, events):
            yield Finding(
                stuck.owner,
                f"{stuck.owner} {_near(stuck, scheduling) if why is Why.AFFINITY else _far(stuck, scheduling)}",
                evidence=tuple(_evidence(stuck, why)),
                next=tuple(_next(stuck, why)),
                touches=tuple(p.ref() for p in stuck.pods[:50]),
                key=why.value,
                since=stuck.since,
            )


def _near(stuck: Stuck, scheduling: Scheduling) -> str:
    affinity = stuck.pod.spec.affinity.pod_affinity if stuck.pod.spec.affinity else None
    for term in affinity.required_during_scheduling_ignored_during_execution if affinity else ():
        if not any(term.topology_key in n.labels for n in scheduling.nodes.items):
            return f"has pod affinity by {term.topology_key}, a label that no node has"
        if term.label_selector is None or scheduling.matching(term, stuck.pod.namespace):
            continue
        there = {
            labels_text({k: p.labels[k]})
            for p in scheduling.pods.within(stuck.pod.namespace)
            if p.node
            for k in (term.label_selector.match_labels)
            if k in p.labels
        }
        close = nearest(str(term.label_selector), sorted(there))
        where = listing(term.namespaces) if term.namespaces else stuck.pod.namespace
        return f"must run beside a pod with {term.label_selector}; none runs in namespace {where}" + (
            f"; there is {close}" if close else ""
        )
    return "must run beside pods that are on nodes it cannot use"


def _far(stuck: Stuck, scheduling: Scheduling) -> str:
    affinity = stuck.pod.spec.affinity.pod_anti_affinity if stuck.pod.spec.affinity else None
    for term in affinity.required_during_scheduling_ignored_during_execution if affinity else ():
        others = scheduling.matching(term, stuck.pod.namespace)
        if not others:
            continue
        own = term.label_selector is not None and term.label_selector.matches(stuck.pod.labels)
        by = "node" if term.topology_key == "kubernetes.io/hostname" else term.topology_key
        if own:
            return f"may have one pod in each {by}, and each {by} that it may use has one already"
        return f"may not run beside pods with {term.label_selector}, and each {by} that it may use has one"
    return "is kept off by the anti-affinity of pods that run already"


def _evidence(stuck: Stuck, why: Why) -> Iterator[Evidence]:
    yield Evidence(kubectl("describe", "pod", stuck.pod.name, namespace=stuck.pod.namespace), stuck.quote)
    shown = [
        f"{n.name}: {listing([o.detail for o in stuck.obstacles[n.name] if o.why is why])}" for n in stuck.near[:3]
    ]
    if shown:
        yield Evidence("kubectl get pods -A -o wide --show-labels", listing(shown, 3))


def _next(stuck: Stuck, why: Why) -> Iterator[str]:
    owner = stuck.owner
    rule = "podAffinity" if why is Why.AFFINITY else "podAntiAffinity"
    if owner.kind == "Pod":
        yield f"make pod {owner.path} anew with a {rule} that can hold, or with preferredDuringScheduling…"
    else:
        yield edit_template(owner, f"correct {rule}, or make it preferredDuringScheduling…")
    if why is Why.ANTI_AFFINITY and owner.kind in ("Deployment", "StatefulSet"):
        yield "or have no more replicas than nodes"
        yield "where only a rollout is stuck: strategy.rollingUpdate maxSurge: 0, maxUnavailable: 1"

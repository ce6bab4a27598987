"""A pod asks for more of a resource than any node that it may use has left."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from kdiag.check import Evidence, Finding, Gap, Layer, Severity, check, kubectl, listing, plural
from kdiag.facts import SCALE_UP, Claims, Cluster, Events, Node, Scheduling, Stuck, Volumes, Why, amount

_NONE = Decimal(0)


@check(
    title="No node has the resources that a pod requests",
    severity=Severity.ERROR,
    layer=Layer.SCHEDULING,
    explains=(
        "application/pod_not_ready",
        "application/workload_unavailable",
    ),
    tags=("scheduling", "resources"),
)
def scheduling_insufficient_resources(
    scheduling: Scheduling, cluster: Cluster, claims: Claims | None, volumes: Volumes | None, events: Events | None
) -> Iterator[Finding | Gap]:
    """Tells a request that no node could ever meet from nodes that are full at present."""
    for stuck in scheduling.stuck(Why.RESOURCE, cluster.taken, claims, volumes, events):
        if events is None and all(cluster.age(pod.created) < SCALE_UP for pod in stuck.pods):
            yield Gap("events", f"not seen: an autoscaler may be bringing a node for {stuck.owner}")
            continue
        resource = _scarce(stuck, scheduling)
        asked = scheduling.requests_of(stuck.pod.spec).get(resource)
        largest = max(stuck.near, key=lambda n: n.status.allocatable.get(resource, _NONE), default=None)
        roomiest = max(stuck.near, key=lambda n: scheduling.free(n, resource), default=None)
        never = asked is not None and largest is not None and asked > largest.status.allocatable.get(resource, _NONE)
        yield Finding(
            stuck.owner,
            f"{stuck.owner} requests {amount(resource, asked)} {resource}"
            f"{_message(scheduling, resource, largest, roomiest, never=never)}"
            if asked is not None
            else f"{stuck.owner} finds too little {resource} on every node that it may use",
            evidence=(*_evidence(stuck, scheduling, resource), *stuck.no_node_coming(events, cluster)),
            next=tuple(_next(stuck, resource, never=never)),
            touches=tuple(p.ref() for p in stuck.pods[:50]),
            key=resource,
            since=stuck.since,
        )


def _scarce(stuck: Stuck, scheduling: Scheduling) -> str:
    """The resource that is short on most nodes, one that can never be met first."""
    asked = scheduling.requests_of(stuck.pod.spec)
    short = {r: [n for n in stuck.near if v > scheduling.free(n, r)] for r, v in asked.items() if v > 0}
    never = {r: sum(asked[r] > n.status.allocatable.get(r, 0) for n in nodes) for r, nodes in short.items()}
    named = [w.rstrip(".,") for w in stuck.quote.split("Insufficient ")[1:] for w in w.split()[:1]]
    ranked = sorted(short, key=lambda r: (r not in named, -len(short[r]), -never[r], r))
    return ranked[0] if ranked and (short[ranked[0]] or not named) else next(iter(named), "cpu")


def _message(scheduling: Scheduling, resource: str, largest: Node | None, roomiest: Node | None, *, never: bool) -> str:
    if never and largest is not None:
        most = largest.status.allocatable.get(resource, _NONE)
        return (
            f"; the largest node it may use ({largest.name}) has {amount(resource, most)} in all"
            if most
            else f"; no node it may use offers {resource}"
        )
    if roomiest is None or not scheduling.whole:
        return "; no node that it may use has that much left"
    total = amount(resource, roomiest.status.allocatable.get(resource, _NONE))
    free = amount(resource, max(scheduling.free(roomiest, resource), Decimal(0)))
    return f"; the most that is left on a node is {free} of {total}, on {roomiest.name}"


def _evidence(stuck: Stuck, scheduling: Scheduling, resource: str) -> Iterator[Evidence]:
    yield Evidence(kubectl("describe", "pod", stuck.pod.name, namespace=stuck.pod.namespace), stuck.quote)
    for node in stuck.near[:3]:
        total = amount(resource, node.status.allocatable.get(resource, _NONE))
        if scheduling.whole:
            used = amount(resource, scheduling.used.get(node.name, {}).get(resource, Decimal(0)))
            yield Evidence(kubectl("describe", "node", node.name), f"{resource}: {used} of {total} requested")
        else:
            yield Evidence(kubectl("describe", "node", node.name), f"Allocatable {resource} {total}")
    others = [n for n in stuck.obstacles if n not in {x.name for x in (*stuck.near, *stuck.background)}]
    if others:
        reasons = {o.detail or o.why.value for n in others for o in stuck.obstacles[n]}
        yield Evidence("kubectl get nodes", f"{plural(len(others), 'other node')} refused: {listing(sorted(reasons))}")


def _next(stuck: Stuck, resource: str, *, never: bool) -> Iterator[str]:
    owner = stuck.owner
    if owner.kind in ("Deployment", "StatefulSet", "DaemonSet"):
        yield kubectl(
            "set",
            "resources",
            f"{owner.kind.lower()}/{owner.name}",
            f"--requests={resource}=…",
            namespace=owner.namespace,
        ) + ("  # what it really uses" if resource in ("cpu", "memory") else "")
    else:
        yield (
            kubectl("get", owner.kind.lower(), owner.name, "-o", "yaml", namespace=owner.namespace)
            + "  # lower its requests"
        )
    if resource not in ("cpu", "memory", "ephemeral-storage"):
        yield f"kubectl get daemonsets -A  # does the device plugin for {resource} run on the nodes?"
    elif never:
        yield "or add a node that is large enough"
    else:
        yield "or free room: lower other requests, scale something down, or add a node"

"""A pod that was given other requests or limits in place keeps its old ones: its node cannot grant the new."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, plural, shorten
from kdiag.facts import Cluster, Condition, Owners, Pod, Pods

#: Seconds that a kubelet may take to do it, or a node to have room.
_AT_ONCE, _PATIENCE = 30, 180


@check(
    title="Pod is not resized",
    severity=Severity.WARNING,
    layer=Layer.SCHEDULING,
    tags=("scheduling", "resources"),
)
def resize_not_done(pods: Pods, owners: Owners, cluster: Cluster) -> Iterator[Finding]:
    """The pod goes on as it was. Deferred is tried again when there is room; Infeasible never will be."""
    stuck = {(p.namespace, p.name): c for p in pods.items if p.conditions and (c := _refused(p, cluster))}
    for owner, group in owners.group([p for p in pods.items if (p.namespace, p.name) in stuck]).items():
        kinds: dict[str, list[Pod]] = {}
        for pod in group:
            kinds.setdefault(stuck[pod.namespace, pod.name].reason, []).append(pod)
        for reason, some in kinds.items():
            first = some[0]
            found = stuck[first.namespace, first.name]
            yield Finding(
                owner,
                (f"{owner}" if owner == first.ref() else f"{plural(len(some), 'pod')} of {owner}")
                + f" {'keeps' if len(some) == 1 else 'keep'} the old size ({reason}): {shorten(found.message, 140)}",
                evidence=(
                    Evidence(
                        kubectl("describe", "pod", first.name, namespace=first.namespace),
                        f"{found.type} {reason}: {shorten(found.message, 300)}",
                    ),
                ),
                next=tuple(_next(owner, first, reason)),
                touches=(*(p.ref() for p in some[:50]), *dict.fromkeys(Ref("Node", p.node) for p in some if p.node)),
                key=reason,
                since=found.last_transition_time.isoformat() if found.last_transition_time else "",
            )


def _refused(pod: Pod, cluster: Cluster) -> Condition | None:
    """The condition that says why a pod is not resized."""
    for kind, reasons in (("PodResizePending", ("Deferred", "Infeasible")), ("PodResizeInProgress", ("Error",))):
        found = pod.condition(kind)
        if pod.terminating or found is None or found.status != "True" or found.reason not in reasons:
            continue
        if cluster.age(found.last_transition_time) > (_AT_ONCE if found.reason == "Infeasible" else _PATIENCE):
            return found
    return None


def _next(owner: Ref, pod: Pod, reason: str) -> Iterator[str]:
    sizes = "jsonpath={.spec.containers[*].resources} {.status.containerStatuses[*].resources}"
    yield kubectl("get", "pod", pod.name, "-o", sizes, namespace=pod.namespace) + "   # asked for, and had"
    if pod.node:
        yield kubectl("describe", "node", pod.node) + "   # Allocated resources"
    if reason == "Deferred":
        yield f"it is done by itself once {pod.node or 'its node'} has room"
    if owner.kind in ("Deployment", "StatefulSet", "DaemonSet"):
        restart = kubectl("rollout", "restart", f"{owner.kind.lower()}/{owner.name}", namespace=owner.namespace)
        yield f"or let it be placed anew, once its template has the new size: {restart}"

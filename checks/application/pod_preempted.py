"""A pod was removed from its node for one of higher priority and has no place now."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, present
from kdiag.facts import Event, Events, Owners, Pod, Pods, Workloads


@check(
    title="Pod is preempted by one of higher priority",
    severity=Severity.WARNING,
    layer=Layer.SCHEDULING,
    explains=(
        "application/scheduling_insufficient_resources",
        "application/host_port_taken",
        "application/node_pod_limit_reached",
        "application/pod_not_ready",
        "application/workload_unavailable",
    ),
    tags=("scheduling", "priority"),
)
def pod_preempted(pods: Pods, events: Events, workloads: Workloads, owners: Owners) -> Iterator[Finding]:
    """Preemption that did no harm is the scheduler's ordinary work: it is said only while the victim is missed."""
    victims: dict[Ref, list[Event]] = {}
    for event in events.by_reason.get("Preempted", ()):
        if event.about.kind == "Pod" and (owner := _owner(event.about, pods, workloads)):
            victims.setdefault(owner, []).append(event)
    for owner, found in victims.items():
        workload = workloads.get(owner)
        if workload is not None and (
            workload.ready >= workload.desired or not _unplaced(workload_pods(workloads, owner))
        ):
            continue
        event = found[0]
        by, node = _by(event, pods)
        top = owners.top(by) if by else None
        name = (f"{top} (priority {by.spec.priority})") if by and top else "a pod of higher priority"
        where = f" from {node}" if node else ""
        yield Finding(
            owner,
            f"{owner} was removed{where} for {name}; nothing makes it again"
            if owner.kind == "Pod"
            else f"{owner} lost pods{where} to {name}, and they have no place now",
            evidence=present(
                Evidence(
                    kubectl("get", "events", "--field-selector=reason=Preempted", namespace=owner.namespace),
                    f"pod/{event.about.name}: {event.message}",
                ),
                Evidence(
                    kubectl("get", "pod", by.name, "-o", "wide", namespace=by.namespace),
                    f"priority {by.spec.priority}, class {by.spec.priority_class_name or 'none'}, on {node}",
                )
                if by
                else None,
            ),
            next=(
                "give both enough room: lower requests or add a node",
                "kubectl get priorityclass  # does the other one need its priority? "
                "preemptionPolicy: Never lets it wait instead",
            ),
            touches=tuple({e.about for e in found} if workload is None else ()),
        )


def workload_pods(workloads: Workloads, owner: Ref) -> tuple[Pod, ...]:
    """The pods of the workload of that name."""
    workload = workloads.get(owner)
    return workloads.pods_of(workload) if workload else ()


def _unplaced(pods: tuple[Pod, ...]) -> bool:
    return any(not p.node and p.phase == "Pending" and p.spec.priority >= 0 for p in pods)


def _owner(victim: Ref, pods: Pods, workloads: Workloads) -> Ref | None:
    """The victim's workload; the pod is gone, so by the name of the ReplicaSet or workload that it was called after."""
    if pods.get(victim.name, victim.namespace):
        return None  # it is there again under the same name, or still going
    maker = victim.name.rpartition("-")[0]
    made = workloads.replicasets.get(maker, victim.namespace)
    if made and made.controller:
        return Ref(made.controller.kind, made.controller.name, victim.namespace)
    for kind in ("DaemonSet", "StatefulSet", "ReplicaSet"):
        if workloads.get(Ref(kind, maker, victim.namespace)):
            return Ref(kind, maker, victim.namespace)
    # Without a controller nothing makes the pod again; a name with a random suffix had one, which is gone.
    return None if re.search(r"-[bcdfghjklmnpqrstvwxz2456789]{5}$", victim.name) else victim


def _by(event: Event, pods: Pods) -> tuple[Pod | None, str]:
    """The pod that took the place: the one of highest priority that started on that node just then."""
    match = re.search(r"Preempted by .*on node (\S+)", event.message)
    if match is None or event.when is None:
        return None, ""
    near = [
        p
        for p in pods.by_node.get(match[1], ())
        if p.spec.priority > 0 and (at := p.started or p.created) and abs((at - event.when).total_seconds()) < 120
    ]
    return max(near, key=lambda p: (p.spec.priority, p.path), default=None), match[1]

"""The kubelet evicted pods because their node ran short, or because they used more disk than they may."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, plural, present, shorten
from kdiag.facts import Cluster, Nodes, Owners, Pod, Pods

_RECENT = 900.0
_RESOURCE = re.compile(r"The node was low on resource: ([\w.-]+?)\.(?:\s|$)|The node had condition: \[(\w+)\]")
_PRESSURE = {
    "memory": "MemoryPressure",
    "ephemeral-storage": "DiskPressure",
    "inodes": "DiskPressure",
    "pids": "PIDPressure",
}


@check(
    title="Pods were evicted",
    severity=Severity.WARNING,
    layer=Layer.POD,
    explains=("application/pod_not_ready",),
    tags=("eviction", "memory", "disk", "resources"),
)
def pod_evicted(pods: Pods, cluster: Cluster, owners: Owners | None, nodes: Nodes | None) -> Iterator[Finding]:
    """Evicted pods stay behind as Failed. They matter when it was just now or the node is still short."""
    groups: dict[tuple[Ref, str], list[Pod]] = {}
    for pod in pods.troubled:
        if pod.phase == "Failed" and pod.reason == "Evicted":
            groups.setdefault((owners.top(pod) if owners else pod.ref(), _key(pod)), []).append(pod)
    for (owner, key), group in groups.items():
        group.sort(key=lambda p: (p.created is not None, p.created and p.created.timestamp(), p.name))
        pod = group[-1]
        node = nodes.get(pod.node) if nodes else None
        pressure = _PRESSURE.get(key, key if key.endswith("Pressure") else "")
        condition = node.condition(pressure) if node and pressure else None
        short = condition is not None and condition.status == "True"
        ended = max((s.ended.finished_at for s in pod.all_statuses if s.ended and s.ended.finished_at), default=None)
        gone = pod.condition("DisruptionTarget")
        when = (gone.last_transition_time if gone else None) or ended or pod.started or pod.created
        own = key in ("volume", "limit")
        now = cluster.age(when) < _RECENT
        if own:
            why = shorten(pod.message.strip(), 110)
        else:
            why = f"node {pod.node} was low on {key.replace('Pressure', '').lower() or 'resources'}"
            why += " and still is" if short else ""
        again = own and now and len(group) > 2
        yield Finding(
            owner,
            f"{owner.kind} {owner.path}: evicted from {pod.node}: {why}"
            if own
            else f"{owner.kind} {owner.path}: evicted, {why}",
            evidence=present(
                Evidence(
                    kubectl("get", "pods", "--field-selector", "status.phase=Failed", namespace=pod.namespace),
                    f"{plural(len(group), 'pod')} Evicted, the last is {pod.name}",
                ),
                Evidence(
                    kubectl("describe", "pod", pod.name, namespace=pod.namespace),
                    shorten(pod.message.strip(), 300) or "Evicted",
                ),
                Evidence(kubectl("describe", "node", pod.node), f"{pressure} {condition.status}")
                if condition
                else None,
            ),
            next=present(
                f"{kubectl('edit', owner.kind.lower(), owner.name, namespace=pod.namespace)}   # a larger limit"
                if own
                else None,
                kubectl("describe", "node", pod.node) if not own else None,
                kubectl("delete", "pods", "--field-selector", "status.phase=Failed", namespace=pod.namespace)
                + "   # leftovers: only the record of them",
            ),
            touches=(*(p.ref() for p in group[-20:]), Ref("Node", pod.node))
            if not own
            else tuple(p.ref() for p in group[-20:]),
            key=key,
            severity=Severity.ERROR if again else Severity.WARNING if short or now else Severity.INFO,
            since=when.isoformat() if when else "",
        )


def _key(pod: Pod) -> str:
    if match := _RESOURCE.search(pod.message):
        return match[1] or match[2]
    if "EmptyDir volume" in pod.message:
        return "volume"
    return "limit" if "exceed" in pod.message else ""

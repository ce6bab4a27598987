"""Pods wait, and the cluster has no node at all that could take them."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import CLUSTER, Evidence, Finding, Layer, Severity, check, kubectl
from kdiag.facts import Cluster, Events, Nodes, Owners, Pods, stalled


@check(
    title="Cluster has no node",
    severity=Severity.CRITICAL,
    layer=Layer.NODE,
    explains=(
        "application/pod_not_ready",
        "application/workload_unavailable",
        "application/pod_never_scheduled",
    ),
    tags=("scheduling", "node"),
)
def cluster_without_nodes(
    nodes: Nodes, pods: Pods, owners: Owners, cluster: Cluster, events: Events | None
) -> Iterator[Finding]:
    """A node group of size zero, or nodes that do not register. A warning where nothing but add-ons waits."""
    if nodes.items:
        return
    waiting = [p for p in pods.troubled if p.phase == "Pending" and not p.node and stalled(p, cluster, events)]
    if not waiting:
        return
    first = waiting[0]
    said = first.condition("PodScheduled")
    own = any(p.namespace != "kube-system" for p in waiting)
    yield Finding(
        CLUSTER,
        "the cluster has no node: nothing can be scheduled, and no Service has a pod behind it",
        evidence=(
            Evidence(kubectl("get", "nodes"), "No resources found"),
            Evidence(
                kubectl("describe", "pod", first.name, namespace=first.namespace),
                (said.message if said else "") or "Pending, no node",
            ),
        ),
        next=(
            kubectl("get", "events", "-A", "--sort-by=.lastTimestamp")
            + "    # of an autoscaler: why it brings no node",
            "look at the node groups where machines are made: their size, and machines that run and did not join",
        ),
        touches=tuple(dict.fromkeys(owners.top(p) for p in waiting)),
        severity=Severity.CRITICAL if own else Severity.WARNING,
    )

"""A node is cordoned: it runs what it has and takes no new pods."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, duration, kubectl
from kdiag.facts import Cluster, Nodes

_KEY = "node.kubernetes.io/unschedulable"
_GOING = ("ToBeDeletedByClusterAutoscaler", "karpenter.sh/disrupted", "karpenter.sh/disruption")


@check(title="Node is cordoned", severity=Severity.INFO, layer=Layer.SCHEDULING, tags=("node", "scheduling"))
def node_cordoned(nodes: Nodes, cluster: Cluster) -> Iterator[Finding]:
    """Said for information: a maintenance window is no fault, and one that nobody ended is easily forgotten."""
    for node in nodes.items:
        if not node.spec.unschedulable or any(t.key in _GOING for t in node.spec.taints):
            continue
        added = next((t.time_added for t in node.spec.taints if t.key == _KEY), None)
        since = f" for {duration(cluster.taken - added)}" if added else ""
        yield Finding(
            node.ref(),
            f"node {node.name} is cordoned: no new pods are placed on it",
            evidence=(
                Evidence(
                    kubectl("get", "node", node.name),
                    "STATUS Ready,SchedulingDisabled" if node.ready else "STATUS NotReady,SchedulingDisabled",
                ),
                Evidence(kubectl("describe", "node", node.name), f"Unschedulable: true{since}"),
            ),
            next=(f"{kubectl('uncordon', node.name)}    # when its maintenance has ended",),
            since=added.isoformat() if added else "",
        )

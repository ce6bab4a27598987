"""A pod is fixed by nodeName to a node that does not exist."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, listing, nearest
from kdiag.facts import Cluster, Nodes, Owners, Pods, edit_template


@check(
    title="Pod is fixed to a node that does not exist",
    severity=Severity.ERROR,
    layer=Layer.SCHEDULING,
    explains=(
        "application/pod_not_ready",
        "application/workload_unavailable",
    ),
    tags=("scheduling", "nodes"),
)
def node_name_unknown(pods: Pods, nodes: Nodes, owners: Owners, cluster: Cluster) -> Iterator[Finding]:
    """nodeName passes the scheduler by: nothing refuses the pod, and no kubelet takes it."""
    # A pod that the scheduler placed has the condition PodScheduled; its node was there and is gone.
    lost = [
        p
        for p in pods.troubled
        if p.node
        and p.phase == "Pending"
        and p.started is None
        and p.condition("PodScheduled") is None
        and nodes.get(p.node) is None
        and not p.mirror
        and cluster.age(p.created) > 5
    ]
    for owner, group in owners.group(lost).items():
        pod = group[0]
        close = nearest(pod.node, [n.name for n in nodes.items])
        yield Finding(
            owner,
            f"{owner} is fixed to node {pod.node}, which does not exist" + (f"; {close} does" if close else ""),
            evidence=(
                Evidence(
                    kubectl("get", "pod", pod.name, "-o", "wide", namespace=pod.namespace),
                    f"Pending, NODE {pod.node}, and no event: no scheduler decided it, no kubelet answers",
                ),
                Evidence("kubectl get nodes", listing([n.name for n in nodes.items], 6)),
            ),
            next=(
                edit_template(owner, "take spec.nodeName out of the template and use a nodeSelector")
                if owner.kind != "Pod"
                else f"make pod {owner.path} anew without nodeName, or with one that exists",
            ),
            touches=tuple(p.ref() for p in group[:50]),
            key=pod.node,
        )

"""The nodes that a pod may use already run as many pods as their kubelets allow."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, listing
from kdiag.facts import Claims, Cluster, Events, Scheduling, Volumes, Why


@check(
    title="Nodes have reached their number of pods",
    severity=Severity.ERROR,
    layer=Layer.SCHEDULING,
    explains=(
        "application/pod_not_ready",
        "application/workload_unavailable",
    ),
    tags=("scheduling", "resources", "nodes"),
)
def node_pod_limit_reached(
    scheduling: Scheduling, cluster: Cluster, claims: Claims | None, volumes: Volumes | None, events: Events | None
) -> Iterator[Finding]:
    """The limit is the kubelet's maxPods; on some clouds it follows from the addresses a node may have."""
    for stuck in scheduling.stuck(Why.PODS, cluster.taken, claims, volumes, events):
        near = stuck.near or scheduling.nodes.items
        full = [f"{n.name} {len(scheduling.running(n.name))}/{int(n.status.allocatable.get('pods', 0))}" for n in near]
        limit = max((int(n.status.allocatable.get("pods", 0)) for n in near), default=0)
        yield Finding(
            stuck.owner,
            f"{stuck.owner} has no node: {listing([n.name for n in near])} "
            f"{'has' if len(near) == 1 else 'have'} reached the limit of {limit} pods",
            evidence=(
                Evidence(kubectl("describe", "pod", stuck.pod.name, namespace=stuck.pod.namespace), stuck.quote),
                Evidence(
                    "kubectl get nodes -o custom-columns=NAME:.metadata.name,PODS:.status.allocatable.pods",
                    listing(full, 4) if scheduling.whole else f"allocatable pods {limit}",
                ),
            ),
            next=(
                "kubectl get pods -A -o wide --sort-by=.spec.nodeName  # what fills the nodes?",
                "add a node, or scale down what is not needed",
                "raise maxPods in the kubelet's config only if the node's pod CIDR has the addresses",
            ),
            touches=tuple(p.ref() for p in stuck.pods[:50]),
            since=stuck.since,
        )

"""A node says that its pod network or its cloud route is not set up."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, shorten
from kdiag.facts import Cluster, Nodes

_BOOT = 180


@check(
    title="Node's network is unavailable",
    severity=Severity.ERROR,
    layer=Layer.CNI,
    explains=(
        "application/workload_unavailable",
        "network/pod_sandbox_fails",
        "application/pod_not_ready",
        "application/scheduling_taint_untolerated",
    ),
    tags=("node", "cni"),
)
def node_network_unavailable(nodes: Nodes, cluster: Cluster) -> Iterator[Finding]:
    """Set by the network plugin (Calico, flannel, Cilium) or by the cloud's route controller; most set it to False."""
    for node in nodes.items:
        state = node.condition("NetworkUnavailable")
        if state is None or state.status != "True" or cluster.age(node.created) < _BOOT:
            continue
        who = {
            "NoRouteCreated": "the cloud has made no route to its pods",
            "CalicoIsDown": "Calico does not run on it",
            "FlannelIsDown": "flannel does not run on it",
            "CiliumIsDown": "Cilium does not run on it",
        }.get(state.reason, state.reason or "no reason given")
        yield Finding(
            node.ref(),
            f"node {node.name} has no pod network: {who}",
            evidence=(
                Evidence(
                    kubectl("describe", "node", node.name),
                    shorten(f"NetworkUnavailable True {state.reason}: {state.message}", 300),
                ),
            ),
            next=(
                kubectl("get", "pods", "-A", "-o", "wide", f"--field-selector=spec.nodeName={node.name}"),
                kubectl("get", "node", node.name, "-o", "jsonpath={.spec.podCIDR}"),
            ),
            since=state.last_transition_time.isoformat() if state.last_transition_time else "",
        )

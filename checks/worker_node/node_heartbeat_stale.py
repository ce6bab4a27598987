"""A node counts as Ready although its kubelet no longer sends heartbeats."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Gap, Layer, Severity, check, kubectl
from kdiag.facts import RETURN, Cluster, NodeLeases, Nodes, Pods, SystemLeases, api_server_returned

# The controller manager waits 40 to 50 seconds before it marks a node; thrice that is nobody's patience.
_STALE = 120


@check(
    title="Node is silent and still counts as Ready",
    severity=Severity.ERROR,
    layer=Layer.NODE,
    explains=(
        "application/workload_unavailable",
        "application/pod_not_ready",
        "application/pod_stuck_terminating",
    ),
    tags=("node", "kubelet", "controller-manager"),
)
def node_heartbeat_stale(
    nodes: Nodes, leases: NodeLeases, cluster: Cluster, pods: Pods | None, system: SystemLeases | None
) -> Iterator[Finding | Gap]:
    """Two faults at once: the kubelet is silent, and the controller manager does not mark the node."""
    back = pods is not None and api_server_returned(pods, system, cluster.taken)
    for node in nodes.items:
        lease = leases.get(node.name, "kube-node-lease")
        age = lease.age(cluster.taken) if lease else None
        if not node.ready or node.virtual or lease is None or lease.spec.renew_time is None:
            continue
        if age is None or age <= _STALE:
            continue
        if back:
            yield Gap(f"heartbeat of {node.name}", f"the API server came back less than {RETURN} s ago")
            continue
        yield Finding(
            node.ref(),
            f"node {node.name} still counts as Ready, but its kubelet has been silent since "
            f"{lease.spec.renew_time:%H:%M} UTC",
            evidence=(
                Evidence(
                    kubectl("get", "lease", node.name, "-o", "yaml", namespace="kube-node-lease"),
                    f"renewTime {lease.spec.renew_time:%Y-%m-%d %H:%M:%S} UTC",
                ),
                Evidence(kubectl("get", "node", node.name), "STATUS Ready"),
            ),
            next=(
                f"ssh {node.name} systemctl status kubelet containerd",
                kubectl("get", "lease", "kube-controller-manager", "-o", "yaml", namespace="kube-system"),
            ),
            since=lease.spec.renew_time.isoformat(),
        )

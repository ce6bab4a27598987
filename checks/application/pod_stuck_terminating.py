"""A pod that was asked to go is still there long after its grace period."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing, ssh
from kdiag.facts import Cluster, Nodes, Owners, Pod, Pods

_LATE = 120.0  # seconds beyond the end of the grace period: unmounting and slow kubelets take their time
_OWN = ("batch.kubernetes.io/", "foregroundDeletion", "orphan")  # what Kubernetes takes off itself
_HELD = 30.0  # the same, where all its containers have ended and only a finalizer is left


@check(
    title="Pod is stuck in Terminating",
    severity=Severity.WARNING,
    layer=Layer.POD,
    explains=(
        "application/namespace_stuck_terminating",
        "application/workload_unavailable",
        "application/volume_attached_elsewhere",
        "network/service_has_no_ready_endpoint",
    ),
    tags=("pods", "terminating", "finalizers"),
    holds_deletion=True,
)
def pod_stuck_terminating(
    pods: Pods, cluster: Cluster, owners: Owners | None, nodes: Nodes | None
) -> Iterator[Finding]:
    """``deletionTimestamp`` is the end of the grace period. A finalizer, a dead node or the kubelet holds it."""
    groups: dict[tuple[Ref, str], list[Pod]] = {}
    whys: dict[tuple[Ref, str], tuple[str, str]] = {}
    for pod in pods.troubled:
        held = pod.finished and any(not f.startswith(_OWN) for f in pod.finalizers)
        if pod.deleted is None or cluster.age(pod.deleted) < (_HELD if held else _LATE):
            continue
        owner = owners.top(pod) if owners else pod.ref()
        key, why, step = _holds(pod, nodes)
        groups.setdefault((owner, key), []).append(pod)
        whys[owner, key] = why, step
    for (owner, key), group in groups.items():
        pod = group[0]
        why, step = whys[owner, key]
        what = f"Pod {pod.path}" if owner.kind == "Pod" else f"Pod {pod.path} of {owner.kind} {owner.name}"
        touches = [*(p.ref() for p in group[:20])]
        if key == "node":
            touches.append(Ref("Node", pod.node))
        yield Finding(
            owner,
            f"{what} is stuck in Terminating: {why}",
            evidence=(
                Evidence(
                    kubectl("get", "pod", pod.name, "-o", "wide", namespace=pod.namespace),
                    f"Terminating, on {pod.node or 'no node'}; {_over(pod)}",
                ),
                Evidence(
                    kubectl("get", "pod", pod.name, "-o", "jsonpath={.metadata.finalizers}", namespace=pod.namespace),
                    f"finalizers: {listing(pod.finalizers) or 'none'}",
                ),
            ),
            next=(step,),
            touches=tuple(touches),
            key=key,
            # The next pod has the same name: it is made only when this one is gone.
            severity=Severity.ERROR if owner.kind == "StatefulSet" and pod.finished else None,
            since=pod.deleted.isoformat() if pod.deleted else "",
        )


def _over(pod: Pod) -> str:
    # No grace period is left of a pod whose containers have all ended: the last to delete it is the kubelet, with 0 s.
    given = f" (grace period {pod.grace} s)" if pod.grace else ""
    return f"it was to be gone at {pod.deleted:%Y-%m-%dT%H:%M:%SZ}{given}"


def _holds(pod: Pod, nodes: Nodes | None) -> tuple[str, str, str]:
    node = nodes.get(pod.node) if nodes and pod.node else None
    ready = node.condition("Ready") if node else None
    force = kubectl("delete", "pod", pod.name, "--grace-period=0", "--force", namespace=pod.namespace)
    if pod.finalizers:
        patch = kubectl(
            "patch", "pod", pod.name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}', namespace=pod.namespace
        )
        return (
            f"finalizer {pod.finalizers[0]}",
            f"finalizer {listing(pod.finalizers)} is still there, and its controller does not take it off",
            f"{patch}   # only when nothing will do it any more",
        )
    if pod.node and nodes and node is None and not nodes.gaps:
        return "node", f"its node {pod.node} is no longer in the cluster", force
    if ready is not None and ready.status != "True":
        return "node", f"its node {pod.node} is not Ready, so nobody can confirm that it ended", force
    return (
        "kubelet",
        f"the kubelet on {pod.node or 'its node'} does not finish it",
        ssh(pod.node or "NODE", f"sudo journalctl -u kubelet --since -10min | grep {pod.name}"),
    )

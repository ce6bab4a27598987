"""A kubelet refused a pod that was bound to its node, and nothing took the pod's place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, present
from kdiag.facts import Cluster, Owners, Pod, Pods, Workload, Workloads

_OLD = 600  # seconds
#: So many refused within so many seconds, and the next one will be: no leftovers.
_ROW, _NOW = 5, 120
_REASONS = re.compile(
    r"OutOf\w+|NodeAffinity|NodeSelectorMismatching|TaintToleration|NodePorts|PodOSNotSupported|PodOSSelector\w+"
    r"|UnexpectedAdmissionError|InvalidNodeInfo|SysctlForbidden|PodFeatureUnsupported|AppArmor|TopologyAffinityError"
    r"|ContainerCannotRun\w+|HostNetworkNotSupported|PreemptingFailed|PodLevelResources\w+"
)


@check(
    title="Kubelet rejects a pod",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=(
        "application/pod_not_ready",
        "application/workload_unavailable",
        "application/rollout_stuck",
    ),
    tags=("scheduling", "kubelet"),
)
def pod_rejected_by_kubelet(pods: Pods, owners: Owners, workloads: Workloads, cluster: Cluster) -> Iterator[Finding]:
    """Mostly a pod with nodeName set, which no scheduler measured; what was rejected is not tried again."""
    rejected = [p for p in pods.troubled if p.phase == "Failed" and not p.terminating and _REASONS.fullmatch(p.reason)]
    for owner, group in owners.group(rejected).items():
        if owner.kind == "Pod" and group[0].mirror:
            continue  # a static pod's failures belong to its node
        workload = workloads.get(owner)
        again = _again(group, workloads, cluster)
        if workload is not None and (not workload.desired or (workload.ready >= workload.desired and not again)):
            continue  # it was replaced; what is left is a leftover
        if workload is not None and _replaced(group, workload, workloads, cluster):
            continue  # the pods in its place are there, and have troubles of their own
        if workload is None and owner.kind != "Pod":
            continue  # a Job counts its failures itself
        blind = _blind(group)
        pod = blind or max(group, key=lambda p: (p.created is not None, p.created or 0, p.name))
        yield Finding(
            owner,
            f"{owner} was rejected by the kubelet on {pod.node}: {pod.reason}, {_said(pod)}"
            + ("; the scheduler chose that node, so it does not look at resources" if blind else ""),
            evidence=(
                Evidence(
                    kubectl("get", "pod", pod.name, "-o", "wide", namespace=pod.namespace),
                    f"Failed, {pod.reason}, NODE {pod.node}: {pod.message}",
                ),
            ),
            next=present(
                (
                    kubectl("get", "pods", "-l", "component=kube-scheduler", "-o", "yaml", namespace="kube-system")
                    + "  # --config: its file turns NodeResourcesFit off"
                )
                if blind
                else None,
                *_next(pod, len(group)),
            ),
            touches=tuple(p.ref() for p in group[:50]),
            key=pod.reason,
            severity=Severity.WARNING if workload is not None and workload.ready >= workload.desired else None,
        )


def _again(group: Sequence[Pod], workloads: Workloads, cluster: Cluster) -> bool:
    """Whether one ReplicaSet makes pods that are refused now, one after the other, while an old revision serves."""
    fresh = [p for p in group if cluster.age(p.created) <= _NOW]
    makers = {(p.owner.kind, p.owner.name, p.namespace) for p in fresh if p.owner}
    if len(fresh) < _ROW or len(makers) != 1:
        return False
    ((kind, *maker),) = makers
    made = workloads.replicasets.get(*maker)
    return made.desired > 0 if made else kind != "ReplicaSet"  # after an undo its pods are left over


def _replaced(group: Sequence[Pod], workload: Workload, workloads: Workloads, cluster: Cluster) -> bool:
    """Whether pods enough were made since, and the last that was refused is not of this moment."""
    alive = sum(not p.finished and not p.terminating for p in workloads.pods_of(workload))
    return alive >= workload.desired and all(cluster.age(p.created) > _OLD for p in group)


_MEASURED = re.compile(r"requested: (\d{1,20}), used: (\d{1,20}), capacity: (\d{1,20})")


def _blind(group: Sequence[Pod]) -> Pod | None:
    """One that was given a node which has less than it asks for even when it is empty, as others of its maker were.

    A nodeName in their template leads all of them to the same node: on several it was a scheduler that chose.
    """
    places: dict[str, set[str]] = {}
    for pod in group:
        found = _MEASURED.search(pod.message)
        if found and pod.owner and int(found[1]) > int(found[3]):
            places.setdefault(pod.owner.uid, set()).add(pod.node)
    return next((p for p in group if p.owner and len(places.get(p.owner.uid, ())) > 1), None)


def _amount(number: str, reason: str) -> str:
    if reason == "OutOfcpu":
        return f"{number}m"
    if reason == "OutOfmemory" and int(number) >= 1 << 20:
        return f"{int(number) / (1 << 20):,.0f} MiB"
    return number


def _said(pod: Pod) -> str:
    text = pod.message.removeprefix("Pod was rejected: ").removeprefix("Pod ")
    if found := _MEASURED.search(text):
        asked, used, whole = (_amount(number, pod.reason) for number in found.groups())
        return f"it asks for {asked}, {used} of {whole} are used"
    if pod.reason == "NodeAffinity":
        return "the node's labels do not match its node selector or affinity"
    return text or "no message"


def _next(pod: Pod, count: int) -> Iterator[str]:
    if pod.reason == "SysctlForbidden" and pod.owner is not None:
        yield kubectl("get", pod.owner.kind.lower(), pod.owner.name, "-o", "yaml", namespace=pod.namespace) + (
            "  # securityContext.sysctls: take it out, or allow it with the kubelet's allowedUnsafeSysctls"
        )
    elif pod.reason == "AppArmor":
        owner = f"{pod.owner.kind.lower()} {pod.owner.name}" if pod.owner else f"pod {pod.name}"
        yield kubectl("get", *owner.split(), "-o", "yaml", namespace=pod.namespace) + (
            "  # securityContext.appArmorProfile: take it out, or choose nodes that have AppArmor and the profile"
        )
        yield f"ssh {pod.node} cat /sys/module/apparmor/parameters/enabled    # Y where the kernel has it on"
        return
    elif pod.reason.startswith("PodOS"):
        yield f"spec.os.name is not the system of {pod.node}: correct it, or choose a node that has the system"
    elif pod.owner is None:
        yield (
            kubectl("get", "pod", pod.name, "-o", "yaml", namespace=pod.namespace)
            + "  # make it anew without nodeName: the scheduler finds a node that can take it"
        )
    else:
        yield kubectl("get", pod.owner.kind.lower(), pod.owner.name, "-o", "yaml", namespace=pod.namespace) + (
            "  # is nodeName set in the template? take it out"
        )
    yield kubectl("describe", "node", pod.node) + "  # Allocated resources, labels"
    if count > 1:
        yield (
            kubectl("delete", "pods", "--field-selector=status.phase=Failed", namespace=pod.namespace)
            + "  # the leftovers"
        )

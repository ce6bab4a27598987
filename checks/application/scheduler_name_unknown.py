"""A pod asks for a scheduler that does not exist in this cluster."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, Shared, check, kubectl, listing, nearest
from kdiag.facts import Cluster, Owners, Pod, Pods, SystemLeases, edit_template

_DEFAULT = "default-scheduler"


@check(
    title="Scheduler of a pod does not exist",
    severity=Severity.ERROR,
    layer=Layer.SCHEDULING,
    explains=("application/pod_not_ready", "application/workload_unavailable", "application/pod_never_scheduled"),
    tags=("scheduling", "scheduler"),
)
def scheduler_name_unknown(
    pods: Pods, owners: Owners, cluster: Cluster, leases: SystemLeases | None
) -> Iterator[Finding]:
    """A scheduler that works leaves a condition on the pod within a second; nothing has the name that is asked for."""
    waiting = [
        p
        for p in pods.troubled
        if p.phase == "Pending"
        and not p.node
        and not p.terminating
        and p.spec.scheduler_name not in ("", _DEFAULT)
        and p.condition("PodScheduled") is None
        and cluster.age(p.created) > 30
    ]
    for owner, group in owners.group(waiting).items():
        pod = group[0]
        name = pod.spec.scheduler_name
        if _runs(name, pods, leases):
            continue
        used = {p.spec.scheduler_name for p in pods.items if p.node} | {_DEFAULT}
        close = nearest(name, sorted(used - {name}))
        yield Finding(
            owner,
            f"{owner} asks for scheduler {name}, and nothing of that name runs"
            + (f"; {close} is close" if close else ""),
            evidence=(
                Evidence(
                    kubectl("describe", "pod", pod.name, namespace=pod.namespace),
                    "Status: Pending, Node: <none>, no condition PodScheduled, no event of a scheduler",
                ),
                Evidence(
                    kubectl("get", "pod", pod.name, "-o", "jsonpath={.spec.schedulerName}", namespace=pod.namespace),
                    name,
                ),
                Evidence(
                    "kubectl get pods -A -o custom-columns=S:.spec.schedulerName,NODE:.spec.nodeName",
                    f"pods with a node have {listing(sorted(used - {name}))}",
                ),
            ),
            next=(
                edit_template(owner, f"schedulerName: {close or _DEFAULT}, or none")
                if owner.kind != "Pod"
                else f"make pod {owner.path} anew with schedulerName: {close or _DEFAULT}",
                f"or install and start the scheduler {name}",
            ),
            touches=tuple(p.ref() for p in group[:50]),
            key=name,
            shared=Shared(Ref("Scheduler", name), f"Nothing runs that is called scheduler {name}", "ask for it"),
        )


def _runs(name: str, pods: Pods, leases: SystemLeases | None) -> bool:
    """Whether something that may be this scheduler is alive: a pod or a lease called after it, or a recent verdict."""
    for pod in pods.items:
        if pod.ready and (name in pod.name or name in pod.labels.values() or _names(pod, name)):
            return True
        if pod.spec.scheduler_name == name and not pod.ready and pod.condition("PodScheduled") is not None:
            return True
    return leases is not None and any(name in lease.name and lease.spec.holder_identity for lease in leases.items)


def _names(pod: Pod, name: str) -> bool:
    return any(
        f"--scheduler-name={name}" in (*c.command, *c.args) or any(e.value == name for e in c.env)
        for c in pod.spec.containers
    )

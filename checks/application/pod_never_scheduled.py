"""Pods wait for a node, and no scheduler has looked at them yet."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, Shared, check, kubectl
from kdiag.facts import Claims, Cluster, Owners, Pods, SystemLeases, component, flag, never_scheduled, scheduler_works

#: Seconds in which a scheduler that works has looked at a pod.
_LOOKED = 45
_LEASE = Ref("Lease", "kube-scheduler", "kube-system")


@check(
    title="No scheduler looks at a pod",
    severity=Severity.ERROR,
    layer=Layer.SCHEDULING,
    explains=(
        "application/workload_unavailable",
        "application/pod_not_ready",
    ),
    tags=("scheduling",),
)
def pod_never_scheduled(
    pods: Pods, owners: Owners, cluster: Cluster, claims: Claims | None, leases: SystemLeases | None
) -> Iterator[Finding]:
    """A scheduler that works leaves a PodScheduled condition within a second, whatever it decides."""
    works = scheduler_works(leases, cluster.taken)
    if works is not False and (found := _of_no_profile(pods, claims, cluster)):
        yield found
        return
    # A live scheduler may hold a pod back before it binds it, for a volume or a device.
    waiting_pods = never_scheduled(pods, claims, cluster.taken, 600 if works else 30)
    for ref, waiting in owners.group(waiting_pods).items():
        first = waiting[0]
        yield Finding(
            ref,
            f"{ref} waits for a node: no scheduler has looked at its pods"
            if ref.kind != "Pod"
            else f"{ref} waits for a node: no scheduler has looked at it",
            evidence=(
                Evidence(
                    kubectl("describe", "pod", first.name, namespace=first.namespace),
                    "Status: Pending, Node: <none>, no condition PodScheduled, Events: <none>",
                ),
            ),
            next=(
                kubectl("get", "lease", "kube-scheduler", "-o", "yaml", namespace="kube-system"),
                kubectl("get", "pods", "-l", "component=kube-scheduler", "-o", "wide", namespace="kube-system"),
            ),
            touches=(_LEASE, *(p.ref() for p in waiting[:100])),
            shared=Shared(_LEASE, "No scheduler looks at pods", "wait for a node"),
        )


def _of_no_profile(pods: Pods, claims: Claims | None, cluster: Cluster) -> Finding | None:
    """A scheduler that works and was given a file of profiles: it takes only pods that ask for one of them."""
    told = [
        (pod, path)
        for pod in pods.within("kube-system")
        if pod.ready and component(pod) == "kube-scheduler" and (path := flag(pod.spec.first, "config"))
    ]
    waiting = [
        p
        for p in never_scheduled(pods, claims, cluster.taken, _LOOKED)
        if not any(v.persistent_volume_claim or v.ephemeral for v in p.spec.volumes)
    ]
    if not told or not waiting:
        return None
    first, (scheduler, path) = waiting[0], told[0]
    name = first.spec.scheduler_name
    since = first.created or cluster.taken
    if any(
        p.node and not p.mirror and p.spec.scheduler_name == name and (p.created or since) > since for p in pods.items
    ):
        return None
    return Finding(
        scheduler.ref(),
        f"{scheduler.name} works and takes no pod of schedulerName {name}: "
        f"no profile of {path} (--config) has that name",
        evidence=(
            Evidence(
                kubectl("describe", "pod", first.name, namespace=first.namespace),
                f"Status: Pending, Node: <none>, no condition PodScheduled; its schedulerName is {name}",
            ),
            Evidence(kubectl("get", "pod", scheduler.name, "-o", "yaml", namespace="kube-system"), f"--config={path}"),
        ),
        next=(
            f"ssh {scheduler.node} sudo grep -n schedulerName {path}",
            f"ssh -t {scheduler.node} sudoedit {path}    # a profile with schedulerName: {name}",
            f"ssh {scheduler.node} 'sudo crictl stop $(sudo crictl ps -q --name kube-scheduler)'    # to read it",
        ),
        touches=tuple(p.ref() for p in waiting[:100]),
        key="profile",
    )

"""A pod has waited for hours behind a scheduling gate that nobody removes."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, listing
from kdiag.facts import Cluster, Owners, Pods

#: Behind these a pod waits for its turn, for days if need be.
_QUEUES = ("kueue.x-k8s.io/", "scheduling.volcano.sh/", "yunikorn.apache.org/", "karmada.io/")
_PATIENCE = 3 * 3600


@check(
    title="Scheduling gate is never removed",
    severity=Severity.WARNING,
    layer=Layer.SCHEDULING,
    explains=(
        "application/pod_not_ready",
        "application/workload_unavailable",
    ),
    tags=("scheduling",),
)
def scheduling_gated(pods: Pods, owners: Owners, cluster: Cluster) -> Iterator[Finding]:
    """A gate is meant to hold a pod back, so only one that is old is worth a word; a queue's gates never are."""
    held = [
        p
        for p in pods.troubled
        if p.phase == "Pending"
        and not p.node
        and not p.terminating
        and p.spec.scheduling_gates
        and cluster.age(p.created) > _PATIENCE
        and not any(g.name.startswith(_QUEUES) for g in p.spec.scheduling_gates)
    ]
    for owner, group in owners.group(held).items():
        pod = group[0]
        gates = listing([g.name for g in pod.spec.scheduling_gates])
        yield Finding(
            owner,
            f"{owner} waits behind scheduling gate {gates}, and nothing has removed it for hours",
            evidence=(
                Evidence(
                    kubectl("get", "pod", pod.name, namespace=pod.namespace),
                    f"SchedulingGated, created {pod.created:%Y-%m-%d %H:%M} UTC" if pod.created else "SchedulingGated",
                ),
                Evidence(
                    kubectl("get", "pod", pod.name, "-o", "jsonpath={.spec.schedulingGates}", namespace=pod.namespace),
                    gates,
                ),
            ),
            next=(
                f"see whether the controller that owns the gate {gates} runs",
                kubectl(
                    "patch",
                    "pod",
                    pod.name,
                    "--type=json",
                    "-p",
                    '[{"op":"remove","path":"/spec/schedulingGates"}]',
                    namespace=pod.namespace,
                )
                + "  # only if nothing will ever do it",
            ),
            touches=tuple(p.ref() for p in group[:50]),
            key=gates,
        )

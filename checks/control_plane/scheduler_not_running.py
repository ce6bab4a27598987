"""No scheduler holds the Lease, so no new pod gets a node."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Gap, Layer, Ref, Severity, check, kubectl, plural
from kdiag.facts import (
    Claims,
    Cluster,
    Events,
    Pods,
    SystemLeases,
    leaderless,
    never_scheduled,
    too_early,
)

_NAME = "kube-scheduler"
_MOST = 5000


@check(
    title="Scheduler does not run",
    severity=Severity.CRITICAL,
    layer=Layer.CONTROLLERS,
    explains=("application/pod_never_scheduled",),
    tags=("scheduler", "scheduling"),
    namespaces=("kube-system",),
)
def scheduler_not_running(
    leases: SystemLeases, pods: Pods, cluster: Cluster, claims: Claims | None, events: Events | None
) -> Iterator[Finding | Gap]:
    """The Lease tells it within seconds; pods scheduled since it was renewed speak against it."""
    lease = leases.get(_NAME, "kube-system")
    # Without a Lease the pods that wait are all there is to go by.
    waiting = never_scheduled(pods, claims, cluster.taken, 15 if lease else 120)
    found = leaderless(_NAME, lease, pods, cluster.taken, idle=bool(waiting))
    if found is None:
        return
    if early := too_early(found.pods, pods, leases, events, cluster.taken):
        yield Gap(_NAME, early)
        return
    evidence = [*found.evidence(_NAME, cluster.taken)]
    if waiting:
        evidence.append(
            Evidence(
                kubectl("get", "pods", "-A", "--field-selector=status.phase=Pending"),
                f"{plural(len(waiting), 'pod')} without a node, without an event",
            )
        )
    yield Finding(
        Ref("Lease", _NAME, "kube-system"),
        f"no scheduler works: {found.why} {'kube-system/' + _NAME if lease else 'kube-scheduler'}",
        evidence=tuple(evidence),
        next=found.steps(_NAME),
        touches=(*(p.ref() for p in found.pods), *(p.ref() for p in waiting[:_MOST])),
        since=found.since.isoformat() if found.since else "",
    )

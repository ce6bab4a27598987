"""A pod has no node because a claim that it mounts is not bound."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing
from kdiag.facts import Claims, Cluster, Owners, Pod, Pods, Scheduling, Volumes, Why, claims_of

_MADE = 60  # seconds in which a provisioner makes a volume


@check(
    title="Pod waits for a claim to be bound",
    severity=Severity.ERROR,
    layer=Layer.SCHEDULING,
    explains=(
        "application/pod_not_ready",
        "application/workload_unavailable",
    ),
    tags=("storage", "scheduling"),
)
def pod_waits_for_claim(
    scheduling: Scheduling,
    pods: Pods,
    owners: Owners,
    cluster: Cluster,
    claims: Claims | None,
    volumes: Volumes | None,
) -> Iterator[Finding]:
    """A symptom: the claim is what to look at."""
    for why in (Why.CLAIM_UNBOUND, Why.NO_VOLUME):
        for stuck in scheduling.stuck(why, cluster.taken, claims, volumes):
            if why is Why.CLAIM_UNBOUND and _being_made(stuck.pods[0], claims, cluster):
                continue
            yield _finding(stuck.owner, stuck.pods, claims, stuck.quote)
    if claims is None:
        return
    # The scheduler has chosen a node and waits for the volume before it binds: it says nothing on the pod.
    waiting = [
        p
        for p in pods.troubled
        if p.phase == "Pending"
        and not p.node
        and not p.terminating
        and p.condition("PodScheduled") is None
        and cluster.age(p.created) > _MADE
        and any(_selected(claims, name, p) for name in claims_of(p))
    ]
    for owner, group in owners.group(waiting).items():
        yield _finding(
            owner, tuple(group), claims, "Pending, a nominated node, and no event: its volume is not made yet"
        )


def _being_made(pod: Pod, claims: Claims | None, cluster: Cluster) -> bool:
    """Whether every claim that is not bound was made a moment ago."""
    found = [claims.get(name, pod.namespace) if claims else None for name in claims_of(pod)]
    pending = [c for c in found if c is None or c.status.phase != "Bound"]
    return bool(pending) and all(
        c is not None and c.status.phase == "Pending" and cluster.age(c.created) < _MADE for c in pending
    )


def _selected(claims: Claims, name: str, pod: Pod) -> bool:
    claim = claims.get(name, pod.namespace)
    return claim is not None and claim.status.phase == "Pending" and bool(claim.metadata.annotations.selected_node)


def _finding(owner: Ref, pods: tuple[Pod, ...], claims: Claims | None, quote: str) -> Finding:
    pod = pods[0]
    found = [(name, claims.get(name, pod.namespace) if claims else None) for name in claims_of(pod)]
    pending = [name for name, claim in found if claim is None or claim.status.phase != "Bound"]
    names = pending or claims_of(pod)
    return Finding(
        owner,
        f"{owner} waits for {f'claim {listing(names)}, which' if names else 'a claim that'} is not bound",
        evidence=(
            Evidence(kubectl("describe", "pod", pod.name, namespace=pod.namespace), quote),
            Evidence(
                kubectl("get", "pvc", *pending, namespace=pod.namespace),
                listing([f"{n} {c.status.phase if c else '?'}" for n, c in found], 4),
            ),
        ),
        next=(kubectl("describe", "pvc", *pending, namespace=pod.namespace),),
        touches=(
            *(p.ref() for p in pods[:50]),
            *(Ref("PersistentVolumeClaim", name, pod.namespace) for name in pending),
        ),
    )

"""A claim has been deleted and does not go, or pods that need it wait."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, listing
from kdiag.facts import Claims, Cluster, Pod, Pods, Why, claims_of, scheduler_said

_PROTECTION = "kubernetes.io/pvc-protection"


@check(
    title="Claim hangs in Terminating",
    severity=Severity.WARNING,
    layer=Layer.VOLUME,
    explains=(
        "application/pod_waits_for_claim",
        "application/pod_not_ready",
        "application/workload_unavailable",
        "application/namespace_stuck_terminating",
        "application/volume_mount_fails",
    ),
    tags=("storage", "volumes", "terminating"),
    holds_deletion=True,
)
def claim_stuck_terminating(claims: Claims, pods: Pods, cluster: Cluster) -> Iterator[Finding]:
    """A claim that a running pod uses waits for that pod by design, and is not a fault while nothing else needs it."""
    gone = [c for c in claims.items if c.metadata.deletion_timestamp]
    for claim in gone:
        users = [p for p in pods.within(claim.namespace) if not p.finished and claim.name in claims_of(p)]
        refused = [p for p in users if not p.node and not p.terminating and _refused(p)]
        others = [f for f in claim.metadata.finalizers if f != _PROTECTION]
        holders = [p for p in users if p.node]
        if not refused and (cluster.age(claim.metadata.deletion_timestamp) < 300 or holders):
            continue
        why = (
            f"finalizer {listing(others)} holds it"
            if others
            else "a pod still uses it"
            if holders
            else f"nothing uses it, and {_PROTECTION} is not taken off it"
        )
        what = f", and new pods that need it wait ({listing([p.name for p in refused], 1)})" if refused else ""
        yield Finding(
            claim.ref(),
            f"Claim {claim.ref().path} is being deleted and does not go: {why}"
            + (", and new pods wait for it" if refused else ""),
            evidence=(
                Evidence(
                    kubectl("get", "pvc", claim.name, "-o", "yaml", namespace=claim.namespace),
                    f"deletionTimestamp {claim.metadata.deletion_timestamp:%Y-%m-%dT%H:%M:%SZ}, "
                    f"finalizers {listing(claim.metadata.finalizers) or 'none'}{what}",
                ),
                *(
                    Evidence(kubectl("describe", "pod", p.name, namespace=p.namespace), c.message)
                    for p in refused[:1]
                    if (c := p.condition("PodScheduled"))
                ),
            ),
            next=tuple(_next(others, holders, claim.namespace, claim.name)),
            touches=tuple(p.ref() for p in refused[:50]),
            severity=Severity.ERROR if refused else Severity.WARNING,
        )


def _refused(pod: Pod) -> bool:
    condition = pod.condition("PodScheduled")
    return condition is not None and Why.CLAIM_DELETED in scheduler_said(condition.message)


def _next(others: list[str], holders: list[Pod], namespace: str, name: str) -> Iterator[str]:
    if others:
        yield f"see whether the controller that owns the finalizer {others[0]} runs; it takes it off itself"
        yield kubectl(
            "patch", "pvc", name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}', namespace=namespace
        ) + ("  # last resort: whatever the finalizer guards is skipped")
    elif holders:
        yield "the deletion cannot be taken back: copy the data before the last pod that uses it goes"
        yield kubectl("get", "pods", *[p.name for p in holders[:3]], "-o", "wide", namespace=namespace)
    else:
        yield "kubectl -n kube-system get pods -l component=kube-controller-manager  # it takes the finalizer off"

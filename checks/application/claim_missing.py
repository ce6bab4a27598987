"""A pod names a claim that does not exist."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, Shared, check, kubectl, listing, nearest
from kdiag.facts import Claims, Cluster, Owners, Pods, edit_template


@check(
    title="Claim that a pod names does not exist",
    severity=Severity.ERROR,
    layer=Layer.VOLUME,
    explains=(
        "application/pod_not_ready",
        "application/workload_unavailable",
    ),
    tags=("storage", "volumes", "scheduling"),
)
def claim_missing(pods: Pods, claims: Claims, owners: Owners, cluster: Cluster) -> Iterator[Finding]:
    """Only pods without a node: a claim in use cannot vanish under a pod that runs."""
    waiting = [
        p
        for p in pods.troubled
        if p.phase == "Pending" and not p.node and not p.terminating and cluster.age(p.created) > 15
    ]
    for owner, group in owners.group(waiting).items():
        missing: dict[str, str] = {}
        for pod in group:
            for v in pod.spec.volumes:
                name = v.persistent_volume_claim.claim_name if v.persistent_volume_claim else ""
                if name and claims.covers(pod.namespace) and claims.get(name, pod.namespace) is None:
                    missing.setdefault(name, pod.name)
        for name, pod_name in missing.items():
            there = sorted(c.name for c in claims.within(owner.namespace))
            close = nearest(name, there)
            yield Finding(
                owner,
                f"{owner} mounts claim {name}, which does not exist in namespace {owner.namespace}"
                + (f"; {close} does" if close else ""),
                evidence=(
                    Evidence(
                        kubectl("describe", "pod", pod_name, namespace=owner.namespace),
                        f'persistentvolumeclaim "{name}" not found',
                    ),
                    Evidence(kubectl("get", "pvc", namespace=owner.namespace), listing(there, 6) or "no claim"),
                ),
                next=tuple(_next(owner, name, close)),
                touches=(Ref("PersistentVolumeClaim", name, owner.namespace),),
                key=name,
                shared=Shared(
                    Ref("PersistentVolumeClaim", name, owner.namespace),
                    f"Claim {owner.namespace}/{name} does not exist",
                    "mount it",
                ),
            )


def _next(owner: Ref, name: str, close: str | None) -> Iterator[str]:
    if owner.kind == "Pod":
        yield f"make pod {owner.path} anew with claimName: {close or 'one that exists'}"
    elif close:
        yield edit_template(owner, f"claimName: {close}")
    yield f"or make the claim {name} in namespace {owner.namespace}"
    if not close:
        yield f"kubectl get pvc -A | grep {name}  # a claim of another namespace cannot be mounted"

"""A claim has lost the volume that it was bound to."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import CLAIM_UNBOUND, Evidence, Finding, Layer, Ref, Severity, check, kubectl
from kdiag.facts import Claims, Pods, Volumes, claims_of


@check(
    title="Claim has lost its volume",
    severity=Severity.ERROR,
    layer=Layer.VOLUME,
    explains=CLAIM_UNBOUND,
    tags=("storage", "volumes"),
)
def claim_lost(claims: Claims, volumes: Volumes | None, pods: Pods | None) -> Iterator[Finding]:
    """A pod that has the volume mounted goes on until it restarts; then the data is out of reach."""
    for claim in claims.items:
        if claim.status.phase != "Lost":
            continue
        name = claim.spec.volume_name
        volume = volumes.get(name) if volumes else None
        users = (
            [p for p in pods.within(claim.namespace) if not p.finished and claim.name in claims_of(p)] if pods else []
        )
        why = (
            f"volume {name} no longer exists"
            if volumes is not None and volume is None
            else f"volume {name} is not bound to it"
        )
        yield Finding(
            claim.ref(),
            f"Claim {claim.ref().path} is Lost: {why}" + ("; pods that have it mounted still run" if users else ""),
            evidence=(
                Evidence(kubectl("get", "pvc", claim.name, namespace=claim.namespace), f"Lost, VOLUME {name}"),
                Evidence(f"kubectl get pv {name}", "NotFound" if volume is None else volume.status.phase),
            ),
            next=(
                "do not restart the pods that still use it: copy the data out of them first"
                if users
                else "find the storage behind the volume: its data may still be there",
                f"make the PersistentVolume {name} again, pointing at the same storage, with a claimRef to "
                f"{claim.ref().path}, then make the claim again with volumeName {name}",
            ),
            touches=(Ref("PersistentVolume", name), *(p.ref() for p in users[:50])),
        )

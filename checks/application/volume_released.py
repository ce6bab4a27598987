"""The volume that a claim waits for is kept for an earlier claim that no longer exists."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import CLAIM_UNBOUND, Evidence, Finding, Layer, Ref, Severity, check, kubectl
from kdiag.facts import Lack, UnboundClaims


@check(
    title="Volume is still reserved for a deleted claim",
    severity=Severity.ERROR,
    layer=Layer.VOLUME,
    explains=CLAIM_UNBOUND,
    tags=("storage", "volumes"),
)
def volume_released(unbound: UnboundClaims) -> Iterator[Finding]:
    """With reclaim policy Retain a volume stays Released, with the old claim's uid, until a person clears it."""
    for one in unbound.of(Lack.RELEASED):
        claim, near = one.claim, one.nearest
        if near is None or near.volume.spec.claim_ref is None:
            continue
        volume, held = near.volume, near.volume.spec.claim_ref
        same = (held.namespace, held.name) == (claim.namespace, claim.name)
        kept = f"{volume.status.phase or 'kept'} for" if held.uid else "reserved by its claimRef for"
        whose = f"claim {held.namespace}/{held.name}, {'now deleted' if held.uid else 'which does not exist'}"
        yield Finding(
            claim.ref(),
            f"Claim {claim.ref().path} waits for volume {volume.name}, which is {kept} "
            + ("the earlier claim of the same name" if same else whose),
            evidence=(
                Evidence(kubectl("get", "pvc", claim.name, namespace=claim.namespace), "Pending"),
                Evidence(
                    f"kubectl get pv {volume.name} -o yaml",
                    f"{volume.status.phase}, claimRef {held.namespace}/{held.name} uid {held.uid}; "
                    f"the claim's uid is {claim.metadata.uid}"
                    if same
                    else f"{volume.status.phase}, claimRef {held.namespace}/{held.name}, reclaim policy "
                    f"{volume.spec.persistent_volume_reclaim_policy}",
                ),
            ),
            next=(
                "look at the data first: the new claim will see what the old one left",
                kubectl("patch", "pv", volume.name, "--type=json", "-p", '[{"op":"remove","path":"/spec/claimRef"}]'),
            ),
            touches=(Ref("PersistentVolume", volume.name), *(p.ref() for p in one.users[:50])),
            severity=Severity.ERROR if one.users else Severity.WARNING,
        )

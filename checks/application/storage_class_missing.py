"""A claim names a storage class that does not exist, and no volume has that class either."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import (
    CLAIM_UNBOUND,
    Evidence,
    Finding,
    Layer,
    Ref,
    Severity,
    Shared,
    check,
    kubectl,
    listing,
    nearest,
    present,
)
from kdiag.facts import Events, Lack, StorageClasses, UnboundClaims, Volumes


@check(
    title="Storage class does not exist",
    severity=Severity.ERROR,
    layer=Layer.VOLUME,
    explains=CLAIM_UNBOUND,
    tags=("storage", "volumes"),
)
def storage_class_missing(
    unbound: UnboundClaims, classes: StorageClasses, volumes: Volumes, events: Events | None
) -> Iterator[Finding]:
    """A class may be only a word that claims and volumes share, so the volumes' classes count as names too."""
    known = sorted(c.name for c in classes.items)
    spoken = sorted({v.spec.storage_class_name for v in volumes.items} - {""})
    for one in unbound.of(Lack.CLASS_MISSING):
        claim = one.claim
        name = claim.spec.storage_class_name or ""
        close = nearest(name, known) or nearest(name, spoken)
        of_volume = "" if close in known else "the class of a volume, "
        said = events.latest(claim.ref(), "ProvisioningFailed") if events else None
        yield Finding(
            claim.ref(),
            f"Claim {claim.ref().path} names storage class {name}, which does not exist"
            + (f"; {of_volume}{close}, is close" if close and of_volume else f"; {close} does" if close else ""),
            evidence=present(
                Evidence(kubectl("get", "pvc", claim.name, namespace=claim.namespace), f"Pending, STORAGECLASS {name}"),
                Evidence("kubectl get storageclass", listing(known, 6) or "none"),
                Evidence(kubectl("describe", "pvc", claim.name, namespace=claim.namespace), said.message)
                if said
                else None,
            ),
            next=(
                kubectl("get", "pvc", claim.name, "-o", "yaml", namespace=claim.namespace)
                + f" > {claim.name}.yaml  # set storageClassName: {close or 'one that exists'}",
                kubectl("replace", "--force", "-f", f"{claim.name}.yaml", namespace=claim.namespace)
                + "  # the class of a claim cannot be changed; it is unbound, no data is lost",
                f"or make the class {name}, if it was lost",
            ),
            touches=(Ref("StorageClass", name), *(p.ref() for p in one.users[:50])),
            severity=Severity.ERROR if one.users else Severity.WARNING,
            shared=Shared(Ref("StorageClass", name), f"Storage class {name} does not exist", "name it"),
        )

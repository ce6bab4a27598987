"""A claim names no storage class, there is no default one, and no volume without a class fits."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import CLAIM_UNBOUND, Evidence, Finding, Layer, Severity, check, kubectl, listing, present
from kdiag.facts import Differs, Events, Lack, StorageClasses, UnboundClaims


@check(
    title="Claim has no storage class and there is no default",
    severity=Severity.ERROR,
    layer=Layer.VOLUME,
    explains=CLAIM_UNBOUND,
    tags=("storage", "volumes"),
)
def claim_without_class(unbound: UnboundClaims, classes: StorageClasses, events: Events | None) -> Iterator[Finding]:
    """The controller says so in a Normal event, which is easily overlooked."""
    names = sorted(c.name for c in classes.items)
    for one in unbound.of(Lack.NO_CLASS):
        claim, near = one.claim, one.nearest
        fits = near and set(near.differs) == {Differs.CLASS}
        chosen = near.volume.spec.storage_class_name if near and fits else (names or ["CLASS"])[0]
        said = events.latest(claim.ref(), "FailedBinding") if events else None
        yield Finding(
            claim.ref(),
            f"Claim {claim.ref().path} names no storage class, and "
            + ("no class is the default" if names else "the cluster has none")
            + (
                f"; volume {near.volume.name} of class {near.volume.spec.storage_class_name} would fit"
                if near and fits
                else ""
            ),
            evidence=present(
                Evidence(kubectl("get", "pvc", claim.name, namespace=claim.namespace), "Pending, STORAGECLASS <none>"),
                Evidence("kubectl get storageclass", f"{listing(names, 5)}; none is (default)" if names else "none"),
                Evidence(kubectl("describe", "pvc", claim.name, namespace=claim.namespace), said.message)
                if said
                else None,
            ),
            next=(
                *(
                    (
                        f"kubectl annotate storageclass {names[0]} storageclass.kubernetes.io/is-default-class=true"
                        "  # claims without a class get it within a minute",
                    )
                    if names
                    else ("install a storage class with a provisioner, or make a volume for the claim",)
                ),
                kubectl(
                    "patch",
                    "pvc",
                    claim.name,
                    "-p",
                    f'{{"spec":{{"storageClassName":"{chosen}"}}}}',
                    namespace=claim.namespace,
                )
                + "  # a class that is not set yet may be set",
            ),
            touches=tuple(p.ref() for p in one.users[:50]),
            severity=Severity.ERROR if one.users else Severity.WARNING,
        )

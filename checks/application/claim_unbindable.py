"""No volume there is fits a claim, and nothing makes one for it."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import CLAIM_UNBOUND, Evidence, Finding, Layer, Severity, check, kubectl, listing, nearest, present
from kdiag.facts import (
    Candidate,
    Differs,
    Events,
    Lack,
    PersistentVolume,
    Unbound,
    UnboundClaims,
    Volumes,
    amount,
)


@check(
    title="No volume fits a claim",
    severity=Severity.ERROR,
    layer=Layer.VOLUME,
    explains=CLAIM_UNBOUND,
    tags=("storage", "volumes"),
)
def claim_unbindable(unbound: UnboundClaims, volumes: Volumes, events: Events | None) -> Iterator[Finding]:
    """Compares the claim with every volume and says which is nearest and in what it differs."""
    for one in unbound.of(Lack.NO_FIT):
        claim = one.claim
        said = events.latest(claim.ref(), "VolumeMismatch", "FailedBinding", "ProvisioningFailed") if events else None
        yield Finding(
            claim.ref(),
            f"Claim {claim.ref().path} cannot bind{_why(one, volumes)}",
            evidence=present(
                Evidence(
                    kubectl("get", "pvc", claim.name, "-o", "wide", namespace=claim.namespace),
                    f"Pending; asks for {_asks(one)}",
                ),
                Evidence("kubectl get pv", listing([_shown(v) for v in _first(one, volumes)], 4) or "no volume"),
                Evidence(kubectl("describe", "pvc", claim.name, namespace=claim.namespace), said.message)
                if said
                else None,
            ),
            next=tuple(_next(one)),
            touches=tuple(p.ref() for p in one.users[:50]),
            severity=Severity.ERROR if one.users else Severity.WARNING,
        )


def _asks(one: Unbound) -> str:
    spec = one.claim.spec
    size = spec.resources.requests.get("storage")
    parts = [amount("storage", size) if size is not None else "", ",".join(spec.access_modes)]
    parts += [f"class {spec.storage_class_name or '<none>'}", f"volume {spec.volume_name}" if spec.volume_name else ""]
    parts += [f"mode {spec.volume_mode}" if spec.volume_mode != "Filesystem" else ""]
    parts += [f"selector {spec.selector}" if spec.selector else ""]
    return ", ".join(p for p in parts if p)


def _shown(volume: PersistentVolume) -> str:
    size = volume.spec.capacity.get("storage")
    words = [volume.name, amount("storage", size) if size is not None else "?", ",".join(volume.spec.access_modes)]
    return " ".join([*words, volume.status.phase, volume.spec.storage_class_name]).strip()


def _first(one: Unbound, volumes: Volumes) -> list[PersistentVolume]:
    """The volumes, those that come closest first."""
    near = one.nearest.volume.name if one.nearest else ""
    wanted = one.claim.spec.storage_class_name or ""
    return sorted(volumes.items, key=lambda v: (v.name != near, v.spec.storage_class_name != wanted, v.name))


def _why(one: Unbound, volumes: Volumes) -> str:
    spec, near = one.claim.spec, one.nearest
    if spec.volume_name and (near is None or near.volume.name != spec.volume_name):
        close = nearest(spec.volume_name, [v.name for v in volumes.items])
        return f": volume {spec.volume_name}, which it names, does not exist" + (f"; {close} does" if close else "")
    if near is None or (Differs.CLASS in near.differs and len(near.differs) > 1):
        return f": there is no volume of class {spec.storage_class_name or '<none>'} to be had"
    which = "volume" if spec.volume_name else "the nearest volume,"
    return f": {which} {near.volume.name}{'' if spec.volume_name else ','} is {_differs(near)}"


def _differs(near: Candidate) -> str:
    words = {
        Differs.TAKEN: "{}",
        Differs.STATE: "{}",
        Differs.CLASS: "of {}",
        Differs.SIZE: "of {}",
        Differs.MODES: "{}",
        Differs.VOLUME_MODE: "of {}",
        Differs.SELECTOR: "{}",
    }
    return " and ".join(words[k].format(text) for k, text in near.differs.items() if k in words)


def _next(one: Unbound) -> Iterator[str]:
    claim, near = one.claim, one.nearest
    named = claim.spec.volume_name in ("", near.volume.name if near else "")
    if near and named and not {Differs.TAKEN, Differs.STATE} & set(near.differs):
        yield (
            kubectl("get", "pvc", claim.name, "-o", "yaml", namespace=claim.namespace)
            + f" > {claim.name}.yaml  # make it fit {near.volume.name}; a claim's spec cannot be edited"
        )
        yield (
            kubectl("replace", "--force", "-f", f"{claim.name}.yaml", namespace=claim.namespace)
            + "  # it is unbound: no data is lost"
        )
    else:
        yield "kubectl get pv  # make a volume that fits, or free one"
    yield "kubectl get storageclass  # or name a class whose provisioner makes volumes"

"""A claim asks for more than its volume has, and the volume does not grow."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, present, shorten
from kdiag.facts import (
    Claims,
    Cluster,
    Events,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClasses,
    Volumes,
    amount,
    condition,
)


@check(
    title="Volume does not grow to what its claim asks for",
    severity=Severity.WARNING,
    layer=Layer.VOLUME,
    explains=(),
    tags=("storage", "volumes", "csi"),
)
def volume_expansion_refused(
    claims: Claims, volumes: Volumes, classes: StorageClasses, cluster: Cluster, events: Events | None
) -> Iterator[Finding]:
    """A resize that is under way gets ten minutes; one that nothing can do is said at once."""
    for claim in claims.items:
        wanted, has = claim.spec.resources.requests.get("storage"), claim.status.capacity.get("storage")
        if claim.status.phase != "Bound" or wanted is None or has is None or wanted <= has:
            continue
        why = _why(claim, volumes.get(claim.spec.volume_name), classes, cluster, events)
        if not why:
            continue
        event = (
            events.latest(claim.ref(), "VolumeResizeFailed", "ExternalExpanding", "FileSystemResizeRequired")
            if events
            else None
        )
        yield Finding(
            claim.ref(),
            f"Claim {claim.ref().path} asks for {amount('storage', wanted)} and has {amount('storage', has)}: {why}",
            evidence=present(
                Evidence(
                    kubectl("get", "pvc", claim.name, "-o", "yaml", namespace=claim.namespace),
                    f"requests {amount('storage', wanted)}, status.capacity {amount('storage', has)}",
                ),
                Evidence(
                    kubectl("describe", "pvc", claim.name, namespace=claim.namespace),
                    f"{event.reason}: {event.message}",
                )
                if event
                else None,
            ),
            next=tuple(_next(claim)),
        )


def _why(
    claim: PersistentVolumeClaim,
    volume: PersistentVolume | None,
    classes: StorageClasses,
    cluster: Cluster,
    events: Events | None,
) -> str:
    pending = condition(claim.status.conditions, "FileSystemResizePending")
    if pending and pending.status == "True":
        old = cluster.age(pending.last_transition_time) > 600
        return "the volume has grown, its file system grows when a pod mounts it again" if old else ""
    for kind in ("ControllerResizeError", "NodeResizeError"):
        error = condition(claim.status.conditions, kind)
        if error and error.status == "True":
            return shorten(error.message or "the driver refuses", 160)
    failed = events.latest(claim.ref(), "VolumeResizeFailed") if events else None
    if failed and cluster.age(failed.when) < 900:
        return shorten(failed.message, 160)
    storage_class = classes.get(claim.spec.storage_class_name or "")
    if volume is not None and volume.spec.csi is None:
        return f"volume {volume.name} was made by hand, and nothing can resize it"
    if storage_class is not None and not storage_class.allow_volume_expansion:
        return f"class {storage_class.name} does not allow expansion"
    resizing = condition(claim.status.conditions, "Resizing")
    waiting = events.latest(claim.ref(), "ExternalExpanding") if events else None
    since = (resizing.last_transition_time if resizing else None) or (waiting.first if waiting else None)
    return "no resizer of its CSI driver has answered" if since and cluster.age(since) > 600 else ""


def _next(claim: PersistentVolumeClaim) -> Iterator[str]:
    if condition(claim.status.conditions, "FileSystemResizePending"):
        yield (
            kubectl("get", "pods", "-o", "wide", namespace=claim.namespace) + "  # restart the pod that uses the claim"
        )
        return
    yield kubectl("get", "storageclass", claim.spec.storage_class_name or "") + "  # ALLOWVOLUMEEXPANSION, PROVISIONER"
    yield "kubectl get pods -A | grep -i csi  # does the driver's controller with its resizer run?"
    yield "or copy the data to a new, larger claim"

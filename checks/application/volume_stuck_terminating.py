"""A volume has been deleted and does not go, although no claim holds it."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, listing
from kdiag.facts import Cluster, PersistentVolume, VolumeAttachments, Volumes


@check(
    title="Volume hangs in Terminating",
    severity=Severity.WARNING,
    layer=Layer.VOLUME,
    explains=(),
    tags=("storage", "volumes", "terminating"),
    holds_deletion=True,
)
def volume_stuck_terminating(
    volumes: Volumes, cluster: Cluster, attachments: VolumeAttachments | None
) -> Iterator[Finding]:
    """A volume that is bound waits for its claim by design."""
    for volume in volumes.items:
        deleted = volume.metadata.deletion_timestamp
        if deleted is None or cluster.age(deleted) < 300 or volume.status.phase == "Bound":
            continue
        finalizers = listing(volume.metadata.finalizers)
        held = [
            a.spec.node_name
            for a in (attachments.items if attachments else ())
            if a.spec.source.persistent_volume_name == volume.name
        ]
        why = f"still attached to {listing(held)}" if held else f"finalizer {finalizers or 'none'}"
        yield Finding(
            volume.ref(),
            f"Volume {volume.name} is being deleted and does not go: {why}",
            evidence=(
                Evidence(
                    f"kubectl get pv {volume.name} -o yaml",
                    f"deletionTimestamp {deleted:%Y-%m-%dT%H:%M:%SZ}, {volume.status.phase}, finalizers {finalizers}",
                ),
            ),
            next=tuple(_next(volume, held)),
        )


def _next(volume: PersistentVolume, held: list[str]) -> Iterator[str]:
    if held:
        yield "kubectl get volumeattachments  # the attacher of the CSI driver must run to take it off the node"
    driver = volume.spec.csi.driver if volume.spec.csi else ""
    yield (
        f"kubectl get pods -A | grep -i csi  # the controller of {driver} takes its finalizer off"
        if driver
        else f"kubectl describe pv {volume.name}"
    )
    yield (
        kubectl("patch", "pv", volume.name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        + "  # last resort: the storage behind it stays and costs"
    )

"""A volume is Failed: what its claim left behind could not be cleaned up."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, shorten
from kdiag.facts import Events, Volumes


@check(
    title="Volume is Failed",
    severity=Severity.WARNING,
    layer=Layer.VOLUME,
    explains=(),
    tags=("storage", "volumes"),
)
def volume_failed(volumes: Volumes, events: Events | None) -> Iterator[Finding]:
    """The storage stays, and costs; no claim can bind to it."""
    for volume in volumes.items:
        if volume.status.phase != "Failed":
            continue
        event = events.latest(volume.ref(), "VolumeFailedDelete", "VolumeFailedRecycle") if events else None
        said = volume.status.message or (event.message if event else "")
        ref = volume.spec.claim_ref
        of = f" of deleted claim {ref.namespace}/{ref.name}" if ref else ""
        yield Finding(
            volume.ref(),
            f"Volume {volume.name}{of} is Failed: {shorten(said, 160) or 'it could not be reclaimed'}",
            evidence=(
                Evidence(
                    f"kubectl describe pv {volume.name}",
                    f"Failed, reclaim policy {volume.spec.persistent_volume_reclaim_policy}"
                    + (f": {said}" if said else ""),
                ),
            ),
            next=(
                f"kubectl describe pv {volume.name}  # does it hold anything that is still wanted?",
                kubectl("delete", "pv", volume.name) + "  # then remove the storage behind it by hand",
            ),
        )

"""The runtime cannot set up a mount or the working directory of a container."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, present, shorten
from kdiag.facts import (
    ConfigMaps,
    Events,
    Failures,
    Fault,
    Logs,
    edit,
    touched,
)


@check(
    title="Container mount fails",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/job_failed"),
    tags=(
        "config",
        "volume",
        "storage",
        "crash",
    ),
)
def container_mount_fails(
    failures: Failures, events: Events | None, logs: Logs | None, configmaps: ConfigMaps | None
) -> Iterator[Finding]:
    """A volume over a file, or a file over a directory, is what it mostly is."""
    for group in failures.of(Fault.MOUNT_FAILS, events, logs):
        one = group[0]
        namespace = one.pod.namespace
        target = re.search(r'to rootfs at "?([^":]+)', one.text)
        mount = next(
            (m for m in one.spec.volume_mounts if target and m.mount_path.rstrip("/") == target[1].rstrip("/")), None
        )
        absent = configmaps.absent_sub_paths(one.pod.spec, one.spec, namespace) if configmaps else ()
        if any(m == mount for m, _ in absent):
            continue  # it is the key that lacks
        if target and mount and "not a directory" in one.text:
            what = (
                f"key {mount.sub_path} of volume {mount.name}, a file,"
                if mount.sub_path
                else f"volume {mount.name}, a directory,"
            )
            over = "a directory" if mount.sub_path else "a file"
            why = f"mounts {what} at {target[1]}, which is {over} in the image"
        elif made := re.search(r"mkdir(?:at)? ([^:]+): (.+)", one.said):
            why = f"cannot make the directory {made[1]}: {made[2]}"
        else:
            why = f"cannot be mounted: {shorten(one.said, 100)}"
        yield Finding(
            one.owner,
            f"{one.where} {why}",
            evidence=present(
                Evidence(kubectl("get", "pod", one.pod.name, namespace=namespace), one.status),
                Evidence(kubectl("describe", "pod", one.pod.name, namespace=namespace), one.said),
                Evidence("", f"mountPath {mount.mount_path}, subPath {mount.sub_path or 'none'}") if mount else None,
            ),
            next=(edit(one, "a single file needs subPath: its key" if mount and not mount.sub_path else ""),),
            touches=touched(group),
            key=one.container,
            since=one.started,
        )

"""A container's user may not write to, or read from, a volume that is mounted into it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl
from kdiag.facts import (
    Events,
    Failures,
    Fault,
    Logs,
    Volume,
    edit,
    touched,
)

#: A path in the words of a program that may not write it.
_PATH = re.compile(r"(?<![\w/.])(/[\w.@+-]+(?:/[\w.@+-]+)*)")


def _mode(volume: Volume) -> int | None:
    """The mode that a ConfigMap's or Secret's files are given, where the template says it."""
    source = volume.secret or volume.config_map or volume.projected
    return source.default_mode if source else None


@check(
    title="Container may not use its volume",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/job_failed"),
    tags=(
        "storage",
        "volume",
        "access",
        "crash",
    ),
)
def volume_permission_denied(failures: Failures, events: Events | None, logs: Logs | None) -> Iterator[Finding]:
    """A path of the log under a mount path, with the user and group that the container runs as."""
    for group in failures.of(Fault.PERMISSION_DENIED, events, logs):
        one = group[0]
        namespace = one.pod.namespace
        mount = next((m for m in one.spec.volume_mounts if m.mount_path == one.about), None)
        volume = next((v for v in one.pod.spec.volumes if mount and v.name == mount.name), None)
        fixed = bool(volume and (volume.config_map or volume.secret or volume.projected))
        read_only = "read-only" in one.text.lower() or "EROFS" in one.text
        user = one.spec.security_context.run_as_user
        user = one.pod.spec.security_context.run_as_user if user is None else user
        group_id = one.pod.spec.security_context.fs_group
        runs = f"user {'of the image' if user is None else user}, fsGroup {'none' if group_id is None else group_id}"
        if one.about == "/":
            why, fix = "its root file system is read-only", "an emptyDir volume at that path"
        elif read_only and mount and mount.read_only:
            why, fix = "the volume is mounted readOnly", "readOnly: false at that volumeMount"
        elif read_only and fixed:
            why, fix = (
                "ConfigMaps and Secrets are always mounted read-only",
                "an init container that copies it to an emptyDir",
            )
        elif read_only:
            why, fix = (
                "the volume is read-only",
                f"the volume's own access: {kubectl('get', 'pvc', namespace=namespace)}",
            )
        elif volume and user and group_id is None and (mode := _mode(volume)) is not None and not mode & 0o004:
            what = f"Secret {volume.secret.secret_name} has" if volume.secret else "its files have"
            why = f"{what} mode {mode:04o} and owner root; {runs}"
            fix = f"securityContext.fsGroup of the pod, or defaultMode 0444 of volume {volume.name}"
        else:
            why = f"permission denied for {runs}"
            fix = "securityContext.fsGroup of the pod, or the owner of the files (hostPath and NFS ignore fsGroup)"
        path = _PATH.search(one.text) if one.about == "/" else None
        yield Finding(
            one.owner,
            f"{one.where} may not use {path[1] if path else one.about}: {why}",
            evidence=(
                Evidence(kubectl(*one.log_command, namespace=namespace), one.said),
                Evidence(
                    "", f"volume {mount.name} at {one.about}, {runs}" if mount else f"readOnlyRootFilesystem, {runs}"
                ),
                Evidence(kubectl("get", "pod", one.pod.name, namespace=namespace), one.status),
            ),
            next=(edit(one, fix),),
            touches=touched(
                group,
                *(
                    [Ref("PersistentVolumeClaim", volume.persistent_volume_claim.claim_name, namespace)]
                    if volume and volume.persistent_volume_claim
                    else []
                ),
            ),
            key=one.container,
            since=one.started,
        )

"""A container cannot write: the file system that it writes to is full."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, present, shorten
from kdiag.facts import Cluster, Complaints, Pod, Topic

# inotify answers ENOSPC when a user has no more watches: no disk is full then.
_WATCHES = re.compile(r"inotify|fsnotify|fs\.watch|file ?watch|System limit for number of", re.IGNORECASE)
_PATH = re.compile(r"(?<![\w/])(/[A-Za-z0-9._/-]{2,200})")


@check(
    title="Disk is full for a container",
    severity=Severity.ERROR,
    layer=Layer.VOLUME,
    explains_here=(
        "application/container_crashes",
        "application/init_container_fails",
        "application/pod_not_ready",
        "application/readiness_probe_fails",
    ),
    tags=("storage", "disk"),
)
def disk_full_in_container(complaints: Complaints, cluster: Cluster) -> Iterator[Finding]:
    """The path in the message tells the volume; without one, the log tells only that some disk is full."""
    done: set[Ref] = set()
    for complaint in complaints.about(Topic.DISK_FULL):
        if _WATCHES.search(complaint.said.text) or complaint.workload in done:
            continue
        done.add(complaint.workload)
        pod, workload = complaint.pod, complaint.workload
        path = next((m[1] for m in _PATH.finditer(complaint.said.text) if _volume(pod, complaint.container, m[1])), "")
        volume, claim = _volume(pod, complaint.container, path) if path else ("", "")
        hearsay = not volume  # one that runs well may pass on what it was told of another disk
        what = (
            f"PersistentVolumeClaim {claim}" if claim else f"volume {volume}" if volume else "a disk that it writes to"
        )
        shown = kubectl("exec", pod.name, "-c", complaint.container, "--", "df", "-h", namespace=pod.namespace)
        yield Finding(
            workload,
            f"{workload} cannot write: {what} is full",
            evidence=(
                Evidence(kubectl(*complaint.command, namespace=pod.namespace), shorten(complaint.said.text, 200)),
            ),
            next=(
                shown,
                kubectl("get", "pvc", claim, namespace=pod.namespace) + "   # grow it, if its StorageClass allows that"
                if claim
                else f"free space, or raise the volume's sizeLimit; on node {pod.node}: df -h /var/lib/kubelet",
            ),
            touches=present(
                Ref("PersistentVolumeClaim", claim, pod.namespace) if claim else None,
                Ref("Node", pod.node) if pod.node and not claim else None,
            ),
            key=complaint.container,
            severity=Severity.WARNING
            if complaint.passed(cluster) or (hearsay and not complaint.failing)
            else Severity.ERROR,
            since=complaint.since,
        )


def _volume(pod: Pod, container: str, path: str) -> tuple[str, str]:
    """The volume behind a path, and its claim; empty for the container's own layer."""
    found = pod.spec.container(container)
    best: tuple[int, str] = (0, "")
    for mount in found.volume_mounts if found else ():
        root = mount.mount_path.rstrip("/")
        if path == root or path.startswith(f"{root}/"):
            best = max(best, (len(root), mount.name))
    for volume in pod.spec.volumes:
        if volume.name == best[1] and best[1]:
            claim = volume.persistent_volume_claim
            return volume.name, claim.claim_name if claim else ""
    return "", ""

"""A filesystem that the kubelet, the runtime or etcd must write to is mounted read-only, as after a disk error."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import DISK_UNUSABLE, Evidence, Finding, Layer, Ref, Severity, check, listing, shorten
from kdiag.facts import KernelLogs, Manifests, Mounts, hosted

_PLACES = (
    ("/var/lib/kubelet", "the kubelet"),
    ("/var/lib/containerd", "containerd"),
    ("/var/lib/containers", "CRI-O"),
    ("/var/lib/etcd", "etcd"),
    ("/var/log", "the logs"),
)
#: Mounts of their own, on some nodes: they count where they are one.
_OWN = (
    ("/var/lib/kubelet/pods", "the kubelet, for new pods,"),
    ("/var/log/pods", "the logs of containers"),
    ("/var/lib/cni", "the network plugin"),
    ("/run", "the container runtime"),
)
_WHY = re.compile(
    r"Remounting filesystem read-only|EXT4-fs error|Buffer I/O error|I/O error, dev|XFS.*(?:orruption|hutting down)"
)


@check(
    title="Filesystem is read-only",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=(
        *DISK_UNUSABLE,
        "application/volume_mount_fails",
        "worker_node/node_heartbeat_stale",
        "network/pod_sandbox_fails",
        "control_plane/api_server_unhealthy",
        "application/pod_not_ready",
        "control_plane/etcd_slow",
        "control_plane/certificate_unreadable",
    ),
    tags=("disk", "node"),
)
def filesystem_read_only(mounts: Mounts, logs: KernelLogs | None, manifests: Manifests | None) -> Iterator[Finding]:
    """An image that is read-only by design has another mount for what is written; that one counts."""
    for node, _ in mounts:
        files = manifests.get(node) if manifests else None
        etcd = bool(files and files.of("etcd"))
        hit: dict[str, list[str]] = {}
        for path, who in _PLACES:
            if (path == "/var/lib/etcd" and not etcd) or path == "/var/lib/containers":
                continue
            mount = mounts.at(node, path)
            if path == "/var/lib/containerd" and mount and mount.path == "/":
                continue
            if mount and mount.read_only and mount.kind not in ("squashfs", "erofs", "iso9660", "autofs"):
                hit.setdefault(mount.path, []).append(who)
        for path, who in _OWN:
            mount = mounts.at(node, path)
            if mount and mount.path == path and mount.read_only:
                hit.setdefault(mount.path, []).append(who)
        told = [line for line in (logs.get(node) or () if logs else ()) if _WHY.search(line.text)]
        for path, users in sorted(hit.items()):
            mount = mounts.at(node, path)
            shown = f"{mount.device} {mount.path} {mount.kind} {','.join(mount.options)}" if mount else path
            evidence = [Evidence("cat /proc/mounts", shorten(shown, 160), source=node)]
            if told:
                last = told[-1]
                evidence.append(
                    Evidence("journalctl -k -p err", f"{last.when:%Y-%m-%d %H:%M:%S} {last.text}", source=node)
                )
            yield Finding(
                Ref("Node", node),
                f"{path} on {node} is mounted read-only: {listing(users)} cannot write"
                + (" (the kernel logs disk errors)" if told else ""),
                evidence=tuple(evidence),
                next=(
                    f"ssh {node} \"sudo dmesg -T | grep -E 'I/O error|EXT4-fs|XFS|read-only' | tail\"",
                    f"kubectl drain {node} --ignore-daemonsets    # a failing disk: take its work away first",
                    f"ssh {node} sudo mount -o remount,rw {path}    # only without disk errors; else fsck first",
                ),
                touches=hosted(node, manifests),
                key=path,
            )

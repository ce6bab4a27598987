"""A filesystem that a node lives on is full, or so full that the kubelet evicts pods and deletes images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kdiag.check import DISK_UNUSABLE, Evidence, Finding, Gap, Layer, Ref, Severity, check
from kdiag.facts import Disks, Filesystem, Manifests, Nodes, holding, hosted

#: The kubelet's default: it evicts below one tenth of nodefs.
_PRESSURE = 0.10
_FULL = 0.01
_BYTES = 100 << 20
_KINDS_WITHOUT_END = ("squashfs", "iso9660", "erofs", "cramfs")
_USES = (
    ("/var/lib/etcd", "etcd"),
    ("/var/lib/kubelet", "the kubelet and its pods"),
    ("/var/lib/containerd", "containerd's images and containers"),
    ("/var/lib/containers", "CRI-O's images and containers"),
    ("/var/lib/docker", "Docker's images and containers"),
    ("/var/log", "the logs"),
    ("/var/lib/kubelet/pods", "the volumes of pods"),
    ("/var/log/pods", "the logs of containers"),
    ("/run", "sockets and the state of running containers"),
)
#: Those that count only where they are a mount of their own; else what is around them does.
_OWN = ("/var/lib/kubelet/pods", "/var/log/pods")


@check(
    title="Disk is full",
    severity=Severity.ERROR,
    layer=Layer.HOST,
    explains=(
        *DISK_UNUSABLE,
        "worker_node/node_under_pressure",
        "application/pod_evicted",
        "application/disk_full_in_container",
        "control_plane/api_server_unhealthy",
        "control_plane/static_pod_missing",
        "network/cni_config_invalid",
        "control_plane/etcd_slow",
        "control_plane/certificate_unreadable",
    ),
    tags=("disk", "node", "eviction"),
)
def disk_full(disks: Disks, nodes: Nodes | None, manifests: Manifests | None) -> Iterator[Finding | Gap]:
    """Between full and free the node's own word counts: what it calls pressure is its kubelet's configuration."""
    for node, mounts in disks:
        known = nodes.get(node) if nodes else None
        pressure = known.condition("DiskPressure") if known and known.ready else None
        files = manifests.get(node) if manifests else None
        for mount, users in _used(mounts).items():
            fs = mounts[mount]
            full = fs.available < _BYTES and fs.free < _FULL
            # What is that small was not made for it, unless it is mounted right there.
            if fs.kind in _KINDS_WITHOUT_END or (fs.size < _BYTES and not (full and mount in users)):
                continue
            pods = "/var/lib/kubelet" in users
            etcd = "/var/lib/etcd" in users and bool(files and files.of("etcd"))
            low = pods and fs.free < _PRESSURE and not (pressure and pressure.status != "True")
            if not (full or low):
                continue
            if not full and nodes is None:
                yield Gap("nodes", f"not seen: whether {node} itself calls that too little on {mount}")
                continue
            words = [what for path, what in _USES if path in users and (path != "/var/lib/etcd" or etcd)]
            if not words:
                continue
            known_bad = full or bool(pressure and pressure.status == "True")
            amount = f"{_size(fs.available)} of {_size(fs.size)} left"
            state = "is full" if full else "is nearly full"
            yield Finding(
                Ref("Node", node),
                f"the disk of {words[0]} on {node} ({mount}) {state}: {amount}",
                evidence=(
                    Evidence(
                        f"df -hT {min(users)}",
                        f"{fs.device} {fs.kind} {amount} ({fs.free:.0%}); it holds {', '.join(words)}",
                        source=node,
                    ),
                ),
                next=(
                    f'ssh {node} "sudo du -xh --max-depth=3 {"/var" if mount == "/" else mount} | sort -h | tail -20"',
                    f"ssh {node} sudo crictl rmi --prune    # images that no container uses",
                    f"ssh {node} sudo journalctl --vacuum-size=200M",
                ),
                touches=hosted(node, manifests) if full and etcd else (),
                key=mount,
                severity=Severity.CRITICAL if full and etcd else Severity.ERROR if known_bad else Severity.WARNING,
            )


def _used(mounts: Mapping[str, Filesystem]) -> dict[str, set[str]]:
    """The mounts that hold what matters, and which paths each holds."""
    found: dict[str, set[str]] = {}
    for path, _ in _USES:
        fs = holding(mounts, path)
        if path in _OWN and (fs is None or fs.mount != path):
            continue
        if fs and (path != "/run" or fs.mount == path):
            found.setdefault(fs.mount, set()).add(path)
    return found


def _size(count: int) -> str:
    for unit, size in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count // 1024} KiB"

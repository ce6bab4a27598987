"""A filesystem that a node lives on has no inodes left: no file can be made, though there is space."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import DISK_UNUSABLE, Evidence, Finding, Layer, Ref, Severity, check
from kdiag.facts import Disks, Nodes, holding

#: The kubelet's default: it evicts below one twentieth.
_PRESSURE = 0.05
_PLACES = (
    "/var/lib/kubelet",
    "/var/lib/kubelet/pods",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/docker",
    "/var/lib/etcd",
    "/var/log",
    "/var/log/pods",
)


@check(
    title="Inodes are exhausted",
    severity=Severity.ERROR,
    layer=Layer.HOST,
    explains=(
        *DISK_UNUSABLE,
        "worker_node/node_under_pressure",
        "application/pod_evicted",
        "application/disk_full_in_container",
    ),
    tags=("disk", "node", "eviction"),
)
def inodes_exhausted(disks: Disks, nodes: Nodes | None) -> Iterator[Finding]:
    """``df -h`` shows free space; ``No space left on device`` is said all the same."""
    for node, mounts in disks:
        known = nodes.get(node) if nodes else None
        pressure = known.condition("DiskPressure") if known and known.ready else None
        for mount in sorted({fs.mount for path in _PLACES if (fs := holding(mounts, path))}):
            fs = mounts[mount]
            none = fs.inodes > 0 and fs.inodes_free < (100 if fs.inodes > 1000 else 1)
            low = fs.free_inodes < _PRESSURE and not (pressure and pressure.status != "True")
            if not (none or low):
                continue
            yield Finding(
                Ref("Node", node),
                f"{mount} on {node} has {'no' if none else 'nearly no'} inodes left: "
                f"{'no file can be made' if none else 'the kubelet evicts pods'}, though there is space",
                evidence=(
                    Evidence(f"df -i {mount}", f"{fs.device} {fs.inodes_free} of {fs.inodes} inodes free", source=node),
                ),
                next=(
                    f'ssh {node} "sudo du --inodes -xd3 {"/var" if mount == "/" else mount} | sort -n | tail -20"',
                    f"ssh {node} sudo crictl rmi --prune    # images that no container uses",
                ),
                key=mount,
                severity=Severity.ERROR if none or (pressure and pressure.status == "True") else Severity.WARNING,
            )

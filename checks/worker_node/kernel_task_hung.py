"""Processes of a node have waited for minutes in the kernel, as for a disk that does not answer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, listing
from kdiag.facts import Clocks, KernelLogs, moment

_HUNG = re.compile(r"INFO: task (.{1,64}):(\d+) blocked for more than (\d+) seconds")
# The kernel looks every two minutes, and stops saying so after ten lines.
_RECENT = 600
_VITAL = re.compile(r"kubelet|containerd|crio|dockerd|runc|conmon|etcd|kube-|jbd2|xfs|systemd|nfs")


@check(
    title="Processes hang in the kernel",
    severity=Severity.WARNING,
    layer=Layer.HOST,
    explains=(
        "application/pod_stuck_terminating",
        "control_plane/etcd_slow",
        "worker_node/pleg_unhealthy",
    ),
    tags=("node", "disk", "nfs", "kernel"),
)
def kernel_task_hung(logs: KernelLogs, clocks: Clocks) -> Iterator[Finding]:
    """No signal ends such a process. What hung once, hours ago, has found its disk again."""
    for node, lines in logs:
        now = moment(clocks, node)
        if now is None:
            continue
        hung = [(line, m) for line in lines if (m := _HUNG.search(line.text))]
        hung = [(line, m) for line, m in hung if 0 <= (now - line.when).total_seconds() < _RECENT]
        if not hung:
            continue
        tasks = list(dict.fromkeys(m[1] for _, m in hung))
        last, _ = hung[-1]
        yield Finding(
            Ref("Node", node),
            f"processes on {node} wait in the kernel for more than {hung[-1][1][3]} s: {listing(tasks)}",
            evidence=(Evidence("journalctl -k -p err", f"{last.when:%Y-%m-%d %H:%M:%S} {last.text}", source=node),),
            next=(
                f"ssh {node} \"ps -eo stat,pid,comm | grep '^D'\"    # who waits",
                f"ssh {node} \"sudo dmesg -T | grep -A 20 'blocked for more' | tail -40\"    # nfs_, xfs_: on what",
                f"ssh {node} \"grep -E ' (nfs|nfs4|cifs|ceph) ' /proc/mounts; cat /proc/pressure/io\"",
            ),
            severity=Severity.ERROR if any(map(_VITAL.search, tasks)) else None,
        )

"""A node has as many files open as its kernel allows, so every program there fails to open more."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, whole
from kdiag.facts import Kernels

_FULL = 0.98
_NEAR = 0.90


@check(
    title="File handles of a node are exhausted",
    severity=Severity.ERROR,
    layer=Layer.HOST,
    explains=(
        "application/file_descriptors_exhausted",
        "network/pod_sandbox_fails",
        "worker_node/kubelet_crash_loops",
        "worker_node/pleg_unhealthy",
    ),
    tags=("node", "limits"),
)
def file_handles_exhausted(kernels: Kernels) -> Iterator[Finding]:
    """fs.file-max is for the whole machine; a process that has reached its own limit is not meant here."""
    for node, kernel in kernels:
        counts = kernel.settings.get("fs.file-nr", "").split()
        numbers = [n for count in counts if (n := whole(count)) is not None]
        if len(counts) != 3 or len(numbers) != 3:
            continue
        count, most = numbers[0] - numbers[1], numbers[2]
        if most < 1 or count < most * _NEAR:
            continue
        full = count >= most * _FULL
        state = "has no file handle left" if full else "has few file handles left"
        effect = ": programs there fail with 'too many open files in system'" if full else ""
        yield Finding(
            Ref("Node", node),
            f"{node} {state} (fs.file-max {most}){effect}",
            evidence=(Evidence("sysctl fs.file-nr", f"fs.file-nr = {' '.join(counts)}", source=node),),
            next=(
                f"ssh {node} \"sudo find /proc -maxdepth 3 -path '/proc/[0-9]*/fd/*' 2>/dev/null | cut -d/ -f3"
                ' | sort | uniq -c | sort -n | tail -3"    # how many, and whose: by process id',
                f"ssh {node} sudo sysctl -w fs.file-max={most * 2}    # takes effect at once",
            ),
            severity=Severity.ERROR if full else Severity.WARNING,
        )

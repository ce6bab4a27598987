"""A node ran out of memory and its kernel killed a process, whosever it was."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import HOST_EXHAUSTED, Evidence, Finding, Layer, Ref, Severity, check, listing
from kdiag.facts import Clocks, Cluster, KernelLogs, Kernels, moment

_RECENT = 1800
# "Memory cgroup out of memory" is a limit that somebody set, and no fault of the node.
_KILLED = re.compile(r"^Out of memory(?: \(oom_kill_allocating_task\))?: Kill(?:ed)? process (\d+) \(([^)]*)\)")
_SYSTEM = re.compile(
    r"kubelet|containerd|crio|dockerd|etcd|kube-apiserver|kube-controller|kube-scheduler|kube-proxy|systemd|coredns"
)


@check(
    title="Node ran out of memory",
    severity=Severity.ERROR,
    layer=Layer.HOST,
    explains=(
        *HOST_EXHAUSTED,
        "worker_node/node_under_pressure",
        "application/pod_evicted",
        "application/container_out_of_memory",
    ),
    tags=("memory", "node"),
)
def memory_exhausted(
    logs: KernelLogs, cluster: Cluster, clocks: Clocks | None, kernels: Kernels | None
) -> Iterator[Finding]:
    """The kernel's log tells; a kill of half an hour ago on a node that has memory again is history."""
    for node, lines in logs:
        now = moment(clocks, node) or cluster.taken
        killed: list[str] = []
        last = ""
        for line in lines:
            if (match := _KILLED.match(line.text)) and 0 <= (now - line.when).total_seconds() + 60 < _RECENT + 60:
                killed.append(match[2])
                last = f"{line.when:%H:%M:%S} {line.text}"
        if not killed:
            continue
        names = list(dict.fromkeys(killed))
        vital = [n for n in names if _SYSTEM.search(n)]
        kernel = kernels.get(node) if kernels else None
        evidence = [Evidence("journalctl -k -p err", last, source=node)]
        if kernel and "MemAvailable" in kernel.memory and kernel.memory.get("MemTotal"):
            left, total = kernel.memory["MemAvailable"] >> 20, kernel.memory["MemTotal"] >> 20
            evidence.append(Evidence("free -m", f"now {left} MiB of {total} MiB available", source=node))
        yield Finding(
            Ref("Node", node),
            f"{node} ran out of memory: its kernel killed {listing(vital or names)}",
            evidence=tuple(evidence),
            next=(
                f"ssh {node} 'ps -eo rss,pid,comm --sort=-rss | head'    # who has it now",
                f"kubectl describe node {node}    # Allocated resources: limits far above what there is?",
                f"kubectl get pods -A -o wide --field-selector=spec.nodeName={node}    # pods without a memory limit",
            ),
            severity=Severity.ERROR if vital else Severity.WARNING,
        )

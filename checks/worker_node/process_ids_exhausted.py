"""A node, or the unit of its kubelet or runtime, has as many tasks as it may, so nothing new can be started."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check
from kdiag.facts import Kernels, UnitTasks

_NEAR = 0.95


@check(
    title="Process ids are exhausted",
    severity=Severity.ERROR,
    layer=Layer.HOST,
    explains=(
        "worker_node/node_under_pressure",
        "worker_node/node_not_ready",
        "network/pod_sandbox_fails",
        "application/pod_not_ready",
        "worker_node/kubelet_crash_loops",
        "worker_node/pleg_unhealthy",
        "worker_node/runtime_not_running",
        "control_plane/component_exits",
    ),
    tags=("processes", "node", "limits"),
)
def process_ids_exhausted(kernels: Kernels, tasks: UnitTasks | None) -> Iterator[Finding]:
    """Threads count like processes, for the kernel's limits as for a unit's."""
    for node, kernel in kernels:
        most = kernel.most_threads
        if most and kernel.threads >= most * _NEAR:
            yield Finding(
                Ref("Node", node),
                f"{node} has no process ids left: nearly all {most} threads that its kernel allows exist",
                evidence=(
                    Evidence("cat /proc/loadavg", f"{kernel.threads} threads", source=node),
                    Evidence(
                        "sysctl kernel.pid_max kernel.threads-max",
                        f"kernel.pid_max = {kernel.settings.get('kernel.pid_max', '?')}, "
                        f"kernel.threads-max = {kernel.settings.get('kernel.threads-max', '?')}",
                        source=node,
                    ),
                ),
                next=(
                    f'ssh {node} "ps -eLo pid,comm --no-headers | sort | uniq -c | sort -n | tail"    # who has most',
                    f"ssh {node} sudo sysctl -w kernel.pid_max=4194304",
                    f"ssh {node} sudo grep podPidsLimit /var/lib/kubelet/config.yaml    # a limit for each pod",
                ),
                key="kernel",
            )
    for node, units in tasks or ():
        for unit in units:
            if unit.most and unit.current >= unit.most * _NEAR:
                yield Finding(
                    Ref("Node", node),
                    f"{unit.unit} on {node} may start no more processes: its unit has nearly all {unit.most} tasks",
                    evidence=(
                        Evidence(
                            f"systemctl show -p TasksCurrent,TasksMax {unit.unit}",
                            f"TasksCurrent={unit.current} TasksMax={unit.most}",
                            source=node,
                        ),
                    ),
                    next=(
                        f"ssh {node} sudo systemctl set-property {unit.unit} TasksMax=infinity",
                        f"ssh {node} systemctl status {unit.unit}    # its processes",
                    ),
                    key=unit.unit,
                )

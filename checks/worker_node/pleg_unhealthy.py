"""The container runtime of a node hangs: the kubelet no longer learns how its containers do."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Finding, Layer, Ref, Severity, check, present
from kdiag.facts import Cluster, KubeletJournal, Kubelets, RuntimeConfigs, Units, journal_line, runtime_unit, unit_state
from kdiag.facts.signatures import PLEG

_LATELY = 60


@check(
    title="Container runtime hangs",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=(
        "worker_node/node_not_ready",
        "application/pod_not_ready",
        "application/pod_stuck_terminating",
    ),
    tags=("node", "kubelet", "containerd", "runtime", "pleg"),
)
def pleg_unhealthy(
    units: Units,
    journal: KubeletJournal,
    cluster: Cluster,
    kubelets: Kubelets | None,
    configs: RuntimeConfigs | None,
) -> Iterator[Finding]:
    """PLEG lists the containers every second; three minutes without an answer make the node NotReady."""
    for node, log in journal:
        unit = units.unit(node, "kubelet")
        entry = log.find(PLEG.pattern, log.last_run)
        if unit is None or not unit.running or entry is None or cluster.age(entry.when) > _LATELY:
            continue
        runtime = runtime_unit(node, units, kubelets, configs)
        name = runtime.name if runtime else "containerd"
        match = PLEG.search(entry.text)
        if runtime and not runtime.running:
            continue  # it is not there at all: runtime_not_running
        yield Finding(
            Ref("Node", node),
            f"container runtime {name} on {node} hangs: PLEG is not healthy"
            + (f" (last seen active {match['d'].partition('.')[0].removesuffix('s')}s before)" if match else ""),
            evidence=present(
                journal_line(entry, node),
                unit_state(runtime, node, "ActiveState", "SubState") if runtime else None,
            ),
            next=(
                f"ssh {node} sudo crictl ps    # does it answer within seconds?",
                f"ssh {node} 'sudo dmesg -T | grep -iE \"blocked for more|I/O error|out of memory\"'",
                f"ssh {node} sudo systemctl restart {name}    # running containers go on",
            ),
        )

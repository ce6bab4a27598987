"""The kubelet does not start because swap is on and it may not run with it."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check
from kdiag.facts import (
    Cluster,
    KubeletJournal,
    Kubelets,
    Manifests,
    Units,
    hosted,
    journal_line,
    last_reason,
    on_control_plane,
    unit_state,
)
from kdiag.facts.signatures import SWAP_ON


@check(
    title="Kubelet refuses to run with swap",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=("worker_node/kubelet_crash_loops", "worker_node/kubelet_not_running", "worker_node/swap_on"),
    tags=("node", "kubelet", "swap", "memory"),
)
def kubelet_swap_refused(
    units: Units,
    cluster: Cluster,
    journal: KubeletJournal,
    kubelets: Kubelets | None,
    manifests: Manifests | None,
) -> Iterator[Finding]:
    """Swap by itself is no fault: with failSwapOn: false a kubelet runs with it. So its own words decide."""
    for node, log in journal:
        unit = units.unit(node, "kubelet")
        reason = last_reason(unit, log, cluster)
        if unit is None or reason is None or not SWAP_ON.search(reason.text):
            continue
        setup = kubelets.get(node) if kubelets else None
        swaps = setup.swap if setup else ()
        config = setup.config.file("failSwapOn") if setup and setup.config else None
        line = config.line("failSwapOn") if config else 0
        given = f"{config.path}:{line} says failSwapOn: true" if config and line else "failSwapOn is true by default"
        yield Finding(
            Ref("Node", node),
            f"kubelet on {node} does not start: swap is on ({', '.join(swaps[:2]) or 'see /proc/swaps'}) and {given}"
            + on_control_plane(node, manifests),
            evidence=(
                Evidence("cat /proc/swaps", ", ".join(swaps) or "no longer any", node),
                journal_line(reason, node),
                unit_state(unit, node, "ActiveState", "SubState"),
            ),
            next=(
                f"ssh {node} sudo swapoff -a    # the kubelet then starts by itself; undo: swapon -a",
                f"ssh {node} grep -n swap /etc/fstab    # take the line out, or it comes back at the next boot",
            ),
            touches=hosted(node, manifests, cluster),
        )

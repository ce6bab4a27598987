"""Swap was turned on under a kubelet that runs, and that will refuse to start with it the next time."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, listing
from kdiag.facts import HostResolvers, Kernels, Units


@check(
    title="Swap is on",
    severity=Severity.WARNING,
    layer=Layer.HOST,
    tags=("kubelet", "node", "memory", "swap"),
)
def swap_on(kernels: Kernels, resolvers: HostResolvers, units: Units) -> Iterator[Finding]:
    """The kubelet looks once, at its start. One that has failed for it is another finding."""
    for node, kernel in kernels:
        told = resolvers.get(node)
        unit = units.unit(node, "kubelet")
        if not kernel.swaps or told is None or not told.config_read or unit is None or not unit.running:
            continue
        words = " ".join((*unit.argv, *unit.environment.values()))
        if told.fail_swap_on is False or "fail-swap-on" in words:
            continue
        yield Finding(
            Ref("Node", node),
            f"the kubelet of {node} will not start again: swap is on ({listing(kernel.swaps)})",
            evidence=(
                Evidence("cat /proc/swaps", listing(kernel.swaps), source=node),
                Evidence(
                    "grep failSwapOn /var/lib/kubelet/config.yaml",
                    "failSwapOn: true" if told.fail_swap_on else "not there: the default is true",
                    source=node,
                ),
                Evidence(
                    "systemctl show kubelet", f"ActiveState={unit.active}, started before swap was on", source=node
                ),
            ),
            next=(
                f"ssh {node} 'free -m && sudo swapoff -a'",
                f"ssh {node} 'grep -n swap /etc/fstab; systemctl list-units --type=swap'    # what turns it on",
            ),
        )

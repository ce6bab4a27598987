"""A node's bridge passes packets by iptables, so a Service's answer from a pod of the same node never comes back."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check
from kdiag.facts import Interfaces, Kernels, NetworkSetups

_SETTING = "net.bridge.bridge-nf-call-iptables"


@check(
    title="Bridged packets pass by iptables",
    severity=Severity.ERROR,
    layer=Layer.HOST,
    explains=(
        "network/cluster_dns_unavailable",
        "application/dependency_unreachable",
        "application/dependency_name_unresolved",
    ),
    tags=("sysctl", "node", "network", "service"),
)
def bridge_netfilter_off(kernels: Kernels, setups: NetworkSetups, interfaces: Interfaces | None) -> Iterator[Finding]:
    """Only where pods hang on a Linux bridge: plugins that route or use eBPF do not need it."""
    for node, kernel in kernels:
        setup = setups.get(node)
        first = setup.first if setup else None
        if first is None or "bridge" not in first.plugins:
            continue
        value = kernel.number(_SETTING)
        if value == 1:
            continue
        found = interfaces.get(node) if interfaces else None
        if value is None and found is not None and not any(i.name.startswith(("cni", "cbr", "br-")) for i in found):
            continue  # no pod was ever put on a bridge here; the module is loaded with the first one
        shown = f"{_SETTING} = 0" if value == 0 else "no such setting: the module br_netfilter is not loaded"
        why = f"{_SETTING} is 0" if value == 0 else "the module br_netfilter is not loaded"
        fix = f"sudo sysctl -w {_SETTING}=1" if value == 0 else "sudo modprobe br_netfilter"
        yield Finding(
            Ref("Node", node),
            f"{node} passes bridged packets by iptables ({why}): Services fail between pods of that node",
            evidence=(
                Evidence(f"sysctl {_SETTING}", shown, source=node),
                Evidence(f"cat {first.path}", f"plugins {', '.join(first.plugins)}", source=node),
            ),
            next=(
                f"ssh {node} {fix}",
                f"ssh {node} cat /etc/modules-load.d/k8s.conf /etc/sysctl.d/k8s.conf    # to last, both need it",
            ),
        )

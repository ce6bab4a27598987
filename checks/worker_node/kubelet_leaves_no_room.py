"""The kubelet's configuration keeps so much of a node to itself, or allows so few pods, that pods find no room."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, plural
from kdiag.facts import Cluster, ConfigFile, Kubelets, Node, Nodes, Pods

#: A limit below this is no limit but a slip; the default is 110.
_FEW_PODS = 15
#: A threshold that nothing healthy stays above: half of what there is must be free.
_HALF = 50
#: What a reservation must leave of a node, in percent.
_LEFT = 10
_RECENT = 3600
_FULL = ("OutOfpods", "OutOfPods")


@check(
    title="Kubelet's configuration leaves pods no room",
    severity=Severity.ERROR,
    layer=Layer.NODE,
    explains=(
        "application/node_pod_limit_reached",
        "application/pod_evicted",
        "application/pod_not_ready",
        "application/pod_rejected_by_kubelet",
        "application/scheduling_insufficient_resources",
        "application/scheduling_taint_untolerated",
        "application/workload_unavailable",
        "network/cluster_dns_unavailable",
        "worker_node/node_under_pressure",
    ),
    tags=("node", "kubelet", "config", "eviction", "scheduling"),
)
def kubelet_leaves_no_room(kubelets: Kubelets, nodes: Nodes, pods: Pods, cluster: Cluster) -> Iterator[Finding]:
    """The setting alone is no fault: somebody may want it. It is one where pods are turned away or evicted for it."""
    for node, setup in kubelets:
        known, config = nodes.get(node), setup.config
        if known is None or config is None:
            continue
        for name, value, effect, meant in (
            *_pods(known, config, pods, cluster),
            *_evicts(known, config),
            *_reserves(known, config),
        ):
            file = config.file(name)
            line = file.line(name)
            yield Finding(
                Ref("Node", node),
                f"{effect} on {node}: {file.path}:{line} {name} is {value}" + (f", usual is {meant}" if meant else ""),
                evidence=(
                    Evidence(f"sudo sed -n {line}p {file.path}", file.quoted(line), node),
                    Evidence(kubectl("describe", "node", node), _shown(known, name)),
                ),
                next=(
                    f"ssh -t {node} sudoedit {file.path}    # line {line}: "
                    + (f"{name}: {meant}" if meant else "less of it"),
                    f"ssh {node} sudo systemctl restart kubelet",
                    kubectl("get", "pods", "-A", "-o", "wide", f"--field-selector=spec.nodeName={node}"),
                ),
                key=name,
            )


def _pods(node: Node, config: ConfigFile, pods: Pods, cluster: Cluster) -> Iterator[tuple[str, str, str, str]]:
    most = config.get("maxPods")
    if not isinstance(most, int) or isinstance(most, bool) or most >= _FEW_PODS:
        return
    here = [p for p in pods.by_node.get(node.name, ()) if not p.finished]
    refused = [p for p in pods.by_node.get(node.name, ()) if p.reason in _FULL and cluster.age(p.created) < _RECENT]
    if len(here) >= most or refused:
        yield "maxPods", str(most), f"there is no room for more than {plural(most, 'pod')}", "110"


def _evicts(node: Node, config: ConfigFile) -> Iterator[tuple[str, str, str, str]]:
    for group, default in (("evictionHard", {"memory": "100Mi", "nodefs": "10%", "imagefs": "15%"}),):
        for signal, value in (config.get(group) or {}).items() if isinstance(config.get(group), dict) else ():
            share = re.fullmatch(r"(\d{1,3}(?:\.\d+)?)%", str(value).strip())
            kind = "MemoryPressure" if str(signal).startswith("memory") else "DiskPressure"
            state = node.condition(kind)
            if share and float(share[1]) >= _HALF and state is not None and state.status == "True":
                usual = default.get(str(signal).partition(".")[0], "")
                yield f"{group}.{signal}", str(value), "the kubelet evicts pods though nothing runs out", usual


def _reserves(node: Node, config: ConfigFile) -> Iterator[tuple[str, str, str, str]]:
    for name in ("systemReserved", "kubeReserved"):
        given = config.get(name)
        for what in ("cpu", "memory"):
            if not isinstance(given, dict) or what not in given:
                continue
            whole, left = node.status.capacity.get(what), node.status.allocatable.get(what)
            if whole and left is not None and left * 100 < whole * _LEFT and isinstance(whole, Decimal):
                yield f"{name}.{what}", str(given[what]), f"pods may use {_share(left, whole)} of the {what}", ""


def _share(left: Decimal, whole: Decimal) -> str:
    return f"{left * 100 / whole:.0f} %"


def _shown(node: Node, name: str) -> str:
    if name == "maxPods":
        return f"Capacity: pods {node.status.capacity.get('pods', '?')}"
    if name.startswith("eviction"):
        state = node.condition("MemoryPressure" if ".memory" in name else "DiskPressure")
        return f"{state.type} {state.status}: {state.message}" if state else "its condition is not known"
    what = name.rpartition(".")[2]
    return (
        f"Capacity: {what} {node.status.capacity.get(what, '?')}; Allocatable: {node.status.allocatable.get(what, '?')}"
    )

"""A node runs out of memory, disk or process ids, takes no new pods and evicts old ones."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, duration, kubectl, listing, plural, shorten
from kdiag.facts import Cluster, Event, Events, Node, Nodes, Pods

_WHAT = {
    "MemoryPressure": ("memory", "ssh {node} free -m; kubectl top pods -A --sort-by=memory | head"),
    "DiskPressure": ("disk space", "ssh {node} 'df -h / /var/lib/kubelet /var/lib/containerd; df -i /'"),
    "PIDPressure": ("process ids", "ssh {node} 'ps -eLf | wc -l; cat /proc/sys/kernel/pid_max'"),
}
_RECENT = 1800


@check(
    title="Node runs out of a resource",
    severity=Severity.ERROR,
    layer=Layer.NODE,
    explains=(
        "application/workload_unavailable",
        "application/pod_evicted",
        "application/scheduling_taint_untolerated",
        "application/pod_rejected_by_kubelet",
    ),
    tags=("node", "memory", "disk", "eviction"),
)
def node_under_pressure(nodes: Nodes, cluster: Cluster, pods: Pods | None, events: Events | None) -> Iterator[Finding]:
    """The condition is the judge; pods that were evicted before it cleared are leftovers and say nothing."""
    for node in nodes.items:
        for kind, (what, look) in _WHAT.items():
            state = node.condition(kind)
            if state is None or state.status != "True":
                continue
            evicted = [
                p
                for p in (pods.by_node.get(node.name, ()) if pods else ())
                if p.reason == "Evicted" and cluster.age(p.created) < cluster.age(state.last_transition_time) + 86400
            ]
            since = f" for {duration(cluster.taken - state.last_transition_time)}" if state.last_transition_time else ""
            evidence = [Evidence(kubectl("describe", "node", node.name), f"{kind} True{since}: {state.message}")]
            if evicted:
                evidence.append(
                    Evidence(
                        kubectl("get", "pods", "-A", "--field-selector=status.phase=Failed"),
                        f"{plural(len(evicted), 'pod')} evicted: {listing([p.path for p in evicted])}",
                    )
                )
            event = events.latest(node.ref(), "EvictionThresholdMet", "FreeDiskSpaceFailed") if events else None
            if event and cluster.age(event.when) < 3600:
                evidence.append(Evidence(kubectl("describe", "node", node.name), shorten(event.message, 300)))
            yield Finding(
                node.ref(),
                f"node {node.name} runs out of {what} ({kind}): it takes no new pods and evicts running ones",
                evidence=tuple(evidence),
                next=(
                    look.format(node=node.name),
                    kubectl("get", "pods", "-A", "-o", "wide", f"--field-selector=spec.nodeName={node.name}"),
                ),
                touches=tuple(p.ref() for p in evicted[:100]),
                key=kind,
                since=state.last_transition_time.isoformat() if state.last_transition_time else "",
            )
    for node in nodes.items if events else ():
        killed = events.latest(node.ref(), "SystemOOM") if events else None
        if killed and cluster.age(killed.when) < _RECENT:
            yield _out_of_memory(node, killed)


def _out_of_memory(node: Node, killed: Event) -> Finding:
    """The kernel has killed a process of the node, or of a pod without a limit: it is over, and comes again."""
    match = re.search(r"victim process: ([^,\s]{1,40})", killed.message)
    at = f" at {killed.when:%H:%M} UTC" if killed.when else ""
    return Finding(
        node.ref(),
        f"node {node.name} ran out of memory{at}: its kernel killed {match[1] if match else 'a process'}",
        evidence=(
            Evidence(kubectl("describe", "node", node.name), f"{killed.reason}: {shorten(killed.message, 200)}"),
        ),
        next=(
            f"ssh {node.name} 'ps -eo rss,pid,comm --sort=-rss | head'    # who has it now",
            kubectl("get", "pods", "-A", "-o", "wide", f"--field-selector=spec.nodeName={node.name}")
            + "    # pods without a memory limit",
        ),
        key="SystemOOM",
        severity=Severity.WARNING,
    )

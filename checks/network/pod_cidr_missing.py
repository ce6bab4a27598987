"""A node has no range of pod addresses, and its network plugin waits for one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, shorten
from kdiag.facts import Cluster, Events, Logs, Nodes, Pods

_SAID = re.compile(r'node "([^"]+)" pod cidr not assigned|[Pp]od ?CIDR (?:is )?not (?:assigned|available).*?(\S+)$')


@check(
    title="Node has no pod address range",
    severity=Severity.ERROR,
    layer=Layer.CNI,
    explains=(
        "network/network_plugin_daemonset_unavailable",
        "network/network_plugin_not_ready",
        "network/pod_sandbox_fails",
    ),
    tags=("cni", "node"),
)
def pod_cidr_missing(
    nodes: Nodes, cluster: Cluster, pods: Pods | None, logs: Logs | None, events: Events | None
) -> Iterator[Finding]:
    """An empty spec.podCIDR is a fault only where somebody asks for it: many plugins hand out addresses themselves."""
    asked: dict[str, tuple[str, str]] = {}
    for log in logs.items if logs else ():
        pod = pods.get(log.pod, log.namespace) if pods else None
        for line in reversed(log.lines):
            if _SAID.search(line.text) and pod and not pod.ready:
                asked.setdefault(pod.node, (kubectl("logs", log.pod, namespace=log.namespace), line.text))
                break
    for event in events.by_reason.get("CIDRNotAvailable", ()) if events else ():
        asked.setdefault(event.about.name, (kubectl("describe", "node", event.about.name), event.message))
    for node in nodes.items:
        if node.spec.pod_cidr or node.name not in asked or cluster.age(node.created) < 60:
            continue
        command, said = asked[node.name]
        others = any(n.spec.pod_cidr for n in nodes.items)
        yield Finding(
            node.ref(),
            f"Node {node.name} has no pod address range: "
            + ("the cluster's range is used up, or no controller hands it out" if others else "no node has one"),
            evidence=(
                Evidence(kubectl("get", "node", node.name, "-o", "jsonpath={.spec.podCIDR}"), "(empty)"),
                Evidence(command, shorten(said, 300)),
            ),
            next=(
                kubectl("get", "nodes", "-o", "custom-columns=NAME:.metadata.name,CIDR:.spec.podCIDR"),
                "grep -E 'cluster-cidr|allocate-node-cidrs|node-cidr-mask' "
                "/etc/kubernetes/manifests/kube-controller-manager.yaml    # on a control-plane node",
            ),
        )

"""The API server does not reach a kubelet that still reports to it: nothing answers at the address of its node."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl
from kdiag.facts import Logs, Nodes, Pods

#: That a port is refused is no word of the way to it, and comes for a moment of each restart.
_SAID = re.compile(r"dial tcp \[?(?P<address>[0-9a-fA-F.:]+?)\]?:\d+: (?P<why>connect: no route to host|i/o timeout)")


@check(
    title="API server does not reach a kubelet",
    severity=Severity.ERROR,
    layer=Layer.NODE,
    explains=("worker_node/metrics_server_unavailable",),
    tags=("node", "kubelet", "network", "logs"),
)
def kubelet_unreachable(nodes: Nodes, pods: Pods, logs: Logs | None) -> Iterator[Finding]:
    """By the logs that it could not get. The node stays Ready while its kubelet finds the way to the API server."""
    if logs is None:
        return
    seen: dict[str, str] = {}
    for gap in logs.gaps:
        if found := _SAID.search(gap.reason):
            seen.setdefault(found["address"], found["why"].removeprefix("connect: "))
    read = {p.node for log in logs.items if log.lines and (p := pods.get(log.pod, log.namespace))}
    for node in nodes.items:
        why = seen.get(node.address)
        if why is None or not node.ready or node.virtual or node.name in read:
            continue
        yield Finding(
            node.ref(),
            f"the API server does not reach the kubelet of {node.name} at {node.address}:10250: {why}; logs, exec and "
            "metrics of its pods fail, though it is Ready",
            evidence=(
                Evidence("", f"asked for a log, the API server said: dial tcp {node.address}:10250: {why}"),
                Evidence(kubectl("get", "node", node.name, "-o", "wide"), f"Ready, INTERNAL-IP {node.address}"),
            ),
            next=(
                f"ssh {node.name} ip addr show    # on its console, if ssh finds no way either",
                f"ssh {node.name} sudo journalctl -u kubelet -n 30 --no-pager",
                "a firewall between the control plane and the node must let TCP port 10250 through",
            ),
        )

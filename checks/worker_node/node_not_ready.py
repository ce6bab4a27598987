"""A node does not report Ready to the API server."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl
from kdiag.facts import Cluster, Nodes


@check(title="Node is not Ready", severity=Severity.CRITICAL, layer=Layer.NODE)
def node_not_ready(nodes: Nodes, cluster: Cluster) -> Iterator[Finding]:
    """Blame the node itself; what stopped it is for the node's own checks to say."""
    for node in nodes.items:
        ready = node.condition("Ready")
        if ready is None or ready.status == "True":
            continue
        yield Finding(
            node.ref(),
            f"node {node.name} is not Ready: {ready.reason}",
            evidence=(Evidence(kubectl("describe", "node", node.name), ready.message),),
        )

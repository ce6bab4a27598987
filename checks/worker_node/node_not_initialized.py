"""A node still has a taint that it was born with, which its agent or cloud controller should have taken away."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, duration, kubectl
from kdiag.facts import Cluster, Nodes, Pods, taken_away_by

#: Seconds that an agent is given: it is pulled and started first.
_PATIENCE = 300


@check(
    title="Node was never initialized",
    severity=Severity.ERROR,
    layer=Layer.NODE,
    explains=("application/scheduling_taint_untolerated",),
    tags=("node", "scheduling", "taints", "cloud"),
)
def node_not_initialized(nodes: Nodes, cluster: Cluster, pods: Pods | None) -> Iterator[Finding]:
    """Nobody takes such a taint away but the one whom it waits for; it keeps all ordinary pods off.

    An agent that is renewed has its taint for a moment on an old node, too: it counts when pods have waited for long.
    """
    held = [p for p in (pods.troubled if pods else ()) if p.phase == "Pending" and not p.node]
    for node in nodes.items:
        for taint in node.spec.taints:
            who = taken_away_by(taint)
            since = taint.time_added or (node.created if not taint.key.endswith("/agent-not-ready") else None)
            if since is None:
                since = min((p.created for p in held if p.created), default=None)
            if not who or since is None or (cluster.taken - since).total_seconds() < _PATIENCE:
                continue
            known = f" for {duration(cluster.taken - taint.time_added)}" if taint.time_added else ""
            yield Finding(
                node.ref(),
                f"node {node.name} takes no pods: {who} has not taken taint {taint.key} off it{known}",
                evidence=(Evidence(kubectl("describe", "node", node.name), f"Taints: {taint}"),),
                next=(
                    "kubectl get pods -A -o wide | grep -iE 'cloud|csi|cilium|agent'    # does it run?",
                    f"{kubectl('taint', 'nodes', node.name, f'{taint}-')}    # only if nothing of that kind is in use",
                ),
                touches=tuple(p.ref() for p in held[:50]),
                key=taint.key,
                since=since.isoformat(),
            )

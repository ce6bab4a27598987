"""A node still has a taint that it was born with, which its agent or cloud controller should have taken away."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, duration, kubectl
from kdiag.facts import Cluster, Nodes, Scheduling, Why, refused_taints, taken_away_by

#: Seconds that an agent is given: it is pulled and started first.
_PATIENCE = 300


@check(
    title="Node was never initialized",
    severity=Severity.ERROR,
    layer=Layer.NODE,
    explains=("application/scheduling_taint_untolerated",),
    tags=("node", "scheduling", "taints", "cloud"),
)
def node_not_initialized(nodes: Nodes, cluster: Cluster, scheduling: Scheduling | None) -> Iterator[Finding]:
    """Nobody takes such a taint away but the one whom it waits for; it keeps all ordinary pods off.

    An agent that is renewed has its taint for a moment on an old node, too: it counts when pods have waited for long.
    """
    stuck = scheduling.stuck(Why.TAINT, cluster.taken) if scheduling else ()
    for node in nodes.items:
        for taint in node.spec.taints:
            who = taken_away_by(taint)
            if not who or cluster.age(taint.time_added or node.created) < _PATIENCE:
                continue
            held = [p for s in stuck for p in s.pods if taint in refused_taints(p.spec, node)]
            lately = taint.key.endswith("/agent-not-ready") and not taint.time_added
            if lately and not any(cluster.age(p.created) > _PATIENCE for p in held):
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
                since=taint.time_added.isoformat() if taint.time_added else "",
            )

"""A node's object was deleted while the machine was at work."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl
from kdiag.facts import Event, Events, Nodes

_GONE = "RemovingNode"
#: What is said before somebody takes a node away on purpose, or a cloud does.
_ON_PURPOSE = frozenset(
    {
        *("NodeNotSchedulable", "DeletingNode", "ScaleDown", "ScaleDownEmpty", "DisruptionTerminating", "Disrupted"),
        *("DisruptionLaunching", "Drain", "TerminationGracePeriodExpiring", "FailedDraining", "Unconsolidatable"),
    }
)
#: Seconds: a node that was silent for so long before was taken off the list as dead.
_DEAD = 900


@check(
    title="Node object was deleted",
    severity=Severity.WARNING,
    layer=Layer.NODE,
    tags=("node", "kubelet"),
)
def node_deleted(nodes: Nodes, events: Events) -> Iterator[Finding]:
    """Its kubelet runs on and does not register by itself. Not of one that was drained first, or that a cloud has."""
    if nodes.gaps or any(n.spec.provider_id for n in nodes.items):
        return
    for event in events.by_reason.get(_GONE, ()):
        name = event.involved_object.name
        if not name or nodes.get(name) is not None or event.when is None:
            continue
        about = [e for e in events.items if e.involved_object.kind == "Node" and e.involved_object.name == name]
        if _meant(event, about):
            continue
        yield Finding(
            Ref("Node", name),
            f"node {name} was deleted from the cluster at {event.when:%H:%M} UTC, without having been drained",
            evidence=(
                Evidence(kubectl("get", "node", name), "NotFound"),
                Evidence(
                    kubectl("get", "events", f"--field-selector=reason={_GONE}"),
                    f"{event.when:%H:%M:%S} {event.message}",
                ),
            ),
            next=(
                f"ssh {name} sudo systemctl restart kubelet    # if the machine is to stay a node: it registers again",
                f"if it is to go: ssh {name} sudo kubeadm reset",
            ),
            since=event.when.isoformat(),
        )


def _meant(gone: Event, about: list[Event]) -> bool:
    """Whether it was cordoned, or had been silent, when it was deleted."""
    before = [e for e in about if e.when and gone.when and e.when <= gone.when]
    last = max((e for e in before if e.reason in _ON_PURPOSE), key=lambda e: (e.when is not None, e.when), default=None)
    back = [e.when for e in before if e.reason == "NodeSchedulable" and e.when]
    if last and last.when and not any(moment > last.when for moment in back):
        return True
    silent = [e.when for e in before if e.reason == "NodeNotReady" and e.when]
    ready = [e.when for e in before if e.reason in ("NodeReady", "Starting") and e.when]
    if not silent or not gone.when or any(moment > max(silent) for moment in ready):
        return False
    return (gone.when - max(silent)).total_seconds() < _DEAD

"""Every node that a pod could use has a taint that the pod does not tolerate."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing, nearest
from kdiag.facts import (
    Claims,
    Cluster,
    Events,
    Scheduling,
    Stuck,
    Taint,
    Toleration,
    Volumes,
    Why,
    condition_taint,
    refused_taints,
    standing,
    taken_away_by,
)


@check(
    title="Taints keep a pod from every node",
    severity=Severity.ERROR,
    layer=Layer.SCHEDULING,
    explains=(
        "application/pod_not_ready",
        "application/workload_unavailable",
    ),
    tags=("scheduling", "taints"),
)
def scheduling_taint_untolerated(
    scheduling: Scheduling, cluster: Cluster, claims: Claims | None, volumes: Volumes | None, events: Events | None
) -> Iterator[Finding]:
    """Names the taints: since 1.36 the scheduler's message no longer does."""
    for stuck in scheduling.stuck(Why.TAINT, cluster.taken, claims, volumes, events):
        taints = _taints(stuck, scheduling)
        ill = [n for taint, names in taints.items() if condition_taint(taint) or taken_away_by(taint) for n in names]
        shown = [f"{listing(names)} {'has' if len(names) == 1 else 'have'} {t}" for t, names in taints.items()]
        pool = len(scheduling.nodes.items) - len(stuck.background)
        which = " that it may use" if stuck.near and len(stuck.near) < pool else ""
        yield Finding(
            stuck.owner,
            f"{stuck.owner} does not tolerate the taints of the nodes{which}: {listing(shown, 2) or 'all are tainted'}"
            + _nearly(stuck, taints),
            evidence=(
                Evidence(kubectl("describe", "pod", stuck.pod.name, namespace=stuck.pod.namespace), stuck.quote),
                Evidence(
                    "kubectl get nodes -o custom-columns=NAME:.metadata.name,TAINTS:.spec.taints",
                    listing(shown, 4) or "taints on every node",
                ),
                Evidence(
                    kubectl(
                        "get",
                        "pod",
                        stuck.pod.name,
                        "-o",
                        "jsonpath={.spec.tolerations}",
                        namespace=stuck.pod.namespace,
                    ),
                    f"tolerates {listing(_tolerated(stuck)) or 'none of them'}",
                ),
            ),
            next=tuple(_next(stuck, taints)),
            touches=(*(p.ref() for p in stuck.pods[:50]), *(Ref("Node", n) for n in sorted(set(ill)))),
            since=stuck.since,
        )


def _tolerated(stuck: Stuck) -> list[str]:
    """What the pod tolerates beyond the two that every pod has."""
    return [_text(t) for t in stuck.pod.spec.tolerations if not t.key.startswith("node.kubernetes.io/")]


def _text(toleration: Toleration) -> str:
    """As ``kubectl taint`` writes a taint."""
    value = f"={toleration.value}" if toleration.operator != "Exists" and toleration.key else ""
    return f"{toleration.key or 'everything'}{value}" + (f":{toleration.effect}" if toleration.effect else "")


def _nearly(stuck: Stuck, taints: dict[Taint, list[str]]) -> str:
    """A toleration that was meant for one of the taints, and differs."""
    keys = {t.key for t in taints}
    own = [t for t in stuck.pod.spec.tolerations if t.key and not t.key.startswith("node.kubernetes.io/")]
    near = [t for t in own if t.key in keys] or [t for t in own if nearest(t.key, sorted(keys))]
    return f"; it tolerates {listing([_text(t) for t in near], 2)}" if near else ""


def _taints(stuck: Stuck, scheduling: Scheduling) -> dict[Taint, list[str]]:
    found: dict[str, tuple[Taint, list[str]]] = {}
    nodes = stuck.near or scheduling.nodes.items
    for node in nodes:
        for taint in refused_taints(stuck.pod.spec, node):
            found.setdefault(str(taint), (taint, []))[1].append(node.name)
    return {taint: names for taint, names in found.values()}


def _next(stuck: Stuck, taints: dict[Taint, list[str]]) -> Iterator[str]:
    for taint, names in list(taints.items())[:2]:
        if condition_taint(taint):
            yield f"mend {listing(names)}: the node controller sets {taint.key} and takes it away itself"
        elif who := taken_away_by(taint):
            yield f"see why {who} does not take {taint.key} off {listing(names)}"
        elif not standing(taint):
            yield kubectl("taint", "nodes", *names[:5], f"{taint}-") + "  # if the taint is a leftover"
    for taint in [t for t in taints if not condition_taint(t) and not taken_away_by(t)][:1]:
        value = f"operator: Equal, value: {taint.value}" if taint.value else "operator: Exists"
        yield (
            f"or add to the pod template of {stuck.owner}: tolerations: "
            f"[{{key: {taint.key}, {value}, effect: {taint.effect}}}]"
        )
    if not taints:
        yield "kubectl describe nodes | grep -A3 Taints"

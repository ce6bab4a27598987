"""No node has the labels that a pod's nodeSelector or node affinity requires."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, Shared, check, kubectl, listing, nearest
from kdiag.facts import (
    Claims,
    Cluster,
    Events,
    Node,
    PodSpec,
    Requirement,
    Scheduling,
    Stuck,
    Volumes,
    Why,
    Workloads,
    required_nodes,
    selector_text,
)

#: What a kubelet or a cloud says of its node: nobody puts such a label there by hand.
_GIVEN = re.compile(r"(?:beta\.|node\.|topology\.)?kubernetes\.io/|failure-domain\.")
#: Each label is somewhere, and no node has them all.
_TOGETHER = "all of these together"


@check(
    title="No node matches a pod's node selector",
    severity=Severity.ERROR,
    layer=Layer.SCHEDULING,
    explains=(
        "application/pod_not_ready",
        "application/workload_unavailable",
    ),
    tags=("scheduling", "labels", "affinity"),
)
def scheduling_node_selector_unmatched(
    scheduling: Scheduling,
    cluster: Cluster,
    claims: Claims | None,
    volumes: Volumes | None,
    events: Events | None,
    workloads: Workloads | None,
) -> Iterator[Finding]:
    """Says which label is missing everywhere, and which node has one that is close."""
    nodes = scheduling.nodes.items
    for stuck in scheduling.stuck(Why.SELECTOR, cluster.taken, claims, volumes, events):
        spec = stuck.pod.spec
        wanted = selector_text(spec)
        if stuck.owner.kind == "DaemonSet":
            continue  # its controller takes away a pod whose node no longer matches
        missing, close = _missing(spec, nodes)
        text = (missing if missing and missing != wanted else "it") + (f"; {close}" if close else "")
        added = _added(stuck, workloads)
        yield Finding(
            stuck.owner,
            f"{stuck.owner} wants a node with {wanted}; no node has {text}" + (f"; {added}" if added else ""),
            evidence=(*_evidence(stuck, spec, nodes), *stuck.no_node_coming(events, cluster)),
            next=tuple(_next(stuck, wanted, spec.runtime_class_name if added else "")),
            touches=tuple(p.ref() for p in stuck.pods[:50]),
            since=stuck.since,
            shared=(
                Shared(Ref("NodeLabel", missing), f"No node has {missing}{f'; {close}' if close else ''}", "want one")
                if missing and missing != _TOGETHER
                else None
            ),
        )


def _added(stuck: Stuck, workloads: Workloads | None) -> str:
    """Who asks for a label that the workload's own template does not ask for: it was added as the pod was made."""
    template = workloads.template(stuck.owner) if workloads else None
    name = stuck.pod.spec.runtime_class_name
    if template is None or not name or template.runtime_class_name != name:
        return ""
    more = [key for key in stuck.pod.spec.node_selector if key not in template.node_selector]
    return f"RuntimeClass {name} adds {listing(sorted(more))}" if more else ""


def _pairs(spec: PodSpec) -> list[Requirement]:
    """What a node must have, one requirement each; of an affinity the term that asks least is not chosen: all count."""
    found = [Requirement(key=k, operator="In", values=(v,)) for k, v in sorted(spec.node_selector.items())]
    required = required_nodes(spec)
    if required and len(required.node_selector_terms) == 1:
        found += required.node_selector_terms[0].match_expressions
    return found


def _missing(spec: PodSpec, nodes: tuple[Node, ...]) -> tuple[str, str]:
    """The requirements that no node meets at all, and what comes close to the first of them."""
    wanted = _pairs(spec)
    unmet = [r for r in wanted if not any(r.matches(n.labels) for n in nodes)]
    shown = " and ".join(
        f"{r.key}={r.values[0]}" if r.operator == "In" and len(r.values) == 1 else str(r) for r in unmet
    )
    if wanted and not unmet:
        return _TOGETHER, ""
    return shown, next((text for r in unmet if (text := _close(r, nodes))), "")


def _close(wanted: Requirement, nodes: tuple[Node, ...]) -> str:
    values: dict[str, list[str]] = {}
    for node in nodes:
        if wanted.key in node.labels:
            values.setdefault(node.labels[wanted.key], []).append(node.name)
    if values and wanted.operator == "In":
        near = next((n for v in wanted.values if (n := nearest(v, list(values)))), None)
        if near:
            return f"{listing(sorted(values[near]))} {'has' if len(values[near]) == 1 else 'have'} {wanted.key}={near}"
        if len(values) <= 3:
            return f"nodes have {listing(f'{wanted.key}={v}' for v in sorted(values))}"
        return ""
    if values:
        return f"nodes have {listing(f'{wanted.key}={v}' for v in sorted(values))}"
    return _other_key(wanted, nodes)


def _other_key(wanted: Requirement, nodes: tuple[Node, ...]) -> str:
    labels: Mapping[str, str] = {k: n.name for n in nodes for k in n.labels}
    custom = [k for k in labels if "kubernetes.io/" not in k or "kubernetes.io/" in wanted.key]
    key = nearest(wanted.key, custom)
    if key is None:
        return ""
    having = sorted(n.name for n in nodes if key in n.labels)
    value = next(n.labels[key] for n in nodes if key in n.labels)
    return f"{listing(having)} {'has' if len(having) == 1 else 'have'} {key}={value}"


def _evidence(stuck: Stuck, spec: PodSpec, nodes: tuple[Node, ...]) -> Iterator[Evidence]:
    yield Evidence(kubectl("describe", "pod", stuck.pod.name, namespace=stuck.pod.namespace), stuck.quote)
    keys = list(dict.fromkeys(r.key for r in _pairs(spec)))[:3]
    if keys:
        shown = (
            f"{n.name} " + ",".join(f"{k}={n.labels[k]}" if k in n.labels else f"{k} <none>" for k in keys)
            for n in nodes
        )
        yield Evidence(f"kubectl get nodes -L {','.join(keys)}", listing(shown, 4))


def _next(stuck: Stuck, wanted: str, runtime: str) -> Iterator[str]:
    owner = stuck.owner
    kind = owner.kind.lower()
    if runtime:
        yield kubectl("get", "runtimeclass", runtime, "-o", "yaml") + "  # its scheduling.nodeSelector"
    yield (
        kubectl("edit", kind, owner.name, namespace=owner.namespace)
        + f"  # correct {'runtimeClassName' if runtime else 'nodeSelector or affinity'}"
        if (kind != "pod")
        else kubectl("get", "pod", owner.name, "-o", "yaml", namespace=owner.namespace)
        + "  # make it anew with the right nodeSelector"
    )
    if "=" in wanted and " " not in wanted and not _GIVEN.match(wanted):
        yield f"or, where the label is what is missing: kubectl label node NODE {wanted}"

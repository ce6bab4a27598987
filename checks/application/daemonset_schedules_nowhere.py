"""A DaemonSet wants no node at all: its node selector matches none, by what looks like a mistake."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, listing, nearest
from kdiag.facts import DaemonSet, DaemonSets, Node, Nodes, Toleration, selects

#: Keys whose values name hardware: one that no node has is an ordinary state of the cluster.
_HARDWARE = (
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "node.kubernetes.io/",
    "topology.kubernetes.io/",
    "beta.kubernetes.io/",
    "karpenter",
    "nvidia.com/",
    "feature.node.kubernetes.io/",
    "cloud.google.com/",
)
#: Of these the values are few and known: another one can only be misspelt.
_VALUES = {
    "kubernetes.io/os": frozenset({"linux", "windows", "darwin", "freebsd"}),
    "kubernetes.io/arch": frozenset(
        {"amd64", "arm64", "arm", "386", "ppc64le", "s390x", "riscv64", "loong64", "mips64le"}
    ),
}


@check(
    title="DaemonSet matches no node",
    severity=Severity.WARNING,
    layer=Layer.SCHEDULING,
    tags=("scheduling", "daemonset"),
)
def daemonset_schedules_nowhere(daemonsets: DaemonSets, nodes: Nodes) -> Iterator[Finding]:
    """Nothing is Pending and nothing is said: DESIRED is 0. Many add-ons are like that on purpose (GPU, Windows)."""
    for daemonset in daemonsets.items:
        if daemonset.desired or not daemonset.status.observed_generation or not nodes.items:
            continue
        selector = daemonset.pod_spec.node_selector
        matched = [n for n in nodes.items if selects(selector, n.labels)]
        if matched:
            taints = _keeping_out(daemonset, matched)
            if taints and _plain(daemonset):
                yield _finding(
                    daemonset,
                    f"runs on no node: {listing(taints, 2)} on every node that it could run on, and it tolerates none",
                    Evidence(kubectl("describe", "nodes"), f"Taints: {listing(taints, 3)}"),
                    kubectl("edit", "daemonset", daemonset.name, namespace=daemonset.namespace)
                    + "   # add a toleration, if it is meant to run there",
                    Severity.WARNING,
                )
            continue
        unknown = [(k, v) for k, v in selector.items() if not any(n.labels.get(k) == v for n in nodes.items)]
        for key, value in unknown:
            near = _near(key, value, nodes.items)
            if near is None and ("/" in key or daemonset.namespace == "kube-system"):
                continue
            yield _finding(
                daemonset,
                f"runs on no node: no node has the label {_label(key, value)}" + (f"; {near}" if near else ""),
                Evidence(
                    kubectl("get", "nodes", "-L", key),
                    listing([f"{n.name} {n.labels.get(key, '<none>')}" for n in nodes.items], 4),
                ),
                kubectl("edit", "daemonset", daemonset.name, namespace=daemonset.namespace) + "   # the node selector"
                if near
                else kubectl("label", "node", nodes.items[0].name, f"{key}={value}")
                + "   # for each node that it is meant for; or correct the selector",
                Severity.WARNING if near else Severity.INFO,
            )
            break


def _near(key: str, value: str, nodes: tuple[Node, ...]) -> str | None:
    """What was probably meant, where it is a typing error."""
    values = sorted({n.labels[key] for n in nodes if key in n.labels})
    known = _VALUES.get(key.removeprefix("beta."))
    if known and value not in known and nearest(value, values):
        return f"nodes have {key}={listing(values, 3)}"
    if key.startswith(_HARDWARE):
        return None
    if nearest(value, values) or (values and "/" not in key):
        return f"nodes have {key}={listing(values, 3)}"
    keys = sorted({k for n in nodes for k, v in n.labels.items() if v == value and not k.startswith(_HARDWARE)})
    if close := nearest(key, keys):
        return f"there is {_label(close, value)}"
    return None


def _label(key: str, value: str) -> str:
    return f"{key}={value}" if value else key


def _keeping_out(daemonset: DaemonSet, nodes: list[Node]) -> list[str]:
    """The taints, if every one of these nodes has one that the pods do not tolerate."""
    found: dict[str, None] = {}
    for node in nodes:
        hard = [t for t in node.spec.taints if t.effect in ("NoSchedule", "NoExecute")]
        bad = [
            t for t in hard if not any(_tolerates(o, t.key, t.value, t.effect) for o in daemonset.pod_spec.tolerations)
        ]
        bad = [t for t in bad if not t.key.startswith("node.kubernetes.io/")]  # the controller tolerates those for it
        if not bad:
            return []
        found.update(dict.fromkeys(map(str, bad)))
    return [t for t in found if not any(word in t for word in ("fargate", "virtual-kubelet", "virtual-node"))]


def _tolerates(toleration: Toleration, key: str, value: str, effect: str) -> bool:
    if toleration.effect and toleration.effect != effect:
        return False
    if not toleration.key:
        return toleration.operator == "Exists"
    return toleration.key == key and (toleration.operator == "Exists" or toleration.value == value)


def _plain(daemonset: DaemonSet) -> bool:
    """Whether no affinity says more about where it runs."""
    return daemonset.pod_spec.affinity is None or daemonset.pod_spec.affinity.node_affinity is None


def _finding(daemonset: DaemonSet, said: str, shown: Evidence, step: str, severity: Severity) -> Finding:
    return Finding(
        daemonset.ref(),
        f"{daemonset.ref()} {said}",
        evidence=(
            Evidence(
                kubectl("get", "daemonset", daemonset.name, namespace=daemonset.namespace), "DESIRED 0, CURRENT 0"
            ),
            shown,
        ),
        next=(step, kubectl("get", "daemonset", daemonset.name, "-o", "wide", namespace=daemonset.namespace)),
        severity=severity,
    )

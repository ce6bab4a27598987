"""Why a pod has no node: what the scheduler said, and every node's reasons, worked out again.

The scheduler names for each node only the first filter that refused it, and since 1.36 no longer which taint. So its
message is the judge of whether a pod is stuck and on what, and this model, which looks at all filters of every node,
supplies the details and finds the one obstacle that is nearest to being removed.
"""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cached_property

from kdiag.facts.base import Derived
from kdiag.facts.cluster import Cluster
from kdiag.facts.events import Events
from kdiag.facts.meta import Requirement, Resources
from kdiag.facts.nodes import Node, Nodes, Taint
from kdiag.facts.pods import Pod, Pods
from kdiag.facts.podspec import NodeSelector, PodAffinityTerm, PodSpec, Toleration, TopologySpread
from kdiag.facts.progress import gives_way
from kdiag.facts.storage import Claims, PersistentVolume, PersistentVolumeClaim, Volumes, differences
from kdiag.facts.workloads import Owners
from kdiag.model.quantity import amount
from kdiag.model.result import Evidence, Ref
from kdiag.model.text import shorten

_CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
_CORDON = "node.kubernetes.io/unschedulable"


class Why(enum.Enum):
    """What keeps a pod from a node, in the order in which the scheduler filters."""

    CORDONED = "cordoned"
    TAINT = "taint"
    SELECTOR = "selector"
    PORT = "port"
    RESOURCE = "resource"
    PODS = "pods"
    VOLUME = "volume"
    SPREAD = "spread"
    AFFINITY = "affinity"
    ANTI_AFFINITY = "anti-affinity"
    # Only the scheduler's message knows these.
    CLAIM_UNBOUND = "claim unbound"
    CLAIM_MISSING = "claim missing"
    CLAIM_DELETED = "claim deleted"
    CLAIM_IN_USE = "claim in use"
    NO_VOLUME = "no volume"
    VOLUME_LIMIT = "volume limit"
    NO_NODE = "no node"
    OTHER = "other"  # words that are not known here


#: How many nodes are looked at closely for all refused pods together; beyond it the scheduler's word must do.
_LOOKS = 60_000

_TRANSIENT = {
    *(Why.PORT, Why.RESOURCE, Why.PODS, Why.SPREAD, Why.AFFINITY, Why.ANTI_AFFINITY, Why.CLAIM_IN_USE),
    *(Why.VOLUME_LIMIT, Why.OTHER),
}

#: The scheduler's words, of every version since 1.18.
_SAID: tuple[tuple[Why, str], ...] = (
    (Why.CORDONED, r"node\(s\) were unschedulable"),
    (Why.TAINT, r"node\(s\) had (?:untolerated )?taint"),
    (Why.SELECTOR, r"node\(s\) didn't match (?:Pod's )?node (?:affinity|selector)"),
    (Why.SELECTOR, r"node\(s\) didn't match (?:the requested node name|scheduler-enforced node affinity)"),
    (Why.PORT, r"node\(s\) didn't have free ports"),
    (Why.RESOURCE, r"Insufficient \S+"),
    (Why.PODS, r"Too many pods"),
    (Why.VOLUME, r"node\(s\) had volume node affinity conflict"),
    (Why.VOLUME, r"node\(s\) didn't match PersistentVolume's node affinity"),
    (Why.VOLUME, r"node\(s\) had no available volume zone"),
    (Why.NO_VOLUME, r"node\(s\) didn't find available persistent volumes to bind"),
    (Why.NO_VOLUME, r"node\(s\) did not have enough free storage"),
    (Why.VOLUME_LIMIT, r"node\(s\) exceed max volume count"),
    (Why.CLAIM_IN_USE, r"node\(s\) (?:unavailable due to|had) .*?ReadWriteOncePod"),
    (Why.CLAIM_IN_USE, r"node\(s\) had no available disk"),
    (Why.SPREAD, r"node\(s\) didn't match pod topology spread constraints"),
    (Why.ANTI_AFFINITY, r"node\(s\) didn't match pod anti-affinity rules"),
    (Why.ANTI_AFFINITY, r"node\(s\) didn't satisfy existing pods anti-affinity rules"),
    (Why.ANTI_AFFINITY, r"node\(s\) didn't match pod affinity/anti-affinity"),
    (Why.AFFINITY, r"node\(s\) didn't match pod affinity rules"),
)
_COUNTED = tuple((why, re.compile(rf"(\d+) {pattern}")) for why, pattern in _SAID)
_WHOLE = (
    (Why.CLAIM_UNBOUND, re.compile(r"unbound immediate PersistentVolumeClaims")),
    (Why.CLAIM_MISSING, re.compile(r"persistentvolumeclaim \"[^\"]+\" not found")),
    (Why.CLAIM_DELETED, re.compile(r"persistentvolumeclaim \"[^\"]+\" is being deleted")),
    (Why.CLAIM_IN_USE, re.compile(r"ReadWriteOncePod access mode already in-use")),
    (Why.NO_NODE, re.compile(r"no nodes available to schedule pods")),
)
_KNOWN = (*_COUNTED, *_WHOLE)
#: Nodes that an earlier reason has left out already; and what is no reason.
_BESIDE = re.compile(r"filtered out by the prefilter result|^not found$|didn't satisfy plugin|binding volumes:")


def scheduler_said(message: str) -> dict[Why, int]:
    """The reasons in a FailedScheduling message, each with its number of nodes (0 where it has none)."""
    text = message.partition("preemption:")[0]
    said: Counter[Why] = Counter()
    for why, pattern in _COUNTED:
        for match in pattern.finditer(text):
            said[why] += int(match[1])
    found = dict(said)
    for why, pattern in _WHOLE:
        if why not in found and pattern.search(text):
            found[why] = 0
    for words in strange_words(message):
        count = re.match(r"(\d+) ", words)
        found[Why.OTHER] = found.get(Why.OTHER, 0) + (int(count[1]) if count else 0)
    return found


def strange_words(message: str) -> tuple[str, ...]:
    """The reasons in a FailedScheduling message that none of the known ones is, as the scheduler wrote them.

    A plugin of the user's own, an extender, devices (DRA): each writes what it likes.
    """
    text = re.split(r"\.? ?(?:still not schedulable, |no new claims to deallocate, )?preemption:", message)[0]
    head, counted, reasons = text.partition("nodes are available: ")
    parts = (part.strip().rstrip(".") for part in re.split(r", (?=\d+ )", reasons if counted else head))
    return tuple(p for p in parts if p and not _BESIDE.search(p) and not any(x.search(p) for _, x in _KNOWN))


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One reason why one node is refused. ``hard`` when waiting for other pods to go cannot help."""

    why: Why
    detail: str
    hard: bool = False


def tolerates(tolerations: Iterable[Toleration], taint: Taint) -> bool:
    """Whether one of them covers the taint, as the scheduler compares them."""
    for t in tolerations:
        if t.effect and t.effect != taint.effect:
            continue
        if t.key and t.key != taint.key:
            continue
        if not t.key and t.operator != "Exists":
            continue
        if t.operator == "Exists" or t.value == taint.value:
            return True
    return False


def standing(taint: Taint) -> bool:
    """Whether it keeps ordinary pods off the control plane by design."""
    return taint.key in _CONTROL_PLANE


def condition_taint(taint: Taint) -> bool:
    """Whether the node controller put it there because the node is ill."""
    return taint.key.startswith("node.kubernetes.io/") and taint.key != _CORDON


#: Taints that a node is born with, and who takes them away when the node can be used.
_BORN_WITH = {
    "node.cloudprovider.kubernetes.io/uninitialized": "the cloud controller manager",
    "node.cluster.x-k8s.io/uninitialized": "Cluster API",
    "node.cilium.io/agent-not-ready": "the cilium agent",
    "karpenter.sh/unregistered": "Karpenter",
}


def taken_away_by(taint: Taint) -> str:
    """Who takes a taint away that a new node has until it can be used; empty for any other taint.

    CSI drivers and network plugins have one each by custom: ``ebs.csi.aws.com/agent-not-ready``.
    """
    agent, _, state = taint.key.partition("/")
    return _BORN_WITH.get(taint.key) or (f"the agent of {agent}" if state == "agent-not-ready" else "")


def refused_taints(spec: PodSpec, node: Node) -> tuple[Taint, ...]:
    """The taints of the node that keep the pod off; a cordon's own is not among them."""
    return tuple(
        t
        for t in node.spec.taints
        if t.effect in ("NoSchedule", "NoExecute") and t.key != _CORDON and not tolerates(spec.tolerations, t)
    )


def cordoned(spec: PodSpec, node: Node) -> bool:
    """Whether the node is cordoned for this pod."""
    return node.spec.unschedulable and not tolerates(spec.tolerations, Taint(key=_CORDON, effect="NoSchedule"))


def node_matches(selector: NodeSelector, node: Node) -> bool:
    """Whether one of the terms holds for the node; a term without requirements holds for none."""
    fields = {"metadata.name": node.name}
    return any(
        (term.match_expressions or term.match_fields)
        and all(r.matches(node.labels) for r in term.match_expressions)
        and all(r.matches(fields) for r in term.match_fields)
        for term in selector.node_selector_terms
    )


def required_nodes(spec: PodSpec) -> NodeSelector | None:
    """The node affinity that must hold."""
    affinity = spec.affinity.node_affinity if spec.affinity else None
    return affinity.required_during_scheduling_ignored_during_execution if affinity else None


def selected(spec: PodSpec, node: Node) -> bool:
    """Whether nodeSelector and node affinity want the node."""
    if any(node.labels.get(k) != v for k, v in spec.node_selector.items()):
        return False
    required = required_nodes(spec)
    return required is None or node_matches(required, node)


def selector_text(spec: PodSpec) -> str:
    """What the pod asks of a node's labels, in words."""
    parts = [f"{k}={v}" for k, v in sorted(spec.node_selector.items())]
    required = required_nodes(spec)
    if required:
        terms = [
            " and ".join(map(_requirement, (*t.match_expressions, *t.match_fields)))
            for t in required.node_selector_terms
        ]
        parts.append(" or ".join(terms))
    return " and ".join(p for p in parts if p)


def _requirement(r: Requirement) -> str:
    if r.operator == "In" and len(r.values) == 1:
        return f"{r.key}={r.values[0]}"
    return str(r)


def host_ports(spec: PodSpec) -> frozenset[tuple[str, int]]:
    """The ports of the node that the pod takes for itself."""
    containers = (*spec.containers, *(c for c in spec.init_containers if c.sidecar))
    return frozenset((p.protocol, p.host_port) for c in containers for p in c.ports if p.host_port)


def unmet_spread(spec: PodSpec) -> tuple[TopologySpread, ...]:
    """The spread constraints that can refuse a node."""
    return tuple(c for c in spec.topology_spread_constraints if c.when_unsatisfiable == "DoNotSchedule")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """The pods of one workload that have no node for one reason; the first pod stands for them."""

    owner: Ref
    pods: tuple[Pod, ...]
    why: Why
    message: str
    said: Mapping[Why, int]
    obstacles: Mapping[str, tuple[Obstacle, ...]]
    near: tuple[Node, ...]  # the nodes where this reason alone, or at least this reason, is in the way
    background: tuple[Node, ...]  # nodes refused for good by a control-plane taint

    @property
    def pod(self) -> Pod:
        """The pod that stands for them."""
        return self.pods[0]

    def no_node_coming(self, events: Events | None, cluster: Cluster) -> tuple[Evidence, ...]:
        """What an autoscaler says that brings no node for them."""
        said = events.no_node_coming(self.pod.ref(), cluster.taken) if events else None
        command = f"kubectl -n {self.pod.namespace} events --for pod/{self.pod.name}"
        return (Evidence(command, f"{said.component}: {shorten(said.message, 300)}"),) if said else ()

    @property
    def since(self) -> str:
        """When the scheduler first said so."""
        found = self.pod.condition("PodScheduled")
        moment: datetime | None = found.last_transition_time if found else None
        return moment.isoformat() if moment else ""

    @property
    def quote(self) -> str:
        """The scheduler's message without the part about preemption."""
        text = re.split(r"\.? ?(?:no new claims to deallocate, )?preemption:", self.message)[0]
        return text.removesuffix(" not found") if text.endswith(". not found") else text

    def details(self, why: Why) -> dict[str, tuple[Obstacle, ...]]:
        """The obstacles of one kind, by node."""
        found = {name: tuple(o for o in all_ if o.why is why) for name, all_ in self.obstacles.items()}
        return {name: all_ for name, all_ in found.items() if all_}


@dataclass(frozen=True, kw_only=True)
class Scheduling(Derived):
    """The pods that the scheduler refused, and what there is on the nodes."""

    pods: Pods = field(default_factory=Pods)
    nodes: Nodes = field(default_factory=Nodes)
    owners: Owners = field(default_factory=Owners)

    @classmethod
    def derive(cls, pods: Pods, nodes: Nodes, owners: Owners) -> Scheduling:
        """Join them."""
        return cls(pods=pods, nodes=nodes, owners=owners)

    @property
    def whole(self) -> bool:
        """Whether the pods of all namespaces were read: else what is free on a node is not known."""
        return not self.pods.scope

    @cached_property
    def refused(self) -> tuple[Pod, ...]:
        """The pods to which the scheduler said no."""
        return tuple(
            p
            for p in self.pods.troubled
            if not p.node
            and not p.terminating
            and not p.finished
            and (c := p.condition("PodScheduled")) is not None
            and c.status == "False"
            and c.reason == "Unschedulable"
            and not gives_way(p)
        )

    @cached_property
    def _running(self) -> Mapping[str, tuple[Pod, ...]]:
        return {node: tuple(p for p in pods if not p.finished) for node, pods in self.pods.by_node.items()}

    @cached_property
    def _requests(self) -> dict[int, Resources]:
        return {}

    def requests_of(self, spec: PodSpec) -> Resources:
        """What a pod of this template asks for; worked out once."""
        known = self._requests.get(id(spec))
        if known is None:
            known = self._requests[id(spec)] = spec.requests()
        return known

    @cached_property
    def used(self) -> Mapping[str, Mapping[str, Decimal]]:
        """What the pods that are bound to each node ask for together."""
        total: dict[str, dict[str, Decimal]] = {}
        for node, pods in self._running.items():
            mine = total.setdefault(node, {})
            for pod in pods:
                for resource, value in self.requests_of(pod.spec).items():
                    mine[resource] = mine.get(resource, Decimal(0)) + value
        return total

    def free(self, node: Node, resource: str) -> Decimal:
        """What of a resource is not asked for yet; all of it where other namespaces were not read."""
        total = Decimal(node.status.allocatable.get(resource, 0))
        return total - self.used.get(node.name, {}).get(resource, Decimal(0)) if self.whole else total

    def running(self, node: str) -> tuple[Pod, ...]:
        """The pods on a node that have not ended."""
        return self._running.get(node, ())

    def obstacles(
        self, pod: Pod, claims: Claims | None = None, volumes: Volumes | None = None
    ) -> dict[str, tuple[Obstacle, ...]]:
        """Every node, with all that keeps the pod from it."""
        reach = _reach(pod, claims, volumes)
        others: dict[str, list[Obstacle]] = {}
        for name, obstacle in (*self._spread(pod), *self._from_pods(pod)):
            others.setdefault(name, []).append(obstacle)
        return {
            node.name: tuple(
                [
                    *_from_node(pod.spec, node),
                    *self._from_load(pod, node),
                    *_from_volumes(reach, node),
                    *others.get(node.name, ()),
                ]
            )
            for node in self.nodes.items
        }

    def _from_load(self, pod: Pod, node: Node) -> Iterator[Obstacle]:
        wanted = host_ports(pod.spec)
        if wanted:
            for other in self.running(node.name):
                for protocol, port in sorted(wanted & host_ports(other.spec)):
                    yield Obstacle(Why.PORT, f"{port}/{protocol} is taken by pod {other.path}")
        for resource, value in sorted(self.requests_of(pod.spec).items()):
            total = Decimal(node.status.allocatable.get(resource, 0))
            free = self.free(node, resource)
            if value > free and value > 0:
                shown = f"{amount(resource, free)} of {amount(resource, total)} {resource} free"
                yield Obstacle(Why.RESOURCE, shown, hard=value > total)
        room = int(node.status.allocatable.get("pods", 0))
        if self.whole and room and len(self.running(node.name)) >= room:
            yield Obstacle(Why.PODS, f"{len(self.running(node.name))} of {room} pods", hard=False)

    def matching(self, term: PodAffinityTerm, namespace: str) -> tuple[Pod, ...]:
        """The bound pods that a pod affinity term means."""
        if term.label_selector is None:
            return ()
        found: list[Pod] = []
        for where in term.namespaces or (namespace,):
            found += [
                p
                for p in self.pods.within(where)
                if p.node and not p.finished and term.label_selector.matches(p.labels)
            ]
        return tuple(found)

    def _from_pods(self, pod: Pod) -> Iterator[tuple[str, Obstacle]]:
        """The obstacles of the pod's affinity to other pods, with the node that each stands on."""
        affinity = pod.spec.affinity
        near = affinity.pod_affinity if affinity else None
        far = affinity.pod_anti_affinity if affinity else None
        for term in near.required_during_scheduling_ignored_during_execution if near else ():
            there = self._occupied(term, pod.namespace)
            itself = term.label_selector is not None and term.label_selector.matches(pod.labels)
            for node in self.nodes.items:
                value = node.labels.get(term.topology_key)
                if value is None:
                    yield node.name, Obstacle(Why.AFFINITY, f"has no label {term.topology_key}", hard=True)
                elif value not in there and (there or not itself):
                    # The first pod of a group that wants its own kind near may go anywhere.
                    yield node.name, Obstacle(Why.AFFINITY, f"no pod with {term.label_selector} there", hard=not there)
        for term in far.required_during_scheduling_ignored_during_execution if far else ():
            there = self._occupied(term, pod.namespace)
            for node in self.nodes.items:
                value = node.labels.get(term.topology_key)
                if value is not None and value in there:
                    text = f"pod {there[value].path} with {term.label_selector} is there"
                    yield node.name, Obstacle(Why.ANTI_AFFINITY, text)

    def _occupied(self, term: PodAffinityTerm, namespace: str) -> Mapping[str, Pod]:
        """The values of the term's topology key where pods that it means run, each with one of them."""
        found: dict[str, Pod] = {}
        for pod in self.matching(term, namespace):
            node = self.nodes.get(pod.node)
            value = node.labels.get(term.topology_key) if node else None
            if value is not None:
                found.setdefault(value, pod)
        return found

    def _spread(self, pod: Pod) -> Iterator[tuple[str, Obstacle]]:
        constraints = unmet_spread(pod.spec)
        if not constraints:
            return
        for c in constraints:
            eligible = [n for n in self.nodes.items if _counts(c, pod.spec, n)]
            counts: dict[str, int] = {v: 0 for n in eligible if (v := n.labels.get(c.topology_key)) is not None}
            same = {k: pod.labels.get(k) for k in c.match_label_keys}
            mine = int(c.label_selector is not None and c.label_selector.matches(pod.labels))
            for other in self.pods.within(pod.namespace):
                node = self.nodes.get(other.node) if other.node and not other.finished else None
                if node is None or other.terminating or c.label_selector is None:
                    continue
                value = node.labels.get(c.topology_key)
                if any(other.labels.get(k) != v for k, v in same.items()):
                    continue
                if value in counts and c.label_selector.matches(other.labels):
                    counts[value] += 1
            least = min(counts.values(), default=0)
            # The emptiest domain that can take no pod of it stays the emptiest.
            open_to = {n.labels.get(c.topology_key) for n in eligible if _can_take(pod.spec, n)}
            for_good = not any(value in open_to for value, count in counts.items() if count == least)
            for node in self.nodes.items:
                value = node.labels.get(c.topology_key)
                if value is None:
                    obstacle = Obstacle(Why.SPREAD, f"has no label {c.topology_key}", hard=True)
                elif counts.get(value, 0) + mine - least > c.max_skew:
                    detail = f"{c.topology_key}={value} has {counts.get(value, 0)} already"
                    obstacle = Obstacle(Why.SPREAD, detail, hard=for_good)
                else:
                    continue
                yield node.name, obstacle

    def stuck(
        self,
        why: Why,
        taken: datetime,
        claims: Claims | None = None,
        volumes: Volumes | None = None,
        events: Events | None = None,
    ) -> tuple[Stuck, ...]:
        """The workloads whose pods are kept from every node for this reason above all, long enough to say so.

        Not those for which an autoscaler is bringing a node, as far as its events were seen.
        """
        found = tuple(s for s in self._judged(taken, claims, volumes) if s.why is why)
        if events is None:
            return found
        return tuple(s for s in found if not any(events.node_coming(p.ref(), taken) for p in s.pods[:50]))

    @cached_property
    def _known(self) -> dict[tuple[datetime, int, int], tuple[Stuck, ...]]:
        return {}

    def _judged(self, taken: datetime, claims: Claims | None, volumes: Volumes | None) -> tuple[Stuck, ...]:
        key = (taken, id(claims), id(volumes))
        if key not in self._known:
            self._known[key] = tuple(self._judge(taken, claims, volumes))
        return self._known[key]

    def _judge(self, taken: datetime, claims: Claims | None, volumes: Volumes | None) -> Iterator[Stuck]:
        groups: dict[tuple[Ref, Why], tuple[Stuck, list[Pod]]] = {}
        decided: dict[tuple[Ref, int, str], Stuck | None] = {}
        for pod in self.refused:
            condition = pod.condition("PodScheduled")
            message = condition.message if condition else ""
            owner = self.owners.top(pod)
            # A DaemonSet's pods share a template, and each is meant for its own node.
            alike = 0 if owner.kind == "DaemonSet" else id(pod.spec)
            known = (owner, alike or id(pod.name), message)
            if known not in decided:
                closely = len(decided) * len(self.nodes) < _LOOKS
                decided[known] = self._decide(owner, pod, message, claims, volumes, closely=closely)
            one = decided[known]
            if one is None or ((both := self.owners.replaced(pod, self.pods)) and _other(one.why, *both)):
                continue
            since = (condition.last_transition_time if condition else None) or pod.created
            age = (taken - (pod.created or since)).total_seconds() if since else 3600.0
            passing = one.why in _TRANSIENT and not _hopeless(one)
            if age < (75 if passing else 10) or (passing and age < 300 and self._making_room(one)):
                continue
            if pod.nominated_node and age < 120:
                continue  # room is being made for it
            groups.setdefault((owner, one.why), (one, []))[1].append(pod)
        for one, pods in groups.values():
            yield Stuck(
                owner=one.owner,
                pods=tuple(pods) if one.pod is pods[0] else (one.pod, *(p for p in pods if p is not one.pod)),
                why=one.why,
                message=one.message,
                said=one.said,
                obstacles=one.obstacles,
                near=one.near,
                background=one.background,
            )

    def _making_room(self, one: Stuck) -> bool:
        """Whether a pod that ends on one of the nodes may be what it waits for."""
        return any(p.terminating for n in one.near for p in self.running(n.name))

    def _decide(
        self, owner: Ref, pod: Pod, message: str, claims: Claims | None, volumes: Volumes | None, *, closely: bool
    ) -> Stuck | None:
        said = scheduler_said(message)
        if not said:
            return None
        obstacles = self.obstacles(pod, claims, volumes) if closely else {}
        nodes = self.nodes.items if closely else ()
        background = tuple(n for n in self.nodes.items if any(standing(t) for t in refused_taints(pod.spec, n)))
        why, near = _cause(said, obstacles, nodes, {n.name for n in background}, blind=self.nodes.blank)
        return Stuck(
            owner=owner,
            pods=(pod,),
            why=why,
            message=message,
            said=said,
            obstacles=obstacles,
            near=near,
            background=background,
        )


def _counts(constraint: TopologySpread, spec: PodSpec, node: Node) -> bool:
    """Whether the node makes a domain for a constraint: its policies say what of the pod's own wishes counts."""
    if constraint.node_affinity_policy != "Ignore" and not selected(spec, node):
        return False
    return constraint.node_taints_policy != "Honor" or not refused_taints(spec, node)


def _can_take(spec: PodSpec, node: Node) -> bool:
    return selected(spec, node) and not refused_taints(spec, node) and not cordoned(spec, node)


#: What of a template decides whether it can be kept from a node so.
_ASKED: Mapping[Why, Callable[[PodSpec], object]] = {
    Why.TAINT: lambda s: s.tolerations,
    Why.SELECTOR: lambda s: (s.node_selector, required_nodes(s), s.runtime_class_name),
    Why.PORT: host_ports,
    Why.RESOURCE: lambda s: s.requests(),
    Why.SPREAD: lambda s: s.topology_spread_constraints,
    Why.AFFINITY: lambda s: s.affinity,
    Why.ANTI_AFFINITY: lambda s: s.affinity,
    **dict.fromkeys(
        (Why.VOLUME, Why.NO_VOLUME, Why.CLAIM_UNBOUND, Why.CLAIM_MISSING, Why.CLAIM_DELETED), lambda s: s.volumes
    ),
}


def _other(why: Why, old: PodSpec, new: PodSpec) -> bool:
    """Whether the template that replaces a pod's asks for something else: then it is mended, or its own pods tell."""
    asked = _ASKED.get(why)
    return asked is not None and asked(old) != asked(new)


def _hopeless(one: Stuck) -> bool:
    found = one.details(one.why)
    return bool(found) and all(any(o.hard for o in all_) for all_ in found.values())


_PREFERENCE = (
    *(Why.CORDONED, Why.RESOURCE, Why.PODS, Why.PORT, Why.ANTI_AFFINITY, Why.AFFINITY, Why.SPREAD, Why.VOLUME),
    *(Why.TAINT, Why.SELECTOR),
)


def _cause(
    said: Mapping[Why, int],
    obstacles: Mapping[str, tuple[Obstacle, ...]],
    nodes: Sequence[Node],
    background: set[str],
    *,
    blind: bool = False,
) -> tuple[Why, tuple[Node, ...]]:
    """The one reason to name: what, if it were mended, would most nearly give the pod a node.

    ``blind``: the nodes were not seen. The scheduler looks at taints first, so what it says of the others came nearer.
    """
    for why in (Why.CLAIM_MISSING, Why.CLAIM_DELETED, Why.CLAIM_UNBOUND, Why.NO_NODE):
        if why in said:
            return why, ()
    kinds = {n.name: {o.why for o in obstacles.get(n.name, ())} for n in nodes}
    wanted = [n for n in nodes if Why.SELECTOR not in kinds[n.name]]
    if nodes and not wanted:
        return Why.SELECTOR, tuple(nodes)
    reached = [n for n in wanted if Why.VOLUME not in kinds[n.name]]
    if wanted and not reached and any(Why.VOLUME in k for k in kinds.values()):
        return Why.VOLUME, tuple(wanted)
    for why in (Why.NO_VOLUME, Why.CLAIM_IN_USE, Why.VOLUME_LIMIT):
        if why in said and not any(Why.VOLUME in k for k in kinds.values()):
            return why, tuple(reached)
    pool = [n for n in reached if n.name not in background]
    if reached and not pool:
        return Why.TAINT, tuple(reached)
    alone = Counter(next(iter(kinds[n.name])) for n in pool if len(kinds[n.name]) == 1)
    every = Counter(why for n in pool for why in kinds[n.name])
    for counts in (alone, every):
        ranked = sorted(counts, key=lambda w: (-counts[w], _PREFERENCE.index(w)))
        for why in ranked:
            near = tuple(n for n in pool if why in kinds[n.name] and (counts is every or len(kinds[n.name]) == 1))
            lasting = all(any(o.hard for o in obstacles[n.name] if o.why is why) for n in near)
            if why in said or (why is Why.RESOURCE and lasting):
                return why, near
    # What the model sees does not bear out the message: it has changed since, or is beyond the model.
    spoken = {w: c for w, c in said.items() if w in _PREFERENCE or w in _COUNT_ONLY}
    if spoken.get(Why.TAINT) and len(spoken) > 1 and (blind or len(background) >= spoken[Why.TAINT]):
        del spoken[Why.TAINT]
    if wanted and len(spoken) > 1:
        spoken.pop(Why.SELECTOR, None)  # there is a node that it wants
    if len(spoken) > 1:
        spoken.pop(Why.OTHER, None)
    best = min(spoken or said, key=lambda w: (-said[w], list(Why).index(w)))
    return best, ()


_COUNT_ONLY = (Why.NO_VOLUME, Why.CLAIM_IN_USE, Why.VOLUME_LIMIT, Why.OTHER)


def _from_node(spec: PodSpec, node: Node) -> Iterator[Obstacle]:
    if cordoned(spec, node):
        yield Obstacle(Why.CORDONED, "cordoned", hard=True)
    for taint in refused_taints(spec, node):
        yield Obstacle(Why.TAINT, str(taint), hard=True)
    if not selected(spec, node):
        yield Obstacle(Why.SELECTOR, "", hard=True)


def claims_of(pod: Pod) -> tuple[str, ...]:
    """The names of the claims that a pod mounts, those made for it alone among them."""
    found = []
    for v in pod.spec.volumes:
        if v.persistent_volume_claim:
            found.append(v.persistent_volume_claim.claim_name)
        elif v.ephemeral:
            found.append(f"{pod.name}-{v.name}")
    return tuple(found)


def _reach(
    pod: Pod, claims: Claims | None, volumes: Volumes | None
) -> tuple[tuple[PersistentVolumeClaim, tuple[PersistentVolume, ...]], ...]:
    """For each claim whose volumes are tied to nodes: the volumes, of which a node must reach one."""
    if claims is None or volumes is None:
        return ()
    found = []
    for name in claims_of(pod):
        claim = claims.get(name, pod.namespace)
        if claim is None:
            continue
        if claim.spec.volume_name:
            bound = volumes.get(claim.spec.volume_name)
            possible: tuple[PersistentVolume, ...] = (bound,) if bound else ()
        else:
            possible = tuple(v for v in volumes.items if not differences(claim, v))
        if possible and all(v.spec.node_affinity and v.spec.node_affinity.required for v in possible):
            found.append((claim, possible))
    return tuple(found)


def volume_reaches(volume: PersistentVolume, node: Node) -> bool:
    """Whether the volume can be used on the node."""
    affinity = volume.spec.node_affinity
    return not (affinity and affinity.required) or node_matches(affinity.required, node)


def _from_volumes(
    reach: tuple[tuple[PersistentVolumeClaim, tuple[PersistentVolume, ...]], ...], node: Node
) -> Iterator[Obstacle]:
    for claim, possible in reach:
        if not any(volume_reaches(v, node) for v in possible):
            yield Obstacle(Why.VOLUME, f"claim {claim.name} is on volume {possible[0].name}", hard=True)

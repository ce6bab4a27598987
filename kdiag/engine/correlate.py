"""Fold findings: each symptom under the finding that causes it. Nothing is dropped; what nothing explains is a cause.

A finding is the symptom of another when two things hold: the other's check says, directly or through further checks,
that it explains this one's check; and this one's object depends on the other's object, or on one that it touches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kdiag.check import Check, Layer
from kdiag.engine.topology import Topology
from kdiag.model.result import CLUSTER, CONTROLLERS, Finding, Ref, Result, Severity, Shared
from kdiag.model.text import plural

#: What a fault of one node touches that reaches all nodes.
_WIDE = frozenset({CLUSTER, CONTROLLERS})
_WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"})
#: Among so many possible causes, one whose check explains that of another is taken for its cause without a look; and of
#: the findings of one check that touch one object, no more are looked at.
_MANY = 50
#: What stands behind a Service.
_SERVERS = frozenset({"Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController"})


@dataclass(slots=True)
class Node:
    """A finding in its place: what it causes hangs below it."""

    check: Check
    finding: Finding
    symptoms: list[Node] = field(default_factory=list)

    @property
    def severity(self) -> Severity:
        """Its own severity."""
        return self.finding.severity if self.finding.severity is not None else self.check.severity

    @property
    def worst(self) -> Severity:
        """The worst severity in its tree."""
        return max([self.severity, *(s.worst for s in self.symptoms)]) if self.symptoms else self.severity

    @property
    def size(self) -> int:
        """How many symptoms hang below it, at any depth."""
        return sum(1 + s.size for s in self.symptoms) if self.symptoms else 0

    @property
    def fingerprint(self) -> str:
        """The same for the same fault of the same object: after a new pod name, a restart or a re-run."""
        ref = self.finding.subject
        text = "\0".join((self.check.id, ref.kind, ref.namespace, ref.name, self.finding.key))
        return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]

    def walk(self) -> Iterable[Node]:
        """This finding and all below it."""
        yield self
        for symptom in self.symptoms:
            yield from symptom.walk()


def rank(node: Node) -> tuple[int, int, int, Ref, str, str]:
    """The order of causes: the worst first, then the lowest layer, then the most symptoms, then by name."""
    return (
        -int(node.worst),
        int(node.check.layer),
        -node.size,
        node.finding.subject,
        node.check.id,
        node.finding.key + node.finding.message,
    )


def _order(node: Node) -> tuple[int, bool, tuple[object, ...]]:
    """The order of causes: of the worst those first from which the whole cluster suffers, else by ``rank``.

    A kubelet that is down on a worker is the lower layer, and waits until there is an API server again.
    """
    return -int(node.worst), CLUSTER not in node.finding.touches, rank(node)


def reach(
    library: Mapping[str, Check], through: Callable[[Check], bool] = lambda _: True
) -> Mapping[str, frozenset[str]]:
    """For each check, all checks that it explains, directly or through others. Terminates on a cycle."""
    found: dict[str, frozenset[str]] = {}
    for start in library:
        seen: set[str] = set()
        todo = list(library[start].explains)
        while todo:
            one = todo.pop()
            if one in library and one not in seen:
                seen.add(one)
                todo.extend(library[one].explains if through(library[one]) else ())
        found[start] = frozenset(seen - {start})
    return found


def inward(library: Mapping[str, Check]) -> Mapping[str, frozenset[str]]:
    """For each check, what it explains on one workload: not by way of a Service, the DNS, a webhook or a node."""
    return reach(library, lambda check: Layer.VOLUME <= check.layer <= Layer.ROLLOUT)


def local(library: Mapping[str, Check]) -> Mapping[str, frozenset[str]]:
    """For each check, what it explains on its own object alone: itself, or through a check that it explains directly.

    No further: through more steps it would come back to its own object by way of others.
    """
    return {
        one.id: frozenset(s for name in (one.id, *one.explains) if name in library for s in library[name].explains_here)
        for one in library.values()
    }


def correlate(results: Iterable[Result], library: Mapping[str, Check], topology: Topology) -> list[Node]:
    """The causes in rank order, each with its symptoms folded below it."""
    nodes = [Node(library[r.check_id], f) for r in results if r.check_id in library for f in r.findings]
    explains, here, inner = reach(library), local(library), inward(library)
    explained_by: dict[str, set[str]] = {}
    for cause, symptoms in explains.items():
        for symptom in symptoms:
            explained_by.setdefault(symptom, set()).add(cause)
    ranked = sorted(nodes, key=rank)
    sites = _located(ranked)
    parents: dict[int, Node] = {}
    for node in ranked:
        parent = _here(node, sites, explains, here, parents)
        if parent is None or _harmless(parent, node):
            elsewhere = _parent(
                node, explained_by.get(node.check.id, set()), sites, topology, explains, here, inner, parents
            )
            parent = elsewhere if elsewhere and not (parent and _harmless(elsewhere, node)) else parent
        if parent:
            parents[id(node)] = parent
    causes = _together([n for n in ranked if id(n) not in parents], parents)
    for node in ranked:
        if above := parents.get(id(node)):
            above.symptoms.append(node)
    _uncircle(nodes, causes)
    for node in nodes:
        node.symptoms.sort(key=rank)
    return sorted(causes, key=_order)


def _together(causes: Sequence[Node], parents: dict[int, Node]) -> list[Node]:
    """The causes, those that stumble over one and the same object below a finding about that one."""
    groups: dict[tuple[str, Shared], list[Node]] = {}
    for node in causes:
        if shared := node.finding.shared:
            groups.setdefault((node.check.id, shared), []).append(node)
    found = {id(node): node for node in causes}
    for (_, shared), group in groups.items():
        subjects = list(dict.fromkeys(n.finding.subject for n in group))
        if len(subjects) > 1 and shared.ref not in subjects:
            one = Node(group[0].check, _common(shared, subjects, group))
            found[id(one)] = one
            for node in group:
                parents[id(node)] = one
                del found[id(node)]
    return list(found.values())


def _common(shared: Shared, subjects: Sequence[Ref], group: Sequence[Node]) -> Finding:
    """What the findings of a group say of what they share; what was seen and what to do are the first's.

    What the first has seen stands for the others: each says of its own pods what all say of theirs.
    """
    kinds = {ref.kind for ref in subjects}
    noun = kinds.pop() if len(kinds) == 1 else "workload" if kinds <= _WORKLOADS else "object"
    findings = [n.finding for n in group]
    first = findings[0]
    steps = list(first.next)
    lone = [n for n, step in enumerate(steps) if any(step not in other.next for other in findings)]
    if lone:
        steps[lone[-1]] += f"{'; ' if ' # ' in steps[lone[-1]] else '   # '}so each of them"
    return Finding(
        shared.ref,
        f"{shared.fault}: {plural(len(subjects), noun, f'{noun}es' if noun.endswith('s') else '')} {shared.hits}",
        evidence=first.evidence,
        next=tuple(steps),
        touches=(*(ref for ref in first.touches if all(ref in other.touches for other in findings)), *subjects[:_MANY]),
        key=shared.fault,
        severity=max(n.severity for n in group),
        since=min((f.since for f in findings if f.since), default=""),
        later=all(f.later for f in findings),
    )


def _sites(node: Node) -> set[Ref]:
    """The objects where a finding may be the cause of others.

    What a workload's fault touches of its node, it does not break for the node's other pods: a volume that is held on
    w1 says nothing of what else runs there. A fault of the network, of kube-proxy or of the node itself does.
    A Service that leads nowhere breaks its clients, and not the workload that it was meant for.
    """
    subject, touches = node.finding.subject, node.finding.touches
    if subject.kind == "Service":
        touches = tuple(ref for ref in touches if ref.kind not in _SERVERS)
    if node.check.layer >= Layer.DNS:
        touches = tuple(ref for ref in touches if ref.kind != "Node")
    return {subject, *touches}


def _located(ranked: Iterable[Node]) -> Mapping[Ref, Sequence[Node]]:
    """Where each finding may be the cause of others: all that are about an object, and the first that touch it."""
    found: dict[Ref, list[Node]] = {}
    touching: dict[tuple[Ref, str], int] = {}
    for node in ranked:
        for ref in _sites(node):
            if ref != node.finding.subject:
                key = (ref, node.check.id)
                touching[key] = count = touching.get(key, 0) + 1
                if count > _MANY:
                    continue
            found.setdefault(ref, []).append(node)
    return found


def _wide(ref: Ref) -> bool:
    """Whether far more depends on it than a fault of it breaks."""
    return ref in _WIDE or ref.kind == "Controller"


def _harmless(cause: Node, node: Node) -> bool:
    """Whether the one hurts nobody yet and the other does: it is its cause only where nothing else is."""
    return cause.severity < Severity.ERROR <= node.severity


def _below(node: Node, other: Node, parents: Mapping[int, Node]) -> bool:
    """Whether ``other`` hangs below ``node`` already."""
    seen: set[int] = set()
    above: Node | None = other
    while above is not None and id(above) not in seen:
        if above is node:
            return True
        seen.add(id(above))
        above = parents.get(id(above))
    return False


def _here(
    node: Node,
    sites: Mapping[Ref, Sequence[Node]],
    explains: Mapping[str, frozenset[str]],
    here: Mapping[str, frozenset[str]],
    parents: Mapping[int, Node],
) -> Node | None:
    """The nearest finding on the same object that says that it causes this one there."""
    found = [
        other
        for other in sites.get(node.finding.subject, ())
        if other is not node
        and other.finding.subject == node.finding.subject
        and node.check.id in here[other.check.id]
        and not _apart(node.finding, other.finding)
        and not _below(node, other, parents)
    ]
    ids = {n.check.id for n in found}
    nearest = [n for n in found if not ((explains[n.check.id] | here[n.check.id]) & ids)]
    return min(nearest or found, key=rank, default=None)


def _follows(
    other: Node, node: Node, explains: Mapping[str, frozenset[str]], here: Mapping[str, frozenset[str]]
) -> bool:
    """Whether ``other`` tells of this finding's own object, and comes of what this one causes there.

    A workload waits for a Service: that its own Service has no endpoint comes of it, and is not why.
    """
    return node.finding.subject in other.finding.touches and any(
        other.check.id in explains[symptom] for symptom in here[node.check.id] if symptom in explains
    )


def _apart(one: Finding, other: Finding) -> bool:
    """Whether they are about two containers of a pod."""
    return bool(one.container and other.container and one.container != other.container)


def _covering(node: Node, causes: list[Node]) -> list[Node]:
    """Without the causes on single nodes, where a DaemonSet is in trouble on further nodes than those.

    A kubelet that is down on w1 says nothing of kube-proxy on cp1 and w2, though the DaemonSet has a pod on w1.
    """
    places = {ref for ref in node.finding.touches if ref.kind == "Node"}
    if node.finding.subject.kind != "DaemonSet" or not places:
        return causes
    single = [n for n in causes if n.finding.subject.kind == "Node" and not any(map(_wide, n.finding.touches))]
    if places <= {n.finding.subject for n in single}:
        return causes
    return [n for n in causes if n not in single]


def _uncircle(nodes: Sequence[Node], causes: list[Node]) -> None:
    """Let nothing get lost in a circle of checks that explain each other: its first finding becomes a cause."""
    reached = {id(n) for cause in causes for n in cause.walk()}
    while lost := [n for n in nodes if id(n) not in reached]:
        first = min(lost, key=lambda n: (int(n.check.layer), n.finding.subject, n.check.id, n.finding.message))
        for node in nodes:
            node.symptoms[:] = [s for s in node.symptoms if s is not first]
        causes.append(first)
        reached.update(id(n) for n in first.walk())


def _parent(
    node: Node,
    causes: set[str],
    sites: Mapping[Ref, Sequence[Node]],
    topology: Topology,
    explains: Mapping[str, frozenset[str]],
    here: Mapping[str, frozenset[str]],
    inner: Mapping[str, frozenset[str]],
    parents: Mapping[int, Node],
) -> Node | None:
    """The nearest cause: of those that explain this finding, one that explains no other of them.

    What this finding itself causes on its object is not its cause there, though it may be elsewhere.
    """
    if not causes:
        return None
    context = topology.closure((node.finding.subject, *node.finding.touches))
    found = [
        other
        for ref in context
        for other in sites.get(ref, ())
        if other is not node
        and other.check.id in causes
        and other.check.id != node.check.id
        and not (other.finding.subject == node.finding.subject and other.check.id in here[node.check.id])
        and not (other.finding.later and other.finding.subject != node.finding.subject)
        and not _around(node, other, inner)
        and not _follows(other, node, explains, here)
        and not _below(node, other, parents)
        and not _beyond(node, other, topology)
        and (node.check.id in other.check.explains or _near(other, context))
    ]
    unique = _covering(node, list({id(n): n for n in found}.values()))
    if not unique:
        return None
    # What hurts nobody yet explains what hurts only where nothing else does.
    unique = [n for n in unique if n.severity >= Severity.ERROR] or unique
    # What is wrong with the object itself comes before what is wrong with what it needs.
    unique = [n for n in unique if n.finding.subject == node.finding.subject] or unique
    ids = {n.check.id for n in unique}
    nearest = [n for n in unique if not explains[n.check.id] & ids or not _causes_one_of(n, unique, explains, topology)]
    # Of two of one layer, one about an object that this depends on comes before one that only touches such an object:
    # of a hundred claims of a missing class, a pod waits for its own.
    return min(nearest or unique, key=lambda n: (-int(n.check.layer), n.finding.subject not in context, *rank(n)))


def _around(node: Node, other: Node, inner: Mapping[str, frozenset[str]]) -> bool:
    """Whether a workload's own finding would come of ``other`` only by way of what others use, its Service among them.

    An image that cannot be pulled is why a Service has no endpoint, and not why the pods behind it reach no database.
    """
    mine = node.finding.subject
    return mine.kind in _WORKLOADS and other.finding.subject == mine and node.check.id not in inner[other.check.id]


def _near(other: Node, context: frozenset[Ref]) -> bool:
    """Whether this finding's object depends on one that ``other`` is about, and not only on the cluster as a whole.

    What a fault of the whole cluster explains through a further check, it explains on the objects of that one alone:
    a DNS Service that selects nothing is not why another Service does.
    """
    return any(ref in context for ref in _sites(other) if not _wide(ref))


def _causes_one_of(
    node: Node, others: Sequence[Node], explains: Mapping[str, frozenset[str]], topology: Topology
) -> bool:
    """Whether one of the others comes of it: its check explains that one's, and that one's object depends on its.

    A Service that leads to a wrong port explains pods that are not ready, but not those of a database beside it.
    """
    if len(others) > _MANY:
        return True
    places = _sites(node)
    return any(
        not places.isdisjoint(topology.closure((o.finding.subject, *o.finding.touches)))
        for o in others
        if o is not node and o.check.id in explains[node.check.id]
    )


def _beyond(node: Node, other: Node, topology: Topology) -> bool:
    """Whether ``other`` does not reach this finding's workload: its own has all the pods that it wants without those.

    A new revision that does not start breaks nobody, as long as the old one serves.
    """
    mine, its = node.finding.subject, other.finding.subject
    if node.finding.own and mine != its:
        return its.kind in _WORKLOADS | {"Service", "Node"} or any(map(_wide, other.finding.touches))
    if mine == its or its.kind not in _WORKLOADS or mine.kind not in _WORKLOADS | {"Service", "Ingress"}:
        return False
    if mine.kind not in _WORKLOADS:  # a Service may select the new revision alone
        behind = topology.direct(mine)
        if its in behind or any(its in topology.direct(ref) for ref in behind if ref.kind == "Service"):
            return False
    return topology.serves_without(other.finding)

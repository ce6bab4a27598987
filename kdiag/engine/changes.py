"""What changed just before a fault began, as far as it can bear on it: newest first.

Told from what is read anyway: who wrote an object last and when (``managedFields``), rollouts by their ReplicaSets,
what happened to nodes, when units started and manifests were written. Secrets are not read, nor what changed in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from kdiag.check import Layer, kubectl
from kdiag.engine.intake import Facts
from kdiag.engine.topology import Topology
from kdiag.facts import (
    Autoscalers,
    Cluster,
    ConfigMaps,
    DaemonSets,
    Deployments,
    Events,
    FileInfo,
    Ingresses,
    LimitRanges,
    Manifests,
    MutatingWebhooks,
    NetworkPolicies,
    NodeManifests,
    Nodes,
    ReplicaSets,
    ResourceQuotas,
    Services,
    StatefulSets,
    Units,
    ValidatingWebhooks,
    static_pod,
)
from kdiag.facts.base import Objects
from kdiag.facts.meta import Manager, TracedMeta
from kdiag.model.result import Finding, Ref
from kdiag.model.text import clean_line, shorten

#: How long before a fault's beginning a change may lie to be told with it.
WINDOW = timedelta(minutes=30)
#: A change and what it breaks may have the same second, and clocks differ by as much.
_SLACK = timedelta(seconds=2)
#: What is said to have begun before or after has no time around it to look at.
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
#: A rollout is made by its controller a moment after the object was written.
_MOMENT = timedelta(seconds=10)
_TRACED: tuple[type[Objects[Any]], ...] = (
    ConfigMaps,
    Services,
    Ingresses,
    NetworkPolicies,
    Deployments,
    StatefulSets,
    DaemonSets,
    ResourceQuotas,
    LimitRanges,
    ValidatingWebhooks,
    MutatingWebhooks,
)
#: Controllers that write what they are asked for: what was asked is the change.
_ECHOES = frozenset({"kube-controller-manager", "kubelet", "kube-scheduler", "cloud-controller-manager", "kubeadm"})
_WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet"})
_ROUTING = frozenset({"Service", "Ingress", "NetworkPolicy", *_WORKLOADS})
#: Where only some kinds can bear on a fault: a selector that misses is not missed because of a ConfigMap.
_BEARS: Mapping[Layer, frozenset[str]] = {
    Layer.ENDPOINTS: _ROUTING,
    Layer.INGRESS: _ROUTING,
    Layer.SCHEDULING: _WORKLOADS | {"Node", "ResourceQuota", "LimitRange"},
}
#: Where what happened to a node bears on what runs there; a fault of the node itself is always near to it.
_ON_NODES = frozenset({Layer.HOST, Layer.NODE, Layer.SCHEDULING, Layer.VOLUME, Layer.POD})
_NODE_EVENTS = ("NodeNotReady", "NodeReady", "Rebooted", "Starting", "NodeNotSchedulable")
#: What kubeadm writes in this time after a node's certificate authority belongs to the making of the node.
_MAKING = timedelta(seconds=30)
_AUTHORITY = "/etc/kubernetes/pki/ca.crt"
#: Every namespace has it, and nobody writes it.
_ROOT_CA = "kube-root-ca.crt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change.

    ``what`` is a word or a few ("changed", "rollout to revision 7"), ``who`` the program that wrote it as far as that
    is recorded, ``command`` what shows it.
    """

    when: datetime
    what: str
    object: Ref
    who: str = ""
    command: str = ""

    @property
    def edited(self) -> bool:
        """Whether somebody wrote the object, and not something happened to it."""
        return self.what in ("changed", "created", "scaled")

    def __str__(self) -> str:
        what = "" if self.what == "changed" else f" {self.what}"
        return f"{self.object}{what}{f' ({self.who})' if self.who else ''}"


class Changes:
    """The changes of a run, by object; looked through once, however many findings there are."""

    def __init__(self, facts: Facts, topology: Topology) -> None:
        self._facts = facts
        self._topology = topology
        cluster = facts.get(Cluster)
        self.now = cluster.taken if cluster else None
        self._by_object: dict[Ref, list[Change]] = {}
        for change in self._all() if self.now else ():
            self._by_object.setdefault(change.object, []).append(change)

    def before(self, finding: Finding, layer: Layer | None = None) -> tuple[Change, ...]:
        """The changes within ``WINDOW`` before it began (before now, where that is not known), newest first."""
        begin = began(finding) or self.now
        if begin is None or not self._by_object:
            return ()
        begin = min(max(begin, _FIRST), _LAST)
        refs = (finding.subject, *finding.touches)
        near = self._nodes_of(refs, layer)
        bears = _BEARS.get(layer) if layer is not None else None
        found: dict[Change, None] = {}
        for ref in (*self._topology.closure(refs), *self._policies(refs)):
            if ref.kind == "Node" and ref not in near:
                continue
            # What happens to a node in the second of its fault is the fault; that a pod has no place comes of it.
            itself = ref.kind == "Node" and finding.since and layer is not Layer.SCHEDULING
            end = begin - _SLACK if itself else begin + _SLACK
            if bears is not None and ref.kind not in bears and ref not in refs:
                continue
            for change in self._by_object.get(ref, ()):
                mine = ref == finding.subject or layer is Layer.SCHEDULING
                if begin - WINDOW <= change.when <= end and (mine or ref.kind != "Node" or not change.edited):
                    found[change] = None
        return tuple(sorted(found, key=lambda c: (-c.when.timestamp(), c.object, c.what)))

    def _nodes_of(self, refs: Iterable[Ref], layer: Layer | None) -> frozenset[Ref]:
        """The nodes that these objects are, or run on where that may bear on the fault."""
        refs = tuple(refs)
        runs = refs if layer is None or layer in _ON_NODES else ()
        direct = {d for r in runs if r.kind in {"Pod", *_WORKLOADS} for d in self._topology.direct(r)}
        return frozenset(r for r in (*refs, *direct) if r.kind == "Node")

    def _policies(self, refs: Iterable[Ref]) -> tuple[Ref, ...]:
        """The network policies of the namespaces that are concerned: nothing leads to them but a label."""
        namespaces = {ref.namespace for ref in refs if ref.namespace}
        return tuple(r for r in self._by_object if r.kind == "NetworkPolicy" and r.namespace in namespaces)

    def _all(self) -> Iterator[Change]:
        rollouts = list(self._rollouts())
        rolled = {(change.object, _second(change.when)): change for change in rollouts}
        for kind in _TRACED:
            fact = self._facts.get(kind)
            for item in fact.items if fact else ():
                for change in _edits(item):
                    if not any((change.object, _second(change.when) + n) in rolled for n in range(-1, 11)):
                        yield change
        yield from rollouts
        yield from self._scaled()
        yield from self._on_nodes()
        yield from self._manifests()

    def _rollouts(self) -> Iterator[Change]:
        deployments, replicasets = self._facts.get(Deployments), self._facts.get(ReplicaSets)
        if deployments is None or replicasets is None:
            return
        for deployment in deployments.items:
            for made in replicasets.by_owner.get(deployment.metadata.uid, ()):
                if made.created is None or made.revision in ("", "1"):
                    continue
                cause = made.metadata.annotations.change_cause
                yield Change(
                    when=made.created,
                    what=f"rollout to revision {clean_line(made.revision)}"
                    + (f": {shorten(clean_line(cause), 60)}" if cause else ""),
                    object=deployment.ref(),
                    who=_writer(deployment.metadata, made.created),
                    command=kubectl(
                        "rollout",
                        "history",
                        f"deployment/{deployment.name}",
                        f"--revision={made.revision}",
                        namespace=deployment.namespace,
                    ),
                )

    def _scaled(self) -> Iterator[Change]:
        """What an autoscaler did is told by its event, on the workload that it scales."""
        events, scalers = self._facts.get(Events), self._facts.get(Autoscalers)
        for event in events.by_reason.get("SuccessfulRescale", ()) if events and scalers else ():
            scaler = scalers.get(event.about.name, event.about.namespace) if scalers else None
            if scaler and event.when:
                target = scaler.spec.scale_target_ref
                yield Change(
                    when=event.when,
                    what=shorten(clean_line(event.message), 60),
                    object=Ref(target.kind, target.name, scaler.namespace),
                    who=f"HorizontalPodAutoscaler {scaler.name}",
                    command=kubectl("describe", "hpa", scaler.name, namespace=scaler.namespace),
                )

    def _on_nodes(self) -> Iterator[Change]:
        nodes, events, units = self._facts.get(Nodes), self._facts.get(Events), self._facts.get(Units)
        for node in nodes.items if nodes else ():
            for change in _edits(node):
                # A node's own controllers write it all day.
                if change.who.startswith(("kubectl", "k9s")):
                    yield change
            for event in events.about(Ref("Node", node.name), *_NODE_EVENTS) if events else ():
                if event.when and (event.reason != "Starting" or event.component == "kubelet"):
                    what = "kubelet started" if event.reason == "Starting" else event.reason
                    yield Change(
                        when=event.when,
                        what=clean_line(what),
                        object=Ref("Node", node.name),
                        who="" if event.reason == "Starting" else clean_line(event.component),
                        command=kubectl("get", "events", "-A", f"--field-selector=involvedObject.name={node.name}"),
                    )
        for host, found in units.by_node.items() if units else ():
            for unit in found.values():
                when = unit.entered if unit.running else unit.left
                if unit.exists and when:
                    yield Change(
                        when=when,
                        what=f"{unit.name}.service {'started' if unit.running else 'stopped'}",
                        object=Ref("Node", host),
                        command=f"ssh {host} systemctl status {unit.name} --no-pager",
                    )

    def _manifests(self) -> Iterator[Change]:
        manifests = self._facts.get(Manifests)
        for host, found in manifests.by_node.items() if manifests else ():
            shows = f"ssh {host} sudo ls -l --time-style=full-iso {found.folder} /etc/kubernetes"
            authority = found.tree.get(_AUTHORITY)
            made = authority.changed + _MAKING if authority and authority.changed else _FIRST
            own = found.tree.get("/etc/kubernetes/kubelet.conf")
            for ref, info, what in (*_written(host, found), (Ref("Node", host), own, "kubelet.conf written")):
                if info and info.changed and info.changed > made:
                    yield Change(when=info.changed, what=what, object=ref, command=shows)


def _written(host: str, found: NodeManifests) -> Iterator[tuple[Ref, FileInfo | None, str]]:
    """The components of a node, each with the file or folder that tells when it was last changed, and what was."""
    for manifest in found.files:
        if manifest.component:
            info = found.tree.get(f"{found.folder}/{manifest.file}")
            yield static_pod(manifest.component, host), info, f"manifest {clean_line(manifest.file)} written"
    for component in found.meant if found.used else ():
        if not found.all_of(component):
            # Of what is gone only the folder tells: its time is that of the last file that came or went.
            yield (
                static_pod(component, host),
                found.tree.get(found.folder),
                f"a file came into {found.folder} or left it",
            )


def began(finding: Finding) -> datetime | None:
    """When it began, where that was observed."""
    try:
        when = datetime.fromisoformat(finding.since)
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _second(when: datetime) -> int:
    return int(when.timestamp())


def _edits(item: Any) -> Iterator[Change]:
    """Who wrote this object when, but for what controllers write of its status."""
    meta = item.metadata
    fields: tuple[Manager, ...] = meta.managed_fields if isinstance(meta, TracedMeta) else ()
    ref = item.ref()
    created = item.created
    first = min((f.time for f in fields if f.time), default=None)
    for field in fields:
        if field.time is None or field.subresource not in ("", "scale"):
            continue
        if field.manager in _ECHOES and field.subresource != "scale":
            continue
        new = created is not None and field.time == first and abs(field.time - created) <= _SLACK
        what = "scaled" if field.subresource == "scale" else "created" if new else "changed"
        yield Change(when=field.time, what=what, object=ref, who=_who(field), command=_shows(ref))
    if not fields and created is not None and item.name != _ROOT_CA:
        yield Change(when=created, what="created", object=ref, command=_shows(ref))


def _who(field: Manager) -> str:
    return shorten(clean_line(field.manager), 60)


def _shows(ref: Ref) -> str:
    return kubectl("get", ref.kind.lower(), ref.name, "-o", "yaml", "--show-managed-fields", namespace=ref.namespace)


def _writer(meta: Any, when: datetime) -> str:
    """Who wrote the template that a rollout began with."""
    fields: tuple[Manager, ...] = meta.managed_fields if isinstance(meta, TracedMeta) else ()
    near = [
        (f.time, _who(f))
        for f in fields
        if f.time and not f.subresource and f.manager not in _ECHOES and -_SLACK <= when - f.time <= _MOMENT
    ]
    return max(near)[1] if near else ""

"""Pods: one lean object each, the template shared, the details only where something is off.

150,000 pods are read in seconds and kept in some 100 MB because of what is true of real clusters: pods of one
controller have one template, most label sets recur, and most pods are well. A pod that is well (Running, Ready, never
restarted) keeps no container statuses: there is nothing in them that its ``ready`` does not say. Nor does one that is
Ready now keep its conditions, but where it is to be resized.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache
from itertools import chain
from sys import intern
from typing import Any, ClassVar, NamedTuple

import msgspec

from kdiag.facts.base import ApiList, Builder, Fact, Objects
from kdiag.facts.meta import Condition, Lean, OwnerRef, Resources, Time, condition
from kdiag.facts.podspec import PodSpec, kept
from kdiag.facts.wire import Page, clean_json, convert, decoder, describe, fold_gaps, once, unmanaged, without_nulls
from kdiag.model.observation import Observation
from kdiag.model.redact import RUN
from kdiag.model.result import Gap, Ref
from kdiag.model.text import clean, clean_line, shorten

RAW = msgspec.Raw()
#: The phases of a pod that ran to its end.
FINISHED = ("Succeeded", "Failed")


class Waiting(Lean, frozen=True, gc=False):
    """A container that is not running yet, and why."""

    reason: str = ""
    message: str = ""


class Running(Lean, frozen=True, gc=False):
    """A container that runs."""

    started_at: Time | None = None


class Terminated(Lean, frozen=True, gc=False):
    """How a container ended."""

    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: Time | None = None
    finished_at: Time | None = None


class State(Lean, frozen=True, gc=False):
    """The state of a container: one of three, or none when nothing was reported."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(Lean, frozen=True, gc=False):
    """What the kubelet says of one container."""

    name: str = ""
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    image: str = ""
    state: State = State()
    last_state: State = State()

    @property
    def ended(self) -> Terminated | None:
        """The last end of this container that is known: the present one, or the one before."""
        return self.state.terminated or self.last_state.terminated


class Template:
    """One pod template, as its controller made it."""

    __slots__ = ("spec",)

    def __init__(self, spec: PodSpec) -> None:
        self.spec = spec


class Pod(Lean, frozen=True, gc=False, kw_only=True):
    """A pod."""

    name: str
    namespace: str = ""
    labels: dict[str, str] = {}
    owner: OwnerRef | None = None
    mirror: bool = False
    node: str = ""
    phase: str = ""
    ip: str = ""
    ready: bool = False
    created: datetime | None = None
    deleted: datetime | None = None
    grace: int = 30
    finalizers: tuple[str, ...] = ()
    reason: str = ""
    message: str = ""
    started: datetime | None = None
    conditions: tuple[Condition, ...] = ()
    statuses: tuple[ContainerStatus, ...] = ()
    init_statuses: tuple[ContainerStatus, ...] = ()
    nominated_node: str = ""
    spec: PodSpec = PodSpec()

    def ref(self) -> Ref:
        """This pod."""
        return Ref("Pod", self.name, self.namespace)

    @property
    def path(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"

    @property
    def finished(self) -> bool:
        """Whether it ran to its end and is not meant to run again."""
        return self.phase in FINISHED

    @property
    def terminating(self) -> bool:
        """Whether it has been asked to go."""
        return self.deleted is not None

    @property
    def all_statuses(self) -> tuple[ContainerStatus, ...]:
        """Init containers' first. Empty for a pod that is well."""
        return self.init_statuses + self.statuses

    @property
    def restarts(self) -> int:
        """Restarts of all containers together."""
        return sum(s.restart_count for s in self.all_statuses)

    def status(self, container: str) -> ContainerStatus | None:
        """The status of one container, where it was kept."""
        return next((s for s in self.all_statuses if s.name == container), None)

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type, where conditions were kept."""
        return condition(self.conditions, kind)

    @property
    def requests(self) -> Resources:
        """What it asks of a node."""
        return self.spec.requests()

    @property
    def age_key(self) -> float:
        """By which pods are in the order in which they were made; one of which that is not known comes first."""
        return self.created.timestamp() if self.created else 0.0

    @property
    def template_hash(self) -> str:
        """Which revision of its controller's template it was made of."""
        return self.labels.get("pod-template-hash") or self.labels.get("controller-revision-hash") or ""


# The fields of the shapes below stand in the order in which an API server writes them: a decoder looks for a key first
# behind the one that came before it.


class _Meta(Lean, frozen=True, gc=False):
    name: str = ""
    namespace: str = ""
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    deletion_grace_period_seconds: int | None = None
    labels: msgspec.Raw = RAW
    owner_references: msgspec.Raw = RAW
    finalizers: tuple[str, ...] = ()


class _Spec(Lean, frozen=True, gc=False):
    volumes: msgspec.Raw = RAW
    init_containers: msgspec.Raw = RAW
    containers: msgspec.Raw = RAW
    restart_policy: str = "Always"
    termination_grace_period_seconds: int = 30
    dns_policy: str = "ClusterFirst"
    node_selector: msgspec.Raw = RAW
    service_account_name: str = ""
    automount_service_account_token: bool | None = None
    node_name: str = ""
    host_network: bool = False
    security_context: msgspec.Raw = RAW
    image_pull_secrets: msgspec.Raw = RAW
    affinity: msgspec.Raw = RAW
    scheduler_name: str = "default-scheduler"
    tolerations: msgspec.Raw = RAW
    host_aliases: msgspec.Raw = RAW
    priority_class_name: str = ""
    priority: int = 0
    dns_config: msgspec.Raw = RAW
    readiness_gates: msgspec.Raw = RAW
    runtime_class_name: str = ""
    overhead: msgspec.Raw = RAW
    topology_spread_constraints: msgspec.Raw = RAW
    scheduling_gates: msgspec.Raw = RAW
    resource_claims: msgspec.Raw = RAW


class _Status(Lean, frozen=True, gc=False):
    phase: str = ""
    conditions: msgspec.Raw = RAW
    message: str = ""
    reason: str = ""
    nominated_node_name: str = ""
    pod_i_p: str = msgspec.field(name="podIP", default="")
    start_time: Time | None = None
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    container_statuses: msgspec.Raw = RAW


class _Pod(Lean, frozen=True, gc=False):
    metadata: _Meta = _Meta()
    spec: _Spec = _Spec()
    status: _Status = _Status()


class _Kin(NamedTuple):
    """What pods have in common that say the same of their namespace, owner, labels and template."""

    namespace: str
    owner: OwnerRef | None
    mirror: bool
    labels: dict[str, str]
    spec: PodSpec | None  # None where it is not shared
    pods: list[Pod]


#: The condition of nearly every pod, as an API server writes it: who sees it in the text need not decode the five
#: conditions (a fifth of the time that decoding a pod takes). In a string the quotes are escaped, so nothing else can
#: look like it.
_READY = b'"type":"Ready","status":"True"'
#: The same from Kubernetes 1.34 on.
_READY_NOW = re.compile(rb'"type":"Ready",(?:"observedGeneration":\d+,)?"status":"True"')
#: A pod that is to be resized in place says how that stands, however well it is.
_RESIZE = b'"PodResize'
#: The same of a container: it runs, is ready, and nothing came before.
_RUNS = b'"state":{"running":{"startedAt":"'
_NEVER_ENDED = b'Z"}},"lastState":{},"ready":true,"restartCount":0,'
_SINCE = len(_RUNS) + len("2026-01-02T03:04:05")
_RAW_FIELDS = tuple(f.name for f in msgspec.structs.fields(_Spec) if f.type is msgspec.Raw)
_SCALARS = tuple(f.name for f in msgspec.structs.fields(_Spec) if f.type is not msgspec.Raw and f.name != "node_name")
_TYPES = {f.name: f.type for f in msgspec.structs.fields(PodSpec)}
_CONDITIONS = tuple[Condition, ...]
_STATUSES = tuple[ContainerStatus, ...]


@dataclass(frozen=True, kw_only=True)
class Pods(Objects[Pod]):
    """Every pod of the cluster, or of the one namespace that was asked for."""

    item: ClassVar[type[Any]] = Pod
    sources = (ApiList("pods", "v1", "pods"),)
    #: ``alike``, where whoever read the pods knows it already.
    groups: tuple[tuple[Pod, ...], ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def builder(cls) -> Builder:
        """Read pods page by page; see the module's text."""
        return PodBuilder()

    @cached_property
    def troubled(self) -> tuple[Pod, ...]:
        """The pods that are not simply well: not ready, restarted, going, or ended."""
        return tuple(p for p in self.items if not p.ready or p.statuses or p.deleted)

    @cached_property
    def by_node(self) -> Mapping[str, tuple[Pod, ...]]:
        """Pods by the node they are bound to."""
        found: dict[str, list[Pod]] = {}
        for pod in self.items:
            if pod.node:
                found.setdefault(pod.node, []).append(pod)
        return {node: tuple(pods) for node, pods in found.items()}

    @cached_property
    def alike(self) -> tuple[tuple[Pod, ...], ...]:
        """Pods that say the same of their namespace, owner, labels and template.

        A large cluster has thirty times fewer such groups than pods: what asks for no more than that goes over them.
        """
        if self.groups:
            return self.groups
        found: dict[tuple[str, int, int, int], list[Pod]] = {}
        for pod in self.items:
            key = (pod.namespace, id(pod.owner), id(pod.labels), id(pod.spec))
            group = found.get(key)
            if group is None:
                group = found[key] = []
            group.append(pod)
        return tuple(map(tuple, found.values()))

    @cached_property
    def by_owner(self) -> Mapping[str, tuple[Pod, ...]]:
        """Pods by the uid of their controller."""
        found: dict[str, list[Pod]] = {}
        for group in self.alike:
            if owner := group[0].owner:
                found.setdefault(owner.uid, []).extend(group)
        return {uid: tuple(pods) for uid, pods in found.items()}

    @cached_property
    def newest_alike(self) -> Mapping[tuple[str, str], Pod]:
        """The newest pod of several ReplicaSets whose names begin alike, by namespace and that beginning."""
        found: dict[tuple[str, str], list[tuple[Pod, ...]]] = {}
        for group in self.by_owner.values():
            owner = group[0].owner
            if owner and owner.kind == "ReplicaSet":
                found.setdefault((group[0].namespace, owner.name.rpartition("-")[0]), []).append(group)
        return {key: max(chain(*sets), key=lambda p: p.age_key) for key, sets in found.items() if len(sets) > 1}

    @cached_property
    def templates(self) -> tuple[tuple[Pod, ...], ...]:
        """Pods grouped by template: what holds of a template is looked at once for all its pods."""
        found: dict[tuple[str, int], list[Pod]] = {}
        for group in self.alike:
            found.setdefault((group[0].namespace, id(group[0].spec)), []).extend(group)
        return tuple(map(tuple, found.values()))


class PodBuilder:
    """Makes ``Pods`` of the pages of the pod list."""

    def __init__(self) -> None:
        self._items: list[Pod] = []
        self._gaps: list[Gap] = []
        self._scope = ""
        self._kin: dict[tuple[str, bytes, bytes, int, int, int], _Kin] = {}
        self._labels: dict[bytes, dict[str, str]] = {}
        self._owners: dict[bytes, OwnerRef | None] = {}
        self._templates: dict[tuple[str, str, int, int, int], PodSpec] = {}

    def feed(self, seen: Observation) -> None:
        """Take one page, or the error that came in its place."""
        self._scope = seen.scope or self._scope
        if seen.error:
            self._gaps.append(Gap(seen.key, seen.error))
        else:
            page = _page(unmanaged(seen.body))
            if page is None:
                page = _page(seen.body)
            if page is None:
                self._one_by_one(bytes(seen.body))
            for raw in page or ():
                self._take(raw)

    def _one_by_one(self, body: bytes) -> None:
        try:
            values = decoder(Page[Any]).decode(clean_json(body)).objects()
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as exc:
            self._gaps.append(Gap("pods", f"the answer is not a list: {shorten(clean_line(str(exc)), 160)}"))
            return
        for value in values:
            try:
                # Through text once more, so that the parts that are read late stay text.
                raw = decoder(_Pod).decode(msgspec.json.encode(without_nulls(value)))
            except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as exc:
                self._gaps.append(
                    Gap("pods", f"{describe(value)} cannot be read: {shorten(clean_line(str(exc)), 160)}")
                )
            else:
                self._take(raw)

    def _take(self, raw: _Pod) -> None:
        try:
            kin = self._kin_of(raw.metadata, raw.spec)
            pod = self._pod(raw, kin)
            self._items.append(pod)
            kin.pods.append(pod)
        except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as exc:
            what = shorten(clean_line(f"{raw.metadata.namespace}/{raw.metadata.name}"), 120)
            self._gaps.append(Gap("pods", f"{what} cannot be read: {shorten(clean_line(str(exc)), 160)}"))

    def _pod(self, raw: _Pod, kin: _Kin) -> Pod:
        # Runs 150,000 times on a large cluster: what is plain is kept plain.
        meta, spec, status = raw.metadata, raw.spec, raw.status
        namespace, owner, mirror, labels, template, _ = kin
        told = bytes(status.conditions)
        conditions: tuple[Condition, ...] | None = None
        ready = _READY in told or _READY_NOW.search(told) is not None
        if not ready:
            conditions = _conditions(told)
            state = condition(conditions, "Ready")
            ready = state is not None and state.status == "True"
        serves = ready and status.phase == "Running" and meta.deletion_timestamp is None
        resized = _RESIZE in told
        text = bytes(status.container_statuses)
        statuses = None if template is not None and _well(text, template) else _statuses(text)
        if (
            serves
            and not resized
            and not meta.finalizers
            and (statuses is None or all(map(_unbroken, statuses)))
            and not (status.init_container_statuses and any(s.restart_count for s in status.init_container_statuses))
        ):
            return Pod(
                name=meta.name if meta.name.isprintable() else clean_line(meta.name),
                namespace=namespace,
                labels=labels,
                owner=owner,
                mirror=mirror,
                node=_word(spec.node_name),
                phase="Running",
                ip=status.pod_i_p if status.pod_i_p.isprintable() else clean_line(status.pod_i_p),
                ready=True,
                created=meta.creation_timestamp,
                grace=spec.termination_grace_period_seconds,
                spec=template or _spec(spec),
            )
        return Pod(
            name=clean_line(meta.name),
            namespace=namespace,
            labels=labels,
            owner=owner,
            mirror=mirror,
            node=_word(spec.node_name),
            phase=_word(status.phase),
            ip=clean_line(status.pod_i_p),
            ready=ready,
            created=meta.creation_timestamp,
            deleted=meta.deletion_timestamp,
            grace=spec.termination_grace_period_seconds
            if meta.deletion_grace_period_seconds is None
            else meta.deletion_grace_period_seconds,
            finalizers=tuple(map(clean_line, meta.finalizers)),
            started=status.start_time,
            spec=template or _spec(spec),
            reason=clean_line(status.reason),
            message=RUN.text(clean(status.message)),
            conditions=()
            if serves and not resized
            else tuple(map(_clean_condition, _conditions(told) if conditions is None else conditions)),
            statuses=tuple(map(_clean_status, _statuses(text) if statuses is None else statuses)),
            init_statuses=tuple(map(_clean_status, status.init_container_statuses)),
            nominated_node=clean_line(status.nominated_node_name),
        )

    def _kin_of(self, meta: _Meta, spec: _Spec) -> _Kin:
        owners, labels = bytes(meta.owner_references), bytes(meta.labels)
        # Equal lengths stand for equal parts: what is the pod's own in them (the token volume's suffix, a StatefulSet's
        # ordinal is not among it) has one length, and what an admission webhook or a resize changes has another.
        sizes = len(spec.containers), len(spec.volumes), len(spec.init_containers)
        kin = self._kin.get((meta.namespace, owners, labels, *sizes))
        if kin is None:
            owner, named = self._owner(owners), self._label_set(labels)
            kin = _Kin(
                _word(meta.namespace),
                owner,
                owner is not None and owner.kind == "Node",
                named,
                self._template(owner, named, spec, sizes),
                [],
            )
            self._kin[meta.namespace, owners, labels, *sizes] = kin
        return kin

    def _label_set(self, raw: bytes) -> dict[str, str]:
        known = self._labels.get(raw)
        if known is None:
            known = decoder(dict[str, str]).decode(clean_json(raw)) if raw and raw != b"null" else {}
            self._labels[raw] = known
        return known

    def _owner(self, raw: bytes) -> OwnerRef | None:
        if raw not in self._owners:
            owners = decoder(tuple[OwnerRef, ...]).decode(clean_json(raw)) if raw and raw != b"null" else ()
            self._owners[raw] = next((o for o in owners if o.controller), None)
        return self._owners[raw]

    def _template(
        self, owner: OwnerRef | None, labels: dict[str, str], spec: _Spec, sizes: tuple[int, int, int]
    ) -> PodSpec | None:
        """The template that the pods of one owner and revision share; None for a pod that has its own."""
        if owner is None or owner.kind == "StatefulSet":
            return None
        revision = labels.get("pod-template-hash") or labels.get("controller-revision-hash") or ""
        key = (owner.uid, revision, *sizes)
        known = self._templates.get(key)
        if known is None:
            known = self._templates[key] = _spec(spec)
        return known

    def finish(self) -> Fact:
        """The pods."""
        groups: list[tuple[Pod, ...]] = []
        for kin in self._kin.values():
            groups += [tuple(kin.pods)] if kin.spec else [(pod,) for pod in kin.pods]
        items = once(self._items)
        if len(items) < len(self._items):
            kept = set(map(id, items))
            groups = [tuple(pod for pod in group if id(pod) in kept) for group in groups]
        return Pods(
            items=items,
            groups=tuple(filter(None, groups)),
            gaps=fold_gaps(self._gaps),
            scope=self._scope,
        )


def _page(body: bytes | memoryview) -> list[_Pod] | None:
    """The pods of a page; None where it does not have the shape."""
    try:
        page: Page[_Pod] = decoder(Page[_Pod]).decode(body)
        return page.objects()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        return None


@lru_cache(maxsize=65_536)
def _word(text: str) -> str:
    """A word that recurs (a node, a reason, an image), safe to show, and kept once."""
    return intern(clean_line(text))


def _spec(raw: _Spec) -> PodSpec:
    parts: dict[str, Any] = {name: getattr(raw, name) for name in _SCALARS}
    for name in _RAW_FIELDS:
        text: msgspec.Raw = getattr(raw, name)
        if len(text) and (part := _part(clean_json(bytes(text)), _TYPES[name])) is not None:
            parts[name] = part
    return kept(PodSpec(**parts))


def _well(text: bytes, spec: PodSpec) -> bool:
    """Whether the text of the statuses shows of every container that it runs and is ready, and was never restarted."""
    at = -1
    for _ in spec.containers:
        at = text.find(_NEVER_ENDED, at + 1)
        if at < _SINCE or not text.startswith(_RUNS, at - _SINCE):
            return False
    return True


def _unbroken(status: ContainerStatus) -> bool:
    """Whether the container runs and is ready, and was never restarted."""
    return status.ready and not status.restart_count and status.state.running is not None


def _conditions(text: bytes) -> tuple[Condition, ...]:
    found: tuple[Condition, ...] | None = _part(text, _CONDITIONS)
    return found or ()


def _statuses(text: bytes) -> tuple[ContainerStatus, ...]:
    found: tuple[ContainerStatus, ...] | None = _part(text, _STATUSES)
    return found or ()


def _part(text: bytes, shape: Any) -> Any:
    """A part of an object that was left as text, in its shape; None for one that is absent or null."""
    if not text or text == b"null":
        return None
    try:
        return decoder(shape).decode(text)
    except (msgspec.MsgspecError, ValueError):
        return convert(without_nulls(decoder(Any).decode(text)), shape)


def _clean_condition(c: Condition) -> Condition:
    return Condition(
        _word(c.type),
        _word(c.status),
        _word(c.reason),
        clean(c.message),
        c.last_transition_time,
        c.last_update_time,
        c.last_heartbeat_time,
    )


def _clean_status(s: ContainerStatus) -> ContainerStatus:
    return ContainerStatus(
        _word(s.name),
        s.ready,
        s.started,
        s.restart_count,
        _word(s.image),
        _clean_state(s.state),
        _clean_state(s.last_state),
    )


def _clean_state(state: State) -> State:
    waiting, terminated = state.waiting, state.terminated
    if waiting is None and terminated is None:
        return state
    if waiting:
        waiting = Waiting(clean_line(waiting.reason), RUN.text(clean(waiting.message)))
    if terminated:
        terminated = msgspec.structs.replace(
            terminated, reason=clean_line(terminated.reason), message=RUN.text(clean(terminated.message))
        )
    return State(waiting, state.running, terminated)

"""A Service's selector matches no pod, and no workload whose pods are still to come."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kdiag.check import SERVICE_DEAD, Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing, nearest, plural
from kdiag.facts import (
    Backends,
    Cluster,
    CronJobs,
    Dependencies,
    EndpointSlices,
    Ingresses,
    Jobs,
    Owners,
    Pod,
    Service,
    StatefulSet,
    Workloads,
    declared,
    find_port,
    labels_text,
    selects,
    users,
)

_GUESS = 3  # edits from which a near miss is no slip of the pen
_START = 120  # seconds in which what is applied together comes to be
#: Labels that controllers add, and that nobody selects by.
_ADDED = re.compile(
    r"pod-template-hash|controller-revision-hash|pod-template-generation|statefulset\.kubernetes\.io/pod-name"
    r"|apps\.kubernetes\.io/pod-index|(batch\.kubernetes\.io/)?(controller-uid|job-name|job-completion-index)"
)
#: Labels that an operator moves from pod to pod: that none has one now may be right.
_MOVED = re.compile(r"role|leader|active|primary|master|standby|replica|pod-template-hash|pod-name", re.IGNORECASE)
#: Values that say nothing of a workload.
_GENERIC = re.compile(r"true|false|yes|no|enabled|disabled|prod\w*|dev\w*|stag\w*|test|v?\d[\d.]*|stable|canary|latest")


@check(
    title="Service selects no pod",
    severity=Severity.ERROR,
    layer=Layer.ENDPOINTS,
    explains=(
        *SERVICE_DEAD,
        "control_plane/webhook_backend_unavailable",
        "control_plane/api_service_unavailable",
        "worker_node/metrics_server_unavailable",
        "network/cluster_dns_unavailable",
    ),
    tags=("service", "endpoints"),
)
def service_selects_nothing(
    backends: Backends,
    slices: EndpointSlices,
    workloads: Workloads,
    jobs: Jobs,
    cronjobs: CronJobs,
    owners: Owners,
    cluster: Cluster,
    dependencies: Dependencies | None,
    ingresses: Ingresses | None,
) -> Iterator[Finding]:
    """An error where somebody uses the Service or a near miss shows what was meant; a leftover is worth a remark."""
    spaces: dict[str, _Space] = {}
    for service in backends.services.items:
        selector = service.spec.selector
        if not selector or service.external or backends.of(service):
            continue
        if any(s.endpoints for s in slices.of_service(service) if not s.managed):
            continue  # somebody else writes its endpoints; the controller's own may be older than the selector
        space = spaces.get(service.namespace)
        if space is None:
            groups = _groups(service.namespace, backends, workloads, owners)
            others = [j.spec.template.metadata.labels for j in jobs.within(service.namespace)]
            others += [c.spec.job_template.spec.template.metadata.labels for c in cronjobs.within(service.namespace)]
            others += [
                r.spec.template.metadata.labels
                for r in workloads.replicasets.within(service.namespace)
                if not r.controller or r.controller.kind != "Deployment"  # a Rollout's old ones come back
            ]
            space = spaces[service.namespace] = _Space(groups, others)
        if space.selects(selector):
            continue  # its workload is scaled to zero, between runs or kept from making pods: not the selector's fault
        clients = users(service.ref(), dependencies, ingresses, owners)
        if _moved(selector, space.sharing(selector)) and not clients:
            continue
        meant = _meant(service, space)
        open_ = service.spec.type in ("NodePort", "LoadBalancer")
        quiet = service.headless or cluster.age(service.created) < _START
        if workloads.replicasets.blank and (not meant or any(k.endswith("pod-template-hash") for k in selector)):
            continue  # a ReplicaSet without pods may be what it selects
        beside = _other_port(service, meant) if meant else None
        if meant and service.headless and meant.edits >= _GUESS and not _governs(service, workloads):
            meant = None  # what operators make beside their pods, for a kind of pod that this version has none of
        if not meant and not clients and quiet:
            continue
        yield Finding(
            service.ref(),
            f"Service {service.ref().path} selects no pod: nothing has {service.selector_text}"
            + (f"; {_has(meant, selector)}" if meant else "")
            + (f"; its targetPort {beside[0]} is none of theirs ({beside[1]})" if meant and beside else ""),
            evidence=tuple(_evidence(service, space, clients)),
            next=(*_next(service, meant), *(_retarget(service, *beside) if meant and beside else ())),
            touches=(meant.group.workload,) if meant else (),
            severity=Severity.ERROR if clients or meant else Severity.WARNING if open_ else Severity.INFO,
        )


def _governs(service: Service, workloads: Workloads) -> bool:
    """Whether a StatefulSet takes the names of its pods from this Service."""
    return any(
        w.spec.service_name == service.name for w in workloads.within(service.namespace) if isinstance(w, StatefulSet)
    )


@dataclass(frozen=True, slots=True)
class _Group:
    """The pods of one workload that have, or will have, the same labels; without those that controllers add."""

    workload: Ref
    labels: Mapping[str, str]
    pods: tuple[Pod, ...]
    template: Mapping[str, str] | None
    #: Whether a Service leads to one of them.
    taken: bool = False


@dataclass(frozen=True, slots=True)
class _Meant:
    """The selector that was probably meant, and for whose pods."""

    selector: Mapping[str, str]
    group: _Group
    edits: int


class _Space:
    """The groups of a namespace, found by what they are labelled with: what all its Services are held against."""

    def __init__(self, groups: Sequence[_Group], others: Sequence[Mapping[str, str]]) -> None:
        self.groups = groups
        self.shown = [f"{g.pods[0].name} {labels_text(g.labels)}" for g in groups if g.pods]
        self._sets = [*(g.labels for g in groups), *others]
        self._pairs: dict[tuple[str, str], dict[int, None]] = {}
        self._values: dict[str, dict[int, None]] = {}
        self._of_key: dict[str, dict[str, None]] = {}
        for number, labels in enumerate(self._sets):
            for key, value in labels.items():
                self._pairs.setdefault((key, value), {})[number] = None
                if number < len(groups):
                    self._values.setdefault(value, {})[number] = None
                    self._of_key.setdefault(key, {})[value] = None

    def selects(self, selector: Mapping[str, str]) -> bool:
        """Whether pods have these labels, or may come to have them."""
        first, *others = sorted((self._pairs.get(pair, {}) for pair in selector.items()), key=len)
        return any(all(number in other for other in others) for number in first)

    def sharing(self, selector: Mapping[str, str]) -> list[_Group]:
        """The groups that have one of these labels."""
        return self._at(number for pair in selector.items() for number in self._pairs.get(pair, ()))

    def close(self, selector: Mapping[str, str]) -> list[_Group]:
        """The groups that have one of these labels, such a value under another key, or one that is spelt much alike."""
        found: dict[int, None] = {}
        for key, value in selector.items():
            found |= self._pairs.get((key, value), {}) | self._values.get(value, {})
            for other in self._of_key.get(key, ()):
                if other != value and nearest(value, [other]):
                    found |= self._pairs[key, other]
        return self._at(found)

    def _at(self, numbers: Iterable[int]) -> list[_Group]:
        return [self.groups[n] for n in sorted(set(numbers)) if n < len(self.groups)]


def _groups(namespace: str, backends: Backends, workloads: Workloads, owners: Owners) -> list[_Group]:
    templates = {w.ref(): w.spec.template.metadata.labels for w in workloads.within(namespace)}
    served = {p.path for service in backends.services.within(namespace) for p in backends.of(service)}
    found: dict[tuple[Ref, str], tuple[Mapping[str, str], list[Pod]]] = {}
    for labels, pods in backends.label_sets(namespace):
        plain = {k: v for k, v in labels.items() if not _ADDED.fullmatch(k)}
        text = labels_text(plain)
        for pod in pods:
            if pod.finished or pod.terminating or (pod.owner and pod.owner.kind == "Job"):
                continue
            found.setdefault((owners.top(pod), text), (plain, []))[1].append(pod)
    groups = [
        _Group(ref, labels, tuple(pods), templates.get(ref), any(p.path in served for p in pods))
        for (ref, _), (labels, pods) in found.items()
    ]
    seen = {g.workload for g in groups}
    # What has no pods yet, or none at present.
    groups += [_Group(ref, labels, (), labels) for ref, labels in templates.items() if ref not in seen]
    return groups


def _moved(selector: Mapping[str, str], groups: Sequence[_Group]) -> bool:
    """Whether all that is missing is a label which is set while pods run: the role of a database's member, a leader."""
    for group in groups:
        wrong = [k for k, v in selector.items() if group.labels.get(k) != v]
        running = [k for k in wrong if group.template is None or k not in group.template]
        if len(wrong) < len(selector) and wrong == running and all(_MOVED.search(k) for k in wrong):
            return True
    return False


def _meant(service: Service, space: _Space) -> _Meant | None:
    """The one near miss that convinces: a slip of the pen, or labels that fit one workload and no other."""
    selector, groups = service.spec.selector, space.groups
    found = [m for g in space.close(selector) if (m := _near(selector, g, groups))]
    found = found or [m for g in groups if (m := _namesake(service, g, groups))]
    if not found:
        return None
    fewest = min(m.edits for m in found)
    best = [m for m in found if m.edits == fewest]
    if len({labels_text(m.selector) for m in best}) > 1:
        # Several are as close. The one that has no Service yet, if there is one.
        best = [m for m in best if not m.group.taken]
    return best[0] if len({labels_text(m.selector) for m in best}) == 1 else None


def _near(selector: Mapping[str, str], group: _Group, groups: Sequence[_Group]) -> _Meant | None:
    labels, taken = group.labels, group.taken
    right = {k: v for k, v in selector.items() if labels.get(k) == v}
    wrong = {k: v for k, v in selector.items() if k not in right}
    alone = bool(right) and len(wrong) == 1 and not taken and _fits_one(right, groups)
    fixed, edits = dict(right), 0
    for key, value in wrong.items():
        has = labels.get(key)
        under = next((k for k, v in labels.items() if v == value and k not in selector), None)
        if has is not None and _slip(value, has, taken=taken):
            fixed[key], edits = has, edits + 1
        elif under and not _GENERIC.fullmatch(value) and not taken and _fits_one({under: value}, groups):
            fixed[under], edits = value, edits + 2  # run=web for app=web
        elif has is not None and alone:
            fixed[key], edits = has, edits + 3
        elif has is None and alone:
            edits += 3  # a label too many
        else:
            return None
    return _Meant(fixed, group, edits) if fixed else None


def _namesake(service: Service, group: _Group, groups: Sequence[_Group]) -> _Meant | None:
    """A workload without a Service whose label begins as the selector says, and that has the Service's ports.

    app=web for the pods of webapp, behind web-service: no slip of the pen, and nothing else is there to be meant.
    """
    if len(service.spec.selector) != 1 or group.taken or not group.pods:
        return None
    ((key, value),) = service.spec.selector.items()
    has = group.labels.get(key, "")
    if min(len(has), len(value)) < 3 or not (has.startswith(value) or value.startswith(has)):
        return None
    declared = [p for c in group.pods[0].spec.containers for p in c.ports]
    known = {p.name for p in declared} | {p.container_port for p in declared}
    if not service.spec.ports or any(p.target not in known for p in service.spec.ports):
        return None
    return _Meant({key: has}, group, 2) if _fits_one({key: has}, groups) else None


def _slip(wrong: str, right: str, *, taken: bool) -> bool:
    """Whether one value was probably written for the other; of pods that have a Service already, only a typo counts."""
    if nearest(wrong, [right]) is None:
        return False
    if re.sub(r"\d+", "#", wrong) == re.sub(r"\d+", "#", right):
        return not taken  # web-1 for web-2: neighbours, unless nobody else leads there
    # mysq for mysql is a typo; mysql-exporter beside mysql is another thing.
    contained = (wrong in right or right in wrong) and abs(len(wrong) - len(right)) > 2
    return not (taken and contained)


def _fits_one(labels: Mapping[str, str], groups: Sequence[_Group]) -> bool:
    return len({g.workload for g in groups if selects(labels, g.labels)}) == 1


def _has(meant: _Meant, selector: Mapping[str, str]) -> str:
    changed = {k: v for k, v in meant.selector.items() if selector.get(k) != v}
    lost = [k for k in selector if k not in meant.selector and k not in meant.group.labels]
    text = labels_text(changed) if changed else f"{labels_text(meant.selector)} without {', '.join(lost)}"
    count = len(meant.group.pods)
    return f"{plural(count, 'pod has', 'pods have')} {text}" if count else f"{meant.group.workload} has {text}"


def _other_port(service: Service, meant: _Meant) -> tuple[int | str, str] | None:
    """A targetPort that those pods do not declare, and what they declare instead."""
    spec = meant.group.pods[0].spec if meant.group.pods else None
    ports = declared(spec) if spec else ()
    if spec is None or not ports:
        return None
    numbers = {p.container_port for p in ports}
    lost = (p.target for p in service.spec.ports if find_port(spec, p.target, p.protocol) not in numbers)
    target = next(lost, None)
    return None if target is None else (target, listing([str(n) for n in sorted(numbers)], 3))


def _retarget(service: Service, target: int | str, ports: str) -> Iterator[str]:
    yield (
        kubectl("edit", "service", service.name, namespace=service.namespace)
        + f"   # and its targetPort: {target} → {ports}"
    )


def _evidence(service: Service, space: _Space, clients: Sequence[tuple[Ref, str]]) -> Iterator[Evidence]:
    namespace = service.namespace
    yield Evidence(
        kubectl("get", "service", service.name, "-o", "wide", namespace=namespace), f"SELECTOR {service.selector_text}"
    )
    yield Evidence(kubectl("get", "pods", "-l", service.selector_text, namespace=namespace), "no pod")
    if space.shown:
        yield Evidence(kubectl("get", "pods", "--show-labels", namespace=namespace), listing(space.shown, 3))
    if clients:
        yield Evidence("", f"used by {listing([f'{ref} ({how})' for ref, how in clients])}")


def _next(service: Service, meant: _Meant | None) -> Iterator[str]:
    if meant is not None:
        # A merge patch keeps the old keys unless they are set to null.
        selector = {key: None for key in service.spec.selector if key not in meant.selector} | dict(meant.selector)
        patch = json.dumps({"spec": {"selector": selector}}, separators=(",", ":"))
        yield kubectl("patch", "service", service.name, "--type=merge", "-p", patch, namespace=service.namespace)
    else:
        yield kubectl("edit", "service", service.name, namespace=service.namespace)

"""One node on one screen: what the API server says of it, what it says itself, and why the rest was not seen."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from kdiag import __version__
from kdiag.engine.correlate import Node as Cause
from kdiag.engine.intake import Facts
from kdiag.engine.verdict import Verdict
from kdiag.facts import (
    Certificates,
    Clocks,
    Cluster,
    Containers,
    Disks,
    Kernels,
    KubeletJournal,
    Listeners,
    Manifests,
    Node,
    NodeLeases,
    Nodes,
    Pods,
    RuntimeJournal,
    Unit,
    Units,
    UnitTasks,
)
from kdiag.facts.base import Fact
from kdiag.facts.hosts import HostFact
from kdiag.facts.journal import Entry, JournalLog
from kdiag.facts.machine import Filesystem
from kdiag.facts.runtime import NodeContainers
from kdiag.facts.signatures import meaning
from kdiag.facts.staticpods import Manifest
from kdiag.model.result import Ref
from kdiag.model.step import State
from kdiag.model.text import clean_line, duration, listing, plural, shorten
from kdiag.report.document import cause_document
from kdiag.report.style import Style
from kdiag.report.text import cause_lines

SCHEMA = "kdiag/node/v1"
#: What the picture is made of; the checks may read more.
FACTS: tuple[type[Fact], ...] = (
    *(Nodes, NodeLeases, Pods, Cluster, Units, KubeletJournal, RuntimeJournal, Disks, Kernels, UnitTasks),
    *(Certificates, Manifests, Containers, Listeners, Clocks),
)
_MANY = 0.80
_FULL = 0.90
_SOON = timedelta(days=30)
_COLORS = {State.OK: "", State.BROKEN: "red", State.UNKNOWN: "yellow", State.ABSENT: ""}
_MARKS = {State.OK: "", State.BROKEN: "✗ ", State.UNKNOWN: "? ", State.ABSENT: "– "}
_ERRORS = 3
_LABEL = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing about the node. ``share`` is how much of something is used; ``more`` are further lines below it."""

    label: str
    text: str
    state: State = State.OK
    share: float | None = None
    more: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """All about one node. ``unseen`` are the things that were asked for and not seen, with the reason."""

    name: str
    head: tuple[str, ...]
    taken: str
    source: str
    causes: tuple[Cause, ...]
    rows: tuple[Row, ...]
    unseen: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    read: bool = False  # whether the node itself answered
    refused: bool = False  # whether it was asked and did not


def picture(facts: Facts, verdict: Verdict, name: str) -> Picture:
    """What the facts tell of this node."""
    view = _View(facts, name)
    rows = list(view.rows())
    return Picture(
        name=name,
        head=tuple(view.head()),
        taken=verdict.taken,
        source=verdict.source,
        causes=touching(verdict, facts, name),
        rows=tuple(rows),
        unseen=tuple(view.unseen),
        notes=verdict.notes,
        read=view.read,
        refused=bool(view.unreadable),
    )


def names(facts: Facts) -> tuple[str, ...]:
    """The nodes of which anything is known."""
    nodes = facts.get(Nodes)
    return tuple(dict.fromkeys((*(n.name for n in nodes.items if nodes), *facts.nodes) if nodes else facts.nodes))


def touching(verdict: Verdict, facts: Facts, name: str) -> tuple[Cause, ...]:
    """The causes that sit on this node: about it or a pod of its own there, touching it, or seen on it."""
    pods = facts.get(Pods)

    def here(ref: Ref) -> bool:
        if ref.kind == "Node":
            return ref.name == name
        if ref.kind != "Pod":
            return False
        pod = pods.get(ref.name, ref.namespace) if pods else None
        return pod.node == name if pod else ref.namespace == "kube-system" and ref.name.endswith(f"-{name}")

    return tuple(
        cause
        for cause in (*verdict.causes, *verdict.infos)
        if any(
            any(map(here, (n.finding.subject, *n.finding.touches))) or any(e.source == name for e in n.finding.evidence)
            for n in cause.walk()
        )
    )


class _View:
    """The facts of one node, turned into rows."""

    def __init__(self, facts: Facts, name: str) -> None:
        self._facts = facts
        self._name = name
        self.unseen: list[tuple[str, str]] = []
        cluster, clocks = facts.get(Cluster), facts.get(Clocks)
        self._taken: datetime | None = cluster.taken if cluster else None
        self._clock = (clocks.get(name) if clocks else None) or self._taken
        nodes = facts.get(Nodes)
        self._node: Node | None = nodes.get(name) if nodes else None
        units = facts.get(Units)
        gaps = units.gaps if units else ()
        self.unreadable = next((g.reason for g in gaps if g.source == name), "")
        self.read = name in facts.nodes and not self.unreadable

    def head(self) -> Iterator[str]:
        """What a person wants to know of a node first."""
        node = self._node
        yield self._name
        if node is None:
            return
        ready = node.condition("Ready")
        yield "Ready" if node.ready else f"NOT Ready ({ready.status if ready else 'no condition'})"
        if node.spec.unschedulable:
            yield "cordoned"
        if node.control_plane:
            yield "control plane"
        info = node.status.node_info
        yield from (part for part in (info.kubelet_version, _runtime(info.container_runtime_version)) if part)
        yield from (part for part in (node.address, info.os_image) if part)

    def rows(self) -> Iterator[Row]:
        """All rows; what could not be seen is gathered beside them."""
        yield from self._of_api()
        if not self.read:
            reason = self.unreadable or "it was not asked: no way to it is known (see: kdiag doctor)"
            yield Row(label="on the node", text=reason, state=State.BROKEN if self.unreadable else State.ABSENT)
            return
        yield from self._units()
        yield from self._journal(KubeletJournal, "kubelet log")
        yield from self._journal(RuntimeJournal, "runtime log")
        yield from self._disks()
        yield from self._kernel()
        yield from self._certificates()
        yield from self._static_pods()
        yield from self._ports()

    def _value(self, fact: type[HostFact[Any]], what: str) -> Any:
        """What a fact holds of this node; where that is nothing, or not all, the reason is kept."""
        found = self._facts.get(fact)
        value = found.get(self._name) if found else None
        reasons = [g.reason for g in found.gaps if g.source.startswith(f"{self._name} ")] if found else []
        if reasons:
            self.unseen.append((what, reasons[0]))
        elif value is None:
            self.unseen.append((what, "not asked"))
        return value

    # What the API server says

    def _of_api(self) -> Iterator[Row]:
        node, nodes = self._node, self._facts.get(Nodes)
        if node is None:
            why = nodes.gaps[0].reason if nodes and nodes.gaps else "the API server has no node of this name"
            yield Row(label="API", text=why, state=State.UNKNOWN)
            return
        order = {"Ready": 0}
        words, bad = [], []
        for one in sorted(node.status.conditions, key=lambda c: (order.get(c.type, 1), c.type)):
            good = (one.status == "True") == (one.type == "Ready")
            words.append(f"{one.type} {one.status}")
            if not good:
                bad.append(
                    f"{one.type} is {one.status}: {one.reason}: {one.message}{self._ago(one.last_transition_time)}"
                )
        state = State.BROKEN if bad else State.OK
        yield Row(label="conditions", text=" · ".join(words) or "none", state=state, more=tuple(bad))
        leases = self._facts.get(NodeLeases)
        lease = leases.get(self._name, "kube-node-lease") if leases else None
        age = lease.age(self._taken) if lease and self._taken else None
        if age is not None:
            late = age > 40
            yield Row(
                label="heartbeat",
                text=f"renewed {duration(timedelta(seconds=age))} ago{', the kubelet is silent' if late else ''}",
                state=State.BROKEN if late else State.OK,
                values={"seconds": round(age)},
            )
        elif leases is not None:
            why = leases.gaps[0].reason if leases.gaps else "the node has no Lease in kube-node-lease"
            self.unseen.append(("heartbeat", why))
        if node.spec.taints:
            yield Row(label="taints", text=" · ".join(map(str, node.spec.taints)))
        pods = self._facts.get(Pods)
        mine = [p for p in pods.items if p.node == self._name and not p.finished] if pods and not pods.gaps else None
        if mine is not None:
            sick = [p for p in mine if not p.ready]
            text = f"{len(mine)} of {_text(node.status.allocatable.get('pods')) or '?'}"
            if sick:
                text += f", not ready: {listing([f'{p.namespace}/{p.name}' for p in sick], 3)}"
            yield Row(label="pods", text=text, values={"pods": len(mine), "not_ready": len(sick)})

    def _ago(self, moment: datetime | None) -> str:
        return f" ({duration(self._taken - moment)} ago)" if moment and self._taken else ""

    # What the node says

    def _units(self) -> Iterator[Row]:
        units = self._value(Units, "units")
        found = self._facts.get(Units)
        if units is None or found is None:
            return
        kubelet, runtime = found.unit(self._name, "kubelet"), found.runtime(self._name)
        tasks = {t.unit: t for t in (self._value(UnitTasks, "tasks") or ())}
        for what, unit in (("kubelet", kubelet), ("runtime", runtime)):
            if unit is None:
                yield Row(label=what, text="systemd knows no such unit", state=State.UNKNOWN)
                continue
            yield self._unit(what, unit)
            if (task := tasks.get(unit.name)) and task.most:
                share = task.current / task.most
                if share >= _MANY:
                    yield Row(label=f"{what} tasks", text=f"{task.current:,} of {task.most:,}", share=share)

    def _unit(self, what: str, unit: Unit) -> Row:
        since = unit.entered if unit.running else unit.changed
        age = f" since {duration(self._clock - since)}" if since and self._clock and self._clock >= since else ""
        words = [f"{unit.name + ' ' if unit.name != what else ''}{unit.state}{age}"]
        words.append(plural(unit.restarts, "restart") + " by systemd" if unit.restarts else "no restarts")
        if unit.enabled not in ("enabled", "enabled-runtime", "static", "alias", "generated", ""):
            words.append(f"{unit.enabled}: it does not start at boot")
        if unit.result not in ("success", ""):
            words.append(f"ended with {unit.result}, exit code {unit.exit_status}")
        if unit.needs_reload:
            words.append("its files changed: needs a daemon-reload")
        return Row(
            label=what,
            text=", ".join(words),
            state=State.OK if unit.running else State.BROKEN,
            values={"unit": unit.name, "active": unit.active, "sub": unit.sub, "restarts": unit.restarts},
        )

    def _journal(self, fact: type[HostFact[JournalLog]], what: str) -> Iterator[Row]:
        log = self._value(fact, what)
        if log is None:
            return
        if not log:
            yield Row(label=what, text="the journal holds nothing of it", state=State.UNKNOWN)
            return
        found: dict[str, list[Entry]] = {}
        for entry in log:
            if entry.error:
                found.setdefault(re.sub(r"[\d.]+", "#", entry.said), []).append(entry)
        first = next((e.when for e in log if e.when), None)
        span = f" in the last {len(log.entries)} lines{self._back(first)}"
        if not found:
            yield Row(label=what, text=f"no error{span}")
            return
        groups = sorted(found.values(), key=lambda g: g[-1].when.timestamp() if g[-1].when else 0.0, reverse=True)
        told = [(meaning(group[-1].text), group) for group in groups]
        more = tuple(_told(means, group) for means, group in sorted(told, key=lambda one: not one[0]))
        total = sum(map(len, groups))
        yield Row(label=what, text=plural(total, "error") + span, more=more, values={"errors": total})

    def _back(self, moment: datetime | None) -> str:
        return f" ({duration(self._clock - moment)})" if moment and self._clock and self._clock >= moment else ""

    def _disks(self) -> Iterator[Row]:
        disks = self._value(Disks, "disks")
        if not disks:
            return
        by_device: dict[tuple[int, int, int], list[Filesystem]] = {}
        for disk in disks.values():
            by_device.setdefault((disk.size, disk.available, disk.inodes), []).append(disk)
        for same in by_device.values():
            disk = min(same, key=lambda d: len(d.mount))
            used = 1 - disk.free
            yield Row(
                label="disk",
                text=f"{disk.mount}  {_bytes(disk.available)} of {_bytes(disk.size)} free",
                share=used,
                values={"mount": disk.mount, "size": disk.size, "available": disk.available},
            )
            if disk.inodes:
                yield Row(
                    label="inodes",
                    text=f"{disk.mount}  {disk.inodes_free:,} of {disk.inodes:,} free",
                    share=1 - disk.free_inodes,
                    values={"mount": disk.mount, "inodes": disk.inodes, "free": disk.inodes_free},
                )

    def _kernel(self) -> Iterator[Row]:
        kernel = self._value(Kernels, "kernel")
        if kernel is None:
            return
        total, free = kernel.memory.get("MemTotal", 0), kernel.memory.get("MemAvailable")
        if total and free is not None:
            text = f"{_bytes(free)} of {_bytes(total)} available{', swap is on' if kernel.swaps else ''}"
            yield Row(label="memory", text=text, share=1 - free / total, values={"size": total, "available": free})
        if kernel.threads and kernel.most_threads:
            text = f"{kernel.threads:,} of {kernel.most_threads:,} threads"
            yield Row(label="pids", text=text, share=kernel.threads / kernel.most_threads)
        if kernel.conntrack:
            count, most = kernel.conntrack
            yield Row(label="conntrack", text=f"{count:,} of {most:,} connections", share=count / most)
        if kernel.uptime:
            yield Row(label="uptime", text=duration(timedelta(seconds=kernel.uptime)))

    def _certificates(self) -> Iterator[Row]:
        pki = self._value(Certificates, "certificates")
        if pki is None:
            return
        now = pki.clock or self._clock
        ends = {_short_path(path): c.not_after for path, c in pki.certificates.items()}
        ends |= {_short_path(k.path): k.client.not_after for k in pki.kubeconfigs.values() if k.client}
        if not ends or now is None:
            return
        order = sorted(ends.items(), key=lambda item: (item[1], item[0]))
        bad = tuple(
            f"{name} {'expired' if end <= now else 'expires in'} {_days(end, now)}{' ago' if end <= now else ''}"
            for name, end in order
            if end - now < _SOON
        )
        yield Row(
            label="certificates",
            text=" · ".join(f"{name} {_days(end, now)}" for name, end in order),
            state=State.BROKEN if any(end <= now for _, end in order) else State.UNKNOWN if bad else State.OK,
            more=bad,
            values={name: end.isoformat().replace("+00:00", "Z") for name, end in order},
        )
        broken = tuple(f"{_short_path(p)}: {why}" for p, why in (*pki.broken.items(), *pki.broken_keys.items()))
        if broken:
            yield Row(label="broken files", text=" · ".join(broken), state=State.BROKEN)

    def _static_pods(self) -> Iterator[Row]:
        manifests = self._value(Manifests, "static pods")
        containers = self._value(Containers, "containers")
        if containers is not None and containers.error:
            yield Row(label="containers", text=containers.error, state=State.UNKNOWN)
        if manifests is None:
            return
        if not manifests.used:
            text = f"the kubelet reads {manifests.declared or 'no folder'}, not {manifests.folder}"
            yield Row(label="static pods", text=text, state=State.UNKNOWN)
        for manifest in manifests.files:
            yield self._static_pod(manifest, containers)

    def _static_pod(self, manifest: Manifest, containers: NodeContainers | None) -> Row:
        name = manifest.component or manifest.name or manifest.file
        words = [] if manifest.file == f"{name}.yaml" else [manifest.file]
        state = State.OK
        if manifest.fault or manifest.refused:
            what = manifest.fault.what if manifest.fault else manifest.refused[0].what
            line = manifest.fault.line if manifest.fault else manifest.refused[0].line
            words.append(f"{manifest.where(line)}: {what}")
            state = State.BROKEN
        elif not manifest.read:
            words.append("its text was not read")
            state = State.UNKNOWN
        own = manifest.spec.containers[0].name if manifest.spec and manifest.spec.containers else name
        if containers is not None and containers.listed:
            found = containers.of(own, manifest.namespace if manifest.spec else "kube-system")
            one = next((c for c in found if c.running), found[0] if found else None)
            if one is None:
                words.append("no container")
                state = State.BROKEN
            else:
                since = (one.started or one.created) if one.running else one.finished
                age = (
                    f" since {duration(self._clock - since)}" if since and self._clock and self._clock >= since else ""
                )
                ended = f", exit code {one.exit_code}" if one.exit_code is not None and not one.running else ""
                tries = f", attempt {one.attempt}" if one.attempt else ""
                words.append(f"{one.state or 'unknown'}{age}{ended}{tries}")
                state = state if one.running else State.BROKEN
        else:
            words.append("its container was not seen")
            state = state if state is State.BROKEN else State.UNKNOWN
        return Row(label="static pod", text=f"{name}  {', '.join(words)}", state=state)

    def _ports(self) -> Iterator[Row]:
        listeners = self._value(Listeners, "ports")
        if not listeners:
            return
        found: dict[str, dict[int, bool]] = {}
        for one in listeners:
            local = one.address.startswith("127.") or one.address == "::1"
            ports = found.setdefault(one.process or "?", {})
            ports[one.port] = ports.get(one.port, True) and local
        words = [
            f"{process} {','.join(f'{port}{chr(42) if local else str()}' for port, local in sorted(ports.items()))}"
            for process, ports in sorted(found.items(), key=lambda item: (item[0] == "?", item[0]))
        ]
        only = "  (* this machine only)" if any(local for p in found.values() for local in p.values()) else ""
        yield Row(
            label="ports",
            text=" · ".join(words) + only,
            values={process: sorted(ports) for process, ports in found.items()},
        )


def _told(means: str, group: list[Entry]) -> str:
    """The last of some lines that say the same: when, how often, what it means where that is known, what it says."""
    last = group[-1]
    words = [
        f"{last.when:%H:%M:%S}" if last.when else "",
        f"({len(group)} times)" if len(group) > 1 else "",
        f"{means}:" if means else "",
        shorten(clean_line(last.said), 400),
    ]
    return " ".join(filter(None, words))


def _runtime(text: str) -> str:
    return text.replace("://", " ")


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _days(end: datetime, now: datetime) -> str:
    delta = abs(end - now)
    years, days = divmod(delta.days, 365)
    return f"{years}y" if years >= 2 and days < 30 else f"{delta.days}d" if delta.days else duration(delta)


def _short_path(path: str) -> str:
    for lead in ("/etc/kubernetes/pki/", "/etc/kubernetes/", "/var/lib/kubelet/pki/"):
        path = path.removeprefix(lead)
    return re.sub(r"\.(crt|pem|cert)$", "", path)


def _bytes(count: int) -> str:
    for unit, size in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count >> 10} KiB"


# As text


def render_node(found: Picture, style: Style, *, seconds: float | None = None, wide: bool = False) -> str:
    """The picture for a terminal: causes first, then a row a thing."""
    head = [style.paint(found.head[0], "bold"), *found.head[1:]]
    lines = [" · ".join([*head, *([f"{seconds:.1f} s"] if seconds is not None else [])])]
    lines += [style.paint(f"note: {note}", "yellow") for note in found.notes]
    for number, cause in enumerate(found.causes, 1):
        lines.append("")
        lines += cause_lines(number, cause, style, wide)
    lines.append("")
    last = ""
    for row in found.rows:
        lines += _row(row, row.label if row.label != last else "", style, wide)
        last = row.label
    reasons: dict[str, list[str]] = {}
    for what, reason in found.unseen:
        reasons.setdefault(reason, []).append(what)
    for reason, unseen in reasons.items():
        lines += _row(
            Row(label="not seen", text=f"{listing(unseen, 99)}: {reason}", state=State.UNKNOWN), "", style, wide
        )
    return "\n".join(lines) + "\n"


def _row(row: Row, label: str, style: Style, wide: bool) -> Iterator[str]:
    label = label if row.label != "not seen" else row.label
    indent = " " * _LABEL
    state = row.state
    lead, used = "", 0
    if row.share is not None:
        share = min(1.0, max(0.0, row.share))
        color = "red" if share >= _FULL else "yellow" if share >= _MANY else ""
        cells = 20 if style.width >= 100 else 10
        bar = "#" * round(share * cells)
        text = f"[{bar:.<{cells}}] {share:4.0%} "
        lead, used = (style.paint(text, color) if color else text), len(text)
    width = max(30, style.width - _LABEL - used)
    first, *rest = textwrap.wrap(clean_line(row.text), width, break_on_hyphens=False, break_long_words=True) or [""]
    shown = style.paint(first, _COLORS[state]) if _COLORS[state] else first
    mark = "" if style.color else _MARKS[state]
    yield f"{label:<{_LABEL}}{lead}{mark}{shown}"
    for line in rest:
        yield f"{indent}{' ' * used}{line}"
    most = None if wide else _ERRORS
    for line in row.more[:most]:
        text = clean_line(line) if wide else shorten(clean_line(line), (style.width - _LABEL - 2) * 2)
        for part in textwrap.wrap(text, max(30, style.width - _LABEL - 2), break_on_hyphens=False):
            yield f"{indent}  {part}"
    if most is not None and len(row.more) > most:
        yield f"{indent}  {style.paint(f'and {len(row.more) - most} more (-o wide)', 'dim')}"


# As a document


def render_node_json(found: Picture) -> str:
    """The picture as JSON; every character that is not ASCII is escaped."""
    document = {
        "schema": SCHEMA,
        "kdiag": __version__,
        "node": found.name,
        "taken": found.taken,
        "source": found.source,
        "read": found.read,
        "notes": list(found.notes),
        "about": list(found.head[1:]),
        "causes": [cause_document(cause) for cause in found.causes],
        "rows": [
            {
                "label": row.label,
                "state": row.state.value,
                "text": clean_line(row.text),
                **({"used": round(row.share, 4)} if row.share is not None else {}),
                **({"more": [clean_line(line) for line in row.more]} if row.more else {}),
                **({"values": dict(row.values)} if row.values else {}),
            }
            for row in found.rows
        ],
        "unseen": [{"what": what, "reason": reason} for what, reason in found.unseen],
    }
    return json.dumps(document, indent=2, ensure_ascii=True) + "\n"

"""What the process that reads can be asked, and how it finds out."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from kdiag.errors import UsageError
from kdiag.model.result import Severity
from kdiag.model.text import clean_line, plural
from kdiag.tui.messages import MOMENTS, Fill, LogLine, Machine, Moment, NodeSeen, RunStep, Save, Timeline, Trace
from kdiag.tui.model import moment

if TYPE_CHECKING:
    from kdiag.engine.intake import Facts
    from kdiag.engine.runbook import Outcome, Runs
    from kdiag.engine.verdict import Verdict
    from kdiag.facts.journal import Entry
    from kdiag.model.result import Finding
    from kdiag.session import Seen
    from kdiag.tui.keep import Keep

_TAIL = 80
_NEVER = datetime.min.replace(tzinfo=UTC)


def answer(request: object, seen: Seen, verdict: Verdict, keep: Keep) -> object:
    """The answer. Raises KdiagError with the reason when there is none."""
    match request:
        case Trace():
            from kdiag.engine.trace import Start, trace

            start = Start(kind=request.kind, namespace=request.namespace, name=request.name)
            return trace(start.meant(seen.facts), seen.facts)
        case Machine():
            return _node(request.name, seen.facts, verdict)
        case Timeline():
            return tuple(_timeline(seen.facts, verdict))
        case Fill():
            from kdiag.engine.hints import hints
            from kdiag.engine.runbook import fill, page

            group = request.check_id.partition("/")[0]
            found = hints(request.finding, seen.facts, group=group) if request.finding else {}
            return fill(page(request.check_id), request.finding, found)
        case Save():
            redacted = keep.save(Path(request.folder), list(seen.notes))
            return f"saved into {request.folder}; {plural(redacted, 'value')} redacted"
    raise UsageError(f"{type(request).__name__} is nothing that can be asked")


class Steps:
    """Runs steps of runbook pages, one at a time: against the cluster, or from the recording."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._runs: Runs | None = None
        self._finding: Finding | None = None

    def run(self, request: RunStep, seen: Seen | None) -> Outcome:
        """What came of a step."""
        from kdiag import walk

        with self._lock:
            if self._runs is None or (self._options.snapshot and request.finding != self._finding):
                self._finding = request.finding
                self._runs = (
                    walk.recorded(self._options.snapshot, request.finding)
                    if self._options.snapshot
                    else walk.executor(self._options, seen.facts if seen else None)
                )
            return self._runs.run(request.step, request.values)


# One node


def _node(name: str, facts: Facts, verdict: Verdict) -> NodeSeen:
    from kdiag.facts import KubeletJournal, RuntimeJournal
    from kdiag.report.node import picture

    found = picture(facts, verdict, name)
    quoted = [
        e.shown for cause in found.causes for node in cause.walk() for e in node.finding.evidence if len(e.shown) > 12
    ]
    journals: dict[str, tuple[LogLine, ...]] = {}
    for title, kind in (("kubelet", KubeletJournal), ("runtime", RuntimeJournal)):
        fact = facts.get(kind)
        log = fact.get(name) if fact else None
        if log:
            journals[title] = tuple(_line(entry, quoted) for entry in log.entries[-_TAIL:])
    return NodeSeen(picture=found, journals=journals, certificates=tuple(_certificates(facts, name)))


def _line(entry: Entry, quoted: list[str]) -> LogLine:
    from kdiag.facts.signatures import meaning

    text = clean_line(entry.text)
    return LogLine(
        when=f"{entry.when:%H:%M:%S}" if entry.when else "",
        text=text,
        means=meaning(entry.text) if entry.error else "",
        error=entry.error,
        matched=any(entry.said[:80] in shown or shown in text for shown in quoted if entry.said),
    )


def _certificates(facts: Facts, name: str) -> Iterator[tuple[str, float]]:
    from kdiag.facts import Certificates, Cluster

    fact, cluster = facts.get(Certificates), facts.get(Cluster)
    pki = fact.get(name) if fact else None
    now = (pki.clock if pki else None) or (cluster.taken if cluster else None)
    if pki is None or now is None:
        return
    ends = {path: c.not_after for path, c in pki.certificates.items()}
    ends |= {k.path: k.client.not_after for k in pki.kubeconfigs.values() if k.client}
    for path, end in sorted(ends.items(), key=lambda item: item[1]):
        yield path, (end - now) / timedelta(days=1)


# What happened


def _timeline(facts: Facts, verdict: Verdict) -> list[Moment]:
    found = [*_findings(verdict), *_events(facts), *_changes(facts)]
    # As times, and not as text: "05Z" is before "05.9Z".
    return sorted(found, key=lambda m: moment(m.when) or _NEVER, reverse=True)[:MOMENTS]


def _stamp(when: datetime) -> str:
    return when.isoformat().replace("+00:00", "Z")


def _findings(verdict: Verdict) -> Iterator[Moment]:
    for cause in (*verdict.causes, *verdict.infos):
        for node in cause.walk():
            if node.finding.since:
                yield Moment(
                    when=node.finding.since,
                    kind="finding" if node is cause else "symptom",
                    what=node.finding.message,
                    warning=node.severity >= Severity.WARNING,
                    fingerprint=node.fingerprint,
                    namespace=node.finding.subject.namespace,
                )


def _events(facts: Facts) -> Iterator[Moment]:
    from kdiag.facts import Events

    events = facts.get(Events)
    for event in events.items if events else ():
        if event.when:
            times = f" ({event.times} times)" if event.times > 1 else ""
            yield Moment(
                when=_stamp(event.when),
                kind="event",
                what=clean_line(f"{event.about}: {event.reason}{times}"),
                detail=clean_line(event.message),
                warning=event.type == "Warning",
                namespace=event.namespace,
            )


def _changes(facts: Facts) -> Iterator[Moment]:
    """When units were started, nodes changed their mind, and workloads got a new revision."""
    from kdiag.facts import Nodes, ReplicaSets
    from kdiag.facts.units import Units

    units = facts.get(Units)
    for name in units.by_node if units else ():
        kubelet = units.unit(name, "kubelet") if units else None
        for unit in (kubelet, units.runtime(name) if units else None):
            since = (unit.entered if unit.running else unit.changed) if unit else None
            if unit and since:
                verb = "started" if unit.running else f"became {unit.state}"
                yield Moment(
                    when=_stamp(since), kind="node", what=f"{unit.name} on {name} {verb}", warning=not unit.running
                )
    nodes = facts.get(Nodes)
    for node in nodes.items if nodes else ():
        for one in node.status.conditions:
            good = (one.status == "True") == (one.type == "Ready")
            if one.last_transition_time and (one.type == "Ready" or not good):
                yield Moment(
                    when=_stamp(one.last_transition_time),
                    kind="node",
                    what=clean_line(f"Node {node.name}: {one.type} became {one.status}"),
                    detail=clean_line(one.message),
                    warning=not good,
                )
    sets = facts.get(ReplicaSets)
    for made in sets.items if sets else ():
        if made.created and made.controller:
            yield Moment(
                when=_stamp(made.created),
                kind="change",
                what=f"{made.controller.kind} {made.namespace}/{made.controller.name}: new revision {made.name}",
                namespace=made.namespace,
            )

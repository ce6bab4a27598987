"""The verdict: causes in rank order with their symptoms, and how much was seen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from kdiag.check import Check
from kdiag.engine.changes import Change, Changes, began
from kdiag.engine.correlate import Node, correlate
from kdiag.engine.evaluate import evaluate_all
from kdiag.engine.intake import Facts
from kdiag.engine.topology import Topology
from kdiag.facts import Cluster, LabelSelector, Version
from kdiag.model.result import Ref, Result, Severity, Status
from kdiag.model.text import duration, listing, plural

_MOST_CHANGED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All that a report shows.

    ``infos`` are findings that are worth knowing and no fault: with nothing else, nothing is wrong. ``notes`` are
    lines about the run itself: what was left out, what was bounded.
    """

    server: str
    context: str
    namespace: str
    version: str
    taken: str
    source: str
    causes: tuple[Node, ...]
    results: tuple[Result, ...]
    infos: tuple[Node, ...] = ()
    notes: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()  # those that were asked
    #: The labels that causes were chosen by, whether any object has them, and how many causes were left out.
    selector: str = ""
    selected: bool = True
    outside: int = 0
    #: What changed just before a cause began, by the cause's fingerprint.
    changes: Mapping[str, tuple[Change, ...]] = field(default_factory=dict)

    def count(self, status: Status) -> int:
        """How many checks came to this status."""
        return sum(r.status is status for r in self.results)

    def of(self, status: Status) -> tuple[Result, ...]:
        """The results of this status."""
        return tuple(r for r in self.results if r.status is status)

    def changed(self, cause: Node) -> list[tuple[str, Change]]:
        """What changed just before this cause, newest first, each with how long before: "4m before", "4m ago"."""
        found = self.changes.get(cause.fingerprint, ())
        begin = began(cause.finding)
        end = begin or _moment(self.taken)
        word = "before" if begin else "ago"
        return [(_distance(end - c.when, word), c) for c in found] if end else []

    @property
    def complete(self) -> bool:
        """Whether every check that applies could see what it needs, and none broke."""
        return not any(r.status in (Status.UNKNOWN, Status.ERROR) or r.gaps for r in self.results)

    @property
    def symptoms(self) -> int:
        """How many findings are folded under others."""
        return sum(c.size for c in self.causes)

    @property
    def worst(self) -> Severity | None:
        """The worst severity of all findings; None when there are none."""
        return max((c.worst for c in (*self.causes, *self.infos)), default=None)


def judge(
    checks: Sequence[Check],
    facts: Facts,
    library: Mapping[str, Check],
    *,
    source: str = "api",
    notes: Iterable[str] = (),
    labels: LabelSelector | None = None,
    selector: str = "",
    late: Callable[[], str] = str,
) -> Verdict:
    """Evaluate the checks and fold what they find.

    With ``labels``, keep the causes that touch such objects; ``selector`` is how the user wrote them. ``late`` tells
    why no further check can be made; "" while there is time.
    """
    results = evaluate_all(checks, facts, late)
    topology = Topology(facts)
    causes = found = correlate(results, library, topology)
    if labels is not None:
        causes = [c for c in found if any(_touches(node, labels, topology) for node in c.walk())]
    cluster, version = facts.get(Cluster), facts.get(Version)
    return Verdict(
        server=cluster.server if cluster else "",
        context=cluster.context if cluster else "",
        namespace=cluster.namespace if cluster else "",
        version=version.text if version else "",
        taken=cluster.taken.isoformat().replace("+00:00", "Z") if cluster else "",
        source=source,
        causes=tuple(c for c in causes if c.worst is not Severity.INFO),
        infos=tuple(c for c in causes if c.worst is Severity.INFO),
        results=tuple(results),
        notes=tuple(notes),
        nodes=facts.nodes,
        selector=selector,
        selected=labels is None or bool(causes) or any(labels.matches(one) for one in topology.all_labels()),
        outside=sum(c.worst is not Severity.INFO for c in found) - sum(c.worst is not Severity.INFO for c in causes),
        changes=_changes(causes, facts, topology),
    )


def _changes(causes: Sequence[Node], facts: Facts, topology: Topology) -> Mapping[str, tuple[Change, ...]]:
    """What changed just before the first causes; a list that is longer nobody reads to its end."""
    wanted = [c for c in causes if c.worst is not Severity.INFO and not c.check.risk][:_MOST_CHANGED]
    if not wanted:
        return {}
    changes = Changes(facts, topology)
    found = {cause.fingerprint: changes.before(cause.finding, cause.check.layer) for cause in wanted}
    return {fingerprint: some for fingerprint, some in found.items() if some}


def _distance(delta: timedelta, word: str) -> str:
    return (
        f"{duration(delta)} {word}"
        if delta >= timedelta(seconds=1)
        else f"just {'before' if word == 'before' else 'now'}"
    )


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _touches(node: Node, labels: LabelSelector, topology: Topology) -> bool:
    refs = (node.finding.subject, *node.finding.touches)
    return any(labels.matches(one) for ref in refs for one in topology.labels(ref))


def unknown_reasons(verdict: Verdict) -> list[tuple[str, list[str]]]:
    """Why checks are unknown, each reason once with the checks it keeps from seeing; the most telling first.

    A reason that many sources share (no list could be read because the API server is dead) is one; of a node's answers
    the node is named and not each command.
    """
    found: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    nodes = frozenset(verdict.nodes)
    for result in verdict.of(Status.UNKNOWN):
        for gap in result.gaps:
            host = gap.source.partition(" ")[0]
            sources, checks = found.setdefault(gap.reason, ({}, {}))
            sources[host if host in nodes else gap.source] = None
            checks[result.check_id] = None
    lines = [
        (f"{_sources(list(sources), nodes)}: {reason}", list(checks)) for reason, (sources, checks) in found.items()
    ]
    return sorted(lines, key=lambda item: (-len(item[1]), item[0]))


def _sources(sources: list[str], nodes: Collection[str]) -> str:
    """What was not seen for one reason, in few words."""
    logs = [s.removeprefix("log of ").removesuffix("/current") for s in sources if s.startswith("log of ")]
    if len(logs) < 2:
        return listing(sorted(sources) if set(sources) <= set(nodes) else sources, 3)
    others = [s for s in sources if not s.startswith("log of ")]
    return listing([*others, f"logs of {plural(len(logs), 'container')} ({listing(logs, 2)})"], 3)


def subjects(nodes: Collection[Node]) -> list[Ref]:
    """The objects of all findings, each once."""
    return list(dict.fromkeys(n.finding.subject for node in nodes for n in node.walk()))

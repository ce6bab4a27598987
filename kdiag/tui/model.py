"""The findings as the rows of a tree: group, cause, symptoms; filtered, folded, compared with what was there before.

Pure: nothing here knows of a terminal. A row's text is made once for each verdict; what a key changes (a fold, a
filter) only chooses among the rows that there are.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from kdiag.model.result import Severity, Status
from kdiag.model.text import duration

if TYPE_CHECKING:
    from kdiag.engine.correlate import Node
    from kdiag.engine.verdict import Verdict

#: The groups in the order of their keys, 1 to 4.
GROUPS = ("application", "control_plane", "worker_node", "network")
REMARKS = "remarks"
GONE = "gone"
#: A cause with more symptoms than this is folded at first.
_MANY = 4


class Kind(enum.Enum):
    """What a row stands for."""

    GROUP = "group"
    CAUSE = "cause"
    SYMPTOM = "symptom"


@dataclass(slots=True, eq=False)
class Row:
    """One row. ``key`` is that of the same fault in the next verdict, too; ``size`` counts what is below it."""

    kind: Kind
    key: str
    title: str
    group: str
    depth: int = 0
    node: Node | None = None
    severity: Severity | None = None
    subject: str = ""
    namespace: str = ""
    age: str = ""
    number: int = 0
    provisional: bool = False
    new: bool = False
    gone: bool = False
    children: list[Row] = field(default_factory=list)
    size: int = 0
    words: str = ""  # what a filter looks at, of this row and of what is below
    last: bool = False

    @property
    def height(self) -> int:
        """How many lines it takes."""
        return 2 if self.kind is Kind.CAUSE else 1

    @property
    def name(self) -> str:
        """The check's name without its group."""
        return self.node.check.id.partition("/")[2] if self.node else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What is shown. ``text`` is words that must all occur; ``-n NS`` among them asks for a namespace."""

    text: str = ""
    groups: frozenset[str] = frozenset()
    least: Severity | None = None

    @property
    def on(self) -> bool:
        """Whether anything is left out."""
        return bool(self.text.strip() or self.groups or self.least is not None)

    @property
    def words(self) -> tuple[tuple[str, ...], str]:
        """The words to look for, and the namespace."""
        found: list[str] = []
        namespace = ""
        rest = iter(self.text.lower().split())
        for word in rest:
            if word in ("-n", "--namespace"):
                namespace = next(rest, "")
            elif word.startswith("-n") and len(word) > 2:
                namespace = word[2:].lstrip("=")
            else:
                found.append(word)
        return tuple(found), namespace

    def __str__(self) -> str:
        parts = [self.text.strip()] if self.text.strip() else []
        parts += [f"group {g.replace('_', ' ')}" for g in GROUPS if g in self.groups]
        if self.least is not None:
            parts.append(f"{self.least.name.lower()} and worse")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much was seen, in numbers, and why not more."""

    passed: int
    failed: int
    unknown: int
    skipped: int
    broken: int
    complete: bool
    reasons: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @classmethod
    def of(cls, verdict: Verdict) -> Coverage:
        """The coverage of a verdict."""
        from kdiag.engine.verdict import unknown_reasons

        return cls(
            passed=verdict.count(Status.PASS),
            failed=verdict.count(Status.FAIL),
            unknown=verdict.count(Status.UNKNOWN),
            skipped=verdict.count(Status.SKIPPED),
            broken=verdict.count(Status.ERROR),
            complete=verdict.complete,
            reasons=tuple((reason, tuple(checks)) for reason, checks in unknown_reasons(verdict)),
        )


class Tree:
    """All rows of one verdict."""

    def __init__(
        self, verdict: Verdict, *, provisional: Collection[str] = (), before: Tree | None = None, final: bool = True
    ) -> None:
        self.verdict = verdict
        self.final = final
        self.groups: list[Row] = []
        self.by_key: dict[str, Row] = {}
        self.fingerprints: set[str] = set()
        self._taken = moment(verdict.taken)
        self._provisional = frozenset(provisional)
        self._known = before.fingerprints if before is not None and final else None
        self.coverage = Coverage.of(verdict)
        groups: dict[str, Row] = {}
        for number, cause in enumerate(verdict.causes, 1):
            group = groups.setdefault(cause.check.group, _group(cause.check.group))
            group.children.append(self._cause(cause, number, group.group))
        for info in verdict.infos:
            group = groups.setdefault(REMARKS, _group(REMARKS))
            group.children.append(self._cause(info, 0, REMARKS))
        if before is not None and final:
            gone = list(self._gone(before))
            if gone:
                groups[GONE] = _group(GONE)
                groups[GONE].children = gone
        self.groups = list(groups.values())
        for group in self.groups:
            group.size = len(group.children)
            group.words = " ".join(child.words for child in group.children)

    # Making

    def _cause(self, node: Node, number: int, group: str) -> Row:
        row = self._row(Kind.CAUSE, node, "", group, 0)
        row.number = number
        return row

    def _row(self, kind: Kind, node: Node, above: str, group: str, depth: int) -> Row:
        fingerprint = node.fingerprint
        self.fingerprints.add(fingerprint)
        key = f"{above}/{fingerprint}" if above else fingerprint
        while (
            key in self.by_key
        ):  # the same fault of the same object twice: a check's own slip, and no reason to lose one
            key += "+"
        finding = node.finding
        row = Row(
            kind=kind,
            key=key,
            title=finding.message,
            group=group,
            depth=depth,
            node=node,
            severity=node.severity if kind is Kind.SYMPTOM else node.worst,
            subject=str(finding.subject),
            namespace=finding.subject.namespace,
            age=_age(self._taken, finding.since),
            provisional=fingerprint in self._provisional,
            new=self._known is not None and fingerprint not in self._known,
        )
        self.by_key[key] = row
        row.children = [self._row(Kind.SYMPTOM, s, key, group, depth + 1) for s in node.symptoms]
        if row.children:
            row.children[-1].last = True
        row.size = sum(1 + child.size for child in row.children)
        touched = " ".join(t.path for t in finding.touches)
        own = f"{row.title} {row.subject} {node.check.id} {touched} ns:{row.namespace}".lower()
        row.words = " ".join([own, *(child.words for child in row.children)])
        return row

    def _gone(self, before: Tree) -> Iterator[Row]:
        """The causes of last time that are there no more; what could not be looked at again is not gone."""
        decided = {
            r.check_id
            for r in self.verdict.results
            if r.status in (Status.PASS, Status.FAIL, Status.SKIPPED) and not r.gaps
        }
        for row in before.causes():
            if row.gone or row.node is None or row.node.fingerprint in self.fingerprints:
                continue
            if row.node.check.id in decided:
                yield replace(row, group=GONE, gone=True, new=False, provisional=False, children=[], size=0, number=0)

    # Reading

    def causes(self) -> Iterator[Row]:
        """The causes and remarks of now, in order."""
        for group in self.groups:
            if group.group != GONE:
                yield from group.children

    def shown(self, chosen: Filter, turned: Collection[str]) -> list[Row]:
        """The rows to show, from the top. ``turned`` are the keys of the rows whose fold is not as it is at first."""
        words, namespace = chosen.words
        rows: list[Row] = []
        for group in self.groups:
            if chosen.groups and group.group not in chosen.groups:
                continue
            inside = [c for c in group.children if _matches(c, words, namespace, chosen.least)]
            if inside:
                rows.append(group)
                if group.key not in turned:
                    for cause in inside:
                        self._show(cause, words, namespace, turned, rows)
        return rows

    def _show(self, row: Row, words: Sequence[str], namespace: str, turned: Collection[str], rows: list[Row]) -> None:
        rows.append(row)
        filtered = bool(words or namespace)
        if row.children and self.is_open(row, turned, filtered=filtered):
            for child in row.children:
                if not filtered or _matches(child, words, namespace, None):
                    self._show(child, words, namespace, turned, rows)

    @staticmethod
    def is_open(row: Row, turned: Collection[str], *, filtered: bool = False) -> bool:
        """Whether what is below a row is shown."""
        if row.kind is Kind.GROUP:
            return row.key not in turned
        return (filtered or row.size <= _MANY) != (row.key in turned)

    def count(self, chosen: Filter) -> int:
        """How many causes and remarks the filter lets through."""
        words, namespace = chosen.words
        return sum(
            1
            for cause in self.causes()
            if (not chosen.groups or cause.group in chosen.groups) and _matches(cause, words, namespace, chosen.least)
        )

    def row_of(self, fingerprint: str) -> Row | None:
        """The row of a finding."""
        found = self.by_key.get(fingerprint)
        if found is not None:
            return found
        return next((row for key, row in self.by_key.items() if key.endswith(f"/{fingerprint}")), None)


def _matches(row: Row, words: Sequence[str], namespace: str, least: Severity | None) -> bool:
    """Whether the row, or anything below it, holds the words and is as bad as that."""
    if least is not None and row.severity is not None and row.severity < least:
        return False
    if namespace and f"ns:{namespace}" not in row.words:
        return False
    return all(word in row.words for word in words)


def _group(name: str) -> Row:
    titles = {REMARKS: "remarks", GONE: "gone since the last look"}
    return Row(kind=Kind.GROUP, key=f"group:{name}", title=titles.get(name, name.replace("_", " ")), group=name)


def moment(text: str) -> datetime | None:
    """An RFC 3339 time; None for what is none."""
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return found if found.tzinfo else None


def _age(now: datetime | None, since: str) -> str:
    start = moment(since) if since else None
    return duration(max(now - start, timedelta())) if start and now else ""


def parents(tree: Tree) -> Mapping[str, Row]:
    """The row above each row, by key."""
    found: dict[str, Row] = {}

    def walk(row: Row, above: Row) -> None:
        found[row.key] = above
        for child in row.children:
            walk(child, row)

    for group in tree.groups:
        for cause in group.children:
            walk(cause, group)
    return found


def offsets(rows: Iterable[Row]) -> list[int]:
    """The line on which each row begins, and the number of lines at the end."""
    found = [0]
    for row in rows:
        found.append(found[-1] + row.height)
    return found

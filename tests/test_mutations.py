"""Recordings with parts removed: the verdict becomes unknown or less exact, and never wrong.

Each recorded cluster is replayed with a list forbidden, a document refused, a node silent, a command of a node failing,
the events gone, the logs gone or cut. Two things must hold each time. No finding names an object that the whole
recording gives no reason to name. And where the whole recording shows an error, the rest of it never says that all is
well: it shows an error, too, or says that it could not see.

A run takes a sample of them, always the same; ``KDIAG_ALL_MUTATIONS=1`` takes all.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest

from kdiag.check import CLUSTER
from kdiag.engine.correlate import Node
from kdiag.engine.library import checks
from kdiag.engine.topology import Topology
from kdiag.engine.verdict import Verdict, judge
from kdiag.facts import Namespaces
from kdiag.facts.hosts import UNREADABLE
from kdiag.model.observation import Observation
from kdiag.model.result import Ref, Severity
from tests.lab.recordings import recordings, unpack
from tests.recording import cluster_observations, clusters, facts_of

ALL = bool(os.environ.get("KDIAG_ALL_MUTATIONS"))
#: Of so many mutations a run takes one.
SHARE = int(os.environ.get("KDIAG_MUTATIONS_SHARE", "24"))
#: And so many at least of each practice scenario.
_LEAST = 4
#: What everything depends on: it is no reason to name anything.
_EVERYBODYS = frozenset({CLUSTER.kind, "Namespace", "Node"})
Change = Callable[[Observation], Observation | None]


@dataclass(frozen=True)
class Mutation:
    """One way in which a recording is less. ``gone`` says that nobody would know: events expire, logs rotate."""

    name: str
    change: Change
    gone: bool = False


@cache
def observations(folder: Path) -> tuple[Observation, ...]:
    return tuple(cluster_observations(folder))


def verdict(seen: Iterator[Observation] | tuple[Observation, ...]) -> Verdict:
    chosen = [c for c in checks().values() if not c.risk]
    return judge(chosen, facts_of(iter(seen)), checks())


@cache
def whole(folder: Path) -> Verdict:
    return verdict(observations(folder))


def forbidden(key: str) -> Change:
    def change(o: Observation) -> Observation | None:
        if o.source != "api" or o.key != key:
            return o
        return Observation("api", key, scope=o.scope, error=f"403 Forbidden: may not list {key}")

    return change


def silent(host: str, first: str) -> Change:
    """The node is asked and does not answer: in the place of its first answer stands the reason."""

    def change(o: Observation) -> Observation | None:
        if o.source != "node" or o.host != host:
            return o
        return Observation("node", UNREADABLE, host=host, error="no answer") if o.key == first else None

    return change


def failing(host: str, key: str) -> Change:
    def change(o: Observation) -> Observation | None:
        if (o.source, o.host, o.key) != ("node", host, key):
            return o
        return replace(o, body=b"", error="did not finish within 5 s", absent=False)

    return change


def without_events(o: Observation) -> Observation | None:
    empty = json.dumps({"items": []}).encode()
    return replace(o, body=empty) if (o.source, o.key) == ("api", "events") and not o.error else o


def without_logs(o: Observation) -> Observation | None:
    return None if (o.source, o.key) == ("api", "log") and o.name else o


def cut_logs(o: Observation) -> Observation | None:
    return replace(o, body=bytes(o.body)[: len(o.body) // 2]) if (o.source, o.key) == ("api", "log") else o


def mutations(seen: tuple[Observation, ...]) -> Iterator[Mutation]:
    for key in sorted({o.key for o in seen if o.source == "api"} - {"run", "log"}):
        yield Mutation(f"{key} forbidden", forbidden(key))
    hosts = sorted({o.host for o in seen if o.source == "node"})
    for host in hosts:
        keys = sorted({o.key for o in seen if o.host == host})
        yield Mutation(f"{host} silent", silent(host, keys[0]))
        for key in keys:
            if key == UNREADABLE:
                continue
            yield Mutation(f"{key} of {host} fails", failing(host, key))
    yield Mutation("events gone", without_events, gone=True)
    yield Mutation("logs gone", without_logs, gone=True)
    yield Mutation("logs cut", cut_logs, gone=True)


def sampled(name: str, mutation: Mutation) -> bool:
    return ALL or _draw(name, mutation)[0] % SHARE == 0


def _draw(name: str, mutation: Mutation) -> bytes:
    return hashlib.sha256(f"{name}/{mutation.name}".encode()).digest()


CASES = [
    pytest.param(folder, mutation, id=f"{folder.name}, {mutation.name}")
    for folder in (*clusters("broken"), *clusters("demo"), *clusters("healthy"))
    for mutation in mutations(observations(folder))
    if mutation.gone or mutation.name.endswith("silent") or sampled(folder.name, mutation)
]


def tree(nodes: tuple[Node, ...]) -> Iterator[Node]:
    for node in nodes:
        yield node
        yield from tree(tuple(node.symptoms))


def named(one: Verdict) -> set[Ref]:
    """Every object that a finding is about, or says that it touches."""
    found: set[Ref] = set()
    for node in tree((*one.causes, *one.infos)):
        found |= {node.finding.subject, *node.finding.touches}
    return found


def errors(one: Verdict) -> list[Node]:
    return [c for c in one.causes if c.worst >= Severity.ERROR]


def misled(full: Verdict, seen: tuple[Observation, ...], mutation: Mutation) -> list[str]:
    """What is said wrongly where less is seen.

    Where a cause cannot be seen, what cannot work without its object may be named in its place; and who may not list
    namespaces cannot know of one that it is being deleted, and that what is left in it is on its way out.
    """
    less = verdict(tuple(o for o in map(mutation.change, seen) if o is not None))
    before = named(full)
    strange = [n for n in tree(less.causes) if n.severity >= Severity.WARNING and n.finding.subject not in before]
    wrong: list[str] = []
    if strange:
        facts = facts_of(iter(seen))
        depends, namespaces = Topology(facts), facts.get(Namespaces)
        going = namespaces.going if namespaces else frozenset()
        wrong = [
            f"{n.check.id}: {n.finding.message}"
            for n in strange
            if n.finding.subject.namespace not in going
            and not any(r.kind not in _EVERYBODYS for r in depends.closure((n.finding.subject,)) & before)
        ]
    if errors(full) and not mutation.gone and not errors(less) and less.complete:
        wrong.append("a false all-clear")
    return [f"{mutation.name}: {text}" for text in wrong]


@pytest.mark.parametrize(("folder", "mutation"), CASES)
def test_less_is_seen_and_nothing_wrong_is_said(folder: Path, mutation: Mutation) -> None:
    assert not misled(whole(folder), observations(folder), mutation)


@pytest.mark.parametrize(
    "path", tuple(recordings()), ids=lambda p: f"{p.parent.name}/{p.name.removesuffix('.json.xz')}"
)
def test_nor_of_a_practice_scenario(path: Path) -> None:
    _, kept = unpack(path)
    seen = tuple(kept)
    full = verdict(seen)
    chosen = sorted(mutations(seen), key=lambda m: _draw(path.name, m))
    chosen = chosen if ALL else chosen[: max(_LEAST, len(chosen) // SHARE)]
    assert not [text for mutation in chosen for text in misled(full, seen, mutation)]

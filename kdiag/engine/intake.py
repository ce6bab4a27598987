"""Observations in, facts out: each observation goes to the builders that read it, as it arrives."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, cast

from kdiag.check import Check
from kdiag.facts.base import Builder, Derived, Fact, Source
from kdiag.facts.hosts import UNREADABLE, HostFact
from kdiag.model.observation import Observation
from kdiag.model.result import Gap
from kdiag.model.text import clean_line

_TAKEN: dict[type[Fact], tuple[Mapping[str, type[Fact]], Mapping[str, type[Fact]]]] = {}
_ROOTS: dict[type[Fact], frozenset[type[Fact]]] = {}


def inputs(fact: type[Derived]) -> Mapping[str, type[Fact]]:
    """The facts that a derived fact is made of, by parameter."""
    return _taken(fact)[0]


def extras(fact: type[Derived]) -> Mapping[str, type[Fact]]:
    """What a derived fact takes where it is there (``X | None``), and is whole without."""
    return _taken(fact)[1]


def _taken(fact: type[Derived]) -> tuple[Mapping[str, type[Fact]], Mapping[str, type[Fact]]]:
    """Both; looked up once, for they are asked for by every check."""
    if fact not in _TAKEN:
        hints = typing.get_type_hints(fact.derive)
        kinds = {name: hints[name] for name in inspect.signature(fact.derive).parameters}
        needs = {name: kind for name, kind in kinds.items() if isinstance(kind, type)}
        more = {
            name: next(part for part in typing.get_args(kind) if part is not type(None))
            for name, kind in kinds.items()
            if name not in needs
        }
        _TAKEN[fact] = needs, more
    return _TAKEN[fact]


def roots(facts: Iterable[type[Fact]]) -> tuple[type[Fact], ...]:
    """The facts that come straight from observations, behind all of these."""
    found: set[type[Fact]] = set()
    for fact in facts:
        found |= _roots_of(fact)
    return tuple(sorted(found, key=lambda f: f.__name__))


def _roots_of(fact: type[Fact]) -> frozenset[type[Fact]]:
    if not issubclass(fact, Derived):
        return frozenset({fact})
    if fact not in _ROOTS:
        _ROOTS[fact] = frozenset().union(*map(_roots_of, inputs(fact).values()))
    return _ROOTS[fact]


def needed(checks: Iterable[Check]) -> tuple[type[Fact], ...]:
    """The facts that these checks read, down to those that come from observations."""
    asked = {fact for c in checks for fact in (*c.needs.values(), *c.wants.values())}
    return roots([*asked, *_extras_below(asked)])


def _extras_below(facts: Iterable[type[Fact]]) -> Iterator[type[Fact]]:
    todo, seen = list(facts), set[type[Fact]]()
    while todo:
        fact = todo.pop()
        if fact not in seen and issubclass(fact, Derived):
            seen.add(fact)
            yield from extras(fact).values()
            todo += [*inputs(fact).values(), *extras(fact).values()]


def known() -> tuple[type[Fact], ...]:
    """Every fact that comes straight from observations."""
    todo: list[type[Fact]] = [Fact]
    found: dict[type[Fact], None] = {}
    while todo:
        for sub in todo.pop().__subclasses__():
            todo.append(sub)
            if sub.sources and not issubclass(sub, Derived):
                found[sub] = None
    return tuple(sorted(found, key=lambda f: f.__name__))


def sources(facts: Iterable[type[Fact]]) -> tuple[Source, ...]:
    """What must be asked for to make these facts; each thing once."""
    return tuple(dict.fromkeys(source for fact in facts for source in fact.sources))


F = TypeVar("F", bound=Fact)


class Intake:
    """Takes observations as they arrive and has a builder make each fact of them.

    One thread at a time may feed a key.
    """

    def __init__(self, facts: Iterable[type[Fact]]) -> None:
        self._builders: dict[type[Fact], Builder] = {}
        self._by_key: dict[str, list[Builder]] = {}
        self._made: dict[Builder, Fact] = {}
        for fact in facts:
            builder = self._builders[fact] = fact.builder()
            for source in fact.sources:
                self._by_key.setdefault(source.key, []).append(builder)
        self._seen: set[str] = set()
        self._nodes: dict[str, None] = {}

    def feed(self, seen: Observation) -> None:
        """Pass an observation to those who read it, its error fit to be shown: it may hold any name of a file."""
        if seen.error:
            seen = dataclasses.replace(seen, error=clean_line(seen.error))
        if seen.source == "node":
            self._nodes[seen.host] = None
            if seen.key == UNREADABLE:
                self._unreadable(seen)
                return
        self._seen.add(seen.key)
        if seen.restart:
            self._restart(seen.key)
            return
        for builder in self._by_key.get(seen.key, ()):
            self._feed(builder, seen)

    def _feed(self, builder: Builder, seen: Observation) -> None:
        builder.feed(seen)
        self._made.pop(builder, None)

    def _unreadable(self, seen: Observation) -> None:
        for kind, builder in self._builders.items():
            if issubclass(kind, HostFact):
                self._seen.update(source.key for source in kind.sources)
                self._feed(builder, seen)

    def _restart(self, key: str) -> None:
        for kind, old in list(self._builders.items()):
            if old in self._by_key.get(key, ()):
                fresh = self._builders[kind] = kind.builder()
                self._made.pop(old, None)
                for source in kind.sources:
                    builders = self._by_key[source.key]
                    builders[builders.index(old)] = fresh

    def fact(self, kind: type[Fact]) -> Fact | None:
        """The fact as far as it was fed; None when nothing was asked that makes it.

        The same object until more is fed: what it has worked out (pods by node, by owner) is kept with it.
        """
        builder = self._builders.get(kind)
        own = (source.key for source in kind.sources if source.key not in getattr(kind, "beside", ()))
        if builder is None or not any(key in self._seen for key in own):
            return None
        made = self._made.get(builder)
        if made is None:
            made = self._made[builder] = builder.finish()
        return made

    def finish(self, kinds: Iterable[type[Fact]] | None = None) -> Facts:
        """All facts of which anything was seen; with ``kinds``, only those."""
        made = {kind: self.fact(kind) for kind in (self._builders if kinds is None else kinds)}
        return Facts({kind: fact for kind, fact in made.items() if fact is not None}, nodes=tuple(self._nodes))


class Facts:
    """The facts of a run. Derived ones are made when first asked for, and once.

    ``nodes`` are those that were asked: if none was, what only nodes tell does not apply and is not unknown.
    """

    def __init__(self, seen: Mapping[type[Fact], Fact], *, nodes: tuple[str, ...] = ()) -> None:
        self._facts: dict[type[Fact], Fact] = dict(seen)
        self.nodes = nodes

    def get(self, kind: type[F]) -> F | None:
        """The fact; None when it, or one that it is made of, was not collected."""
        return cast("F | None", self._get(kind))

    def _get(self, kind: type[Fact]) -> Fact | None:
        if kind not in self._facts and issubclass(kind, Derived):
            parts = {name: self._get(part) for name, part in inputs(kind).items()}
            if any(part is None for part in parts.values()):
                return None
            more = {name: self._get(part) for name, part in extras(kind).items()}
            fact = kind.derive(**parts, **more)
            gaps = dict.fromkeys(gap for part in parts.values() if part for gap in part.gaps)
            self._facts[kind] = _with_gaps(fact, (*fact.gaps, *gaps))
        return self._facts.get(kind)

    def blank(self, kind: type[Fact]) -> bool:
        """Whether the fact, or one that it stands on, was asked for and not seen at all.

        That must not look like a cluster that has none of it. A derived fact stands on its lists, save those that are
        spare.
        """
        if not issubclass(kind, Derived):
            fact = self._facts.get(kind)
            return fact is not None and fact.blank
        return any(not root.spare and self.blank(root) for root in roots([kind]))

    def beside(self, other: Facts) -> Facts:
        """These and the others; of what both have, this one's."""
        return Facts({**other._facts, **self._facts}, nodes=tuple(dict.fromkeys((*self.nodes, *other.nodes))))

    def missing(self, kind: type[Fact]) -> tuple[str, ...]:
        """The names of the facts that were not collected and that this one needs."""
        return tuple(root.__name__ for root in roots([kind]) if root not in self._facts)

    def without(self, kind: type[Fact]) -> Facts:
        """The same facts without this one and what is made of it."""
        kept = {k: f for k, f in self._facts.items() if k is not kind and not issubclass(k, Derived)}
        return Facts(kept, nodes=self.nodes)

    def replaced(self, fact: Fact) -> Facts:
        """The same facts with another in the place of the one of its kind."""
        kept = {k: f for k, f in self._facts.items() if not issubclass(k, Derived)}
        return Facts(kept | {type(fact): fact}, nodes=self.nodes)

    def __contains__(self, kind: type[Fact]) -> bool:
        return kind in self._facts


def _with_gaps(fact: Any, gaps: tuple[Gap, ...]) -> Fact:
    return cast(Fact, dataclasses.replace(fact, gaps=gaps) if gaps else fact)

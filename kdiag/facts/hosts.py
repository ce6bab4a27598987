"""``HostFact``: what the nodes themselves said, node by node."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Generic, Self, TypeVar

from kdiag.facts.base import Builder, Fact, NodeCommand
from kdiag.model.observation import Observation
from kdiag.model.redact import RUN
from kdiag.model.result import Gap
from kdiag.model.text import clean, clean_line, shorten

V = TypeVar("V")

#: The key of the observation that stands for a node that could not be read at all.
UNREADABLE = "node"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one command said on one node.

    ``error`` is the reason why it did not say all; ``text`` may then hold a part. ``absent`` means that the file which
    it was to read is not there: that is knowledge and no gap.
    """

    key: str
    name: str
    text: str = ""
    error: str = ""
    absent: bool = False


@dataclass(frozen=True, kw_only=True)
class HostFact(Fact, Generic[V]):
    """One value for each node that answered. A node that did not is a gap and has no value."""

    #: Keys of answers that it takes from others: they alone make no value, and are no sign that it was asked for.
    beside: ClassVar[frozenset[str]] = frozenset()

    by_node: Mapping[str, V] = field(default_factory=dict)

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> Any:
        """The value of one node, of its answers. Raises ValueError, with a reason, for what cannot be read."""
        raise NotImplementedError

    @staticmethod
    def follow(node: str, answers: tuple[Answer, ...]) -> Iterable[NodeCommand]:
        """What to ask of a node next, when its first answers are known: the files that they name, for example.

        Pure. A path from an answer is used only when ``safe_path`` lets it through; the collector quotes it. The
        commands' keys must be those of a ``NodeFollow`` among the fact's sources.
        """
        return ()

    def get(self, node: str) -> V | None:
        """The value of one node; None when it was not read."""
        return self.by_node.get(node)

    def __iter__(self) -> Iterator[tuple[str, V]]:
        return iter(sorted(self.by_node.items()))

    @classmethod
    def builder(cls) -> Builder:
        """Collect the answers of each node, then parse them."""
        return _HostBuilder(cls)

    @classmethod
    def of(cls, by_node: Mapping[str, V], **more: Any) -> Self:
        """The fact over these values, for tests."""
        return cls(by_node=dict(by_node), **more)


class _HostBuilder:
    def __init__(self, fact: type[HostFact[Any]]) -> None:
        self._fact = fact
        self._answers: dict[str, list[Answer]] = {}
        self._gaps: list[Gap] = []

    def feed(self, seen: Observation) -> None:
        if seen.key == UNREADABLE:
            self._gaps.append(Gap(seen.host, seen.error))
            return
        self._answers.setdefault(seen.host, []).extend(answers_of([seen]))

    def finish(self) -> Fact:
        values: dict[str, Any] = {}
        gaps = list(self._gaps)
        for node, answers in self._answers.items():
            if all(a.key in self._fact.beside for a in answers):
                continue
            gaps += [Gap(f"{node} {a.name or a.key}", a.error) for a in answers if a.error and not a.absent]
            if all(a.error and not a.absent and not a.text for a in answers):
                continue
            try:
                values[node] = self._fact.parse(node, tuple(answers))
            except (ValueError, LookupError, ArithmeticError, RecursionError) as exc:
                reason = shorten(clean_line(str(exc)), 160)
                gaps.append(Gap(f"{node} {answers[0].key}", f"the answer cannot be read: {reason}"))
        return self._fact(by_node=values, gaps=tuple(dict.fromkeys(gaps)))


_PATH = re.compile(r"/[A-Za-z0-9._/@:+=,~-]{1,400}")


def safe_path(path: str) -> bool:
    """Whether a path that a node named may be asked for: absolute, plain characters, no way up."""
    return bool(_PATH.fullmatch(path)) and ".." not in path.split("/")


_CLOSED = re.compile(
    r"secret|token|encrypt|credential|kubeconfig|admin|shadow|_history|/\.|\.(?:key|p12|pfx|jks|pem)$|^/(?:dev|proc|sys)/"
    r"|^/etc/kubernetes/[^/]*\.conf$",
    re.IGNORECASE,
)


def plain_path(path: str) -> bool:
    """Whether a path that a node named leads to a file whose content may be asked for: no credential by its name.

    The collector refuses to read those in any case, and then the whole follow-up of the node is lost.
    """
    return safe_path(path) and not _CLOSED.search(path)


def answers_of(observations: Iterable[Observation]) -> tuple[Answer, ...]:
    """Observations of one node as answers: their text made safe, and without the credentials that it may hold."""
    return tuple(_answer(o.key, o.name, bytes(o.body), o.error, o.absent) for o in observations)


# One observation goes to one fact after another.
@lru_cache(maxsize=4)
def _answer(key: str, name: str, body: bytes, error: str, absent: bool) -> Answer:
    text = clean(body.decode("utf-8", "replace").replace("\r\n", "\n"))
    return Answer(key, name, RUN.text(text), RUN.text(error), absent)


def answer(answers: tuple[Answer, ...], key: str, name: str = "") -> str:
    """The text of one answer; empty when it was not given. Whether it failed is in the gaps."""
    return next((a.text for a in answers if a.key == key and name in ("", a.name)), "")

"""``Fact``: the base of every typed, immutable thing that a check may read, and how it is made."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from kdiag.model.observation import Observation
from kdiag.model.result import Gap


@dataclass(frozen=True, slots=True)
class ApiList:
    """One list of the API: asked for once, whatever number of checks read it."""

    key: str
    group_version: str
    resource: str
    namespaced: bool = True
    namespaces: tuple[str, ...] = ()  # read only these, whatever namespace the user asked for

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return self.group_version.rpartition("/")[0]

    def path(self, namespace: str = "") -> str:
        """The URL path of the list, over the cluster or in one namespace."""
        root = f"/apis/{self.group_version}" if self.group else f"/api/{self.group_version}"
        inside = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{root}{inside}/{self.resource}"


@dataclass(frozen=True, slots=True)
class ApiGet:
    """One document of the API that is not a list: ``/readyz?verbose``, ``/version``."""

    key: str
    url: str


@dataclass(frozen=True, slots=True)
class PodLog:
    """The last lines of some containers' logs; which ones is decided when the pods are known."""

    key: str = "log"


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What is known of the run itself: when it was taken, of which cluster, in which namespace."""

    key: str = "run"


@dataclass(frozen=True, slots=True)
class NodeCommand:
    """One read-only command, run on each node. A constant: nothing of it comes from a cluster.

    With ``sudo`` it needs root. ``seconds`` and ``limit`` (bytes) bound it. Several commands may share a key; ``name``
    then tells their answers apart. As text it is the command line.
    """

    key: str
    argv: tuple[str, ...]
    sudo: bool = False
    seconds: int = 5
    limit: int = 262_144
    name: str = ""
    # The exit codes that are answers; empty for what is usual for the program (0, and for grep 1 as well).
    answers: tuple[int, ...] = ()

    def __str__(self) -> str:
        return shlex.join([*(("sudo",) if self.sudo else ()), *self.argv])


@dataclass(frozen=True, slots=True)
class NodeFollow:
    """What is asked of a node when its first answers are known: the files that they name."""

    key: str


Source = ApiList | ApiGet | PodLog | RunInfo | NodeCommand | NodeFollow


class Builder(Protocol):
    """Takes the observations of one fact as they arrive and makes the fact of them."""

    def feed(self, seen: Observation) -> None:
        """Take one observation; never raises for what is in it."""

    def finish(self) -> Fact:
        """The fact made of all that was fed."""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One kind of typed data, with the gaps: what was asked for and not seen."""

    sources: ClassVar[tuple[Source, ...]] = ()
    #: Whether what is derived from it is right without it, and only says less.
    spare: ClassVar[bool] = True
    gaps: tuple[Gap, ...] = ()

    @property
    def blank(self) -> bool:
        """Whether it was asked for and nothing of it was seen: not to be taken for an empty answer."""
        return False

    @classmethod
    def builder(cls) -> Builder:
        """A fresh builder of this fact."""
        raise NotImplementedError(cls.__name__)


@dataclass(frozen=True, kw_only=True)
class Derived(Fact):
    """A fact made of other facts; the parameters of ``derive`` say which."""

    @classmethod
    def derive(cls, *facts: Any, **named: Any) -> Self:
        """Make it. Pure; the engine adds the gaps of the facts it was made of."""
        raise NotImplementedError(cls.__name__)


class Named(Protocol):
    """An object with metadata."""

    @property
    def namespace(self) -> str: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102


T = TypeVar("T", bound=Named)


@dataclass(frozen=True, kw_only=True)
class Objects(Fact, Generic[T]):
    """The objects of one kind. ``scope`` is the namespace they were read in; empty means all."""

    item: ClassVar[type[Any]]
    spare: ClassVar[bool] = False
    #: Whether every cluster has the kind. Of another, that the API does not know it means that there is none.
    installed: ClassVar[bool] = True
    items: tuple[T, ...] = field(default=())
    scope: str = ""

    @property
    def blank(self) -> bool:
        """Whether the list could not be read at all."""
        return bool(self.gaps) and not self.items

    @cached_property
    def _index(self) -> Mapping[str, Mapping[str, T]]:
        found: dict[str, dict[str, T]] = {}
        for item in self.items:
            found.setdefault(item.namespace, {})[item.name] = item
        return found

    @cached_property
    def _namespaces(self) -> Mapping[str, tuple[T, ...]]:
        found: dict[str, list[T]] = {}
        for item in self.items:
            found.setdefault(item.namespace, []).append(item)
        return {namespace: tuple(items) for namespace, items in found.items()}

    def get(self, name: str, namespace: str = "") -> T | None:
        """The object of that name, or None when it was looked for and is not there."""
        return self._index.get(namespace, {}).get(name)

    def within(self, namespace: str) -> tuple[T, ...]:
        """The objects of one namespace."""
        return self._namespaces.get(namespace, ())

    def covers(self, namespace: str) -> bool:
        """Whether the objects of that namespace were read at all."""
        return not self.gaps and (not self.scope or self.scope == namespace)

    def __iter__(self) -> Any:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __bool__(self) -> bool:
        return True  # an empty list was seen all the same

    @classmethod
    def adapt(cls, item: T) -> T | None:
        """Last touch to an object on its way in: secrets are taken out of it, or (None) it is not kept."""
        return item

    @classmethod
    def builder(cls) -> Builder:
        """Read every page of the kind's list."""
        from kdiag.facts.wire import ListBuilder

        return ListBuilder(cls)

    @classmethod
    def of(cls, items: Iterable[T], **more: Any) -> Self:
        """The fact over these objects, for tests and derived facts."""
        return cls(items=tuple(items), **more)

"""What the screen and the process that reads for it say to each other. Plain values; no textual in sight."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdiag.engine.correlate import Node
    from kdiag.engine.runbook import Step
    from kdiag.engine.verdict import Verdict
    from kdiag.model.result import Finding
    from kdiag.report.node import Picture


# From the screen


@dataclass(frozen=True, slots=True)
class Run:
    """Read and judge; the first thing that is said, and said once."""

    options: argparse.Namespace


@dataclass(frozen=True, slots=True)
class Watch:
    """Said in the place of Run: look at one finding again and again, and read no more than that takes."""

    options: argparse.Namespace
    check_id: str
    finding: Finding
    pause: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Follow a request from this object. Answered with Hops."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Machine:
    """All about one node. Answered with NodeSeen."""

    name: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """What happened, in order. Answered with a tuple of Moment."""


@dataclass(frozen=True, slots=True)
class Save:
    """Write what was read into a new folder. Answered with a line that says so."""

    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """Fill a runbook page in with a finding's objects and what is around them. Answered with a Page."""

    check_id: str
    finding: Finding | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStep:
    """Run one step of a page, with what the steps before it have set. Answered with an Outcome."""

    step: Step
    values: Mapping[str, str]
    finding: Finding | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, with the number that its answer will bear."""

    number: int
    request: object


# From the process that reads


@dataclass(frozen=True, slots=True, kw_only=True)
class Expects:
    """These will be read."""

    names: tuple[str, ...]
    node: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """This is being read."""

    name: str
    node: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """This was read, or could not be and why."""

    name: str
    error: str = ""
    node: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """Something that the run has to say of itself."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The verdict without its causes, which follow in ``parts`` pieces, so that no piece takes long to take in.

    Not ``final``: of what has been read so far. ``provisional`` are the fingerprints of findings whose cause may be
    among what is still unread.
    """

    verdict: Verdict
    parts: int
    final: bool
    provisional: frozenset[str] = frozenset()
    namespaces: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the causes, or of the remarks, in order."""

    nodes: tuple[Node, ...]
    remarks: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing could be read, and why; ``code`` is the exit code of the same run without a screen."""

    text: str
    code: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """One look at a finding: ``state`` is cleared, there or unseen. ``instead`` is what took its place."""

    state: str
    reason: str = ""
    instead: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request came to: its type is said where the request is."""

    number: int
    value: Any


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request came to nothing."""

    number: int
    text: str


#: Of a timeline, so many moments are told, the newest.
MOMENTS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One thing that happened. ``when`` is an RFC 3339 time; ``kind`` is finding, event, change or node."""

    when: str
    kind: str
    what: str
    detail: str = ""
    warning: bool = False
    fingerprint: str = ""
    namespace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of a node's journal; ``means`` says what it means, ``matched`` that a finding quotes it."""

    when: str
    text: str
    means: str = ""
    error: bool = False
    matched: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSeen:
    """A node's picture with what a screen shows besides it."""

    picture: Picture
    journals: dict[str, tuple[LogLine, ...]] = field(default_factory=dict)
    certificates: tuple[tuple[str, float], ...] = ()  # name, days left

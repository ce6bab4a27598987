"""What a page is made of, and what comes of walking it."""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from kdiag.model.result import Finding


class Kind(enum.Enum):
    """What a step is."""

    SET = "set"  # sets variables to what is known; nothing runs
    RUN = "run"  # may be run; a step that sets a variable to what commands print is one as well
    COPY = "copy"  # for a person to copy: ``refused`` says why


@dataclass(frozen=True, slots=True)
class Expect:
    """Something that the page names in inline code beside a command. ``wanted`` is False where it says "no …"."""

    text: str
    wanted: bool = True

    @property
    def pattern(self) -> re.Pattern[str]:
        """Finds it in a line: ``…`` stands for anything, blanks for blanks, and words are whole words."""
        return pattern(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One of the page's conclusions. ``text`` is Markdown; ``pages`` are the ids of the pages that it leads to.

    ``expects`` are what its condition names, ``numbers`` the ports and counts among that: one of them has to be in a
    line with it.
    """

    text: str
    expects: tuple[Expect, ...] = ()
    numbers: tuple[str, ...] = ()
    pages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command line of a page.

    ``text`` is as the page has it, ``command`` has the values in it and is what runs and what is copied. ``missing``
    are the variables for which the finding names nothing: a person has to set them. ``sets`` are the variables that
    it gives to the steps after it. ``node`` is the node it runs on, empty for this machine. ``by_hand``: the page
    itself leaves it to a person.
    """

    number: int
    kind: Kind
    text: str
    command: str
    comment: str = ""
    node: str = ""
    sets: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    refused: str = ""
    by_hand: bool = False

    @property
    def runs(self) -> bool:
        """Whether it can be run as it is, once the steps before it are."""
        return self.kind is Kind.RUN and not self.missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Steps that stand together: the prose before and after them (Markdown), what to look for, and where it leads."""

    steps: tuple[Step, ...]
    before: str = ""
    after: str = ""
    expects: tuple[Expect, ...] = ()
    branches: tuple[Branch, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One entry of Mitigation, only ever quoted. ``undo`` is what the page says of the way back."""

    text: str
    commands: tuple[str, ...] = ()
    undo: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page. ``meaning``, ``impact``, ``closing`` and ``mitigation`` are Markdown; links are as on the page.

    ``values`` holds each variable that a step may read and that is known; ``unfilled`` those for which a filled page
    has only the page's own example.
    """

    check_id: str
    title: str
    meaning: str = ""
    impact: str = ""
    blocks: tuple[Block, ...] = ()
    closing: str = ""
    mitigation: str = ""
    remedies: tuple[Remedy, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    unfilled: tuple[str, ...] = ()
    finding: Finding | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps in order."""
        return tuple(step for block in self.blocks for step in block.steps)

    def block_of(self, step: Step) -> Block:
        """The block in which this step stands."""
        return next(b for b in self.blocks if any(s.number == step.number for s in b.steps))


@dataclass(frozen=True, slots=True)
class Mark:
    """A part of an output line that the page names."""

    line: int
    start: int
    end: int
    expect: Expect


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What an output says in the page's words: the parts that it names, and the branches that they point to."""

    marks: tuple[Mark, ...] = ()
    branches: tuple[Branch, ...] = ()

    @property
    def lines(self) -> frozenset[int]:
        """The numbers of the marked lines, from 0."""
        return frozenset(mark.line for mark in self.marks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a step.

    ``lines`` are fit to be shown. ``status`` is the exit code; None where nothing ran or ended. ``refused`` says why
    nothing was run, ``error`` what kept it from its end. ``via`` says who answered: ``kubectl``, ``kdiag``, a node's
    name, ``recording``. ``left`` counts lines that are not kept. ``sets`` are the variables that it gave.
    """

    lines: tuple[str, ...] = ()
    status: int | None = None
    took: float = 0.0
    refused: str = ""
    error: str = ""
    via: str = ""
    left: int = 0
    sets: Mapping[str, str] = field(default_factory=dict)

    @property
    def ran(self) -> bool:
        """Whether there is an answer to read, be it an empty one."""
        return self.status is not None


class Runs(Protocol):
    """Who runs steps: against a cluster, or against a recording. One step at a time."""

    def run(self, step: Step, values: Mapping[str, str]) -> Outcome:
        """Run one step; ``values`` are the page's and those that earlier steps gave. Never raises for what it meets."""

    def close(self) -> None:
        """Let the connections go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """A page, and what came of the steps that were run, by their number."""

    page: Page
    outcomes: Mapping[int, Outcome] = field(default_factory=dict)
    marks: Mapping[int, Marks] = field(default_factory=dict)

    def branches(self, block: Block) -> tuple[Branch, ...]:
        """The branches that the outputs of this block point to, in the page's order."""
        found = {b for step in block.steps for b in self.marks.get(step.number, Marks()).branches}
        return tuple(b for b in block.branches if b in found)


@functools.cache
def pattern(text: str) -> re.Pattern[str]:
    """Finds a text in a line: ``…`` stands for anything, blanks for blanks, and words are whole words."""
    parts = []
    for part in re.split(r"(…|\.\.\.|\s+)", text):
        if part in ("…", "..."):
            parts.append(r".*?")
        elif part.isspace():
            parts.append(r"\s+")
        else:
            parts.append(re.escape(part))
    lead = r"(?<![\w-])" if re.match(r"\w", text) else ""
    tail = r"(?![\w-])" if re.search(r"\w$", text) else ""
    return re.compile(lead + "".join(parts) + tail)

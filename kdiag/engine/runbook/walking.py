"""Walking a page: its steps in order, and what their outputs say in the page's words."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from kdiag.engine.runbook.page import (
    Block,
    Branch,
    Expect,
    Kind,
    Mark,
    Marks,
    Outcome,
    Page,
    Runs,
    Step,
    Walked,
    pattern,
)


def walk(page: Page, runs: Runs, tell: Callable[[Step], None] = lambda _: None) -> Walked:
    """Run every step that may run, in order; each has what those before it found out. ``tell`` is told before each."""
    values = dict(page.values)
    outcomes: dict[int, Outcome] = {}
    marks: dict[int, Marks] = {}
    for block in page.blocks:
        for step in block.steps:
            if step.kind is not Kind.RUN or step.missing:
                continue
            tell(step)
            outcome = outcomes[step.number] = runs.run(step, values)
            values |= outcome.sets
            if not step.sets:
                marks[step.number] = mark(block, outcome.lines)
    return Walked(page=page, outcomes=outcomes, marks=marks)


def mark(block: Block, lines: Sequence[str]) -> Marks:
    """What these output lines of one of the block's steps say in the page's words."""
    marks: list[Mark] = []
    head = lines[0].split() if lines and lines[0].isupper() else []
    for number, line in enumerate(lines):
        for expect in block.expects:
            for match in _in_table(expect, head).finditer(line[:4096]):
                # The head of a table names its columns; that says nothing yet.
                if match.end() > match.start() and (number or not head):
                    marks.append(Mark(number, match.start(), match.end(), expect))
    branches = [b for b in block.branches if b.expects and _holds(b, marks, lines)]
    return Marks(marks=tuple(marks), branches=tuple(branches))


def _in_table(expect: Expect, head: Sequence[str]) -> re.Pattern[str]:
    """``ENDPOINTS <unset>`` of a table is ``<unset>`` below the heading ENDPOINTS."""
    name, _, value = expect.text.partition(" ")
    return pattern(value) if value and name.isupper() and name in head else expect.pattern


def _holds(branch: Branch, marks: Sequence[Mark], lines: Sequence[str]) -> bool:
    """Whether an output meets the condition of a branch: any of the things that it names.

    That something is missing proves nothing: it may be another step that would have shown it.
    """
    texts = {e.text for e in branch.expects if e.wanted}
    hits = [lines[m.line] for m in marks if m.expect.text in texts]
    return any(not branch.numbers or any(re.search(rf"\b{n}\b", line) for n in branch.numbers) for line in hits)

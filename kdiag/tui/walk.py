"""A runbook page as it is walked: filled in with a finding's own objects, and what its steps have said so far."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from kdiag.engine.runbook import Outcome, Page, Step, fill, mark, page
from kdiag.tui.glyphs import FANCY, Glyphs
from kdiag.tui.page import Line
from kdiag.tui.pages.runbook import Result, runbook_page

if TYPE_CHECKING:
    from kdiag.model.result import Finding


class Walk:
    """One page for one finding. Raises UsageError where there is no such page."""

    def __init__(self, check_id: str, finding: Finding | None = None) -> None:
        self.check_id = check_id
        self.finding = finding
        self.results: dict[int, Result] = {}
        self.unfolded: set[int] = set()
        self.page: Page = fill(page(check_id), finding)
        self.values: dict[str, str] = dict(self.page.values)

    def filled(self, page: Page) -> None:
        """Take the page as it is filled in now that more is known; not once steps have run."""
        if not self.results:
            self.page = page
            self.values = dict(page.values)

    def lines(self, signs: Glyphs = FANCY) -> list[Line]:
        """The page as it is now."""
        return runbook_page(self.page, self.results, signs, unfolded=frozenset(self.unfolded))

    def step(self, number: int) -> Step | None:
        """The step of that number."""
        return next((s for s in self.page.steps if s.number == number), None)

    @property
    def runnable(self) -> list[Step]:
        """The steps that can be run, in order; those that set what others read come along."""
        return [s for s in self.page.steps if s.runs]

    @property
    def running(self) -> bool:
        """Whether a step has not come back yet."""
        return any(result.running for result in self.results.values())

    def began(self, step: Step) -> None:
        """A step is being run."""
        self.results[step.number] = Result(running=True)

    def ended(self, step: Step, outcome: Outcome) -> None:
        """It has said what it has to say."""
        self.values |= outcome.sets
        marks = mark(self.page.block_of(step), outcome.lines) if outcome.ran and not step.sets else None
        words = [f"{outcome.via}, {outcome.took:.1f} s" if outcome.via else f"{outcome.took:.1f} s"]
        if outcome.status:
            words.append(f"exit code {outcome.status}")
        if outcome.left:
            words.append(f"{outcome.left:,} more lines are not kept")
        result = Result(
            lines=outcome.lines,
            note="" if outcome.refused else ", ".join(words),
            error=f"not run: {outcome.refused}" if outcome.refused else outcome.error,
        )
        self.results[step.number] = dataclasses.replace(result, marks=marks) if marks else result

    def refused(self, step: Step, text: str) -> None:
        """It could not be run."""
        self.results[step.number] = Result(error=text)

    def turn(self, number: int) -> None:
        """Show all of a step's output, or again only what tells."""
        self.unfolded ^= {number}

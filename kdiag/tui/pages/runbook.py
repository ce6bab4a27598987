"""A runbook page: what it means, the steps with the finding's own objects and what they said, and the way to mend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from kdiag.engine.runbook import Block, Kind, Marks, Page, Step
from kdiag.tui.glyphs import FANCY, Glyphs, literal
from kdiag.tui.page import Action, Line, Span, line
from kdiag.tui.prose import prose

#: Of an output, this many lines are shown at first.
FEW = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one step said. ``running``: it has said nothing yet. ``open``: all of its lines are shown."""

    lines: tuple[str, ...] = ()
    marks: Marks = field(default_factory=Marks)
    note: str = ""
    error: str = ""
    running: bool = False
    seconds: float = 0.0


def runbook_page(
    page: Page,
    results: Mapping[int, Result] | None = None,
    signs: Glyphs = FANCY,
    *,
    unfolded: frozenset[int] = frozenset(),
) -> list[Line]:
    """The whole page. ``unfolded`` are the numbers of the steps of whose output all is shown."""
    return list(_Runbook(page, results or {}, signs, unfolded).lines())


class _Runbook:
    def __init__(self, page: Page, results: Mapping[int, Result], signs: Glyphs, unfolded: frozenset[int]) -> None:
        self._page = page
        self._results = results
        self._signs = signs
        self._unfolded = unfolded
        self._group = page.check_id.partition("/")[0]

    def lines(self) -> Iterator[Line]:
        yield line((literal(self._page.title, plain=self._signs.plain), "title"))
        yield line((self._page.check_id, "dim"))
        for title, text in (("MEANING", self._page.meaning), ("IMPACT", self._page.impact)):
            if text:
                yield from self._section(title)
                yield from prose(text, self._group, self._signs)
        if self._page.blocks or self._page.closing:
            runs = sum(step.runs for step in self._page.steps)
            yield from self._section("DIAGNOSIS", f"x runs a step, X all {runs}; all of them only look" if runs else "")
        for number, block in enumerate(self._page.blocks):
            if number:
                yield line()
            yield from self._block(block)
        if self._page.closing:
            yield line()
            yield from prose(self._page.closing, self._group, self._signs)
        yield from self._mitigation()

    def _section(self, title: str, remark: str = "") -> Iterator[Line]:
        yield line()
        yield line((title, "head"), (f"  {remark}" if remark else "", "dim"))

    def _block(self, block: Block) -> Iterator[Line]:
        if block.before:
            yield from prose(block.before, self._group, self._signs)
            yield line()
        pointed = []
        for step in block.steps:
            yield from self._step(step)
            result = self._results.get(step.number)
            if result:
                pointed += [b for b in result.marks.branches if b not in pointed]
        if block.after:
            yield line()
            yield from prose(block.after, self._group, self._signs)
        for branch in pointed:
            yield line(
                (f"{self._signs.prompt} it points to: ", "mark"),
                (literal(branch.text, plain=self._signs.plain), "bold"),
                hang=2,
            )
            for target in branch.pages:
                yield line(
                    (f"{self._signs.arrow} go to ", "mark"), (target, "link"), bar="  ", action=Action("page", target)
                )

    def _step(self, step: Step) -> Iterator[Line]:
        lead = f"{step.node}$ " if step.node else "$ "
        text, *more = step.command.split("\n")
        style = "command" if step.kind is Kind.RUN else "set" if step.kind is Kind.SET else "copied"
        remark = f"   # {step.comment}" if step.comment else ""
        if step.missing:
            remark = f"   # set {', '.join(step.missing)} first: the finding does not name it"
        yield line(
            (literal(lead, plain=self._signs.plain), "prompt"),
            (literal(text, plain=self._signs.plain), style),
            (literal(remark, plain=self._signs.plain) if remark and not more else "", "dim"),
            bar="  ",
            hang=4,
            copies=step.command,
            action=Action("run", str(step.number)) if step.runs else None,
        )
        for rest in more:
            yield line((literal(rest, plain=self._signs.plain), style), bar="    ", hang=4)
        if step.kind is Kind.COPY and step.refused:
            yield line((f"copy only: {literal(step.refused, plain=self._signs.plain)}", "dim"), bar="    ", hang=2)
        result = self._results.get(step.number)
        if result is not None:
            yield from self._result(step, result)

    def _result(self, step: Step, result: Result) -> Iterator[Line]:
        edge = f"    {self._signs.pipe} "
        if result.running:
            yield line(("running", "warn"), (self._signs.dots, "warn"), bar=edge)
            return
        open_ = step.number in self._unfolded
        shown = range(len(result.lines)) if open_ else _telling(result)
        last = -1
        for number in shown:
            if number > last + 1:
                yield self._more(step, number - last - 1, edge)
            yield line(*self._marked(result, number), bar=edge, hang=2)
            last = number
        if last + 1 < len(result.lines):
            yield self._more(step, len(result.lines) - last - 1, edge)
        if result.error:
            style = "dim" if result.error.endswith("the recording does not hold it") else "error"
            yield line((literal(result.error, plain=self._signs.plain), style), bar=edge)
        elif not result.lines:
            yield line(("no output", "dim"), bar=edge)
        if result.note:
            yield line((literal(result.note, plain=self._signs.plain), "dim"), bar=edge)

    def _more(self, step: Step, count: int, edge: str) -> Line:
        return line(
            (f"{self._signs.dots} {count:,} more {'line' if count == 1 else 'lines'}: enter shows them", "dim"),
            bar=edge,
            action=Action("unfold", str(step.number)),
        )

    def _marked(self, result: Result, number: int) -> Iterator[Span]:
        text = result.lines[number]
        last = 0
        for mark in sorted((m for m in result.marks.marks if m.line == number), key=lambda m: m.start):
            if mark.start < last:
                continue
            yield literal_part(text[last : mark.start], self._signs), "shown"
            yield literal_part(text[mark.start : mark.end], self._signs), "mark"
            last = mark.end
        yield literal_part(text[last:], self._signs), "shown"

    def _mitigation(self) -> Iterator[Line]:
        if not self._page.remedies:
            return
        yield from self._section("MITIGATION", "only ever copied, never run")
        for number, remedy in enumerate(self._page.remedies):
            if number:
                yield line()
            yield from prose(remedy.text, self._group, self._signs)
            if remedy.undo and remedy.commands and remedy.undo not in " ".join(remedy.text.split()):
                yield line(
                    ("undo  ", "label"), (literal(remedy.undo, plain=self._signs.plain), "dim"), bar="  ", hang=6
                )


def literal_part(text: str, signs: Glyphs) -> str:
    """A part of a line as it may stand on a screen; its blanks stay."""
    inner = text.strip(" ")
    if not inner:
        return text
    lead = len(text) - len(text.lstrip(" "))
    return " " * lead + literal(inner, plain=signs.plain) + " " * (len(text) - lead - len(inner))


def _telling(result: Result) -> list[int]:
    """The first lines, and those that the page speaks of."""
    total = len(result.lines)
    if total <= FEW + 2:
        return list(range(total))
    head = FEW // 2 if result.marks.lines else FEW
    return sorted({*range(head), *sorted(n for n in result.marks.lines if n >= head)[:FEW]})

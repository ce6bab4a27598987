"""Steps as text and as a document: what ``kdiag trace`` and ``kdiag doctor`` print."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kdiag import __version__
from kdiag.model.step import State, Step, outcome
from kdiag.model.text import clean_line
from kdiag.report.style import Style

_MARKS = {State.OK: "✓", State.BROKEN: "✗", State.UNKNOWN: "?", State.ABSENT: "–"}
_PLAIN = {State.OK: "ok", State.BROKEN: "X ", State.UNKNOWN: "? ", State.ABSENT: "- "}
_COLORS = {State.OK: "green", State.BROKEN: "red", State.UNKNOWN: "yellow", State.ABSENT: "dim"}


def render_steps(steps: Sequence[Step], style: Style, *, wide: bool = False, signs: bool = True) -> str:
    """One step a line; the command that shows it below each that is not well, or (``wide``) below each that has one.

    ``signs`` is False where the output cannot show a check mark.
    """
    marks = _MARKS if signs else _PLAIN
    column = min(44, max((len(s.title) + 2 * s.level for s in steps), default=0))
    lines: list[str] = []
    for step in steps:
        lines += _step(step, style, marks[step.state], column, wide)
    return "".join(f"{line}\n" for line in lines)


def _step(step: Step, style: Style, mark: str, column: int, wide: bool) -> Iterator[str]:
    indent = "  " * step.level
    title, detail = clean_line(step.title), clean_line(step.detail)
    head = f"{indent}{style.paint(mark, _COLORS[step.state])} "
    strong = style.paint(title, "bold") if step.state is State.BROKEN else title
    pad = " " * max(0, column - len(title) - len(indent))
    under = len(indent) + len(mark) + 1
    start = under + len(title) + len(pad) + 2
    if not detail:
        yield f"{head}{strong}"
    elif start + min(len(detail), 24) > style.width:
        yield f"{head}{strong}"
        for line in textwrap.wrap(detail, max(20, style.width - under - 2), break_on_hyphens=False):
            yield f"{' ' * (under + 2)}{line}"
    else:
        first, *rest = textwrap.wrap(detail, max(20, style.width - start), break_on_hyphens=False)
        yield f"{head}{strong}{pad}  {first}"
        for line in rest:
            yield f"{' ' * start}{line}"
    if step.command and (wide or step.state is not State.OK):
        yield f"{' ' * (under + 2)}{style.paint(f'$ {clean_line(step.command)}', 'dim')}"


def steps_document(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """The steps as plain values."""
    return [
        {
            "state": s.state.value,
            "title": clean_line(s.title),
            "detail": clean_line(s.detail),
            "command": clean_line(s.command),
            "object": {"kind": s.ref.kind, "namespace": s.ref.namespace, "name": s.ref.name} if s.ref else None,
            "level": s.level,
            "blocks": s.blocks,
        }
        for s in steps
    ]


def render_steps_json(schema: str, head: Mapping[str, Any], name: str, steps: Sequence[Step]) -> str:
    """The document as JSON; every character that is not ASCII is escaped."""
    document = {
        "schema": schema,
        "kdiag": __version__,
        **head,
        "state": outcome(steps).value,
        name: steps_document(steps),
    }
    return json.dumps(document, indent=2, ensure_ascii=True) + "\n"

"""The way of a request, hop by hop, drawn from the top down; the hop that is broken stands out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kdiag.model.step import State, Step, outcome
from kdiag.model.text import plural
from kdiag.tui.glyphs import FANCY, Glyphs, literal
from kdiag.tui.page import Action, Line, line

STYLES = {State.OK: "good", State.BROKEN: "critical", State.UNKNOWN: "warn", State.ABSENT: "dim"}


def trace_page(steps: Sequence[Step], signs: Glyphs = FANCY) -> list[Line]:
    """All hops."""
    broken = sum(s.state is State.BROKEN for s in steps)
    said = {
        State.OK: ("every hop that can be seen is well", "good"),
        State.BROKEN: (f"{plural(broken, 'hop')} broken: what lies behind is not judged", "critical"),
        State.UNKNOWN: ("a hop could not be seen", "warn"),
    }[outcome(steps)]
    lines = [line(said), line()]
    for number, step in enumerate(steps):
        lines += _hop(step, signs, last=number == len(steps) - 1)
    return lines


def _hop(step: Step, signs: Glyphs, *, last: bool) -> Iterator[Line]:
    rail = "    " * step.level
    style = STYLES[step.state]
    action = None
    if step.ref is not None:
        if step.ref.kind == "Node":
            action = Action("node", step.ref.name)
        elif step.ref.kind in ("Service", "Ingress", "Pod"):
            action = Action("trace", f"{step.ref.kind}/{step.ref.namespace}/{step.ref.name}")
    strong = "critical" if step.state is State.BROKEN else "bold"
    yield line(
        (f"{signs.state[step.state]} ", style),
        (literal(step.title, plain=signs.plain), strong),
        bar=rail,
        hang=2,
        action=action,
        copies=step.command,
    )
    if step.detail:
        tone = "critical" if step.state is State.BROKEN else "warn" if step.state is State.UNKNOWN else ""
        yield line((literal(step.detail, plain=signs.plain), tone), bar=f"{rail}{signs.rail}   ")
    if step.command and step.state is not State.OK:
        yield line(
            ("$ ", "prompt"),
            (literal(step.command, plain=signs.plain), "command"),
            bar=f"{rail}{signs.rail}   ",
            hang=2,
            copies=step.command,
        )
    if not last:
        yield line((f"{rail}{signs.rail}", "rule"))

"""What happened, on one axis of time: findings, changes, what nodes and events say. The newest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from kdiag.model.text import duration
from kdiag.tui.glyphs import FANCY, Glyphs, literal
from kdiag.tui.messages import MOMENTS, Moment
from kdiag.tui.model import moment
from kdiag.tui.page import Action, Line, line

_STYLES = {"finding": "critical", "symptom": "warn", "event": "", "node": "info", "change": "new"}


def timeline_page(moments: Sequence[Moment], taken: str, signs: Glyphs = FANCY) -> list[Line]:
    """All moments, a line each, with a heading for every day."""
    if not moments:
        return [line(("nothing that was read bears a time", "dim"))]
    now = moment(taken)
    lines: list[Line] = []
    day = ""
    for one in moments:
        when = moment(one.when)
        if one.when[:10] != day:
            day = one.when[:10]
            lines += [line(), line((literal(day), "head"))] if lines else [line((literal(day), "head"))]
        ago = duration(max(now - when, timedelta())) if now and when else ""
        style = _STYLES.get(one.kind, "")
        mark = {"finding": "✖", "symptom": "└", "change": "✚", "node": "■"}.get(one.kind, "●" if one.warning else "·")
        if signs.plain:
            mark = {"finding": "X", "symptom": "`", "change": "+", "node": "#"}.get(
                one.kind, "*" if one.warning else "."
            )
        tone = style or ("warn" if one.warning else "dim")
        lead = f"{literal(one.when[11:19]):<8} {ago:>7} "
        lines.append(
            line(
                (lead, "dim"),
                (f"{mark} ", tone),
                (literal(one.what, plain=signs.plain), "bold" if one.kind == "finding" else ""),
                (f"  {literal(one.detail, plain=signs.plain)}" if one.detail else "", "dim"),
                hang=len(lead) + 2,
                action=Action("finding", one.fingerprint) if one.fingerprint else None,
            )
        )
    if len(moments) >= MOMENTS:
        lines += [line(), line((f"only the newest {MOMENTS:,} are here", "warn"))]
    return lines

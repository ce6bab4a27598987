"""One node: what touches it, its vitals as bars, its units, the tail of its journal, its certificates."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.model.step import State
from kdiag.report.node import Picture, Row
from kdiag.tui.glyphs import FANCY, Glyphs, literal
from kdiag.tui.messages import LogLine, NodeSeen
from kdiag.tui.page import Action, Line, line
from kdiag.tui.pages.finding import STYLES as SEVERITIES

_STATES = {State.OK: "", State.BROKEN: "error", State.UNKNOWN: "warn", State.ABSENT: "dim"}
_MANY, _FULL = 0.80, 0.90
_LABEL = 14
_BAR = 20
_YEAR_BAR = 6  # beside it, the longest path of kubeadm fits into 80 columns
_YEAR = 365.0
_SOON = 30.0


def node_page(seen: NodeSeen, signs: Glyphs = FANCY) -> list[Line]:
    """The whole page."""
    found = seen.picture
    lines = list(_causes(found, signs))
    label = ""
    for row in found.rows:
        if row.label in ("kubelet log", "runtime log"):
            continue
        if row.label == "certificates" and seen.certificates:
            lines += _certificates(seen, signs)
        else:
            lines += _row(row, "" if row.label == label else row.label, signs)
        label = row.label
    for title, log in seen.journals.items():
        lines += _journal(title, log, signs)
    lines += _unseen(found, signs)
    return lines


def _causes(found: Picture, signs: Glyphs) -> Iterator[Line]:
    for cause in found.causes:
        yield line(
            (f"{signs.severity[cause.worst]} ", SEVERITIES[cause.worst]),
            (literal(cause.finding.message, plain=signs.plain), "bold"),
            hang=2,
            action=Action("finding", cause.fingerprint),
        )
    if found.causes:
        yield line()


def _row(row: Row, label: str, signs: Glyphs) -> Iterator[Line]:
    style = _STATES[row.state]
    mark = "" if row.state is State.OK else f"{signs.state[row.state]} "
    bar = () if row.share is None else meter(row.share, signs)
    yield line(
        (f"{label:<{_LABEL}}", "label"),
        *bar,
        (mark, style),
        (literal(row.text, plain=signs.plain), style),
        hang=_LABEL,
    )
    for more in row.more:
        yield line((literal(more, plain=signs.plain), style or "dim"), bar=" " * _LABEL, hang=2)


def meter(share: float, signs: Glyphs, style: str = "") -> tuple[tuple[str, str], ...]:
    """A bar of how much is used."""
    share = min(1.0, max(0.0, share))
    color = style or ("error" if share >= _FULL else "warn" if share >= _MANY else "good")
    full = round(share * _BAR)
    return ((signs.bar * full, color), (signs.gap * (_BAR - full), "rule"), (f" {share:4.0%} ", color))


def _certificates(seen: NodeSeen, signs: Glyphs) -> Iterator[Line]:
    if seen.certificates:
        yield line((f"{'certificates':<{_LABEL}}", "label"), ("days left, of a year", "dim"))
    for path, days in seen.certificates:
        style = "error" if days <= 0 else "warn" if days < _SOON else "good"
        full = round(min(1.0, max(0.0, days / _YEAR)) * _YEAR_BAR)
        said = f"expired {-days:,.0f} days ago" if days <= 0 else f"{days:,.0f} days"
        yield line(
            (" " * _LABEL, ""),
            (signs.bar * full, style),
            (signs.gap * (_YEAR_BAR - full), "rule"),
            (f" {said:<8} ", style if style != "good" else ""),
            (literal(path, plain=signs.plain), "dim"),
            hang=_LABEL,
        )


def _journal(title: str, log: tuple[LogLine, ...], signs: Glyphs) -> Iterator[Line]:
    yield line()
    matched = sum(entry.matched for entry in log)
    said = f", {matched} quoted by a finding" if matched else ""
    yield line((f"{title.upper()} JOURNAL", "head"), (f"  the last {len(log)} lines{said}", "dim"))
    for entry in log:
        style = "mark" if entry.matched else "error" if entry.error else ""
        lead = f"{signs.prompt if entry.matched else ' '} {entry.when} "
        yield line(
            (lead, "mark" if entry.matched else "dim"),
            (f"{entry.means}: " if entry.means else "", "bold"),
            (literal(entry.text, plain=signs.plain), style),
            hang=len(lead),
            copies=entry.text if entry.matched else "",
        )


def _unseen(found: Picture, signs: Glyphs) -> Iterator[Line]:
    reasons: dict[str, list[str]] = {}
    for what, reason in found.unseen:
        reasons.setdefault(reason, []).append(what)
    if reasons:
        yield line()
        yield line(("NOT SEEN", "head"))
    for reason, unseen in reasons.items():
        yield line(("? ", "warn"), (literal(f"{', '.join(unseen)}: {reason}", plain=signs.plain), ""), hang=2)

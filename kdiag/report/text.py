"""The verdict as text: causes first, each with its evidence, its symptoms and the next step."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from kdiag.engine.correlate import Node
from kdiag.engine.verdict import Verdict, unknown_reasons
from kdiag.model.result import Evidence, Severity, Status
from kdiag.model.text import listing, plural, shorten
from kdiag.report.style import Style, visible_length

_SHOWN = 3


def render(
    verdict: Verdict, style: Style, *, seconds: float | None = None, wide: bool = False, quiet: bool = False
) -> str:
    """The whole report; with ``quiet`` nothing at all when there is nothing to say."""
    if quiet and not verdict.causes:
        return ""
    lines: list[str] = [_headline(verdict, style, seconds)]
    lines += [style.paint(f"note: {note}", "yellow") for note in verdict.notes]
    for number, cause in enumerate(verdict.causes, 1):
        lines.append("")
        lines += _cause(number, cause, style, wide)
    coverage = list(_coverage(verdict, style, wide))
    if verdict.causes and coverage:
        lines.append("")
    lines += coverage
    return "\n".join(lines) + "\n"


def _headline(verdict: Verdict, style: Style, seconds: float | None) -> str:
    where = " ".join(part for part in (verdict.context, verdict.server) if part) or verdict.source
    if verdict.namespace:
        where += f" namespace {verdict.namespace}"
    parts = [style.paint(where, "bold")]
    if verdict.causes:
        risks = all(c.worst is Severity.RISK for c in verdict.causes)
        parts.append(plural(len(verdict.causes), "risk" if risks else "cause"))
        if verdict.symptoms:
            parts.append(plural(verdict.symptoms, "symptom"))
    elif verdict.complete:
        parts.append(style.paint(f"nothing is wrong: {plural(verdict.count(Status.PASS), 'check')} passed", "green"))
    else:
        parts.append(style.paint("nothing found, but not everything was seen", "yellow"))
    if seconds is not None:
        parts.append(f"{seconds:.1f} s")
    return " · ".join(parts)


def _cause(number: int, node: Node, style: Style, wide: bool) -> Iterator[str]:
    label = node.worst.name
    head = f"{number} {label:<8}  "
    right = node.check.id
    message = node.finding.message
    first, *rest = textwrap.wrap(message, max(30, style.width - len(head)), break_long_words=True) or [message]
    line = f"{number} {style.severity(node.worst, f'{label:<8}')}  {style.paint(first, 'bold')}"
    gap = style.width - visible_length(line) - len(right)
    yield line + (" " * gap + style.paint(right, "dim") if gap >= 2 and not rest else "")
    for more in rest:
        yield " " * len(head) + style.paint(more, "bold")
    indent = "  "
    if gap < 2 or rest:
        yield indent + style.paint(f"check       {right}", "dim")
    for evidence in node.finding.evidence:
        yield from _evidence(evidence, style, wide)
    if node.symptoms:
        yield from _symptoms(node, style, wide)
    for word, step in zip(["next", *[""] * len(node.finding.next)], node.finding.next, strict=False):
        yield from _wrapped(f"{word:<10}  ", step, style, "cyan", wide)
    yield indent + style.paint(f"{'more':<10}  kdiag explain {node.check.id}", "dim")


def _evidence(evidence: Evidence, style: Style, wide: bool) -> Iterator[str]:
    prompt = "$ " if evidence.command else ""
    yield "  " + style.paint(f"{prompt}{evidence.command}" if prompt else "", "dim") if prompt else ""
    width = max(30, style.width - 6)
    text = evidence.shown if wide else shorten(evidence.shown, width * 3)
    for line in textwrap.wrap(text, width, break_long_words=True):
        yield f"      {line}"


def _wrapped(label: str, text: str, style: Style, color: str, wide: bool) -> Iterator[str]:
    # A command is never broken over lines: it is there to be copied.
    yield f"  {label}{style.paint(text, color)}"


def _symptoms(node: Node, style: Style, wide: bool) -> Iterator[str]:
    below = [n for n in node.walk() if n is not node]
    shown = below if wide else below[:_SHOWN]
    lead = f"{'explains':<10}  {len(below)}  "
    room = max(30, style.width - len(lead) - 2)
    for i, symptom in enumerate(shown):
        message = symptom.finding.message
        yield f"  {lead if i == 0 else ' ' * len(lead)}{message if wide else shorten(message, room)}"
    if len(below) > len(shown):
        more = f"and {len(below) - len(shown):,} more (-o wide lists them)"
        yield f"  {' ' * len(lead)}{style.paint(more, 'dim')}"


def _coverage(verdict: Verdict, style: Style, wide: bool) -> Iterator[str]:
    unknown, skipped = verdict.count(Status.UNKNOWN), verdict.count(Status.SKIPPED)
    broken = verdict.of(Status.ERROR)
    if not verdict.causes and not unknown and not broken:
        return
    parts = [f"{verdict.count(Status.PASS)} passed", f"{verdict.count(Status.FAIL)} failed"]
    if unknown:
        parts.append(style.paint(f"{unknown} unknown", "yellow"))
    if skipped:
        parts.append(f"{skipped} {'does' if skipped == 1 else 'do'} not apply")
    if broken:
        parts.append(style.paint(f"{len(broken)} broke", "red"))
    yield f"{plural(len(verdict.results), 'check')}: {', '.join(parts)}"
    reasons = unknown_reasons(verdict)
    for reason, checks in reasons if wide else reasons[:5]:
        text = reason if wide else shorten(reason, max(40, style.width - 30))
        hidden = listing(checks, 99) if wide else plural(len(checks), "check")
        yield f"  {style.paint('unknown', 'yellow')}  {text} ({hidden})"
    if len(reasons) > 5 and not wide:
        yield f"  and {plural(len(reasons) - 5, 'more reason')} (-o wide lists them)"
    partly = [r.check_id for r in verdict.of(Status.FAIL) if r.gaps]
    if partly:
        yield f"  {plural(len(partly), 'failed check')} could not see everything, there may be more: {listing(partly)}"
    for result in broken:
        yield f"  {style.paint('broke', 'red')}  {result.check_id}: {result.reason}"

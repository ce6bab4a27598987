"""The verdict as text: causes first, each with its evidence, its symptoms and the next step."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from kdiag.engine.changes import Change
from kdiag.engine.correlate import Node
from kdiag.engine.verdict import Verdict, unknown_reasons
from kdiag.model.result import Evidence, Severity, Status
from kdiag.model.text import command_in, is_command, listing, plural, shorten
from kdiag.report.style import Style, visible_length

_SHOWN = 3
#: So many causes of one check are shown whole, and so many more by their message alone.
_WHOLE = 3
_BRIEF = 12


def render(
    verdict: Verdict,
    style: Style,
    *,
    seconds: float | None = None,
    wide: bool = False,
    quiet: bool = False,
    changed: Sequence[str] = (),
) -> str:
    """The whole report; with ``quiet`` nothing at all when there is nothing to say.

    ``changed`` are lines on what differs from an earlier run.
    """
    if quiet and not verdict.causes and verdict.complete and verdict.selected:
        return ""
    lines: list[str] = [*_headline(verdict, style, seconds, wide), *changed]
    for note in verdict.notes:
        # Nothing is cut: where a command stands in it, it may break over lines all the same.
        for number, line in enumerate(_wrapped(note, style.width - 6)):
            lines.append(style.paint(f"{'      ' if number else 'note: '}{line}", "yellow"))
    lines += _causes(verdict, style, wide)
    if wide:
        for info in verdict.infos:
            lines.append("")
            lines += cause_lines(0, info, style, wide)
    coverage = list(_coverage(verdict, style, wide))
    if (verdict.causes or (wide and verdict.infos)) and coverage:
        lines.append("")
    lines += coverage
    return "\n".join(lines) + "\n"


def _causes(verdict: Verdict, style: Style, wide: bool) -> Iterator[str]:
    """All causes in their order; what one check says of many objects in a row is told by the first few."""
    alike = Counter(cause.check.id for cause in verdict.causes)
    told: Counter[str] = Counter()
    brief = False
    for number, cause in enumerate(verdict.causes, 1):
        told[cause.check.id] += 1
        nth, total = told[cause.check.id], alike[cause.check.id]
        if wide or nth <= _WHOLE:
            yield ""
            yield from cause_lines(number, cause, style, wide, changed=verdict.changed(cause))
            brief = False
            continue
        if nth > _WHOLE + _BRIEF:
            continue
        if not brief:
            yield ""
            brief = True
        yield from _message(number, cause, style, also=f" (explains {cause.size:,})" if cause.symptoms else "")
        if nth == min(total, _WHOLE + _BRIEF):
            more = f"and {total - nth:,} more of {cause.check.id} " if total > nth else ""
            yield style.paint(f"{'':<12}{more}(-o wide shows all of them whole)", "dim")


def _message(number: int, cause: Node, style: Style, *, also: str = "", bold: bool = False) -> Iterator[str]:
    """The lines that say what is wrong, all of it; ``number`` 0 is a remark."""
    label = f"{number or '-'} {cause.worst.name:<8}  "
    lines = _wrapped(cause.finding.message + also, style.width - len(label))
    first, *rest = (style.paint(line, "bold") for line in lines) if bold else lines
    yield style.severity(cause.worst, label) + first
    for more in rest:
        yield " " * len(label) + more


def _flowed(parts: Sequence[str], joint: str, width: int) -> Iterator[str]:
    """Painted parts in as few lines as they fit into: where a line breaks, it breaks between two of them."""
    line = parts[0]
    for part in parts[1:]:
        if visible_length(line + joint + part) <= width:
            line += joint + part
        else:
            yield line + joint.rstrip(" ·")
            line = f"  {part}"
    yield line


def _headline(verdict: Verdict, style: Style, seconds: float | None, wide: bool) -> list[str]:
    where = " ".join(part for part in (verdict.context, verdict.server) if part)
    where = where or listing(verdict.nodes, 3) or verdict.source
    if verdict.namespace:
        where += f" namespace {verdict.namespace}"
    if verdict.selector:
        where += f" labels {verdict.selector}"
    parts: list[str] = []
    if verdict.causes:
        risks = all(c.worst is Severity.RISK for c in verdict.causes)
        parts.append(plural(len(verdict.causes), "risk" if risks else "cause"))
        if verdict.symptoms:
            parts.append(plural(verdict.symptoms, "symptom"))
    elif verdict.selector and not verdict.selected:
        parts.append(style.paint("nothing that was read has these labels", "yellow"))
    elif verdict.results and verdict.count(Status.SKIPPED) == len(verdict.results):
        why = listing(list(dict.fromkeys(r.reason for r in verdict.of(Status.SKIPPED))), 2)
        parts.append(style.paint(f"nothing was looked at: {why}", "yellow"))
    elif verdict.complete:
        parts.append(style.paint(f"nothing is wrong: {plural(verdict.count(Status.PASS), 'check')} passed", "green"))
    else:
        parts.append(style.paint("nothing found, but not everything was seen", "yellow"))
    if verdict.outside:
        parts.append(f"{plural(verdict.outside, 'other cause')} (without -l)")
    if verdict.infos:
        parts.append(f"{plural(len(verdict.infos), 'remark')}{'' if wide else ' (-o wide)'}")
    if seconds is not None:
        parts.append(f"{seconds:.1f} s")
    elif verdict.taken and not verdict.taken.startswith("1970"):  # a recording: what it says was true then
        parts.append(f"recorded {verdict.taken[:16].replace('T', ' ')} UTC")
    whole = " · ".join([style.paint(where, "bold"), *parts])
    if visible_length(whole) <= style.width:
        return [whole]
    lead, *rest = parts
    return [
        *(style.paint(line, "bold") for line in _wrapped(where, style.width)),
        *_flowed([f"  {lead}", *rest], " · ", style.width),
    ]


def cause_lines(
    number: int, node: Node, style: Style, wide: bool, *, changed: Sequence[tuple[str, Change]] = ()
) -> Iterator[str]:
    """One cause: evidence, what changed before it, symptoms and the next steps; ``number`` 0 is a remark."""
    yield from _message(number, node, style, bold=True)
    for evidence in node.finding.evidence:
        yield from _evidence(evidence, style, wide)
    if changed:
        yield from _changed(changed, style, wide)
    if node.symptoms:
        yield from _symptoms(node, style, wide)
    for i, step in enumerate(node.finding.next):
        yield from step_lines("next" if i == 0 else "", step, style)
    yield f"  {'more':<10}{style.paint(f'$ kdiag explain {node.check.id}', 'dim')}"


def _wrapped(text: str, width: int) -> list[str]:
    if 0 < len(text) <= width and text.isprintable() and text == text.strip():
        return [text]  # nearly every line: textwrap takes ten times as long to find that it fits
    return textwrap.wrap(text, max(30, width), break_long_words=True, break_on_hyphens=False) or [text]


def _evidence(evidence: Evidence, style: Style, wide: bool) -> Iterator[str]:
    if evidence.command:
        prompt = "$ " if evidence.source == "api" else f"{evidence.source}$ "
        yield "  " + style.paint(prompt + evidence.command, "dim")
    width = max(30, style.width - 6)
    shown = evidence.shown if wide else shorten(evidence.shown, width * 3)
    for line in _wrapped(shown, width):
        yield f"      {line}"


def _changed(changed: Sequence[tuple[str, Change]], style: Style, wide: bool) -> Iterator[str]:
    """What changed just before; with ``wide`` all of it, and the command that shows each."""
    shown = changed if wide else changed[:_SHOWN]
    parts = [f"{age}: {change}" for age, change in shown]
    if len(changed) > len(shown):
        parts.append(f"and {len(changed) - len(shown)} more")
    if not wide:
        for i, line in enumerate(_wrapped(" · ".join(parts), style.width - 12)):
            yield f"  {'changed' if i == 0 else '':<10}{line}"
        return
    for i, (part, (_, change)) in enumerate(zip(parts, shown, strict=True)):
        yield f"  {'changed' if i == 0 else '':<10}{part}"
        if change.command:
            yield f"  {'':<10}  {style.paint(f'$ {change.command}', 'dim')}"


def step_lines(label: str, step: str, style: Style) -> Iterator[str]:
    """One next step: its words in lines, a command in it whole."""
    # A command is never broken over lines: it is there to be copied.
    if is_command(step):
        yield f"  {label:<10}{style.paint('$ ' + step, 'cyan')}"
        return
    words, command = command_in(step)
    lines = _wrapped(words, style.width - 12)
    if command:
        lead = f"{lines.pop()} " if len(lines[-1]) + 1 + len(command) <= style.width - 12 else ""
        lines.append(lead + style.paint(command, "cyan"))
    for i, line in enumerate(lines):
        yield f"  {label if i == 0 else '':<10}{line}"


def _symptoms(node: Node, style: Style, wide: bool) -> Iterator[str]:
    below = [n for n in node.walk() if n is not node]
    shown = below if wide else below[:_SHOWN]
    lead = f"{'explains':<10}{len(below)}  "
    room = max(30, style.width - len(lead) - 2)
    for i, symptom in enumerate(shown):
        message = symptom.finding.message
        yield f"  {lead if i == 0 else ' ' * len(lead)}{message if wide else shorten(message, room)}"
    if len(below) > len(shown):
        more = f"and {len(below) - len(shown):,} more (-o wide lists them)"
        yield f"  {' ' * len(lead)}{style.paint(more, 'dim')}"


def _cut(reason: str, room: int) -> str:
    """No longer than that, except for what stands behind the last semicolon: there a reason says what mends it."""
    head, _, remedy = reason.rpartition("; ")
    if len(reason) <= room or not head or len(remedy) > room:
        return shorten(reason, room)
    return f"{shorten(head, room)}; {remedy}"


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
    parts[0] = f"{plural(len(verdict.results), 'check')}: {parts[0]}"
    yield from _flowed(parts, ", ", style.width - 1)
    reasons = unknown_reasons(verdict)
    for reason, checks in reasons if wide else reasons[:5]:
        hidden = f" ({listing(checks, 99) if wide else plural(len(checks), 'check')})"
        width = style.width - len("  unknown  ")
        text = reason if wide else _cut(reason, width * 2 - len(hidden) - 12)
        for i, line in enumerate(_wrapped(text + hidden, width)):
            yield f"  {style.paint('unknown', 'yellow') if i == 0 else ' ' * 7}  {line}"
    if len(reasons) > 5 and not wide:
        yield f"  and {plural(len(reasons) - 5, 'more reason')} (-o wide lists them)"
    partly = [r.check_id for r in verdict.of(Status.FAIL) if r.gaps]
    if partly:
        many = plural(len(partly), "failed check")
        told = f"{many} could not see everything, there may be more: {listing(partly)}"
        yield from (f"  {line}" for line in _wrapped(told, style.width - 2))
    for result in broken:
        for i, line in enumerate(_wrapped(f"{result.check_id}: {result.reason}", style.width - len("  broke  "))):
            yield f"  {style.paint('broke', 'red') if i == 0 else ' ' * 5}  {line}"

"""One finding: what is wrong, the evidence, what to do next, and what it explains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from kdiag.model.result import Evidence, Severity
from kdiag.model.text import command_in, is_command, plural
from kdiag.tui.glyphs import FANCY, Glyphs, literal
from kdiag.tui.model import Row
from kdiag.tui.page import Action, Line, line

if TYPE_CHECKING:
    from kdiag.engine.changes import Change
    from kdiag.engine.correlate import Node

#: The style of each severity.
STYLES: Mapping[Severity, str] = {
    Severity.CRITICAL: "critical",
    Severity.ERROR: "error",
    Severity.WARNING: "warning",
    Severity.INFO: "info",
    Severity.RISK: "risk",
}
_MOST = 200


def finding_page(row: Row, signs: Glyphs = FANCY, *, changed: Sequence[tuple[str, Change]] = ()) -> list[Line]:
    """The page of a row that has a finding."""
    node = row.node
    if node is None:
        return []
    return list(_lines(row, node, signs, changed))


def _lines(row: Row, node: Node, signs: Glyphs, changed: Sequence[tuple[str, Change]]) -> Iterator[Line]:
    def text(value: str) -> str:
        return literal(value, plain=signs.plain)

    style = STYLES[node.severity]
    finding = node.finding
    label = f"{signs.severity[node.severity]} {node.severity.name}"
    extra = []
    if row.gone:
        extra.append(("  gone since the last look", "good"))
    elif row.new:
        extra.append((f"  {signs.new} new since the last look", "new"))
    elif row.provisional:
        extra.append(("  so far: its cause may be among what is still being read", "warn"))
    yield line((label, style), *extra)
    yield line((text(finding.message), "bold"))
    where = [text(str(finding.subject)), node.check.id]
    if finding.since:
        where.append(f"since {text(finding.since[11:19] if len(finding.since) >= 19 else finding.since)} UTC")
    if row.age:
        where[-1] += f" ({row.age})"
    yield line((f" {signs.dot} ".join(where), "dim"))
    if finding.evidence:
        yield line()
        yield line(("EVIDENCE", "head"))
        for evidence in finding.evidence:
            yield from _evidence(evidence, signs)
    if changed:
        yield line()
        yield line(("WHAT CHANGED", "head"))
        for ago, change in changed:
            lead = f"{ago:<12} "
            yield line((lead, "dim"), (text(str(change)), ""), hang=len(lead), copies=change.command)
    if finding.next:
        yield line()
        yield line(("NEXT", "head"))
        for step in finding.next:
            yield from next_step(step, signs)
    yield from _symptoms(node, signs)
    yield line()
    yield line(("RUNBOOK  ", "head"), (text(node.check.title), "link"), action=Action("page", node.check.id), hang=9)


def _evidence(evidence: Evidence, signs: Glyphs) -> Iterator[Line]:
    if evidence.command:
        lead = "$ " if evidence.source == "api" else f"{evidence.source}$ "
        yield line(
            (literal(lead, plain=signs.plain), "prompt"),
            (literal(evidence.command, plain=signs.plain), "command"),
            hang=len(lead),
            copies=evidence.command,
        )
    for part in evidence.shown.split(" ⏎ "):
        yield line((literal(part, plain=signs.plain), "shown"), bar=f"  {signs.pipe} ")


def next_step(step: str, signs: Glyphs) -> Iterator[Line]:
    """One step: a command that can be copied, or a sentence."""
    text = literal(step, plain=signs.plain)
    if is_command(step):
        command, comment = split_comment(text)
        yield line(
            ("$ ", "prompt"), (command, "command"), (comment, "dim"), hang=2, copies=split_comment(step)[0].rstrip()
        )
        return
    words, command = command_in(step)
    yield line((literal(words, plain=signs.plain), ""), hang=2, bar="  ")
    if command:
        yield from next_step(command, signs)


def split_comment(text: str) -> tuple[str, str]:
    """A command and the remark behind it."""
    command, mark, comment = text.partition(" # ")
    return (command.rstrip(), f"   # {comment}") if mark else (text, "")


def _symptoms(node: Node, signs: Glyphs) -> Iterator[Line]:
    below = [(n, depth) for n, depth in _walk(node, 0) if n is not node]
    if not below:
        return
    yield line()
    yield line((f"EXPLAINS {len(below):,}", "head"))
    for symptom, depth in below[:_MOST]:
        yield line(
            (f"{'  ' * (depth - 1)}{signs.severity[symptom.severity]} ", STYLES[symptom.severity]),
            (literal(symptom.finding.message, plain=signs.plain), ""),
            hang=2 * depth,
            action=Action("finding", symptom.fingerprint),
        )
    if len(below) > _MOST:
        yield line((f"and {plural(len(below) - _MOST, 'more finding')}: the list at the left has them all", "dim"))


def _walk(node: Node, depth: int) -> Iterator[tuple[Node, int]]:
    yield node, depth
    for symptom in node.symptoms:
        yield from _walk(symptom, depth + 1)

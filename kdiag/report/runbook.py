"""A walked runbook page: for the terminal, as Markdown for a ticket, and as one HTML file that needs nothing else."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kdiag.engine.runbook import Block, Kind, Mark, Marks, Outcome, Step, Walked
from kdiag.model.result import Finding
from kdiag.model.text import clean, clean_line, plural
from kdiag.report.markdown import render_markdown
from kdiag.report.style import Style

_SHOWN = 60
_SCREEN = "> "


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a walked page is about. ``others`` counts further findings of the check; ``notes`` are about the run."""

    where: str = ""
    taken: str = ""
    others: int = 0
    notes: tuple[str, ...] = ()


def state(finding: Finding | None) -> str:
    """One line on what the page is filled with."""
    return clean_line(finding.message) if finding and finding.message else ""


def _said(outcome: Outcome) -> str:
    """How a run ended, for the line below its output."""
    if outcome.refused:
        return f"not run: {outcome.refused}"
    if outcome.error:
        return f"no answer: {outcome.error}"
    parts = []
    if not outcome.lines:
        parts.append("nothing printed")
    if outcome.status:
        parts.append(f"exit code {outcome.status}")
    if outcome.left:
        parts.append(f"{plural(outcome.left, 'more line')} not kept")
    if outcome.via not in ("", "kubectl"):
        parts.append(f"from {outcome.via}")
    return ", ".join(parts)


def _unrun(step: Step, *, ran: bool) -> str:
    """Why a step has no output."""
    if step.kind is Kind.COPY:
        return f"by hand: {step.refused}"
    if step.missing:
        return f"set {', '.join(step.missing)} first: the finding does not name it"
    return "not run" if ran and step.kind is Kind.RUN else ""


def _leads(walked: Walked, block: Block) -> list[str]:
    """The page's conclusions that the outputs point to, with the pages that they name."""
    found = []
    for branch in walked.branches(block):
        pages = "".join(f" → kdiag explain {page}" for page in branch.pages)
        found.append(f"{re.sub(_LINK, _plain_link, branch.text)}{pages}")
    return found


_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")


def _plain_link(match: re.Match[str]) -> str:
    return match[1]


# For the terminal


def render_text(walked: Walked, head: Head, style: Style, *, ran: bool) -> str:
    """The page for a terminal; with ``ran`` also says of each step that has no output why."""
    page = walked.page
    group = page.check_id.partition("/")[0]

    def prose(text: str) -> list[str]:
        return render_markdown(text, style, group=group).rstrip("\n").split("\n") if text.strip() else []

    lines = [style.paint(page.title, "bold"), style.paint(page.check_id, "dim")]
    if page.finding and page.finding.message:
        lines += ["", *prose(_escaped(state(page.finding)))]
        for evidence in page.finding.evidence:
            prompt = "$ " if evidence.source == "api" else f"{evidence.source}$ "
            lines += [f"  {style.paint(prompt + evidence.command, 'dim')}"] if evidence.command else []
            lines.append(f"      {evidence.shown}")
    lines += [style.paint(f"note: {clean_line(note)}", "yellow") for note in head.notes]
    for name, text in (("Meaning", page.meaning), ("Impact", page.impact)):
        lines += ["", style.paint(name.upper(), "bold"), "", *prose(text)]
    lines += ["", style.paint("DIAGNOSIS", "bold")]
    for block in page.blocks:
        lines += ["", *prose(block.before)] if block.before else []
        lines.append("")
        for step in block.steps:
            lines += _step_text(step, walked, style, ran=ran)
        lines += ["", *prose(block.after)] if block.after else []
        for lead in _leads(walked, block):
            lines += ["", style.paint(f"  ⇒ what was seen: {lead}", "yellow")]
    lines += ["", *prose(page.closing)] if page.closing else []
    lines += ["", style.paint("MITIGATION", "bold"), style.paint("kdiag runs none of this.", "dim"), ""]
    lines += prose(page.mitigation)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _step_text(step: Step, walked: Walked, style: Style, *, ran: bool) -> Iterator[str]:
    comment = f"   # {step.comment}" if step.comment else ""
    first, *more = step.command.split("\n")
    yield f"  {step.number:>2}  {style.paint(first, 'cyan')}{style.paint(comment, 'dim')}"
    yield from (f"      {style.paint(line, 'cyan')}" for line in more)
    outcome = walked.outcomes.get(step.number)
    if outcome is None:
        if why := _unrun(step, ran=ran):
            yield f"        {style.paint(why, 'yellow')}"
        return
    marks = walked.marks.get(step.number, Marks())
    shown = _window(outcome.lines, marks)
    before = -1
    for number in shown:
        if number > before + 1:
            yield f"        {style.paint(f'… {number - before - 1:,} lines', 'dim')}"
        line = outcome.lines[number]
        sign = style.paint("▸", "yellow") if number in marks.lines else " "
        yield f"      {sign} {_painted(line, [m for m in marks.marks if m.line == number], style)}"
        before = number
    if before + 1 < len(outcome.lines):
        yield f"        {style.paint(f'… {len(outcome.lines) - before - 1:,} lines', 'dim')}"
    if said := _said(outcome):
        yield f"        {style.paint(f'({said})', 'yellow' if not outcome.ran else 'dim')}"


def _window(lines: Sequence[str], marks: Marks) -> list[int]:
    """The numbers of the lines to show of a long output: its beginning, its end, and what is marked."""
    if len(lines) <= _SHOWN:
        return list(range(len(lines)))
    third = _SHOWN // 3
    return sorted({*range(third), *sorted(marks.lines)[:third], *range(len(lines) - third, len(lines))})


def _painted(line: str, marks: Sequence[Mark], style: Style) -> str:
    text, at = "", 0
    for mark in sorted(marks, key=lambda m: (m.start, -m.end)):
        if mark.start >= at:
            color = "green" if mark.expect.wanted else "red"
            text += line[at : mark.start] + style.paint(line[mark.start : mark.end], color)
            at = mark.end
    return text + line[at:]


# As Markdown


def render_markdown_page(walked: Walked, head: Head, *, ran: bool) -> str:
    """The page as Markdown, to paste into a ticket; what came from a cluster stands in fences and changes nothing."""
    page = walked.page
    lines = [f"# {page.title}", "", f"Runbook `{page.check_id}`{_about(head)}", ""]
    if page.finding and page.finding.message:
        lines += [f"**{_escaped(state(page.finding))}**", ""]
        if page.finding.evidence:
            shown = []
            for evidence in page.finding.evidence:
                prompt = "$ " if evidence.source == "api" else f"{evidence.source}$ "
                shown += [prompt + evidence.command] if evidence.command else []
                shown.append(evidence.shown)
            lines += [*_fence(shown), ""]
    lines += [f"> {_escaped(clean_line(note))}" for note in head.notes] + ([""] if head.notes else [])
    for name, text in (("Meaning", page.meaning), ("Impact", page.impact)):
        lines += [f"## {name}", "", _without_links(text), ""]
    lines += ["## Diagnosis", ""]
    for block in page.blocks:
        lines += [_without_links(block.before), ""] if block.before else []
        shown = [line for step in block.steps for line in _step_lines(step, walked, ran=ran)]
        lines += [*_fence(shown, "console"), ""]
        lines += [_without_links(block.after), ""] if block.after else []
        for lead in _leads(walked, block):
            lines += [f"**What was seen points to:** {lead}", ""]
    lines += [_without_links(page.closing), ""] if page.closing else []
    lines += ["## Mitigation", "", "_Quoted from the page; kdiag runs none of this._", ""]
    lines += [f"> {line}".rstrip() for line in _without_links(page.mitigation).split("\n")]
    return clean("\n".join(lines).rstrip() + "\n")


def _about(head: Head) -> str:
    where = f" · {_escaped(head.where)}" if head.where else ""
    return where + (f" · {head.taken}" if head.taken else "")


def _step_lines(step: Step, walked: Walked, *, ran: bool) -> Iterator[str]:
    comment = f"   # {step.comment}" if step.comment else ""
    yield f"$ {step.command}{comment}"
    outcome = walked.outcomes.get(step.number)
    if outcome is None:
        if why := _unrun(step, ran=ran):
            yield f"# {why}"
        return
    marked = walked.marks.get(step.number, Marks()).lines
    for number, line in enumerate(outcome.lines):
        yield f"{_SCREEN if number in marked else '  '}{line}"
    if said := _said(outcome):
        yield f"# {said}"


def _fence(lines: Sequence[str], kind: str = "") -> list[str]:
    """The lines in a fence that nothing in them can end."""
    longest = max((len(run) for line in lines for run in re.findall(r"`{3,}", line)), default=2)
    sign = "`" * (longest + 1)
    return [f"{sign}{kind}", *lines, sign]


def _escaped(text: str) -> str:
    """Text of a cluster as plain words of Markdown."""
    return re.sub(r"([\\`*_\[\]<>#|~!&])", r"\\\1", text)


def _without_links(text: str) -> str:
    """The prose with links to other pages as what a reader of the ticket can type."""

    def plain(match: re.Match[str]) -> str:
        if match[2].startswith("https://"):
            return match[0]
        return f"{match[1]} (`kdiag explain {match[2].rpartition('/')[2].partition('.md')[0]}`)"

    return _LINK.sub(plain, text)


# As HTML

_CSS = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --mark: #ffd54f; --warn: #b26a00; }
@media (prefers-color-scheme: dark) { :root { --warn: #ffb74d; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { border-bottom: 1px solid var(--line); margin-top: 2rem; }
code, pre { font: 13px/1.45 ui-monospace, monospace; }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: 4px; padding: .6rem .8rem;
  overflow-x: auto; }
.step pre { margin: .3rem 0; } .step { margin: .8rem 0; } .command { font-weight: 600; }
.line { display: block; min-height: 1.45em; } .hit { background: color-mix(in srgb, var(--mark) 25%, transparent); }
mark { background: var(--mark); color: #000; } mark.bad { background: #ef5350; color: #fff; }
.why { color: var(--warn); } .about, .comment { opacity: .7; }
.lead { border-left: 4px solid var(--warn); padding-left: .8rem; }
.finding { font-size: 1.1em; font-weight: 600; }
blockquote { border-left: 4px solid var(--line); margin-left: 0; padding-left: 1rem; }
"""


def render_html(walked: Walked, head: Head, *, ran: bool) -> str:
    """One file without scripts and without anything from elsewhere; all that came from a cluster is escaped."""
    page = walked.page
    text = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_html(page.title)}</title><style>{_CSS}</style></head><body>",
        f'<h1>{_html(page.title)}</h1><p class="about">{_html(page.check_id)}'
        f"{_html(' · ' + head.where) if head.where else ''}{_html(' · ' + head.taken) if head.taken else ''}</p>",
    ]
    if page.finding and page.finding.message:
        text.append(f'<p class="finding">{_html(state(page.finding))}</p>')
        for evidence in page.finding.evidence:
            prompt = "$ " if evidence.source == "api" else f"{evidence.source}$ "
            command = f'<span class="command">{_html(prompt + evidence.command)}</span>\n' if evidence.command else ""
            text.append(f"<pre>{command}{_html(evidence.shown)}</pre>")
    text += [f'<p class="why">note: {_html(clean_line(note))}</p>' for note in head.notes]
    for name, body in (("Meaning", page.meaning), ("Impact", page.impact)):
        text += [f"<h2>{name}</h2>", _prose(body)]
    text.append("<h2>Diagnosis</h2>")
    for block in page.blocks:
        text.append(_prose(block.before))
        text += [_step_html(step, walked, ran=ran) for step in block.steps]
        text.append(_prose(block.after))
        text += [
            f'<p class="lead"><strong>What was seen points to:</strong> {_html(lead)}</p>'
            for lead in _leads(walked, block)
        ]
    text += [
        _prose(page.closing),
        "<h2>Mitigation</h2>",
        "<p><em>Quoted from the page; kdiag runs none of this.</em></p>",
    ]
    text += [f"<blockquote>{_prose(page.mitigation)}</blockquote>", "</body></html>"]
    return "\n".join(part for part in text if part) + "\n"


def _step_html(step: Step, walked: Walked, *, ran: bool) -> str:
    comment = f'<span class="comment">   # {_html(step.comment)}</span>' if step.comment else ""
    text = f'<div class="step"><pre><span class="command">$ {_html(step.command)}</span>{comment}'
    outcome = walked.outcomes.get(step.number)
    if outcome is None:
        why = _unrun(step, ran=ran)
        return text + "</pre>" + (f'<div class="why">{_html(why)}</div>' if why else "") + "</div>"
    marks = walked.marks.get(step.number, Marks())
    for number, line in enumerate(outcome.lines):
        hit = " hit" if number in marks.lines else ""
        text += f'<span class="line{hit}">{_marked(line, [m for m in marks.marks if m.line == number])}</span>'
    said = _said(outcome)
    tone = "why" if not outcome.ran else "about"
    return text + "</pre>" + (f'<div class="{tone}">{_html(said)}</div>' if said else "") + "</div>"


def _marked(line: str, marks: Sequence[Mark]) -> str:
    text, at = "", 0
    for mark in sorted(marks, key=lambda m: (m.start, -m.end)):
        if mark.start >= at:
            tone = "" if mark.expect.wanted else ' class="bad"'
            text += _html(line[at : mark.start]) + f"<mark{tone}>{_html(line[mark.start : mark.end])}</mark>"
            at = mark.end
    return text + _html(line[at:])


def _prose(text: str) -> str:
    from markdown_it import MarkdownIt

    if not text.strip():
        return ""
    return str(MarkdownIt("commonmark", {"html": False}).enable("table").render(clean(_without_links(text)))).strip()


def _html(text: str) -> str:
    return html.escape(clean(text), quote=True)

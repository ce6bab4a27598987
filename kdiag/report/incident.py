"""An incident report: the verdict as Markdown or HTML, to paste into a ticket."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kdiag import __version__
from kdiag.engine.correlate import Node
from kdiag.engine.verdict import Verdict, unknown_reasons
from kdiag.model.result import Status
from kdiag.model.text import clean_line, plural


def render_incident(verdict: Verdict) -> str:
    """The report as Markdown. What a cluster says stands in code, so that nothing of it is taken for Markdown."""
    return "\n".join(_lines(verdict)) + "\n"


def _lines(verdict: Verdict) -> Iterator[str]:
    where = " ".join(part for part in (verdict.context, verdict.server) if part) or verdict.source
    yield f"# kdiag: {plural(len(verdict.causes), 'cause')} in {_code(where)}"
    yield ""
    yield f"- taken: {verdict.taken}, by kdiag {__version__}"
    if verdict.version:
        yield f"- Kubernetes: {_code(verdict.version)}"
    if verdict.namespace:
        yield f"- only namespace {_code(verdict.namespace)}"
    for note in verdict.notes:
        yield f"- note: {_code(note)}"
    for number, cause in enumerate(verdict.causes, 1):
        yield ""
        yield f"## {number}. {cause.worst.name}: {_escaped(cause.finding.message)}"
        yield ""
        yield from _cause(cause, [f"{ago}: {change}" for ago, change in verdict.changed(cause)])
    if verdict.infos:
        yield ""
        yield "## Remarks"
        yield ""
        yield from (f"- {_escaped(info.finding.message)}" for info in verdict.infos)
    yield ""
    yield "## Coverage"
    yield ""
    words = [f"{verdict.count(status)} {status.value}" for status in Status if verdict.count(status)]
    yield f"{plural(len(verdict.results), 'check')}: {', '.join(words)}"
    reasons = unknown_reasons(verdict)
    if reasons:
        yield ""
        yield from (f"- unknown: {_code(reason)} ({plural(len(checks), 'check')})" for reason, checks in reasons)


def _cause(cause: Node, changed: Sequence[str]) -> Iterator[str]:
    finding = cause.finding
    about = f"{_code(str(finding.subject))}, {_code(cause.check.id)}"
    yield about + (f", since {finding.since}" if finding.since else "")
    for evidence in finding.evidence:
        yield ""
        lead = "$ " if evidence.source == "api" else f"{evidence.source}$ "
        shown = [f"{lead}{evidence.command}"] if evidence.command else []
        yield from _fenced([*shown, *evidence.shown.split(" ⏎ ")])
    if changed:
        yield ""
        yield "What changed:"
        yield ""
        yield from (f"- {_escaped(change)}" for change in changed)
    if finding.next:
        yield ""
        yield "Next:"
        yield ""
        yield from _fenced(finding.next)
    below = [n for n in cause.walk() if n is not cause]
    if below:
        yield ""
        yield f"Explains {plural(len(below), 'finding')}:"
        yield ""
        yield from (f"- {_escaped(n.finding.message)}" for n in below)


def _fenced(lines: list[str] | tuple[str, ...]) -> Iterator[str]:
    fence = "```"
    while any(fence in one for one in lines):
        fence += "`"
    yield fence
    yield from map(clean_line, lines)
    yield fence


def _code(text: str) -> str:
    text = clean_line(text)
    fence = "`"
    while fence in text:
        fence += "`"
    blank = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{blank}{text}{blank}{fence}"


def _escaped(text: str) -> str:
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|!~@" else c for c in clean_line(text))


def render_html(verdict: Verdict) -> str:
    """The same as one HTML file that asks for nothing else."""
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).render(render_incident(verdict))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        "<title>kdiag</title>\n<style>"
        "body{font:16px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
        "pre{background:#f4f2ed;padding:.7em;overflow-x:auto}code{background:#f4f2ed}"
        "@media(prefers-color-scheme:dark){body{background:#11141c;color:#c8d0e7}pre,code{background:#1d2230}}</style>\n"
        f"</head><body>\n{body}</body></html>\n"
    )

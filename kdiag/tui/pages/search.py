"""The runbook pages that hold some words, and where in them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.engine.runbook import Hit, search
from kdiag.tui.glyphs import FANCY, Glyphs, literal
from kdiag.tui.page import Action, Line, Span, line

_MOST = 60


def search_page(words: str, signs: Glyphs = FANCY) -> list[Line]:
    """The pages, best first; each can be chosen."""
    found = search(words)
    lines = [one for hit in found[:_MOST] for one in _hit(hit, words, signs)]
    if len(found) > _MOST:
        lines.append(line((f"and {len(found) - _MOST} more pages: more words narrow them down", "dim")))
    return lines or [line(("no page has all these words", "dim"))]


def _hit(hit: Hit, words: str, signs: Glyphs) -> Iterator[Line]:
    title = _marked(literal(hit.title, plain=signs.plain), words, "bold")
    yield line(*title, (f"  {hit.check_id}", "dim"), action=Action("pick", hit.check_id), cut=True)
    for text in hit.lines:
        yield line(*_marked(literal(text, plain=signs.plain), words, ""), bar=f"  {signs.pipe} ", cut=True)


def _marked(text: str, words: str, style: str) -> Iterator[Span]:
    wanted = sorted({re.escape(word) for word in words.split()}, key=len, reverse=True)
    if not wanted:
        yield text, style
        return
    for number, part in enumerate(re.split(f"({'|'.join(wanted)})", text, flags=re.IGNORECASE)):
        if part:
            yield part, "match" if number % 2 else style

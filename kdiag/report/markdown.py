"""Markdown for a terminal: the runbook pages as a person reads them at night.

Code is shown without a frame or a margin mark, so that it can be copied.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode

from kdiag.model.text import clean
from kdiag.report.style import Style, visible_length

_SGR = re.compile(r"\x1b\[[0-9;]*m")
#: A page's own name in a link: ``other.md``, ``../application/other.md``.
_PAGE = re.compile(r"(?:\.\./(?P<group>[a-z_]+)/)?(?P<name>[a-z0-9_]+)\.md")
# A space that must not be a place to break at: a command between words stays on one line where it fits.
_GLUE = "\x00"


def render_markdown(text: str, style: Style, *, group: str = "") -> str:
    """The text for a terminal of ``style.width`` columns; links to pages of ``group`` become commands to type."""
    tokens: Sequence[Token] = MarkdownIt("commonmark").enable("table").parse(clean(text))
    page = _Page(style, group)
    lines = list(page.blocks(SyntaxTreeNode(tokens).children, style.width))
    return "".join(f"{line.rstrip()}\n" for line in lines)


class _Page:
    def __init__(self, style: Style, group: str) -> None:
        self._style = style
        self._group = group

    def blocks(self, nodes: Sequence[SyntaxTreeNode], width: int, *, tight: bool = False) -> Iterator[str]:
        """The lines of these blocks, with an empty line between two."""
        for number, node in enumerate(nodes):
            if number and not tight:
                yield ""
            yield from self._block(node, width)

    def _block(self, node: SyntaxTreeNode, width: int) -> Iterator[str]:
        kinds: dict[str, Callable[[SyntaxTreeNode, int], Iterator[str]]] = {
            "heading": self._heading,
            "paragraph": self._paragraph,
            "bullet_list": self._list,
            "ordered_list": self._list,
            "fence": self._code,
            "code_block": self._code,
            "table": self._table,
            "blockquote": self._quote,
            "hr": lambda _, w: iter(["─" * min(w, 20)]),
            "html_block": lambda n, _: iter(n.content.splitlines()),
        }
        yield from kinds.get(node.type, self._paragraph)(node, width)

    def _heading(self, node: SyntaxTreeNode, width: int) -> Iterator[str]:
        text = self._inline(node, plain=True)
        for line in textwrap.wrap(text.upper() if node.tag == "h2" else text, width):
            yield self._style.paint(line, "bold")

    def _paragraph(self, node: SyntaxTreeNode, width: int) -> Iterator[str]:
        yield from wrapped(self._inline(node), width)

    def _list(self, node: SyntaxTreeNode, width: int) -> Iterator[str]:
        first = int(node.attrs.get("start", 1) or 1) if node.type == "ordered_list" else 0
        tight = all(p.hidden for item in node.children for p in item.children if p.type == "paragraph")
        for number, item in enumerate(node.children):
            mark = f"{first + number}. " if node.type == "ordered_list" else "• "
            if number and not tight:
                yield ""
            inner = self.blocks(item.children, max(20, width - len(mark) - 2), tight=tight)
            for place, line in enumerate(inner):
                lead = f"  {mark}" if place == 0 else " " * (len(mark) + 2)
                yield f"{lead}{line}" if line else ""

    def _code(self, node: SyntaxTreeNode, width: int) -> Iterator[str]:
        for line in node.content.rstrip("\n").split("\n"):
            yield f"    {self._style.paint(line, 'cyan')}" if line else ""

    def _quote(self, node: SyntaxTreeNode, width: int) -> Iterator[str]:
        for line in self.blocks(node.children, max(20, width - 2)):
            yield f"│ {line}"

    def _table(self, node: SyntaxTreeNode, width: int) -> Iterator[str]:
        rows = [[self._inline(cell) for cell in row.children] for part in node.children for row in part.children]
        columns = max(map(len, rows), default=0)
        widths = [max((visible_length(r[c]) for r in rows if c < len(r)), default=0) for c in range(columns)]
        # What does not fit is taken from the last column, where the long text is.
        widths[-1:] = [max(20, min(widths[-1], width - sum(widths[:-1]) - 2 * (columns - 1)))] if widths else []
        for number, row in enumerate(rows):
            cells = [wrapped(cell, w) or [""] for cell, w in zip(row, widths, strict=False)]
            for line in range(max(map(len, cells), default=0)):
                parts = [
                    part + " " * (w - visible_length(part))
                    for cell, w in zip(cells, widths, strict=False)
                    for part in [cell[line] if line < len(cell) else ""]
                ]
                text = "  ".join(parts)
                yield self._style.paint(text, "bold") if number == 0 else text
            if number == 0:
                yield "  ".join("─" * w for w in widths)

    def _inline(self, node: SyntaxTreeNode, *, plain: bool = False) -> str:
        return "".join(self._spans(node.children, plain)).strip(" \n")

    def _spans(self, nodes: Sequence[SyntaxTreeNode], plain: bool) -> Iterator[str]:
        for node in nodes:
            match node.type:
                case "text":
                    yield node.content
                case "softbreak":
                    yield " "
                case "hardbreak":
                    yield "\n"
                case "code_inline":
                    text = node.content if plain else self._style.paint(node.content, "cyan")
                    yield text.replace(" ", _GLUE) if len(node.content) <= 28 else text
                case "strong":
                    text = "".join(self._spans(node.children, True))
                    yield text if plain else self._style.paint(text, "bold")
                case "link":
                    yield self._link(node)
                case "image":
                    yield node.content
                case "html_inline":
                    yield node.content
                case _:
                    yield from self._spans(node.children, plain)

    def _link(self, node: SyntaxTreeNode) -> str:
        text = "".join(self._spans(node.children, True))
        target = str(node.attrs.get("href", ""))
        page = _PAGE.fullmatch(target)
        if page:
            name = f"{page['group'] or self._group}/{page['name']}".lstrip("/")
            words = f"kdiag explain {name}".replace(" ", _GLUE)
            return f"{text} ({words})" if text not in (page["name"], name) else words
        return target if text == target else f"{text} <{target}>"


def wrapped(text: str, width: int) -> list[str]:
    """Text in lines of at most ``width`` visible characters; colours do not count, long words stand alone."""
    lines: list[str] = []
    for part in text.split("\n"):
        line, length = "", 0
        for word in part.split():
            size = visible_length(word)
            if line and length + 1 + size > width:
                lines.append(line)
                line, length = word, size
            else:
                line, length = (f"{line} {word}", length + 1 + size) if line else (word, size)
        lines.append(line)
    return _recolored([line.replace(_GLUE, " ") for line in lines])


def _recolored(lines: Sequence[str]) -> list[str]:
    """A colour that spans lines is ended on each and begun again on the next, so that a pager shows it right."""
    found: list[str] = []
    active = ""
    for line in lines:
        text = active + line
        for code in _SGR.findall(line):
            active = "" if code == "\x1b[0m" else code
        found.append(text + ("\x1b[0m" if active else ""))
    return found

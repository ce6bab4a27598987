"""Markdown as lines of a page. Links to other pages are actions; fenced commands can be copied."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from kdiag.tui.glyphs import FANCY, Glyphs, literal
from kdiag.tui.page import Action, Line, Span, line

_PAGE = re.compile(r"(?:\.\./(?P<group>[a-z_]+)/)?(?P<name>[a-z0-9_]+)\.md(?:#.*)?")


def prose(text: str, group: str, signs: Glyphs = FANCY, *, bar: str = "") -> list[Line]:
    """The lines of a piece of Markdown of a page of ``group``."""
    tree = SyntaxTreeNode(MarkdownIt("commonmark").enable("table").parse(text))
    return list(_Prose(group, signs).blocks(tree.children, bar))


class _Prose:
    def __init__(self, group: str, signs: Glyphs) -> None:
        self._group = group
        self._signs = signs

    def blocks(self, nodes: Sequence[SyntaxTreeNode], bar: str, *, tight: bool = False) -> Iterator[Line]:
        for number, node in enumerate(nodes):
            if number and not tight:
                yield line(bar=bar)
            yield from self._block(node, bar)

    def _block(self, node: SyntaxTreeNode, bar: str) -> Iterator[Line]:
        kinds: dict[str, Callable[[SyntaxTreeNode, str], Iterator[Line]]] = {
            "heading": self._heading,
            "bullet_list": self._list,
            "ordered_list": self._list,
            "fence": self._code,
            "code_block": self._code,
            "table": self._table,
            "blockquote": lambda n, b: self.blocks(n.children, f"{b}{self._signs.pipe} "),
        }
        yield from kinds.get(node.type, self._paragraph)(node, bar)

    def _heading(self, node: SyntaxTreeNode, bar: str) -> Iterator[Line]:
        yield line(("".join(text for text, _ in self._inline(node)).upper(), "head"), bar=bar)

    def _paragraph(self, node: SyntaxTreeNode, bar: str) -> Iterator[Line]:
        spans = list(self._inline(node)) or [(literal(node.content, plain=self._signs.plain), "")]
        links = [a for child in node.walk() if (a := self._target(child))]
        yield line(*spans, bar=bar, action=links[0] if links else None)
        for more in links[1:]:
            yield line((f"{self._signs.arrow} ", "dim"), (more.value, "link"), bar=f"{bar}  ", action=more)

    def _target(self, node: SyntaxTreeNode) -> Action | None:
        if node.type != "link":
            return None
        href = str(node.attrs.get("href", ""))
        if match := _PAGE.fullmatch(href):
            return Action("page", f"{match['group'] or self._group}/{match['name']}")
        return None

    def _list(self, node: SyntaxTreeNode, bar: str) -> Iterator[Line]:
        first = int(node.attrs.get("start", 1) or 1) if node.type == "ordered_list" else 0
        tight = all(p.hidden for item in node.children for p in item.children if p.type == "paragraph")
        for number, item in enumerate(node.children):
            if number and not tight:
                yield line(bar=bar)
            mark = f"{first + number}. " if first else "• " if not self._signs.plain else "* "
            for place, one in enumerate(self.blocks(item.children, "", tight=tight)):
                lead = mark if place == 0 else " " * len(mark)
                if place == 0 and not one.bar:
                    yield Line(
                        spans=((lead, "dim"), *one.spans), hang=len(lead) + one.hang, bar=bar, action=one.action,
                        copies=one.copies, cut=one.cut,
                    )  # fmt: skip
                else:
                    yield Line(
                        spans=one.spans, hang=one.hang, bar=bar + " " * len(mark) + one.bar, action=one.action,
                        copies=one.copies, cut=one.cut,
                    )  # fmt: skip

    def _code(self, node: SyntaxTreeNode, bar: str) -> Iterator[Line]:
        for text in node.content.rstrip("\n").split("\n"):
            shown = literal(text.replace("\t", "    ").rstrip(), plain=self._signs.plain)
            lead = " " * (len(text) - len(text.lstrip())) if shown else ""
            yield line((lead + shown.lstrip(), "command"), bar=f"{bar}  ", hang=2, copies=text.strip())

    def _table(self, node: SyntaxTreeNode, bar: str) -> Iterator[Line]:
        rows = [[list(self._inline(cell)) for cell in row.children] for part in node.children for row in part.children]
        columns = max(map(len, rows), default=0)
        sizes = [max((_size(r[c]) for r in rows if c < len(r)), default=0) for c in range(columns)]
        for number, row in enumerate(rows):
            spans: list[Span] = []
            for cell, size in zip(row, sizes, strict=False):
                spans += [(text, style or ("bold" if number == 0 else "")) for text, style in cell]
                spans.append((" " * (size - _size(cell) + 2), ""))
            yield line(*spans, bar=bar, hang=min(sum(sizes[:1]) + 2, 30))

    def _inline(self, node: SyntaxTreeNode) -> Iterator[Span]:
        for child in node.children:
            if child.type == "inline":
                yield from self._spans(child.children, "")
            else:
                yield from self._spans([child], "")

    def _spans(self, nodes: Sequence[SyntaxTreeNode], style: str) -> Iterator[Span]:
        for node in nodes:
            match node.type:
                case "text":
                    yield self._text(node.content), style
                case "softbreak" | "hardbreak":
                    yield " ", style
                case "code_inline":
                    yield self._text(node.content), "link" if style == "link" else "code"
                case "strong":
                    yield from self._spans(node.children, style or "bold")
                case "link":
                    yield from self._spans(node.children, "link")
                    if self._target(node) is None:
                        yield f" <{self._text(str(node.attrs.get('href', '')))}>", "dim"
                case _ if node.children:
                    yield from self._spans(node.children, style)
                case _:
                    yield self._text(node.content), style

    def _text(self, text: str) -> str:
        # Blanks at the ends stand between two spans, and ``literal`` would take a line's own away.
        return literal(text, plain=self._signs.plain) if not text.isprintable() or self._signs.plain else text


def _size(spans: Sequence[Span]) -> int:
    return sum(len(text) for text, _ in spans)

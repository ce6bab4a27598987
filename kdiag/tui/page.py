"""A page as lines of styled text, and how it lies on a screen of some width. Pure: no terminal and no widget.

Every screen but the list of findings is such a page: what stands on it is made by a function of ``kdiag.tui.pages``.
A line that can be acted on has an action, and is where the cursor stops.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells

#: A piece of text and the name of its style; see the component classes of the page's widget.
Span = tuple[str, str]
#: More than this of one line is not laid out: nobody reads it, and it must not cost a key.
MOST = 20_000


@dataclass(frozen=True, slots=True)
class Action:
    """What can be done with a line: ``verb`` is copy, page, finding, trace, node or run."""

    verb: str
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a page, as wide as it likes to be.

    ``hang`` is how far what is wrapped is indented. With ``cut`` it is not wrapped but cut. ``copies`` is the command
    that is copied where the cursor is on it. ``bar`` is drawn at the left edge of all its rows.
    """

    spans: tuple[Span, ...] = ()
    hang: int = 0
    cut: bool = False
    action: Action | None = None
    copies: str = ""
    bar: str = ""

    @property
    def text(self) -> str:
        """Without its styles."""
        return "".join(text for text, _ in self.spans)

    @property
    def stop(self) -> bool:
        """Whether the cursor stops at it."""
        return self.action is not None or bool(self.copies)


@dataclass(frozen=True, slots=True)
class Painted:
    """One row of the screen: its spans, and the number of the line it belongs to."""

    spans: tuple[Span, ...]
    line: int


def line(*spans: Span | str, hang: int = 0, cut: bool = False, bar: str = "", copies: str = "",
         action: Action | None = None) -> Line:  # fmt: skip
    """A line of spans; a bare string is plain text."""
    return Line(
        spans=tuple((s, "") if isinstance(s, str) else s for s in spans if (s if isinstance(s, str) else s[0])),
        hang=hang, cut=cut, bar=bar, copies=copies, action=action,
    )  # fmt: skip


def layout(lines: Sequence[Line], width: int) -> list[Painted]:
    """The rows of a page on a screen of this many cells."""
    rows: list[Painted] = []
    for number, one in enumerate(lines):
        spans = one.spans
        room = max(8, width)
        if one.bar:
            room -= cell_len(one.bar)
        parts: Iterable[tuple[Span, ...]] = (
            [cropped(spans, room)] if one.cut else _wrapped(spans, room, min(one.hang, room // 2))
        )
        for part in parts:
            rows.append(Painted(((one.bar, "bar"), *part) if one.bar else part, number))
    return rows


def cropped(spans: Sequence[Span], width: int, dots: str = "…") -> tuple[Span, ...]:
    """These spans in at most ``width`` cells; what is cut off is marked."""
    if sum(_cells(text) for text, _ in spans) <= width:
        return tuple(spans)
    found: list[Span] = []
    room = width - cell_len(dots)
    for text, style in spans:
        size = cell_len(text)
        if size <= room:
            found.append((text, style))
            room -= size
            continue
        found.append((fitted(text, room).rstrip() + dots, style))
        break
    return tuple(found)


def fitted(text: str, width: int) -> str:
    """At most ``width`` cells of the text."""
    if text.isascii():
        return text[: max(0, width)]
    text = text[: max(0, width)]
    while text and cell_len(text) > width:
        text = text[:-1]
    return text


def _wrapped(spans: Sequence[Span], width: int, hang: int) -> Iterator[tuple[Span, ...]]:
    total = sum(len(text) for text, _ in spans)
    if total <= width and sum(_cells(text) for text, _ in spans) <= width:
        yield tuple(spans)
        return
    row: list[Span] = []
    used, filled, taken = 0, False, 0
    for text, style in spans:
        if taken > MOST:
            row.append(("…", style))
            break
        text = text[: MOST - taken + 1]
        taken += len(text)
        for word in _WORDS.findall(text):
            size = _cells(word)
            blank = word[0] == " "
            if used + size > width and filled and not blank:
                yield _trimmed(row)
                row, used, filled = ([(" " * hang, "")] if hang else []), hang, False
            if blank and used + size > width:
                continue
            if size > width - used and not blank:
                *whole, word = (
                    chop_cells(word, max(1, width - used)) if used == hang else _chopped(word, width, used, hang)
                )
                for piece in whole:
                    row.append((piece, style))
                    yield _trimmed(row)
                    row, used = ([(" " * hang, "")] if hang else []), hang
                size = _cells(word)
            if not (blank and not filled and used == hang and hang):
                row.append((word, style))
                used += size
            filled = filled or not blank
    if filled or not spans:
        yield tuple(row)


def _chopped(word: str, width: int, used: int, hang: int) -> list[str]:
    """The word in pieces: the first fills the row, the others have rows of their own."""
    first = fitted(word, width - used)
    rest = chop_cells(word[len(first) :], max(2, width - hang)) or [""]
    return [first, *rest] if first else rest


def _trimmed(row: list[Span]) -> tuple[Span, ...]:
    while row and row[-1][0].isspace() and len(row) > 1:
        row.pop()
    return tuple(row)


#: Words and the blanks between them, in turn.
_WORDS = re.compile(" +|[^ ]+")


def _cells(text: str) -> int:
    """How many cells a text takes; most are plain, and need not be looked up."""
    return len(text) if text.isascii() else cell_len(text)

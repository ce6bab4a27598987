"""The list of findings: a tree of which only the rows on the screen are drawn, however many there are."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip

from kdiag.tui.glyphs import literal
from kdiag.tui.model import GONE, GROUPS, Filter, Kind, Row, Tree, offsets
from kdiag.tui.page import Line, Span, cropped, fitted, layout
from kdiag.tui.pages.finding import STYLES
from kdiag.tui.widgets.lines import LinesView


class RowsView(LinesView):
    """The tree. What is selected is known by its key, so that it stays selected in the next verdict."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "a page up", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "a page down", show=False),
        Binding("home,g", "edge(-1)", "first", show=False),
        Binding("end,G", "edge(1)", "last", show=False),
        Binding("left,h", "fold", "fold, or go to what is above", show=False),
        Binding("right,l", "unfold", "unfold, or go to what is below", show=False),
        Binding("space", "turn", "fold or unfold", show=False),
        Binding("enter", "choose", "runbook"),
    ]

    class Chosen(Message):
        """Enter was pressed on a row, or it was clicked twice."""

        def __init__(self, row: Row) -> None:
            super().__init__()
            self.row = row

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        #: Called at once with the row that is selected now, or None: a message would come a frame after the cursor.
        self.told: Callable[[Row | None], object] = lambda _: None
        self.findings: Tree | None = None
        self.rows: list[Row] = []
        self.filter = Filter()
        self._empty: list[Line] = []
        self._turned: set[str] = set()
        self._tops: list[int] = [0]
        self._at = 0
        self._key = ""

    # What is shown

    def show(self, tree: Tree | None) -> None:
        """Show this tree; the selected finding stays selected if it is still there."""
        self.findings = tree
        self._refresh_rows()

    def filtered(self, chosen: Filter) -> None:
        """Show only what this lets through."""
        self.filter = chosen
        self._refresh_rows()

    def say(self, lines: Sequence[Line]) -> None:
        """Say this in the place of rows where there are none."""
        self._empty = list(lines)
        if not self.rows:
            self._measure()
            self.refresh()

    def _measure(self) -> None:
        height = self._tops[-1] if self.rows else len(layout(self._empty, self.size.width - 4)) + 2
        self.virtual_size = Size(self.size.width, height)

    @property
    def selected(self) -> Row | None:
        """The row under the cursor."""
        return self.rows[self._at] if self._at < len(self.rows) else None

    def select(self, fingerprint: str) -> bool:
        """Put the cursor on a finding, and unfold what it is in. False when it is not here."""
        row = self.findings.row_of(fingerprint) if self.findings else None
        if row is None or self.findings is None:
            return False
        if row not in self.rows:
            path = row.key.split("/")
            above = ["/".join(path[: n + 1]) for n in range(len(path) - 1)]
            for key in above:
                parent = self.findings.by_key.get(key)
                if parent and not self.findings.is_open(parent, self._turned, filtered=bool(self.filter.text)):
                    self._turned ^= {key}
            self._turned.discard(f"group:{row.group}")
            self._refresh_rows()
        if row not in self.rows:
            return False
        self._go(self.rows.index(row))
        return True

    def _refresh_rows(self) -> None:
        before = self._at
        self.rows = self.findings.shown(self.filter, self._turned) if self.findings else []
        self._tops = offsets(self.rows)
        self._measure()
        place = next((n for n, row in enumerate(self.rows) if row.key == self._key), -1)
        if place < 0:
            # Nothing was chosen yet, or it is gone: the first cause, or whoever stands in its place.
            place = min(before, len(self.rows) - 1) if self._key else 0
            while 0 <= place < len(self.rows) - 1 and self.rows[place].kind is Kind.GROUP:
                place += 1
        self._at = max(0, place)
        row = self.selected
        if self._key and row:
            self._key = row.key
        self.refresh()
        self.call_after_refresh(self._reveal)
        self.told(row)

    def on_resize(self) -> None:
        """The rows are as wide as the widget."""
        self._measure()
        self.call_after_refresh(self._reveal)

    def _reveal(self) -> None:
        row = self.selected
        if row is not None:
            # What leads to it comes along: the group of a first cause.
            lead = 1 if self._at == 1 else 0
            self.reveal(self._tops[self._at] - lead, row.height + lead)

    # Keys

    def _go(self, place: int) -> None:
        place = max(0, min(place, len(self.rows) - 1))
        if not self.rows:
            return
        old, self._at = self._at, place
        self._key = self.rows[place].key
        for one in (old, place):
            if one < len(self.rows):
                top = self._tops[one] - round(self.scroll_y)
                self.refresh(Region(0, top, self.size.width, self.rows[one].height))
        self._reveal()
        self.told(self.rows[place])

    def action_move(self, by: int) -> None:
        """Go up or down; the heading of an open group is passed over."""
        place = self._at + by
        while 0 <= place < len(self.rows) and self.rows[place].kind is Kind.GROUP and self._open(self.rows[place]):
            place += by
        if 0 <= place < len(self.rows):
            self._go(place)

    def action_page(self, by: int) -> None:
        """Go up or down by what fits on the screen."""
        room = max(2, self.scrollable_content_region.height - 1)
        self._go(bisect_right(self._tops, max(0, self._tops[self._at] + by * room), hi=len(self.rows)) - 1)

    def action_edge(self, way: int) -> None:
        """Go to the first or the last row."""
        self._go(0 if way < 0 else len(self.rows) - 1)

    def _open(self, row: Row) -> bool:
        return Tree.is_open(row, self._turned, filtered=any(self.filter.words))

    def action_turn(self) -> None:
        """Fold what is open, unfold what is folded."""
        row = self.selected
        if row is not None and row.children:
            self._key = row.key
            self._turned ^= {row.key}
            self._refresh_rows()

    def action_fold(self) -> None:
        """Fold the row, or go to the one that it hangs below."""
        row = self.selected
        if row is None:
            return
        if row.children and self._open(row):
            self.action_turn()
            return
        for place in range(self._at - 1, -1, -1):
            above = self.rows[place]
            if any(child is row for child in above.children):
                self._go(place)
                return

    def action_unfold(self) -> None:
        """Unfold the row, or go to the first below it."""
        row = self.selected
        if row is None or not row.children:
            return
        if self._open(row):
            self._go(self._at + 1)
        else:
            self.action_turn()

    def action_choose(self) -> None:
        """Open the runbook of the finding; a group is folded or unfolded."""
        row = self.selected
        if row is None:
            return
        if row.kind is Kind.GROUP:
            self.action_turn()
        else:
            self.post_message(self.Chosen(row))

    def on_click(self, event: events.Click) -> None:
        """Select; on the sign of a fold, turn it; twice, choose."""
        line = event.y + round(self.scroll_y)
        place = bisect_right(self._tops, line) - 1
        if not 0 <= place < len(self.rows):
            return
        row = self.rows[place]
        self._go(place)
        if event.chain > 1:
            self.action_choose()
        elif row.kind is Kind.GROUP or (row.children and event.x <= 2 + 2 * row.depth):
            self.action_turn()

    # Drawing

    def render_line(self, y: int) -> Strip:
        """Draw one row."""
        width = self.size.width
        if not self.rows:
            rows = layout(self._empty, width - 4)
            if 0 < y <= len(rows):
                return self.strip((("  ", ""), *rows[y - 1].spans), width)
            return self.blank(width)
        line = y + round(self.scroll_y)
        place = bisect_right(self._tops, line) - 1
        if not 0 <= place < len(self.rows):
            return self.blank(width)
        row = self.rows[place]
        current = place == self._at
        over = ("cursor" if self.has_focus else "stop") if current else ""
        return self.strip(self._spans(row, line - self._tops[place], width, current), width, over=over)

    def _spans(self, row: Row, part: int, width: int, current: bool) -> Sequence[Span]:
        edge: Span = (self.signs.cursor if current else " ", "bar")
        if row.kind is Kind.GROUP:
            return self._group(row, edge, width)
        if row.kind is Kind.SYMPTOM:
            return self._symptom(row, edge, width)
        return self._cause(row, edge, width) if part == 0 else self._about(row, edge, width)

    def _group(self, row: Row, edge: Span, width: int) -> Sequence[Span]:
        sign = self.signs.open if self._open(row) else self.signs.folded
        key = str(GROUPS.index(row.group) + 1) if row.group in GROUPS else ""
        count = f"  {row.size:,}"
        room = width - 3 - cell_len(row.title) - len(count) - len(key) - 1
        return (edge, (f"{sign} ", "dim"), (row.title, "group"), (count, "dim"), (" " * room, ""), (key, "dim"))

    def _cause(self, row: Row, edge: Span, width: int) -> Sequence[Span]:
        style = STYLES[row.severity] if row.severity is not None else ""
        sign = self.signs.severity[row.severity] if row.severity is not None else " "
        if row.gone:
            sign, style = self.signs.gone, "good"
        elif row.provisional:
            sign = "?"
        number = f"{row.number} " if row.number else ""
        mark = f"{self.signs.new} new " if row.new else ""
        first, _ = self._title(row, width, len(number), len(mark))
        return (edge, (f" {sign} ", style), (number, "dim"), (mark, "new"),
                (first, "dim" if row.provisional or row.gone else "bold"))  # fmt: skip

    def _title(self, row: Row, width: int, number: int, mark: int) -> tuple[str, str]:
        """The title in two parts: what fits on its first row, and the rest."""
        text = literal(row.title, plain=self.signs.plain)
        room = max(8, width - 5 - number - mark)
        if cell_len(text) <= room:
            return text, ""
        head = fitted(text, room + 1)
        cut = head.rfind(" ")
        if cut <= room * 3 // 4:  # a long path is broken between two of its names
            cut = max(cut, fitted(text, room).rfind("/") + 1)
        first = head[:cut] if cut > room // 2 else fitted(text, room)
        return first, text[len(first) :].strip()

    def _about(self, row: Row, edge: Span, width: int) -> Sequence[Span]:
        number = len(str(row.number)) + 1 if row.number else 0
        _, rest = self._title(row, width, number, len(self.signs.new) + 5 if row.new else 0)
        fold = " "
        words = [row.age] if row.age else []
        if row.children:
            fold = self.signs.open if self._open(row) else self.signs.folded
            words.append(f"explains {row.size:,}")
        if row.group == GONE or row.provisional:
            words.append("gone" if row.group == GONE else "so far")
        tail = f" {self.signs.dot} ".join(words)
        room = max(4, width - 6 - number - cell_len(tail))
        style = "dim" if not rest or row.provisional or row.gone else ""
        rest = rest or literal(row.subject, plain=self.signs.plain)
        shown = cropped([(rest, style)], room, self.signs.dots)
        gap = room - sum(cell_len(text) for text, _ in shown) + 1
        return (edge, (f" {fold} ", "dim"), (" " * number, ""), *shown, (" " * gap, ""), (tail, "dim"))

    def _symptom(self, row: Row, edge: Span, width: int) -> Sequence[Span]:
        style = STYLES[row.severity] if row.severity is not None else ""
        sign = self.signs.severity[row.severity] if row.severity is not None else " "
        twig = self.signs.last if row.last else self.signs.twig
        fold = ""
        if row.children:
            fold = f"{self.signs.open if self._open(row) else self.signs.folded} "
        mark = f" {self.signs.new}" if row.new else ""
        lead = f"{'  ' * row.depth}  {twig} "
        room = max(8, width - cell_len(lead) - len(fold) - len(mark) - 4)
        title = cropped([(literal(row.title, plain=self.signs.plain), "shown")], room, self.signs.dots)
        return (edge, (lead, "rule"), (f"{sign} ", style), (fold, "dim"), *title, (mark, "new"))

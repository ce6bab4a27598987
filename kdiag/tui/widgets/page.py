"""A page: lines that are read by scrolling, with stops that can be acted on or copied."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.selection import Selection
from textual.strip import Strip

from kdiag.tui.page import Action, Line, Painted, layout
from kdiag.tui.widgets.lines import LinesView

#: Beyond this width prose is hard to read.
_WIDEST = 140


class PageView(LinesView):
    """Lines and a cursor that goes from stop to stop; where the next stop is far, the page scrolls."""

    ALLOW_SELECT = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "step(-1)", "up", show=False),
        Binding("down,j", "step(1)", "down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "a page up", show=False),
        Binding("pagedown,ctrl+f,space", "page(1)", "a page down", show=False),
        Binding("home,g", "edge(-1)", "the beginning", show=False),
        Binding("end,G", "edge(1)", "the end", show=False),
        Binding("left_square_bracket", "stop(-1)", "the stop before", show=False),
        Binding("right_square_bracket", "stop(1)", "the next stop", show=False),
        Binding("enter", "act", "open"),
    ]

    class Acted(Message):
        """Something on the page is to be done."""

        def __init__(self, page: PageView, action: Action) -> None:
            super().__init__()
            self.page = page
            self.action = action

        @property
        def control(self) -> PageView:
            """The page that it stands on."""
            return self.page

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.lines: Sequence[Line] = ()
        self._painted: list[Painted] = []
        self._first: list[int] = []  # the row on which each line begins
        self._stops: list[int] = []
        self._at = -1
        self._width = 0
        self._found = ""
        self.marked = False  # whether the cursor shows although the keys go elsewhere

    # What is shown

    def show(self, lines: Sequence[Line], *, keep: bool = False) -> None:
        """Show these lines from their beginning; with ``keep``, from where the reader is."""
        at = self._at if keep else -1
        self.lines = lines
        self._stops = [number for number, one in enumerate(lines) if one.stop]
        self._at = min(at, len(self._stops) - 1) if keep and at >= 0 else (0 if self._stops else -1)
        self._paint()
        if not keep:
            self.scroll_to(y=0, animate=False, immediate=True)

    def start(self, verb: str, value: str = "") -> None:
        """Put the cursor on the first line that this can be done with; with ``value``, on the one that it names."""
        for place, number in enumerate(self._stops):
            action = self.lines[number].action
            if action is not None and action.verb == verb and value in ("", action.value):
                self._at = place
                self.refresh()
                return

    def aim(self) -> None:
        """Bring the line under the cursor into sight, with room below it."""
        if 0 <= self._at < len(self._stops):
            top, room = self._rows_of(self._at)[0], self.scrollable_content_region.height
            if not round(self.scroll_y) <= top < round(self.scroll_y) + room * 2 // 3:
                self.scroll_to(y=max(0, top - 2), animate=False, immediate=True)

    @property
    def text(self) -> str:
        """All that it says."""
        return "\n".join(one.text for one in self.lines)

    @property
    def current(self) -> Line | None:
        """The line that the cursor is on."""
        return self.lines[self._stops[self._at]] if 0 <= self._at < len(self._stops) else None

    def on_resize(self) -> None:
        """Lay the page out anew."""
        if self.size.width != self._width:
            self._paint()

    def _paint(self) -> None:
        self._width = self.size.width
        width = min(_WIDEST, max(10, self.size.width - 2))
        self._painted = layout(self.lines, width)
        self._first = []
        for number, row in enumerate(self._painted):
            while len(self._first) <= row.line:
                self._first.append(number)
        self.virtual_size = Size(self.size.width, len(self._painted))
        self.refresh()

    def find(self, words: str) -> bool:
        """Go to the next line that holds these words; False when there is none."""
        wanted = words.lower()
        if not wanted or not self._painted:
            return False
        start = self._painted[min(round(self.scroll_y), len(self._painted) - 1)].line
        again = wanted == self._found
        self._found = wanted
        order = [*range(start + (1 if again else 0), len(self.lines)), *range(start + 1)]
        for number in order:
            if wanted in self.lines[number].text.lower():
                self.scroll_to(y=max(0, self._first[number] - (0 if again else 1)), animate=False, immediate=True)
                if number in self._stops:
                    self._at = self._stops.index(number)
                self.refresh()
                return True
        return False

    # Keys

    def _rows_of(self, stop: int) -> tuple[int, int]:
        number = self._stops[stop]
        top = self._first[number]
        end = self._first[number + 1] if number + 1 < len(self._first) else len(self._painted)
        return top, end

    def action_step(self, way: int) -> None:
        """Go to the next stop if it is near, else scroll by a line."""
        room = max(1, self.scrollable_content_region.height)
        top = round(self.scroll_y)
        following = self._next(way)
        if following is not None:
            begin, end = self._rows_of(following)
            if begin < top + room + 2 and end > top - 2:
                self._move(following)
                return
        self.scroll_to(y=top + way, animate=False, immediate=True)

    def _next(self, way: int) -> int | None:
        """The stop that follows the cursor, or, where that is out of sight, the first one that is in sight."""
        if not self._stops:
            return None
        top, room = round(self.scroll_y), self.scrollable_content_region.height
        if self._at >= 0:
            begin, end = self._rows_of(self._at)
            if begin < top + room and end > top:
                place = self._at + way
                return place if 0 <= place < len(self._stops) else None
        edge = top if way > 0 else top + room - 1
        line = self._painted[min(max(0, edge), len(self._painted) - 1)].line
        place = bisect_left(self._stops, line) - (0 if way > 0 else 1)
        return place if 0 <= place < len(self._stops) else None

    def action_stop(self, way: int) -> None:
        """Go to the next stop, however far."""
        if self._stops:
            self._move((self._at + way) % len(self._stops))

    def _move(self, stop: int) -> None:
        self._at = stop
        begin, end = self._rows_of(stop)
        room = max(1, self.scrollable_content_region.height)
        self.reveal(begin, min(room, end - begin))
        self.refresh()

    def action_page(self, by: int) -> None:
        """Scroll by what fits on the screen."""
        room = max(1, self.scrollable_content_region.height - 1)
        self.scroll_to(y=round(self.scroll_y) + by * room, animate=False, immediate=True)

    def action_edge(self, way: int) -> None:
        """Go to the beginning or the end."""
        self.scroll_to(y=0 if way < 0 else len(self._painted), animate=False, immediate=True)
        if self._stops:
            self._at = 0 if way < 0 else len(self._stops) - 1
        self.refresh()

    def action_act(self) -> None:
        """Do what the line under the cursor is for."""
        line = self.current
        if line is not None:
            self.post_message(self.Acted(self, line.action or Action("copy", line.copies)))

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on the line; a link is followed, and twice on any line acts."""
        row = event.y + round(self.scroll_y)
        if not 0 <= row < len(self._painted):
            return
        number = self._painted[row].line
        if number not in self._stops:
            return
        self._at = self._stops.index(number)
        self.refresh()
        line = self.lines[number]
        if event.chain > 1 or (line.action and line.action.verb in ("page", "finding", "trace", "node", "unfold")):
            self.action_act()

    # Drawing

    def render_line(self, y: int) -> Strip:
        """Draw one row."""
        width = self.size.width
        row = y + round(self.scroll_y)
        if row >= len(self._painted):
            return self.blank(width)
        painted = self._painted[row]
        here = (
            (self.has_focus or self.marked)
            and 0 <= self._at < len(self._stops)
            and self._stops[self._at] == painted.line
        )
        edge = (self.signs.cursor if here else " ", "bar")
        strip = self.strip((edge, *painted.spans), width, over="cursor" if here else "")
        selection = self.text_selection
        if selection is not None and (span := selection.get_span(row)) is not None:
            start, end = span
            end = strip.cell_length if end == -1 else end
            chosen = self.screen.get_component_rich_style("screen--selection")
            strip = Strip.join(
                [
                    strip.crop(0, start),
                    Strip([Segment(s.text, (s.style + chosen) if s.style else chosen) for s in strip.crop(start, end)]),
                    strip.crop(end),
                ]
            )
        return strip.apply_offsets(0, row)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The text that was marked with the mouse."""
        text = "\n".join(" " + "".join(part for part, _ in row.spans) for row in self._painted)
        return selection.extract(text), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        """Draw what is marked."""
        self.refresh()

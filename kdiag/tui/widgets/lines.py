"""What all of kdiag's own widgets share: rows of styled text, drawn only where they are seen."""

from __future__ import annotations

from collections.abc import Iterable

from rich.segment import Segment
from rich.style import Style
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from kdiag.tui.glyphs import FANCY, Glyphs, literal
from kdiag.tui.page import Span
from kdiag.tui.themes import tones


class Styled(Widget):
    """A widget whose text is spans. Whatever a span holds, no byte of it can drive the terminal."""

    signs: Glyphs = FANCY

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._styles: dict[str, Style] = {}

    def notify_style_update(self) -> None:
        """Forget the styles: the theme, or what is focused, has changed."""
        self._styles.clear()
        super().notify_style_update()

    def style_of(self, name: str) -> Style:
        """The style of that name over this widget's own; an unknown name is plain text."""
        found = self._styles.get(name)
        if found is None:
            tone = self.tone(name)
            found = self._styles[name] = self.rich_style + tone if tone else self.rich_style
        return found

    def tone(self, name: str) -> Style | None:
        """What a style name adds; None for a name that adds nothing."""
        if self.app.no_color and name in ("cursor", "mark"):
            return Style(reverse=True)
        return tones(self.app.theme_variables).get(name)

    def blank(self, width: int) -> Strip:
        """A row with nothing on it."""
        return Strip.blank(width, self.style_of(""))

    def strip(self, spans: Iterable[Span], width: int, *, over: str = "") -> Strip:
        """These spans as a row of exactly this many cells, on the background of style ``over``."""
        ground = self.style_of(over)
        tint = self.tone(over) if over else None
        plain = self.signs.plain
        segments = []
        for text, name in spans:
            if text:
                style = self.style_of(name) + tint if tint else self.style_of(name)
                safe = text if text.isprintable() and not (plain and not text.isascii()) else literal(text, plain=plain)
                segments.append(Segment(safe, style))
        return Strip(segments).adjust_cell_length(width, ground)


class LinesView(Styled, ScrollView, can_focus=True):
    """A view of many rows; only those on the screen are ever drawn."""

    def reveal(self, top: int, height: int = 1) -> None:
        """Scroll as little as it takes to show these rows."""
        first = round(self.scroll_y)
        room = max(1, self.scrollable_content_region.height)
        if top < first:
            self.scroll_to(y=top, animate=False, immediate=True)
        elif top + height > first + room:
            self.scroll_to(y=top + height - room, animate=False, immediate=True)

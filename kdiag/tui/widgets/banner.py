"""A word that must be seen: over as many rows as it takes, up to a few."""

from __future__ import annotations

from textual.geometry import Size
from textual.strip import Strip

from kdiag.tui.page import Painted, layout, line
from kdiag.tui.widgets.lines import Styled

_MOST = 3


class Banner(Styled):
    """Shown only while it has something to say."""

    _text = ""

    def say(self, text: str) -> None:
        """Say this; nothing puts it away."""
        if text != self._text:
            self._text = text
            self.set_class(bool(text), "-on")
            self.refresh(layout=True)

    @property
    def text(self) -> str:
        """What it says."""
        return self._text

    def _rows(self, width: int) -> list[Painted]:
        sign = "! " if self.signs.plain else "⚠ "
        return layout([line((sign, "warn"), (self._text, "bold"), hang=2)], width)[:_MOST]

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many rows as the text takes."""
        return len(self._rows(width))

    def render_line(self, y: int) -> Strip:
        """Draw one row."""
        rows = self._rows(self.size.width)
        return self.strip(rows[y].spans if y < len(rows) else (), self.size.width)

"""What is shown where nothing else fits."""

from __future__ import annotations

from textual.strip import Strip

from kdiag.tui.page import fitted
from kdiag.tui.widgets.lines import Styled


class Small(Styled):
    """Says that the terminal is too small, and what would do."""

    def render_line(self, y: int) -> Strip:
        """Draw one row."""
        size = self.app.size
        words = ("kdiag", f"needs 60x10, has {size.width}x{size.height}", "q quits")
        top = max(0, (self.size.height - len(words)) // 2)
        text = words[y - top] if 0 <= y - top < len(words) else ""
        width = self.size.width
        text = fitted(text, width)
        return self.strip([(" " * max(0, (width - len(text)) // 2), ""), (text, "bold" if y == top else "")], width)

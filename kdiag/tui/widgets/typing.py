"""A line to type into, in which there is only what prints."""

from __future__ import annotations

from textual.widgets import Input

from kdiag.tui.glyphs import typed


class Typing(Input):
    """Textual's own draws an escape sequence that is pasted into it as what it is."""

    def validate_value(self, value: str) -> str:
        """Take out what does not print."""
        return typed(value)

"""One line across the screen: something at the left, something at the right."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.style import Style
from textual.strip import Strip

from kdiag.tui.page import Span, cropped
from kdiag.tui.widgets.lines import Styled


class Bar(Styled):
    """A line of spans. What does not fit is cut at the left part's end; the right part stays."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._left: tuple[Span, ...] = ()
        self._right: tuple[Span, ...] = ()

    def show(self, left: Sequence[Span], right: Sequence[Span] = ()) -> None:
        """Show these."""
        if (tuple(left), tuple(right)) != (self._left, self._right):
            self._left, self._right = tuple(left), tuple(right)
            self.refresh()

    @property
    def text(self) -> str:
        """What it says, for tests and for screen readers."""
        return "".join(text for text, _ in (*self._left, *self._right))

    def render_line(self, y: int) -> Strip:
        """Draw one row."""
        width = self.size.width
        if y:
            return self.blank(width)
        size = sum(cell_len(text) for text, _ in self._right)
        if size > width * 2 // 3:
            return self.strip(cropped((*self._left, ("  ", ""), *self._right), width, self.signs.dots), width)
        left = cropped(self._left, max(0, width - size - (1 if size else 0)), self.signs.dots)
        return Strip.join([self.strip(left, width - size), self.strip(self._right, size)])


class KeysBar(Bar):
    """The keys that work here, made of the bindings; each can be clicked."""

    def show_keys(self, keys: Sequence[tuple[str, str, str]]) -> None:
        """Show these: the key's name, what it does, and its action."""
        self._keys = tuple(keys)
        self.show([(f" {key} {what} ", action) for key, what, action in keys])

    _keys: tuple[tuple[str, str, str], ...] = ()

    def render_line(self, y: int) -> Strip:
        """Draw one row."""
        width = self.size.width
        strips, used = [], 0
        for key, what, action in self._keys if y == 0 else ():
            size = cell_len(key) + cell_len(what) + 3
            if used + size > width:
                break
            strip = self.strip([(f" {key} ", "key"), (f"{what} ", "dim")], size)
            strips.append(strip.apply_style(Style(meta={"@click": action})))
            used += size
        return Strip.join([*strips, self.blank(width - used)])

"""Choose one of a few: a context, a namespace, a node, a theme. Typing narrows the list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import ModalScreen
from textual.widgets import Input

from kdiag.tui.glyphs import literal
from kdiag.tui.page import Action, line
from kdiag.tui.widgets.page import PageView

_MOST = 500


class PickScreen(ModalScreen[str | None]):
    """A list over the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "back", show=False),
        Binding("up", "move(-1)", "up", show=False, priority=True),
        Binding("down", "move(1)", "down", show=False, priority=True),
        Binding("enter", "choose", "choose", show=False, priority=True),
    ]

    def __init__(self, title: str, choices: Sequence[str], *, current: str = "") -> None:
        super().__init__()
        self._title = title
        self._choices = list(choices)
        self._current = current

    def compose(self) -> ComposeResult:
        """A line to type into, and the list."""
        with Container(id="box"):
            yield Input(placeholder=self._title, compact=True, id="narrow")
            yield PageView(id="choices")

    def on_mount(self) -> None:
        """Begin."""
        self.set_focus(self.query_one(Input))
        self.query_one(PageView).can_focus = False
        self._show("")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Narrow the list."""
        self._show(event.value)

    def _show(self, words: str) -> None:
        found = [c for c in self._choices if all(w in c.lower() for w in words.lower().split())]
        lines = [
            line((literal(c), "bold" if c == self._current else ""), action=Action("pick", c), cut=True)
            for c in found[:_MOST]
        ] or [line(("none of that name", "dim"))]
        page = self.query_one(PageView)
        page.marked = True
        page.show(lines)

    def action_move(self, by: int) -> None:
        """Go up or down."""
        self.query_one(PageView).action_stop(by)

    def action_choose(self) -> None:
        """Take the one under the cursor."""
        current = self.query_one(PageView).current
        self.dismiss(current.action.value if current and current.action else None)

    def on_page_view_acted(self, event: PageView.Acted) -> None:
        """Take the one that was clicked."""
        event.stop()
        self.dismiss(event.action.value)

    def action_leave(self) -> None:
        """None of them."""
        self.dismiss(None)

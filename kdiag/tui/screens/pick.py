"""Choose one of a few: a context, a namespace, a node, a theme, a runbook page. Typing narrows the list."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import ModalScreen
from textual.widgets import Input

from kdiag.tui.glyphs import literal
from kdiag.tui.page import Action, Line, line
from kdiag.tui.widgets.page import PageView
from kdiag.tui.widgets.typing import Typing

_MOST = 500


class PickScreen(ModalScreen[str | None]):
    """A list over the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "back", show=False),
        Binding("up", "move(-1)", "up", show=False, priority=True),
        Binding("down", "move(1)", "down", show=False, priority=True),
        Binding("enter", "choose", "choose", show=False, priority=True),
    ]

    def __init__(
        self, title: str, found: Callable[[str], Sequence[Line]], *, words: str = "", wide: bool = False
    ) -> None:
        """``found`` gives the lines for what is typed; the value of a line's action is what is chosen with it."""
        super().__init__(classes="-broad" if wide else None)
        self._title = title
        self._found = found
        self.words = words  # what is typed

    def compose(self) -> ComposeResult:
        """A line to type into, and the list."""
        with Container(id="box"):
            yield Typing(self.words, placeholder=self._title, compact=True, select_on_focus=False, id="narrow")
            yield PageView(id="choices")

    def on_mount(self) -> None:
        """Begin."""
        self.set_focus(self.query_one(Input))
        self.query_one(PageView).can_focus = False
        self._show(self.words)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Narrow the list."""
        self.words = event.value
        self._show(event.value)

    def _show(self, words: str) -> None:
        page = self.query_one(PageView)
        page.marked = True
        page.show(self._found(words) or [line(("none of that name", "dim"))])

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


def among(names: Sequence[str], current: str = "") -> Callable[[str], Sequence[Line]]:
    """Gives the lines of those names in which all the words occur."""
    return partial(_among, names, current)


def _among(names: Sequence[str], current: str, words: str) -> Sequence[Line]:
    found = (name for name in names if all(word in name.lower() for word in words.lower().split()))
    return [
        line((literal(name), "bold" if name == current else ""), action=Action("pick", name), cut=True)
        for name in itertools.islice(found, _MOST)
    ]

"""A question before something is changed: yes is a key of its own, so that no key pressed twice says it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import ModalScreen

from kdiag.tui.page import Line, line
from kdiag.tui.widgets.page import PageView


class ConfirmScreen(ModalScreen[bool]):
    """A few lines over the screen, with yes and no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes", show=False, priority=True),
        Binding("n,escape,q", "answer(False)", "no", show=False, priority=True),
    ]

    def __init__(self, lines: Sequence[Line], yes: str, no: str = "back") -> None:
        super().__init__()
        self._lines = [*lines, line(), line(("y", "key"), (f"  {yes}     ", ""), ("esc", "key"), (f"  {no}", ""))]

    def compose(self) -> ComposeResult:
        """The question."""
        with Container(id="box"):
            yield PageView(id="question")

    def on_mount(self) -> None:
        """Ask."""
        self.query_one(PageView).show(self._lines)

    def action_answer(self, yes: bool) -> None:
        """Yes, or no."""
        self.dismiss(yes)

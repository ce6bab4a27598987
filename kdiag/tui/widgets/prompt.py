"""The line at the bottom into which a filter, a search or a command is typed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widget import Widget
from textual.widgets import Input

from kdiag.tui.widgets.bar import Bar, KeysBar
from kdiag.tui.widgets.typing import Typing


class Ask(Horizontal):
    """The line as a whole: the sign of what is asked for, and what is typed."""

    def compose(self) -> ComposeResult:
        """The sign and the text."""
        yield Bar(id="sign")
        yield Prompt(id="prompt")


class Prompt(Typing):
    """One line. ``kind`` says what for: ``/`` filters or searches, ``:`` commands."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "leave", show=False),
        Binding("up", "before", "the one before", show=False),
        Binding("tab", "cursor_right", "complete", show=False),
    ]

    class Typed(Message):
        """The text has changed."""

        def __init__(self, kind: str, text: str) -> None:
            super().__init__()
            self.kind = kind
            self.text = text

    class Entered(Message):
        """Enter was pressed."""

        def __init__(self, kind: str, text: str) -> None:
            super().__init__()
            self.kind = kind
            self.text = text

    class Left(Message):
        """It was left without a word."""

        def __init__(self, kind: str) -> None:
            super().__init__()
            self.kind = kind

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, compact=True, select_on_focus=False)
        self.kind = "/"
        #: What had the focus before.
        self.origin: Widget | None = None
        self._said: dict[str, str] = {}

    def open(self, kind: str, text: str = "", *, hint: str = "", words: Iterable[str] = ()) -> None:
        """Begin: what is typed now goes here."""
        self.kind = kind
        self.placeholder = hint
        self.origin = self.screen.focused
        self.suggester = SuggestFromList(list(words), case_sensitive=True) if words else None
        with self.prevent(Input.Changed):
            self.value = text
        self.cursor_position = len(text)
        self.screen.query_one("#sign", Bar).show([(kind, "key")])
        self._turn(on=True)
        # At once, and not when it is next convenient: what is typed behind the sign belongs here already.
        self.screen.set_focus(self, scroll_visible=False)

    def shut(self) -> None:
        """Go away."""
        self._turn(on=False)

    def _turn(self, *, on: bool) -> None:
        self.screen.query_one(Ask).display = on
        self.screen.query_one(KeysBar).display = not on

    @property
    def on(self) -> bool:
        """Whether somebody types here."""
        return self.screen.query_one(Ask).display

    def on_input_changed(self, event: Input.Changed) -> None:
        """Pass on what is typed."""
        event.stop()
        self.post_message(self.Typed(self.kind, self.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Pass on what was typed."""
        event.stop()
        self._said[self.kind] = self.value
        self.post_message(self.Entered(self.kind, self.value))

    def action_leave(self) -> None:
        """Leave."""
        self.post_message(self.Left(self.kind))

    def action_before(self) -> None:
        """What was said here the last time."""
        self.value = self._said.get(self.kind, "")
        self.cursor_position = len(self.value)

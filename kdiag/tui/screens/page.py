"""A page that fills the screen: a trace, a node, the timeline, the coverage, help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from kdiag.tui.glyphs import literal
from kdiag.tui.page import Line, line
from kdiag.tui.screens.base import BaseScreen
from kdiag.tui.widgets.bar import Bar
from kdiag.tui.widgets.page import PageView
from kdiag.tui.widgets.prompt import Ask, Prompt

Make = Callable[[], Sequence[Line]]


class PageScreen(BaseScreen):
    """One page. ``make`` gives its lines as they are now; until there is anything to show it says so."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "back", key_display="esc"),
        Binding("y", "copy", "copy"),
        Binding("slash", "find", "find", key_display="/", priority=True),
    ]

    def __init__(self, title: str, make: Make | None = None, *, about: str = "") -> None:
        super().__init__()
        self.page_title = title
        self.about = about
        self._make = make

    def middle(self) -> ComposeResult:
        """The page, and the line that is typed into."""
        yield PageView(id="page")
        yield Ask(id="ask")

    @property
    def page(self) -> PageView:
        """The page."""
        return self.query_one("#page", PageView)

    def on_mount(self) -> None:
        """Show what there is."""
        super().on_mount()
        self.set_focus(self.page)
        if self._make is not None:
            self.page.show(self._make())
        else:
            self.page.show([line(("reading", "bold"), (self.kdiag.signs.dots, "dim"))])
        self.show_head()

    def show_head(self) -> None:
        """Show what this is."""
        plain = self.kdiag.signs.plain
        self.query_one("#head", Bar).show(
            [("kdiag ", "brand"), (" ", ""), (literal(self.page_title, plain=plain), "bold"),
             (f"  {literal(self.about, plain=plain)}" if self.about else "", "dim")],
        )  # fmt: skip

    def show(self, lines: Sequence[Line]) -> None:
        """Show these lines."""
        if self.is_mounted:
            self.page.show(lines)
            self.show_head()
        else:
            self._make = lambda: lines

    def find(self, words: str) -> bool:
        """Go to these words; False when they are not here."""
        return self.page.find(words)

    def again(self) -> None:
        """Make the page anew, and stay where the reader is."""
        if self._make is not None and self.is_mounted:
            self.page.show(self._make(), keep=True)

    def on_page_view_acted(self, event: PageView.Acted) -> None:
        """Enter on a line."""
        self.kdiag.act(event.action, event.page)

    def on_prompt_entered(self, event: Prompt.Entered) -> None:
        """Find it, or carry out a command."""
        self.query_one(Prompt).shut()
        self.set_focus(self.page)
        if event.kind == ":":
            self.kdiag.command(event.text)
        elif event.text and not self.find(event.text):
            self.kdiag.say(f"{event.text!r} is not on this page")

    def on_prompt_left(self, event: Prompt.Left) -> None:
        """Never mind."""
        self.query_one(Prompt).shut()
        self.set_focus(self.page)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What is typed into the line is text."""
        return not self.query_one(Prompt).on if action == "find" else True

    def action_find(self) -> None:
        """Look for words on the page."""
        self.query_one(Prompt).open("/", hint="find on this page")

    def action_leave(self) -> None:
        """Go back to where this was called from."""
        self.dismiss()

    def action_copy(self) -> None:
        """Copy the command under the cursor."""
        current = self.page.current
        self.kdiag.copy(current.copies if current else "")

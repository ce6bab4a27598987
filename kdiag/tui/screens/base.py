"""What all full screens share: a line at the top, the keys at the bottom, a word for a terminal that is too small."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import Screen

from kdiag.tui.widgets.bar import Bar, KeysBar
from kdiag.tui.widgets.small import Small

if TYPE_CHECKING:
    from kdiag.tui.app import KdiagApp

#: What the line of keys shows first; the others follow in the order in which they are bound.
ORDER = (
    "choose", "check", "hint", "solve", "stop", "act", "leave", "run", "run_all", "filter", "find", "copy",
    "verify", "trace", "node", "help", "quit", "timeline", "coverage", "command",
)  # fmt: skip
#: Below so many columns the panes stand above each other.
NARROW = 100


class BaseScreen(Screen[None]):
    """A screen of kdiag's."""

    HORIZONTAL_BREAKPOINTS = [
        (0, "-tiny"), (60, "-narrow"), (NARROW, "-normal"), (170, "-wide"),
    ]  # fmt: skip
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (10, "-tall")]

    @property
    def kdiag(self) -> KdiagApp:
        """The application."""
        return cast("KdiagApp", self.app)

    def compose(self) -> ComposeResult:
        """The line at the top, what is between, the keys."""
        yield Bar(id="head")
        yield from self.middle()
        yield KeysBar(id="keys")
        yield Small(id="small")

    def middle(self) -> ComposeResult:
        """What is between the two lines."""
        yield from ()

    def on_mount(self) -> None:
        """Show the keys that work, and keep them right."""
        self.set_class(self.kdiag.signs.plain, "-plain")
        self.bindings_updated_signal.subscribe(self, lambda _: self.call_after_refresh(self._keys))
        self.call_after_refresh(self._keys)

    def _keys(self) -> None:
        if not self.is_current or not self.is_mounted:
            return
        found: dict[str, tuple[str, str, str]] = {}
        for active in self.active_bindings.values():
            binding = active.binding
            if binding.show and active.enabled:
                found.setdefault(
                    binding.action,
                    (self.kdiag.key_name(binding), binding.description, self._action(active.node, binding)),
                )
        place = {action: number for number, action in enumerate(ORDER)}
        order = sorted(found.items(), key=lambda item: place.get(item[0].partition("(")[0].removeprefix("app."), 99))
        self.query_one(KeysBar).show_keys([shown for _, shown in order])

    @staticmethod
    def _action(node: object, binding: Binding) -> str:
        from textual.app import App
        from textual.screen import Screen as AnyScreen

        if "." in binding.action.partition("(")[0]:
            return binding.action
        if isinstance(node, App):
            return f"app.{binding.action}"
        return f"screen.{binding.action}" if isinstance(node, AnyScreen) else f"screen.focused('{binding.action}')"

    async def action_focused(self, action: str) -> None:
        """Do what a key would do in the widget that has the focus."""
        if self.focused is not None:
            await self.app.run_action(action, self.focused)

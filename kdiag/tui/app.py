"""The application: what keys do wherever one is, what is heard of the reading, and the way between screens."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Input

from kdiag.model.text import shorten
from kdiag.tui.case import Case, Heard, Verdict
from kdiag.tui.driver import Driver
from kdiag.tui.glyphs import FANCY, Glyphs, literal
from kdiag.tui.messages import Answer, Failed, Refused
from kdiag.tui.page import Action, line
from kdiag.tui.themes import THEMES, chosen, own, variables
from kdiag.tui.widgets.lines import Styled

if TYPE_CHECKING:
    from kdiag.tui.model import Row
    from kdiag.tui.screens.page import PageScreen
    from kdiag.tui.screens.verdict import VerdictScreen
    from kdiag.tui.verify import Verify
    from kdiag.tui.walk import Walk
    from kdiag.tui.widgets.page import PageView
    from kdiag.tui.work import Worker

#: How often the time that something takes is shown anew, in seconds.
_TICK = 0.25


class KdiagApp(App[int]):
    """kdiag on a terminal."""

    CSS_PATH = "kdiag.tcss"
    TITLE = "kdiag"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("colon", "command_line", "command", key_display=":", priority=True),
        Binding("question_mark", "help", "help", key_display="?"),
        Binding("q", "quit", "quit"),
        Binding("ctrl+c", "interrupt", "quit", show=False, priority=True),
        Binding("T", "timeline", "timeline", tooltip="findings, changes and events on one axis of time"),
        Binding("u", "coverage", "coverage", tooltip="what was seen, what was not and why, source by source"),
        Binding("R,ctrl+r,f5", "refresh", "read again", show=False, tooltip="read all again; new and gone is marked"),
        Binding("a", "auto", "look again every 30 s", show=False),
        Binding("s", "snapshot", "snapshot", show=False, tooltip="save what was read, without credentials"),
        Binding("S", "report", "report", show=False, tooltip="save an incident report as Markdown"),
        Binding("f", "search", "search", show=False, tooltip="look for words in all runbook pages"),
        Binding("L", "labs", "labs", show=False),
        Binding("ctrl+t", "next_theme", "other colours", show=False),
    ]

    class Said(Message):
        """The process that reads has said something."""

        def __init__(self, heard: Heard) -> None:
            super().__init__()
            self.heard = heard

    class Verified(Message):
        """The process that looks at one finding again has said something."""

        def __init__(self, verify: Verify | None, value: object) -> None:
            super().__init__()
            self.verify = verify
            self.value = value

    def __init__(
        self, options: argparse.Namespace, *, worker: Worker | None = None, signs: Glyphs = FANCY, theme: str = ""
    ) -> None:
        # Without colour, none: textual would make greys of them.
        super().__init__(Driver, watch_css=False, ansi_color=True if os.environ.get("NO_COLOR") else None)
        Styled.signs = signs
        self.signs = signs
        self.options = options
        self.auto = 0.0
        self.crash: BaseException | None = None
        self.case = Case(options, self._tell)
        self.verifying: Verify | None = None
        self.verify_pause = 2.0  # between two looks, in seconds
        self._walks: dict[tuple[str, str], Walk] = {}
        self._first = worker
        self._timer: Timer | None = None
        for one in own(sixteen=self.console.color_system == "standard"):
            self.register_theme(one)
        wanted = theme or chosen(os.environ)
        self.theme = wanted if wanted in self.available_themes else THEMES[0].name

    # Beginning and end

    def get_default_screen(self) -> Screen[Any]:
        """The verdict."""
        from kdiag.tui.screens.verdict import VerdictScreen

        return VerdictScreen()

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """What the style sheet asks of a theme that is not kdiag's own."""
        return variables(self.current_theme)

    def on_mount(self) -> None:
        """Begin to read."""
        if self.signs.plain:
            from textual.scrollbar import ScrollBar

            from kdiag.tui.widgets.scrollbar import PlainScrollBar

            ScrollBar.renderer = PlainScrollBar
        self.case.start(self._first)
        self._first = None
        self.set_interval(_TICK, self._tick)

    def close_all(self) -> None:
        """End every process."""
        self.case.close()
        if self.verifying is not None:
            self.verifying.stop()

    def _fatal_error(self) -> None:
        """A fault of kdiag's own: the terminal is put back, and ``crash`` says what it was."""
        self.crash = self.crash or sys.exc_info()[1]  # what follows from the first tells less
        self._close_messages_no_wait()

    def action_interrupt(self) -> None:
        """Copy what is marked with the mouse, or leave as Ctrl-C does."""
        text = self.screen.get_selected_text()
        if text:
            self.screen.clear_selection()
            self.copy(text)
        else:
            self.exit(130, return_code=130)

    async def action_quit(self) -> None:
        """Leave."""
        self.exit(0)

    # Hearing

    def _tell(self, heard: Heard) -> None:
        """On a thread of the case."""
        self.post_message(self.Said(heard))

    def _tell_verify(self, value: object) -> None:
        """On a thread of its own."""
        self.post_message(self.Verified(self.verifying, value))

    @property
    def main(self) -> VerdictScreen:
        """The screen that everything starts from."""
        from kdiag.tui.screens.verdict import VerdictScreen

        screen = self.screen_stack[0]
        assert isinstance(screen, VerdictScreen)  # noqa: S101
        return screen

    def on_kdiag_app_said(self, event: Said) -> None:
        """Take it in, and show it."""
        heard = event.heard
        self.case.take(heard)
        if isinstance(heard.value, Verdict | Failed):
            self.main.show_verdict()
            self._again()
        elif not isinstance(heard.value, Answer | Refused) and not self.case.reading.notes:
            return  # the next tick shows it
        if not self.case.reading.running:
            self.main.show_progress()

    def _tick(self) -> None:
        if self.case.reading.running or self.verifying is not None:
            self.main.show_progress()
            self._again()

    def _again(self) -> None:
        """What is made of the reading is made anew."""
        from kdiag.tui.screens.page import PageScreen

        if isinstance(self.screen, PageScreen):
            self.screen.again()

    # Saying

    def say(self, text: str, *, bad: bool = False) -> None:
        """A word in the corner."""
        text = shorten(literal(text, plain=self.signs.plain), 400)
        self.notify(text, severity="error" if bad else "information", timeout=6 if bad else 4, markup=False)

    def copy(self, text: str) -> None:
        """Copy to the clipboard, also over SSH (OSC 52)."""
        if text:
            self.copy_to_clipboard(text)
            self.say(f"copied: {text}")
        else:
            self.say("there is no command here to copy")

    # Ways

    def act(self, action: Action, page: PageView) -> None:
        """Do what a line of a page is for."""
        match action.verb:
            case "copy":
                self.copy(action.value)
            case "page":
                self.home()
                self.main.open_page(action.value)
            case "finding":
                self.home()
                if not self.main.rows.select(action.value):
                    self.say("this finding is not in the list: the filter hides it, or it is gone")
            case "trace":
                kind, namespace, name = action.value.split("/", 2)
                self.show_trace(kind, namespace, name)
            case "node":
                self.show_node(action.value)
            case "run":
                walk = self.main.walk
                if walk is not None:
                    self.run_steps(walk, [int(action.value)])
            case "unfold":
                if self.main.walk is not None:
                    self.main.walk.turn(int(action.value))
                    self.main.show_book()

    def home(self) -> None:
        """Back to the verdict."""
        while len(self.screen_stack) > 1:
            self.pop_screen()

    def walk(self, check_id: str, row: Row | None) -> Walk:
        """The runbook page of a check, walked so far, for the finding where it is about that check."""
        from kdiag.tui.messages import Fill
        from kdiag.tui.walk import Walk

        finding = None
        for node in row.node.walk() if row is not None and row.node is not None else ():
            if node.check.id == check_id:
                finding = node.finding
                break
        else:
            finding = row.node.finding if row is not None and row.node is not None else None
        key = (check_id, row.node.fingerprint if row is not None and row.node is not None else "")
        found = self._walks.get(key)
        if found is None:
            found = self._walks[key] = Walk(check_id, finding)
            self.case.ask(Fill(check_id=check_id, finding=finding), partial(self._filled, found))
        return found

    def _filled(self, walk: Walk, answer: object) -> None:
        if isinstance(answer, Answer):
            walk.filled(answer.value)
            if self.main.walk is walk:
                self.main.show_book()

    def _open(self, screen: PageScreen) -> None:
        if len(self.screen_stack) > 6:  # from node to finding to trace to node: the way back is Esc, not all of it
            self.home()
        self.push_screen(screen)

    def show_trace(self, kind: str, namespace: str, name: str) -> None:
        """The way of a request from this object."""
        from kdiag.tui.messages import Trace
        from kdiag.tui.pages.trace import trace_page
        from kdiag.tui.screens.page import PageScreen

        screen = PageScreen(f"trace {kind} {namespace}/{name}")
        self._open(screen)
        request = Trace(kind=kind, namespace=namespace, name=name)
        self.case.ask(request, partial(self._answered, screen, lambda steps: trace_page(steps, self.signs)))

    def show_node(self, name: str) -> None:
        """One node."""
        from kdiag.tui.messages import Machine, NodeSeen
        from kdiag.tui.pages.node import node_page
        from kdiag.tui.screens.page import PageScreen

        screen = PageScreen(f"node {name}")

        def lines(seen: NodeSeen) -> list[Any]:
            screen.about = f" {self.signs.dot} ".join(seen.picture.head[1:])
            return node_page(seen, self.signs)

        self._open(screen)
        self.case.ask(Machine(name), partial(self._answered, screen, lines))

    def choose_node(self) -> None:
        """Let a node be chosen."""
        nodes = self.case.head.nodes if self.case.head else ()
        if nodes:
            self.pick("node", nodes, lambda name: self.show_node(name))
        else:
            self.say("no node is known yet")

    def action_timeline(self) -> None:
        """What happened."""
        from kdiag.tui.messages import Timeline
        from kdiag.tui.pages.timeline import timeline_page
        from kdiag.tui.screens.page import PageScreen

        screen = PageScreen("timeline", about="newest first")
        self._open(screen)
        taken = self.case.tree.verdict.taken if self.case.tree else ""
        self.case.ask(
            Timeline(), partial(self._answered, screen, lambda found: timeline_page(found, taken, self.signs))
        )

    def action_coverage(self) -> None:
        """What was seen."""
        from kdiag.tui.pages.coverage import coverage_page
        from kdiag.tui.screens.page import PageScreen

        def lines() -> list[Any]:
            tree = self.case.tree
            return coverage_page(
                tree.verdict if tree else None, tree.coverage if tree else None, self.case.reading, self.signs
            )

        self._open(PageScreen("coverage", lines))

    def action_help(self) -> None:
        """The keys."""
        from kdiag.tui.pages.help import help_page
        from kdiag.tui.screens.page import PageScreen

        self._open(PageScreen("help", partial(help_page, self._key_sections())))

    def key_name(self, binding: Binding) -> str:
        """How a key is called on this terminal."""
        display = self.get_key_display(binding)
        return binding.key if self.signs.plain and not display.isascii() else display

    def _key_sections(self) -> dict[str, list[tuple[str, str]]]:
        from kdiag.tui.screens.labs import LabsScreen
        from kdiag.tui.screens.page import PageScreen as Pages
        from kdiag.tui.screens.verdict import VerdictScreen
        from kdiag.tui.widgets.page import PageView
        from kdiag.tui.widgets.rows import RowsView

        found: dict[str, list[tuple[str, str]]] = {}
        for title, owner in (
            ("findings", VerdictScreen), ("list", RowsView), ("page", PageView), ("other screens", Pages),
            ("labs", LabsScreen), ("everywhere", type(self)),
        ):  # fmt: skip
            keys: dict[str, list[str]] = {}
            for binding in Binding.make_bindings(owner.__dict__["BINDINGS"]):
                keys.setdefault(binding.tooltip or binding.description, []).append(self.key_name(binding))
            found[title] = [(" ".join(dict.fromkeys(names)), what) for what, names in keys.items()]
        return found

    def _answered(self, screen: PageScreen, lines: Callable[[Any], list[Any]], answer: object) -> None:
        if isinstance(answer, Answer):
            screen.show(lines(answer.value))
        elif isinstance(answer, Refused):
            screen.show([line((literal(answer.text, plain=self.signs.plain), "error"))])

    # Reading again

    def action_refresh(self) -> None:
        """Read everything again; what is new and what is gone is marked."""
        self.case.start()
        self.main.show_verdict()

    def action_auto(self) -> None:
        """Look again and again, or no more."""
        from kdiag.tui.commands import AUTO

        self.repeat(0.0 if self.auto else AUTO)

    def repeat(self, seconds: float) -> None:
        """Look again every so many seconds; 0 ends that."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        self.auto = seconds
        if seconds:
            self._timer = self.set_interval(seconds, self._repeat)
            self.say(f"looking again every {seconds:.0f} s; a ends that")
        self.main.show_progress()

    def _repeat(self) -> None:
        if not self.case.reading.running:
            self.action_refresh()

    def change(self, **options: Any) -> None:
        """Read another cluster, context or namespace: what was known is forgotten."""
        auto = self.auto
        if self.verifying is not None:
            self.verifying.stop()
            self.verifying = None
        self.case.close()
        self.options = argparse.Namespace(**{**vars(self.options), **options})
        runs = self.case.runs
        self.case = Case(self.options, self._tell)
        self.case.runs = runs
        self._walks.clear()
        self.home()
        self.main.shut_book()
        self.case.start()
        self.main.show_verdict()
        if auto:
            self.repeat(auto)

    # Steps, verify, labs

    def run_steps(self, walk: Walk, numbers: list[int]) -> None:
        """Run steps of a page, one after the other: each has what those before it found out."""
        from kdiag.tui.messages import RunStep

        if walk.running:
            self.say("a step is still running")
            return
        if not numbers:
            self.say("this page has no step that can be run")
            return
        number, *rest = numbers
        step = walk.step(number)
        if step is None:
            return
        walk.began(step)
        self.main.show_book()

        def then(answer: object) -> None:
            if isinstance(answer, Answer):
                walk.ended(step, answer.value)
            elif isinstance(answer, Refused):
                walk.refused(step, answer.text)
            self.main.show_book()
            if rest:
                self.run_steps(walk, rest)

        self.case.ask(RunStep(step=step, values=walk.values, finding=walk.finding), then)

    def verify(self, row: Row) -> None:
        """Look again at one finding until it is gone; once more ends that."""
        from kdiag.tui.verify import Verify

        if self.verifying is not None:
            self.verifying.stop()
            self.verifying = None
            self.main.show_progress()
            return
        if self.options.snapshot:
            self.say("a recording does not change: verify needs the cluster")
        elif row.node is not None:
            self.verifying = Verify(self.options, row.node, self._tell_verify, pause=self.verify_pause)
            self.main.show_progress()

    def on_kdiag_app_verified(self, event: Verified) -> None:
        """A look is over."""
        verify = self.verifying
        if verify is None or event.verify is not verify:
            return
        verify.take(event.value)
        if verify.over:
            self.verifying = None
            verify.stop()
            self.say(verify.words, bad=not verify.cleared)
            if verify.cleared:
                self.bell()
                self.action_refresh()
        self.main.show_progress()

    def action_labs(self) -> None:
        """The labs, where they are installed."""
        import importlib.util

        if importlib.util.find_spec("kdiag.tui.screens.labs") is None:
            self.say("there are no labs here")
            return
        import importlib

        self.push_screen(importlib.import_module("kdiag.tui.screens.labs").LabsScreen())

    # Saving

    def action_snapshot(self, folder: str = "") -> None:
        """Save what was read."""
        from kdiag.tui.messages import Save
        from kdiag.tui.saving import new_name

        if self.case.options.snapshot:
            self.say(f"this is a recording already: {self.case.options.snapshot}")
            return
        request = Save(folder or new_name("kdiag-snapshot", ""))
        self.case.ask(request, self._saved)

    def _saved(self, answer: object) -> None:
        if isinstance(answer, Answer):
            self.say(str(answer.value))
        elif isinstance(answer, Refused):
            self.say(answer.text, bad=True)

    def action_report(self, file: str = "") -> None:
        """Save what is on the screen as a report."""
        from kdiag.errors import KdiagError
        from kdiag.tui.saving import new_name, save_report

        if self.case.tree is None:
            self.say("there is nothing to report yet")
            return
        try:
            path = save_report(file or new_name("kdiag-report", ".md"), self.case.tree.verdict)
        except KdiagError as exc:
            self.say(str(exc), bad=True)
        else:
            self.say(f"the report is in {path}")

    # Commands

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A colon that is typed into a line is a colon."""
        return not isinstance(self.focused, Input) if action == "command_line" else True

    def action_command_line(self) -> None:
        """Type a command."""
        from kdiag.tui.commands import completions
        from kdiag.tui.widgets.prompt import Prompt

        found = self.screen.query(Prompt)
        if found:
            found.first().open(
                ":", hint="ctx, ns, search, trace, node, runbook, report, q: ? says more", words=completions(self)
            )

    def command(self, text: str) -> None:
        """Carry out what was typed after the colon."""
        from kdiag.tui.commands import carry_out

        carry_out(self, text)

    def pick(self, title: str, choices: Iterable[str], then: Callable[[str], object], *, current: str = "") -> None:
        """Let one of these be chosen."""
        from kdiag.tui.screens.pick import PickScreen, among

        self.push_screen(PickScreen(title, among(list(choices), current)), partial(_chosen, then))

    def action_search(self) -> None:
        """Look for words in all runbook pages."""
        self.search()

    def search(self, words: str = "") -> None:
        """Look for words in all runbook pages, and open the one that is chosen where they stand."""
        from kdiag.tui.pages.search import search_page
        from kdiag.tui.screens.pick import PickScreen

        screen = PickScreen("words of an error, a check, a command", partial(search_page, signs=self.signs),
                            words=words, wide=True)  # fmt: skip

        def chosen(check_id: str | None) -> None:
            if check_id is not None:
                self.home()
                self.main.open_page(check_id)
                words = screen.words
                # Together, else the longest of them: on a page they may stand apart.
                any(self.main.find(found) for found in (words, *sorted(words.split(), key=len, reverse=True)))

        self.push_screen(screen, chosen)

    def action_next_theme(self) -> None:
        """The next of kdiag's own themes."""
        names = [theme.name for theme in THEMES]
        self.theme = names[(names.index(self.theme) + 1) % len(names)] if self.theme in names else names[0]

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """What the command palette offers."""
        from kdiag.tui.commands import COMMANDS

        for command in COMMANDS:
            yield SystemCommand(command.title, f"{command.what}  :{command.name}", partial(self.command, command.name))


def _chosen(then: Callable[[str], object], name: str | None) -> None:
    if name is not None:
        then(name)

"""Practise without leaving: choose a scenario, read the task, take hints, check, give up, put everything back."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message

from kdiag.tui.glyphs import literal
from kdiag.tui.labs import Labs, Told
from kdiag.tui.page import Line, Span, line
from kdiag.tui.pages.labs import LabsPage, clock
from kdiag.tui.screens.confirm import ConfirmScreen
from kdiag.tui.screens.page import PageScreen
from kdiag.tui.widgets.bar import Bar
from kdiag.tui.widgets.page import PageView
from kdiag.tui.widgets.prompt import Prompt

#: How long a check waits for what is on its way, in seconds.
PATIENCE = 20.0
#: How often it is looked whether somebody else has changed the lab, in seconds: ``kdiag lab`` in another window.
LOOK = 3
#: From here on the clock is in another colour, in seconds.
_LATE = 60
_DOING = {
    "where": "looking at the cluster", "start": "starting", "hint": "taking a hint", "check": "checking",
    "solve": "looking it up", "stop": "putting everything back",
}  # fmt: skip


class LabsScreen(PageScreen):
    """The labs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "start", priority=True, tooltip="start the scenario, after a question"),
        Binding("c", "check", "check", tooltip="check whether the task is mended, and what still fails"),
        Binding("h", "hint", "hint", tooltip="take the next hint; it costs points"),
        Binding("g", "solve", "give up", priority=True, tooltip="give up: what it was, and the runbook page"),
        Binding("x", "stop", "stop", tooltip="end the lab, and put everything back"),
        Binding("slash", "filter", "filter", key_display="/", priority=True, tooltip="filter the scenarios by words"),
        Binding("slash", "find", "find", key_display="/", priority=True, tooltip="find words in the task"),
    ]

    class Heard(Message):
        """The process that plays the lab has said something."""

        def __init__(self, told: Told) -> None:
            super().__init__()
            self.told = told

    def __init__(self) -> None:
        super().__init__("labs")
        self._labs: Labs | None = None
        self.state: Told | None = None
        self._list: Told | None = None
        self._words = ""
        self._asked = ""  # what is under way
        self._since = 0.0
        self._said = ""
        self._notice: list[Line] = []
        self._proofs: dict[int, Sequence[Told]] = {}
        self._solutions: dict[int, Told] = {}
        self._ticks = 0

    def middle(self) -> ComposeResult:
        """What is under way, and the page."""
        yield Bar(id="doing")
        yield from super().middle()

    def on_mount(self) -> None:
        """Begin."""
        self._lines = LabsPage(self.kdiag.signs)
        super().on_mount()
        self._labs = Labs(self.kdiag.options, lambda told: self.post_message(self.Heard(told)))
        self._labs.ask("list")
        self.set_interval(1.0, self._tick)

    def on_unmount(self) -> None:
        """Leave the process to what it is at."""
        if self._labs is not None:
            self._labs.leave()

    # What there is

    @property
    def recorded(self) -> bool:
        """Whether there is no cluster."""
        return bool(self.kdiag.options.snapshot)

    @property
    def phase(self) -> str:
        """none, running, starting, stopping or strange; empty until it is known."""
        if self.state is None:
            return ""
        return "none" if self.recorded else self.state["phase"] or "none"

    @property
    def _enable(self) -> str:
        """The command that marks this cluster."""
        options = self.kdiag.options
        words = [part for name in ("kubeconfig", "context") if (value := getattr(options, name, ""))
                 for part in (f"--{name}", value)]  # fmt: skip
        return shlex.join(["kdiag", "lab", "enable", *words])

    def on_resize(self) -> None:
        """The list is made for the width."""
        self._show()

    def show_head(self) -> None:
        """Where one is, and the clock."""
        plain, signs = self.kdiag.signs.plain, self.kdiag.signs
        left: list[Span] = [("kdiag ", "brand"), (" ", ""), ("labs", "bold")]
        right: list[Span] = []
        if self.phase == "running" and self.state is not None:
            where = self.state["context"] or self.state["server"]
            left.append((f"  {'exam ' if self.state['exam'] else ''}on {literal(where, plain=plain)}", "dim"))
            rest = self.state["ends"] - time.time()
            word = f"{clock(rest)} left" if rest >= 0 else f"time is up since {clock(-rest)}"
            right = [(f"score {self.state['score']:g}", "dim"), (f"  {signs.dot}  ", "dim"),
                     (word, "bold" if rest >= _LATE else "warn" if rest >= 0 else "error")]  # fmt: skip
        elif self._list is not None:
            rows = self._list["rows"]
            tried = [r for r in rows if r["best"] is not None]
            mastered = sum(r["best"] >= self._list["pass"] for r in tried)
            left.append((f"  {len(rows)} scenarios", "dim"))
            if self._words:
                left.append((f"  / {literal(self._words, plain=plain)}", "code"))
            right = [(f"{len(tried)} tried, {mastered} mastered", "dim")]
        self.query_one("#head", Bar).show(left, right)

    def _show(self, *, keep: bool = True) -> None:
        if self.state is None or not self.is_mounted:
            return
        lines: list[Line] = []
        if self.phase == "running":
            lines = self._lines.session(self.state, self._proofs, self._solutions)
        elif self.phase == "none":
            if self._list is not None:
                lines = self._lines.choice(self._list, self._words, recorded=self.recorded, width=self.size.width)
        else:
            lines = self._lines.unfinished(self.state)
        self.page.show([*self._notice, *lines], keep=keep)
        self.show_head()
        self._show_doing()
        self.refresh_bindings()

    def _show_doing(self) -> None:
        doing = self.query_one("#doing", Bar)
        doing.display = bool(self._asked)
        if self._asked:
            words = literal(self._said or _DOING[self._asked], plain=self.kdiag.signs.plain)
            doing.show([(words, "bold"), (f" {self.kdiag.signs.dots} {time.monotonic() - self._since:.0f} s", "dim")])

    def _tick(self) -> None:
        self._ticks += 1
        self.show_head()
        self._show_doing()
        if self._labs is not None and not self._asked and self._ticks % LOOK == 0:
            self._labs.ask("state")

    # Asking and hearing

    def _ask(self, verb: str, **words: Any) -> None:
        if self._labs is None:
            return
        if self._asked:
            self.kdiag.say(f"still {self._said or _DOING[self._asked]}")
            return
        self._asked, self._since, self._said = verb, time.monotonic(), ""
        self._notice = []
        self._labs.ask(verb, **words)
        self._show()

    def on_labs_screen_heard(self, event: Heard) -> None:
        """Take it in, and show it."""
        told = event.told
        if "say" in told:
            self._said = told["say"]
            self._show_doing()
            return
        before, verb = self.state, told.get("verb", self._asked)
        own = bool(verb) and verb == self._asked
        if own or "verb" not in told:
            self._asked = ""
        self.state = told.get("state", before) or {"phase": ""}
        anew = (before or {}).get("id") != self.state.get("id") or before is None
        if anew:
            self._proofs, self._solutions = {}, {}
        if "error" in told:
            if told["error"] and (own or "verb" not in told or verb == "list"):
                self._notice = self._lines.refusal(told["error"], self._enable)
        else:
            self._heard(verb, told)
        if own or anew or self.state != before or "error" in told or verb == "list":
            self._show(keep=not (anew or self._notice))
        if anew and not own and self._labs is not None and verb != "list":
            self._labs.ask("list")

    def _heard(self, verb: str, told: Told) -> None:
        match verb:
            case "list":
                self._list = told
            case "where":
                self._confirm_start(told)
            case "check":
                self._proofs[told["task"]] = told["lines"]
            case "solve":
                self._solutions[told["task"]] = told["solution"]
            case "stop":
                self._stopped(told)

    def _stopped(self, told: Told) -> None:
        if told["left"]:
            self._notice = [line((f"not restored yet: {literal(one)}", "error"), hang=2) for one in told["left"]]
        else:
            text = "the cluster is as it was"
            if told["points"] is not None:
                text += f"; score {told['points']:g} of 100"
            if told["passed"] is not None:
                text += ", passed" if told["passed"] else ", not passed"
            self._notice = [line((f"{self.kdiag.signs.gone} {text}", "good"))]
        self._notice.append(line())
        if self._labs is not None:
            self._labs.ask("list")

    # Keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What a key does depends on whether a lab runs; what is typed into the line is text."""
        if action not in ("choose", "check", "hint", "solve", "stop", "filter", "find"):
            return super().check_action(action, parameters)
        if not self.is_mounted or self.query_one(Prompt).on:
            return False
        match action:
            case "choose" | "filter":
                return self.phase == "none"
            case "stop":
                return self.phase in ("running", "starting", "stopping", "strange")
            case _:
                return self.phase == "running"

    @property
    def chosen(self) -> Told:
        """The task that the cursor is in."""
        tasks: list[Told] = self.state["tasks"] if self.state else []
        current, number = self.page.current, 1
        for one in self.page.lines:
            if one.action is not None and one.action.verb == "task":
                number = int(one.action.value)
            if one is current:
                break
        return tasks[number - 1]

    def on_page_view_acted(self, event: PageView.Acted) -> None:
        """Enter on a line, or a click."""
        if event.action.verb == "scenario":
            self._begin(event.action.value)
        elif event.action.verb == "copy" or event.action.verb == "page":
            super().on_page_view_acted(event)

    def action_choose(self) -> None:
        """Start what is under the cursor."""
        self.page.action_act()

    def _begin(self, code: str) -> None:
        if self.recorded:
            self.kdiag.say("a recording cannot be broken: practice needs a cluster", bad=True)
        else:
            self._ask("where", code=code)

    def _question(self, title: str, *rest: str) -> list[Line]:
        plain = self.kdiag.signs.plain
        return [line((literal(title, plain=plain), "bold")), line(),
                *(line(literal(text, plain=plain), hang=9) for text in rest)]  # fmt: skip

    def _confirm_start(self, told: Told) -> None:
        lines = self._question(
            f"Break this cluster? {told['code']}, {told['title']}, {told['minutes']} min",
            f"context  {told['context'] or '(none)'}",
            f"server   {told['server']}",
            f"nodes    {told['nodes']}",
        )
        if told["api_dies"]:
            lines.append(line(("The API server will be gone: this one is solved on the node.", "warn")))
        yes = partial(self._ask, "start", code=told["code"], server=told["server"])
        self._confirm(lines, "break it and start the clock", yes)

    def _confirm(self, lines: Sequence[Line], word: str, yes: partial[None]) -> None:
        def answered(sure: bool | None) -> None:
            if sure:
                yes()

        self.kdiag.push_screen(ConfirmScreen(lines, word), answered)

    def action_check(self) -> None:
        """Check the task under the cursor."""
        self._ask("check", task=self.chosen["number"], patience=PATIENCE)

    def action_hint(self) -> None:
        """Take the next hint."""
        task = self.chosen
        if task["solved"] or task["shown"]:
            self.kdiag.say("this task is over: g explains what it was")
        elif len(task["hints"]) >= task["hints_of"]:
            self.kdiag.say("all hints were given; g gives up and explains")
        else:
            self._ask("hint", task=task["number"])

    def action_solve(self) -> None:
        """Explain the task under the cursor; unless it is solved, its points are gone."""
        task = self.chosen
        ask = partial(self._ask, "solve", task=task["number"])
        if task["solved"] or task["shown"]:
            ask()
        else:
            lines = self._question(
                f"Give up {task['code']}, {task['title']}?", "It is explained, and its points are gone."
            )
            self._confirm(lines, "give up", ask)

    def action_stop(self) -> None:
        """End the lab."""
        state = self.state or {}
        lines = self._question(
            "End the lab and put everything back?",
            f"context  {state.get('context') or '(none)'}",
            f"server   {state.get('server')}",
        )
        if state.get("phase") == "running":
            lines.append(line(f"score    {state['score']:g} of 100"))
        self._confirm(lines, "stop and restore", partial(self._ask, "stop"))

    def action_filter(self) -> None:
        """Keep the scenarios with these words."""
        self.query_one(Prompt).open("/", self._words, hint="words: a group, hard, storage, a title")

    def action_leave(self) -> None:
        """Take the filter away, or go back."""
        if self._words and self.phase == "none":
            self._filtered("")
            return
        if self._asked in ("start", "stop"):
            self.kdiag.say(f"{_DOING[self._asked]} goes on; L shows how far it is")
        super().action_leave()

    def _filtered(self, words: str) -> None:
        self._words = words
        self._show(keep=False)

    def on_prompt_typed(self, event: Prompt.Typed) -> None:
        """Filter while it is typed."""
        if event.kind == "/" and self.phase == "none":
            self._filtered(event.text)

    def on_prompt_entered(self, event: Prompt.Entered) -> None:
        """Filter, find, or carry out a command."""
        if event.kind == "/" and self.phase == "none":
            self.query_one(Prompt).shut()
            self.set_focus(self.page)
            self._filtered(event.text)
            self.refresh_bindings()
        else:
            super().on_prompt_entered(event)

    def on_prompt_left(self, event: Prompt.Left) -> None:
        """Never mind."""
        super().on_prompt_left(event)
        if event.kind == "/" and self.phase == "none":
            self._filtered("")

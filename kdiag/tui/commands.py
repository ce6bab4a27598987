"""What can be typed after the colon: in the palette, on the help page, and behind every key as well."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from kdiag.errors import KdiagError, UsageError
from kdiag.model.text import nearest

if TYPE_CHECKING:
    from kdiag.tui.app import KdiagApp
    from kdiag.tui.screens.verdict import VerdictScreen

_ALL = ("all", "*", "-")
#: How often is looked again where no number is given, in seconds.
AUTO = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command. ``action`` is that of the key which does the same, ``also`` what else it is called."""

    name: str
    title: str
    what: str
    do: Callable[[KdiagApp, str], object]
    takes: str = ""
    also: tuple[str, ...] = ()
    action: str = ""


def carry_out(app: KdiagApp, text: str) -> None:
    """Do what was typed; what makes no sense is said."""
    try:
        name, *words = shlex.split(text) or [""]
    except ValueError as exc:
        app.say(f":{text}: {exc}", bad=True)
        return
    if not name:
        return
    command = NAMES.get(name)
    if command is None:
        close = nearest(name, [*NAMES])
        app.say(f":{name} is no command" + (f"; did you mean :{close}?" if close else ""), bad=True)
        return
    try:
        command.do(app, " ".join(words))
    except KdiagError as exc:
        app.say(str(exc), bad=True)


def completions(app: KdiagApp) -> list[str]:
    """What the line offers to complete."""
    head = app.case.head
    found = [command.name for command in COMMANDS]
    found += [f"ns {name}" for name in ("all", *(head.namespaces if head else ()))]
    return found + [f"node {name}" for name in (head.nodes if head else ())]


# Where to look


def _context(app: KdiagApp, name: str) -> None:
    from kdiag.collect.kubeconfig import Overrides, names

    found = names(Overrides(kubeconfig=app.options.kubeconfig), os.environ)["contexts"]
    if not name:
        current = app.case.tree.verdict.context if app.case.tree else ""
        app.pick("context", found, partial(_context, app), current=current)
        return
    _known("context", name, found)
    app.change(context=name, cluster="", user="", server="", snapshot="")


def _namespace(app: KdiagApp, name: str) -> None:
    known = app.case.head.namespaces if app.case.head else ()
    if not name:
        app.pick("namespace", ["all", *known], partial(_namespace, app), current=app.options.namespace or "all")
        return
    wanted = "" if name in _ALL else name
    if wanted and known:
        _known("namespace", wanted, known)
    app.change(namespace=wanted)


def _known(what: str, name: str, found: tuple[str, ...] | list[str]) -> None:
    """A slip of the pen is not to cost what is on the screen, nor a look at nothing to pass for an all-clear."""
    if name not in found:
        close = nearest(name, found)
        raise UsageError(f"there is no {what} {name!r}" + (f"; did you mean {close!r}?" if close else ""))


def _trace(app: KdiagApp, text: str) -> None:
    if not text:
        _main(app).action_trace()
        return
    from kdiag.engine.trace import Start

    start = Start.parse(text, getattr(app.options, "namespace", ""))
    app.show_trace(start.kind, start.namespace, start.name)


def _node(app: KdiagApp, name: str) -> None:
    if name:
        app.show_node(name)
    else:
        app.choose_node()


def _runbook(app: KdiagApp, word: str) -> None:
    from kdiag.engine.runbook import named

    if word:
        _main(app).open_page(named(word))
    elif _main(app).selected is None:
        app.search()
    else:
        app.main.action_runbook()


def _find(app: KdiagApp, words: str) -> None:
    from kdiag.tui.screens.page import PageScreen

    found = app.screen.find(words) if isinstance(app.screen, PageScreen) else app.main.find(words)
    if not found:
        raise UsageError(f"{words!r} is not on this page")


def _copy(app: KdiagApp, _: str) -> None:
    from kdiag.tui.screens.page import PageScreen

    if isinstance(app.screen, PageScreen):
        app.screen.action_copy()
    else:
        app.main.action_copy()


# What is shown


def _main(app: KdiagApp) -> VerdictScreen:
    app.home()
    return app.main


def _group(app: KdiagApp, name: str) -> None:
    from kdiag.tui.model import GROUPS

    wanted = name.replace(" ", "_").replace("-", "_")
    if wanted not in ("", *_ALL):
        _known("group", wanted, GROUPS)
    _main(app).only_group(wanted if wanted in GROUPS else "")


def _severity(app: KdiagApp, name: str) -> None:
    from kdiag.model.result import Severity

    levels = {level.name.lower(): level for level in Severity}
    wanted = name.lower()
    if wanted in ("", *_ALL):
        _main(app).at_least(None)
        return
    _known("severity", wanted, list(levels))
    _main(app).at_least(levels[wanted])


def _run(app: KdiagApp, which: str) -> None:
    screen = _main(app)
    if which in _ALL:
        screen.action_run_all()
    elif which:
        screen.run_step(which)
    else:
        screen.action_run()


def _auto(app: KdiagApp, text: str) -> None:
    try:
        seconds = float(text or AUTO)
    except ValueError:
        raise UsageError(f":auto {text}: write the seconds") from None
    app.repeat(min(86400.0, max(2.0, seconds)) if seconds > 0 else 0.0)


def _theme(app: KdiagApp, name: str) -> None:
    full = f"kdiag-{name}"
    if name in app.available_themes or full in app.available_themes:
        app.theme = full if full in app.available_themes else name
    elif name:
        raise UsageError(f"there is no theme {name!r}")
    else:
        names = sorted(app.available_themes, key=lambda n: (not n.startswith("kdiag"), n))
        app.pick("theme", names, partial(_theme, app), current=app.theme)


COMMANDS: tuple[Command, ...] = (
    Command(name="ctx", takes="[NAME]", title="Context", what="another cluster of the kubeconfig",
            also=("context", "contexts"), do=_context),
    Command(name="ns", takes="[NAME]", title="Namespace", what="read one namespace only; all: every one",
            also=("namespace", "namespaces"), do=_namespace),
    Command(name="search", takes="[WORDS]", title="Search the runbooks", what="pages that hold these words",
            action="search", do=lambda app, words: app.search(words)),
    Command(name="runbook", takes="[CHECK]", title="Runbook", what="the page of the finding, or of any check",
            action="runbook", also=("explain", "page"), do=_runbook),
    Command(name="run", takes="[N | all]", title="Run steps", what="the step under the cursor, one by number, or all",
            action="run", do=_run),
    Command(name="verify", title="Verify", what="look again at the finding until it is gone", action="verify",
            do=lambda app, _: _main(app).action_verify()),
    Command(name="trace", takes="[NAMESPACE/SERVICE]", title="Trace", action="trace",
            what="follow a request; also ingress/NS/NAME and pod/NS/NAME", do=_trace),
    Command(name="node", takes="[NAME]", title="Node", what="everything about one node", action="node",
            also=("nodes", "no"), do=_node),
    Command(name="timeline", title="Timeline", what="what happened, in order", action="timeline",
            do=lambda app, _: app.action_timeline()),
    Command(name="coverage", title="Coverage", what="what was seen, and what was not", action="coverage",
            do=lambda app, _: app.action_coverage()),
    Command(name="filter", takes="[WORDS]", title="Filter", what="only findings with these words; none: all",
            action="filter", do=lambda app, words: _main(app).filter_by(words)),
    Command(name="group", takes="[NAME]", title="Group", what="only this group of findings", action="group", do=_group),
    Command(name="severity", takes="[LEVEL]", title="Severity", what="only this severity and worse", action="severity",
            do=_severity),
    Command(name="find", takes="WORDS", title="Find on this page", what="words on the page that is open",
            action="find", do=_find),
    Command(name="copy", title="Copy", what="the command under the cursor", action="copy", also=("yank",), do=_copy),
    Command(name="refresh", title="Read again", what="read everything again; new and gone is marked", action="refresh",
            also=("reload",), do=lambda app, _: app.action_refresh()),
    Command(name="auto", takes="[SECONDS]", title="Look again and again", what="auto-refresh; 0 ends it",
            action="auto", do=_auto),
    Command(name="snapshot", takes="[DIR]", title="Save a snapshot", what="save what was read, without credentials",
            action="snapshot", also=("record",), do=lambda app, folder: app.action_snapshot(folder)),
    Command(name="report", takes="[FILE]", title="Save a report", what="an incident report: .md or .html",
            action="report", do=lambda app, file: app.action_report(file)),
    Command(name="labs", title="Labs", what="practise on a cluster of your own", action="labs", also=("lab",),
            do=lambda app, _: app.action_labs()),
    Command(name="theme", takes="[NAME]", title="Theme", what="other colours", action="next_theme", also=("skin",),
            do=_theme),
    Command(name="help", title="Keys", what="what every key and command does", action="help", also=("h", "?", "keys"),
            do=lambda app, _: app.action_help()),
    Command(name="q", title="Quit", what="leave kdiag", action="quit", also=("quit", "q!", "qa", "exit"),
            do=lambda app, _: app.exit(0)),
)  # fmt: skip
#: Every name that a command goes by.
NAMES: Mapping[str, Command] = {name: command for command in COMMANDS for name in (command.name, *command.also)}

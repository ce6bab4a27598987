"""``kdiag lab`` in words: what each of its commands asks of the game, and prints."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from kdiag.collect.kubeconfig import Target
from kdiag.engine.library import checks
from kdiag.errors import LabError, UsageError
from kdiag.lab import exam as exams
from kdiag.lab import ground as grounds
from kdiag.lab.apps import PUBLIC_IMAGES
from kdiag.lab.game import PASS, Game, left, score, total, unfit
from kdiag.lab.proof import Line
from kdiag.lab.record import Session, Store
from kdiag.lab.scenario import DOMAINS, Scenario, find, scenarios
from kdiag.model.text import duration, listing, plural
from kdiag.report.style import Style
from kdiag.session import Progress, inventory_of
from kdiag.session import target as target_of


class Desk:
    """One command: its options, where its words go, and how they are painted."""

    def __init__(self, options: argparse.Namespace, emit: Callable[[str], None], style: Style) -> None:
        self._options = options
        self._emit = emit
        self._style = style
        self._progress = Progress()
        self._width = max(40, min(96, style.width - 4))  # of prose
        self.store = Store(os.environ)

    def run(self) -> int:
        """Do what the command says; the exit code: 0, or 1 where something still fails."""
        commands: Mapping[str, Callable[[], int]] = {
            "enable": self._enable,
            "disable": self._disable,
            "list": self._list,
            "start": self._start,
            "status": self._status,
            "hint": self._hint,
            "check": self._check,
            "solve": self._solve,
            "stop": self._stop,
            "score": self._score,
            "up": self._up,
        }
        verb = self._options.verb or "status"
        try:
            if verb in ("start", "check", "hint", "solve", "stop"):
                with self.store.alone():
                    return commands[verb]()
            return commands[verb]()
        finally:
            self._progress.done()

    def _game(self) -> Game:
        def where() -> Target:
            return target_of(self._options)

        return Game(where, inventory_of(self._options), self.store, environ=os.environ, progress=self._progress)

    def _say(self, *lines: str) -> None:
        self._progress.done()
        self._emit("".join(f"{line}\n" for line in lines))

    def _number(self) -> int:
        return int(getattr(self._options, "task", None) or 0)

    # The ground

    def _enable(self) -> int:
        api = self._game().api
        ground = grounds.look(api)
        self._say(
            f"context    {ground.context or '(none)'}",
            f"server     {ground.server}",
            f"nodes      {len(ground.nodes)}: {listing(ground.machines, 6)}",
            f"workloads  {len(ground.workloads)}{f': {listing(ground.workloads, 6)}' if ground.workloads else ''}",
            "kdiag lab will break this cluster on purpose. What runs in it may stop working or be lost.",
        )
        if not self._options.yes:
            self._confirm(ground.context or ground.server)
        grounds.enable(api, ground, _images(self._options.image))
        self._say("marked for practice (ConfigMap kube-system/kdiag-practice); kdiag lab disable takes the mark away")
        return 0

    def _confirm(self, name: str) -> None:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError("nobody is there to be asked: --yes marks the cluster without a question")
        sys.stderr.write(f"Type {name!r} to mark it for practice: ")
        sys.stderr.flush()
        if sys.stdin.readline().strip() != name:
            raise LabError("not marked")

    def _disable(self) -> int:
        if self.store.session() is not None:
            raise LabError("a lab is under way: kdiag lab stop restores the cluster first")
        grounds.disable(self._game().api)
        self._say("the mark is gone: kdiag lab start refuses this cluster now")
        return 0

    def _up(self) -> int:
        from kdiag.lab.up import make

        context = make()
        self._say(f"the cluster is there, as context {context}; next: kdiag lab enable --context {context}")
        return 0

    # The scenarios

    def _list(self) -> int:
        found = [s for s in scenarios().values() if self._wanted(s)]
        if self._options.output == "json":
            rows = [
                {
                    "code": s.code, "id": s.id, "group": s.group, "title": s.title, "domain": s.domain,
                    "difficulty": s.difficulty, "minutes": s.minutes, "needs": sorted(s.needs), "check": s.expected,
                }
                for s in found
            ]  # fmt: skip
            self._say(json.dumps(rows, indent=1))
            return 0
        wide = self._options.output == "wide"
        width = max((len(s.title) for s in found), default=0)
        lines: list[str] = []
        for group in dict.fromkeys(s.group for s in found):
            lines.append(self._style.paint(group, "bold"))
            for s in (s for s in found if s.group == group):
                domain, weight = DOMAINS[s.domain]
                end = f"{domain} ({weight} %)" + (f"  {s.id}" if wide else "")
                lines.append(f"  {s.code:<10} {s.title:<{width}}  {s.difficulty:<6} {s.minutes:>3} min  {end}")
        lines.append(
            f"{plural(len(found), 'scenario')}; kdiag lab start CODE begins one"
            f"{'' if wide else '; -o wide names them, and so what is broken'}"
        )
        self._say(*lines)
        return 0

    def _wanted(self, scenario: Scenario) -> bool:
        options = self._options
        return (
            (not options.group or scenario.group == options.group)
            and (not getattr(options, "domain", "") or scenario.domain == options.domain)
            and (not getattr(options, "difficulty", "") or scenario.difficulty == options.difficulty)
        )

    # A session

    def _start(self) -> int:
        options = self._options
        if sum(map(bool, (options.scenario, options.random, options.exam))) != 1:
            raise UsageError("name scenarios, or write --random, or --exam N")
        seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1, 10_000)
        game = self._game()
        game.idle()
        if options.scenario:
            chosen = [(find(word), seed) for word in options.scenario]
        else:
            chosen = self._drawn(game, options.exam or 1, seed)
        session = game.start(chosen, minutes=options.minutes or 0, exam=bool(options.exam))
        self._say(*self._told(session, game))
        return 0

    def _drawn(self, game: Game, count: int, seed: int) -> list[tuple[Scenario, int]]:
        ground = grounds.look(game.api)
        ground.refuse()
        hosts = game._hosts_of(ground.machines)
        from kdiag.lab.apps import images

        known = images(list(ground.nodes), ground.images)

        def fits(scenario: Scenario) -> bool:
            return self._wanted(scenario) and not unfit(scenario, ground, hosts)

        return exams.draw(count, seed, lambda s: {**known, **ground.values(s)}, fits)

    def _told(self, session: Session, game: Game) -> list[str]:
        lines = []
        _, drawn = game.running()
        for number, (task, one) in enumerate(zip(session.tasks, drawn, strict=True), 1):
            state = "solved" if task.solved else f"{plural(task.hints, 'hint')} taken" if task.hints else ""
            weight = DOMAINS[one.scenario.domain][0]
            head = f"{number}  {weight}, {one.scenario.difficulty}, {one.scenario.minutes} min"
            lines.append(self._style.paint(head, "bold") + (f"  ({state})" if state else ""))
            lines += [*textwrap.indent(textwrap.fill(" ".join(one.task.split()), self._width), "   ").splitlines(), ""]
        rest = left(session)
        clock = f"{_minutes(rest)} left" if rest >= 0 else f"the time was up {_minutes(-rest)} ago"
        lines.append(f"{clock}; kdiag lab check, hint, solve, stop; seed {session.tasks[0].seed}")
        return lines

    def _status(self) -> int:
        session = self.store.session()
        if session is None:
            self._say("no lab is under way; kdiag lab list shows the scenarios, kdiag lab start --random begins one")
            return 0
        if session.phase == "starting":
            self._say("the last start did not come to its end: kdiag lab stop takes it back")
            return 1
        if session.phase == "stopping":
            rest = [c.what for c in session.changes if not c.undone]
            self._say(f"not restored yet: {listing(rest, 5)}; kdiag lab stop goes on")
            return 1
        if self._options.output == "json":
            self._say(json.dumps(_document(session, self._game()), indent=1))
            return 0
        self._say(f"on {session.context or session.server}", "", *self._told(session, self._game()))
        return 0

    def _check(self) -> int:
        game = self._game()
        session, drawn = game.running()
        found = game.check(self._number(), patience=float(self._options.wait))
        numbers = [self._number()] if self._number() else range(1, len(drawn) + 1)
        for number, lines in zip(numbers, found, strict=True):
            if len(drawn) > 1:
                self._say(self._style.paint(f"task {number}", "bold"))
            self._say(*map(self._proved, lines))
        good = all(line.holds for lines in found for line in lines)
        session = self.store.session() or session
        if good:
            minutes = [scenarios()[t.scenario].minutes for t in session.tasks]
            points = [score(t, session, m).points for t, m in zip(session.tasks, minutes, strict=True)]
            self._say(f"solved, {sum(points) / len(points):.0f} points; kdiag lab stop restores the cluster")
        return 0 if good else 1

    def _proved(self, line: Line) -> str:
        mark = self._style.paint("ok  ", "green") if line.holds else self._style.paint("fail", "red")
        return f"{mark} {line.task}{f': {line.failing}' if line.failing else ''}"

    def _hint(self) -> int:
        text, number = self._game().hint(self._number() or 1)
        self._say(f"hint {number} of 3 (costs {10} points): {text}")
        return 0

    def _solve(self) -> int:
        one = self._game().solve(self._number() or 1)
        check = checks().get(one.scenario.expected)
        self._say(one.scenario.id, *_filled(one.explain, self._width))
        if check:
            self._say("", f"kdiag calls it: {check.title} ({check.id})", f"its page: kdiag explain {check.id}")
            if check.risk:
                self._say("a risk, which nothing has come of yet: kdiag check --risks shows it")
        return 0

    def _stop(self) -> int:
        session = self.store.session()
        done = session is not None and session.phase == "running"
        points = total(session) if session and done else 0.0
        rest = self._game().stop()
        if rest:
            self._say("restored, but for:", *(f"  {line}" for line in rest), "kdiag lab stop again goes on")
            return 1
        self._say("the cluster is as it was" + (f"; score {points:g} of 100" if done else ""))
        if session and session.exam and done:
            self._say(f"{'passed' if points >= PASS else 'not passed'}: the CKA wants {PASS} %")
        return 0

    def _score(self) -> int:
        history = self.store.history()
        if self._options.output == "json":
            import msgspec

            self._say(msgspec.json.format(msgspec.json.encode(history), indent=1).decode())
            return 0
        if not history:
            self._say("nothing has been played yet")
            return 0
        for attempt in history[-20:]:
            day = datetime.fromtimestamp(attempt.started, UTC).strftime("%Y-%m-%d %H:%M")
            kind = "exam" if attempt.exam else "practice"
            took = duration(timedelta(seconds=attempt.ended - attempt.started))
            self._say(f"{day}  {kind:<8}  {attempt.score:5.1f}  in {took} of {attempt.minutes}m")
            for task in attempt.tasks:
                how = f"solved after {task['seconds']} s" if task["seconds"] is not None else "not solved"
                more = plural(task["hints"], "hint") + (", solution shown" if task["shown"] else "")
                self._say(f"    {task['points']:5.1f}  {task['scenario']}, {how}, {more}")
        best: dict[str, float] = {}
        for attempt in history:
            for task in attempt.tasks:
                best[task["scenario"]] = max(best.get(task["scenario"], 0.0), float(task["points"]))
        mastered = sum(p >= PASS for p in best.values())
        self._say(f"{plural(len(best), 'scenario')} of {len(scenarios())} tried, {mastered} mastered")
        return 0


def _document(session: Session, game: Game) -> dict[str, Any]:
    _, drawn = game.running()
    return {
        "session": session.id,
        "context": session.context,
        "exam": session.exam,
        "seconds_left": round(left(session)),
        "score": total(session),
        "tasks": [
            {
                "task": one.task,
                "domain": one.scenario.domain,
                "minutes": one.scenario.minutes,
                "hints": task.hints,
                "solved": task.solved is not None,
                "points": score(task, session, one.scenario.minutes).points,
            }
            for task, one in zip(session.tasks, drawn, strict=True)
        ],
    }


def _images(pairs: Sequence[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, image = pair.partition("=")
        if not equals or not image:
            raise UsageError(f"--image {pair!r} is not NAME=IMAGE")
        if name not in PUBLIC_IMAGES:
            raise UsageError(f"--image {pair!r} names no image of the lab: {listing(list(PUBLIC_IMAGES), 9)}")
        found[name] = image
    return found


def _filled(text: str, width: int) -> list[str]:
    """Prose in lines of a screen; a command stays on its own."""
    prose = [line for line in text.splitlines() if not line.startswith("$ ")]
    commands = [f"  {line}" for line in text.splitlines() if line.startswith("$ ")]
    return [*textwrap.fill(" ".join(" ".join(prose).split()), width).splitlines(), *commands]


def _minutes(seconds: float) -> str:
    return duration(timedelta(seconds=int(seconds))) if seconds else "0s"


def run(options: argparse.Namespace, emit: Callable[[str], None], style: Style) -> int:
    """Run one command of the lab."""
    return Desk(options, emit, style).run()


__all__ = ["Desk", "run", "time"]

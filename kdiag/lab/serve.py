"""The lab for a screen: ``python -m kdiag.lab.serve`` plays it, a JSON line for a question and one for its answer.

A process of its own, without a terminal: nothing that a kubeconfig starts can write on the screen. When nobody listens
any more it finishes what it is at, and ends: a cluster is not left half broken because a window was closed.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import signal
from collections.abc import Callable, Mapping
from typing import IO, Any

from kdiag.engine.library import checks
from kdiag.errors import KdiagError, LabError
from kdiag.lab import ground as grounds
from kdiag.lab.game import HINT_COST, PASS, Game, left, score, total, unfit
from kdiag.lab.record import Attempt, Session, Store
from kdiag.lab.scenario import DOMAINS, Drawn, find, scenarios
from kdiag.model.text import clean_line, shorten
from kdiag.session import inventory_of
from kdiag.session import target as target_of

_ATTEMPTS = 10


class Table:
    """What is asked of the lab by name. ``say`` is told how a long answer goes on."""

    def __init__(self, options: argparse.Namespace, say: Callable[[str], None]) -> None:
        self._options = options
        self._say = say
        self._store = Store(os.environ)

    @functools.cached_property
    def _game(self) -> Game:
        # Kept: the cluster that was looked at before the question is the one that is broken after it.
        return Game(
            lambda: target_of(self._options),
            inventory_of(self._options),
            self._store,
            environ=os.environ,
            progress=self._say,
        )

    def answer(self, verb: str, words: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one question, with how the lab stands then. Raises KdiagError for what cannot be."""
        verbs: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "state": lambda words: {},
            "list": self._list,
            "where": self._where,
            "start": self._start,
            "hint": self._hint,
            "check": self._check,
            "solve": self._solve,
            "stop": self._stop,
        }
        if verb in ("start", "hint", "check", "solve", "stop"):
            with self._store.alone():
                found = verbs[verb](words)
        else:
            found = verbs[verb](words)
        return {**found, "state": self._state()}

    # Before

    def _list(self, words: Mapping[str, Any]) -> dict[str, Any]:
        history = self._store.history()
        best: dict[str, float] = {}
        for attempt in history:
            for task in attempt.tasks:
                best[task["scenario"]] = max(best.get(task["scenario"], 0.0), float(task["points"]))
        rows = [
            {
                "code": s.code, "group": s.group, "title": s.title, "difficulty": s.difficulty, "minutes": s.minutes,
                "domain": DOMAINS[s.domain][0], "weight": DOMAINS[s.domain][1], "best": best.get(s.id),
            }
            for s in scenarios().values()
        ]  # fmt: skip
        return {"rows": rows, "played": [_played(a) for a in reversed(history[-_ATTEMPTS:])], "pass": PASS}

    def _where(self, words: Mapping[str, Any]) -> dict[str, Any]:
        """The cluster that a start would break. Raises LabError when it may not be broken, or does not fit."""
        scenario = find(str(words["code"]))
        ground = grounds.look(self._game.api)
        ground.refuse()
        if why := unfit(scenario, ground, self._game._hosts_of(ground.machines)):
            raise LabError(f"{scenario.code} cannot run here: {why}")
        return {
            "code": scenario.code, "title": scenario.title, "minutes": scenario.minutes, "api_dies": scenario.api_dies,
            "context": ground.context, "server": ground.server, "nodes": len(ground.nodes),
        }  # fmt: skip

    def _start(self, words: Mapping[str, Any]) -> dict[str, Any]:
        if self._game.api.target.server != words["server"]:
            raise LabError(
                f"not started: this is {self._game.api.target.server}, and {words['server']} was asked about"
            )
        seed = int(words.get("seed") or random.SystemRandom().randrange(1, 10_000))
        self._game.start([(find(str(words["code"])), seed)])
        return {}

    # While it runs

    def _hint(self, words: Mapping[str, Any]) -> dict[str, Any]:
        self._game.hint(int(words["task"]))
        return {}

    def _check(self, words: Mapping[str, Any]) -> dict[str, Any]:
        number = int(words["task"])
        [lines] = self._game.check(number, patience=float(words["patience"]))
        return {"task": number, "lines": [{"text": n.task, "holds": n.holds, "seen": n.failing} for n in lines]}

    def _solve(self, words: Mapping[str, Any]) -> dict[str, Any]:
        one = self._game.solve(int(words["task"]))
        return {"task": int(words["task"]), "solution": _solution(one)}

    def _stop(self, words: Mapping[str, Any]) -> dict[str, Any]:
        session = self._store.session()
        done = session is not None and session.phase == "running"
        points = total(session) if session and done else None
        rest = self._game.stop()
        exam = bool(session and session.exam and done)
        return {"left": rest, "points": points, "passed": points is not None and points >= PASS if exam else None}

    def _state(self) -> dict[str, Any]:
        session = self._store.session()
        if session is None:
            return {"phase": ""}
        head = {"phase": session.phase, "context": session.context, "server": session.server}
        if session.phase != "running":
            rest = [c.what for c in session.changes if not c.undone]
            return {**head, "busy": self._busy(), "rest": rest[:20]}
        try:
            _, drawn = self._game_of(session)
        except LabError as exc:
            return {**head, "phase": "strange", "why": str(exc)}
        tasks = [_task(session, number, one) for number, one in enumerate(drawn)]
        return {
            **head, "id": session.id, "exam": session.exam, "ends": session.started + session.minutes * 60,
            "over": left(session) < 0, "score": total(session), "seed": session.tasks[0].seed if tasks else 0,
            "tasks": tasks,
        }  # fmt: skip

    def _game_of(self, session: Session) -> tuple[Session, list[Drawn]]:
        known = scenarios()
        if strange := [t.scenario for t in session.tasks if t.scenario not in known]:
            raise LabError(f"{strange[0]} is no scenario of this version of kdiag")
        return session, [Drawn(known[t.scenario], t.seed, t.values) for t in session.tasks]

    def _busy(self) -> bool:
        """Whether somebody else is at it: one who starts or stops holds the lab."""
        try:
            with self._store.alone():
                return False
        except (LabError, OSError):
            return True


def _task(session: Session, place: int, one: Drawn) -> dict[str, Any]:
    task, scenario = session.tasks[place], one.scenario
    domain, weight = DOMAINS[scenario.domain]
    return {
        "number": place + 1, "code": scenario.code, "title": scenario.title, "task": one.task, "domain": domain,
        "weight": weight, "difficulty": scenario.difficulty, "minutes": scenario.minutes,
        "hints": list(one.hints[: task.hints]), "hints_of": len(one.hints), "hint_cost": HINT_COST,
        "solved": task.solved is not None, "shown": task.shown,
        "seconds": round(task.solved - session.started) if task.solved is not None else None,
        "points": score(task, session, scenario.minutes).points,
        "solution": _solution(one) if task.shown else None,
    }  # fmt: skip


def _solution(one: Drawn) -> dict[str, Any]:
    check = checks().get(one.scenario.expected)
    return {"text": one.explain, "check": check.id if check else "", "title": check.title if check else ""}


def _played(attempt: Attempt) -> dict[str, Any]:
    known = scenarios()
    tasks = [
        {
            "code": known[t["scenario"]].code, "title": known[t["scenario"]].title, "points": t["points"],
            "seconds": t["seconds"], "hints": t["hints"], "shown": t["shown"],
        }
        for t in attempt.tasks
        if t["scenario"] in known
    ]  # fmt: skip
    return {"started": attempt.started, "exam": attempt.exam, "score": attempt.score, "tasks": tasks}


def serve(questions: IO[str], answers: IO[str]) -> None:
    """Answer until there are no more questions. The first line is the options of the command."""

    def send(value: Mapping[str, Any]) -> None:
        try:
            answers.write(json.dumps(value) + "\n")
            answers.flush()
        except (OSError, ValueError):
            return  # nobody listens any more; what is under way is finished all the same

    first = questions.readline()
    if not first:
        return
    table = Table(argparse.Namespace(**json.loads(first)), lambda text: send({"say": clean_line(text)}))
    for text in questions:
        question = json.loads(text)
        try:
            answer = table.answer(question["verb"], question)
        except KdiagError as exc:
            answer = {"error": clean_line(str(exc))}
        except Exception as exc:  # the question comes to nothing; the screen stays
            answer = {"error": shorten(clean_line(f"a fault of kdiag's own: {type(exc).__name__}: {exc}"), 300)}
        if "error" in answer:
            try:
                answer["state"] = table._state()
            except KdiagError:
                answer["state"] = {"phase": ""}
        send({**answer, "verb": question["verb"]})


def main() -> None:
    """Take the pipes: whatever else writes to standard output has none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    questions = os.fdopen(os.dup(0), "r", encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(nowhere, stream)
    serve(questions, answers)


if __name__ == "__main__":
    main()

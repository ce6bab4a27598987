"""The practice lab: the scenarios there are, and the one that runs."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kdiag.tui.glyphs import FANCY, Glyphs, literal
from kdiag.tui.page import Action, Line, Span, line

_GROUPS = {
    "application": "APPLICATION", "control_plane": "CONTROL PLANE", "worker_node": "WORKER NODES", "network": "NETWORK",
}  # fmt: skip
_SHORT = {
    "Cluster Architecture": "Architecture", "Services & Networking": "Services", "Workloads & Scheduling": "Workloads",
}  # fmt: skip
#: Below this width a title is cut, and a domain has one word.
_ROOMY = 100
_TITLE = 33
_LEVELS = {"easy": "good", "medium": "warn", "hard": "error"}


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any: 5:03, 1:00:00."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def matching(rows: Sequence[Mapping[str, Any]], words: str) -> list[Mapping[str, Any]]:
    """The scenarios in which all these words occur."""
    wanted = words.lower().split()
    return [
        r
        for r in rows
        if all(w in " ".join((r["code"], _GROUPS[r["group"]], r["title"], r["difficulty"], r["domain"])).lower()
               for w in wanted)
    ]  # fmt: skip


class LabsPage:
    """Makes the lines; what comes from a cluster or from the disk is made literal here."""

    def __init__(self, signs: Glyphs = FANCY) -> None:
        self._signs = signs

    def _text(self, value: object) -> str:
        return literal(str(value), plain=self._signs.plain)

    def refusal(self, text: str, enable: str) -> list[Line]:
        """Why something did not happen, and what helps; ``enable`` is the command that marks this cluster."""
        lines = [line(("! ", "error"), (self._text(text), "error"), hang=2)]
        if "kdiag lab enable" in text:
            lines += [
                line(("  It shows the cluster and asks first; whatever runs there may be lost.", "dim"), hang=2),
                line((f"  {self._text(enable)}", "command"), hang=2, copies=enable),
            ]
        return [*lines, line()]

    # The list

    def choice(self, answer: Mapping[str, Any], words: str, *, recorded: bool, width: int) -> list[Line]:
        """The scenarios, and what was played."""
        return list(self._choice(answer, words, recorded, width))

    def _choice(self, answer: Mapping[str, Any], words: str, recorded: bool, room: int) -> Iterator[Line]:
        if recorded:
            yield line(("This is a recording. Practice needs a cluster: open ", "warn"), ("kdiag", "code"),
                       (" on one that may be broken, then L.", "warn"))  # fmt: skip
        else:
            yield line("Enter starts one: it breaks the cluster on purpose; x puts everything back.")
        yield line(("Only a cluster that was marked with ", "dim"), ("kdiag lab enable", "code"),
                   (" is ever broken.", "dim"))  # fmt: skip
        rows = answer["rows"]
        found = matching(rows, words)
        if not found:
            yield line()
            yield line(("no scenario has these words", "dim"))
        width = max((len(r["title"]) for r in rows), default=0) if room >= _ROOMY else _TITLE
        for group in dict.fromkeys(r["group"] for r in found):
            some = [r for r in found if r["group"] == group]
            yield line()
            yield line((_GROUPS[group], "head"), (f"  {len(some)}", "dim"))
            for row in some:
                yield self._row(row, width, int(answer["pass"]), room >= _ROOMY)
        if answer["played"] and not words:
            yield line()
            yield line(("PLAYED", "head"))
            for attempt in answer["played"]:
                yield from self._attempt(attempt)

    def _row(self, row: Mapping[str, Any], width: int, passes: int, roomy: bool) -> Line:
        best, title = row["best"], row["title"]
        mark = " " if best is None else self._signs.gone if best >= passes else self._signs.dot
        if len(title) > width:
            title = title[: width - 1].rstrip() + self._signs.dots
        domain = f"{row['domain']} {row['weight']} %" if roomy else _SHORT.get(row["domain"], row["domain"])
        return line(
            (f"{mark} ", "good"), (f"{row['code']:<10}", "code"), (f"{title:<{width}}  ", ""),
            (f"{row['difficulty']:<7}", _LEVELS.get(row["difficulty"], "")), (f"{row['minutes']:>2} min  ", "dim"),
            (domain, "dim"), cut=True, action=Action("scenario", row["code"]),
        )  # fmt: skip

    def _attempt(self, attempt: Mapping[str, Any]) -> Iterator[Line]:
        day = datetime.datetime.fromtimestamp(attempt["started"]).astimezone().strftime("%Y-%m-%d %H:%M")
        if attempt["exam"]:
            yield line((f"  {day}  ", "dim"), (f"exam {attempt['score']:.0f}", "bold"))
        for task in attempt["tasks"]:
            how = f"solved in {clock(task['seconds'])}" if task["seconds"] is not None else "not solved"
            more = ", given up" if task["shown"] else f", {_hints(task['hints'])}" if task["hints"] else ""
            lead = " " * (len(day) + 2) if attempt["exam"] else f"{day}  "
            yield line((f"  {lead}", "dim"), (f"{task['points']:3.0f}  ", "bold"), (f"{task['code']}  ", "code"),
                       (f"{self._text(task['title'])}, ", ""), (f"{how}{more}", "dim"), hang=4)  # fmt: skip

    # One that runs

    def session(
        self,
        state: Mapping[str, Any],
        proofs: Mapping[int, Sequence[Mapping[str, Any]]],
        solutions: Mapping[int, Mapping[str, Any]],
    ) -> list[Line]:
        """The tasks with their hints, what the last check saw, and what was given up."""
        lines: list[Line] = []
        for task in state["tasks"]:
            number = int(task["number"])
            solution = task["solution"] or solutions.get(number)
            lines += [line()] if lines else []
            lines += self._task(task, proofs.get(number), solution, several=len(state["tasks"]) > 1)
        return lines

    def _task(
        self,
        task: Mapping[str, Any],
        proof: Sequence[Mapping[str, Any]] | None,
        solution: Mapping[str, Any] | None,
        *,
        several: bool,
    ) -> Iterator[Line]:
        head = f"TASK {task['number']}" if several else "TASK"
        stand: Span = ("", "")
        if task["solved"]:
            stand = (f"  {self._signs.gone} solved in {clock(task['seconds'] or 0)}", "good")
        elif task["shown"]:
            stand = ("  given up", "warn")
        about = f"  {task['code']}, {task['domain']} {task['weight']} %, {task['difficulty']}, {task['minutes']} min"
        yield line((head, "head"), (about, "dim"), stand, action=Action("task", str(task["number"])))
        yield line()
        for part in str(task["task"]).split("\n\n"):
            yield line(self._text(part), bar="  ")
        yield line()
        yield line(("HINTS", "head"), (f"  {self._cost(task)}", "dim"))
        for place, hint in enumerate(task["hints"], 1):
            yield line((f"{place}  ", "dim"), self._text(hint), hang=3, bar="  ")
        yield line()
        yield from self._proof(task, proof)
        if solution:
            yield line()
            yield from self._solution(solution)

    def _cost(self, task: Mapping[str, Any]) -> str:
        rest = task["hints_of"] - len(task["hints"])
        if not rest:
            return "all were given; g gives up and explains"
        if task["solved"] or task["shown"]:
            return f"{len(task['hints'])} taken"
        return (
            f"{len(task['hints'])} of {task['hints_of']} taken; h takes the next and costs {task['hint_cost']} points"
        )

    def _proof(self, task: Mapping[str, Any], proof: Sequence[Mapping[str, Any]] | None) -> Iterator[Line]:
        points = "" if task["shown"] else f"; {task['points']:.0f} of 100 points"
        if proof is None:
            yield line(("CHECK", "head"), (f"  c says whether it is mended{points if task['points'] else ''}", "dim"))
            return
        fails = sum(not one["holds"] for one in proof)
        word = f"{fails} of {len(proof)} still {'fails' if fails == 1 else 'fail'}" if fails else "all of it holds"
        yield line(("CHECK", "head"), (f"  {word}", "error" if fails else "good"), (points, "dim"))
        for one in proof:
            mark: Span = ("ok    ", "good") if one["holds"] else ("fail  ", "error")
            seen = f": {self._text(one['seen'])}" if one["seen"] else ""
            yield line(mark, self._text(one["text"]), (seen, "dim"), hang=6, bar="  ")
        if not fails:
            yield line()
            yield line(("Done. ", "good"), "x ends the lab and puts everything back; g explains what it was.", bar="  ")

    def _solution(self, solution: Mapping[str, Any]) -> Iterator[Line]:
        yield line(("WHAT IT WAS", "head"))
        prose: list[str] = []
        text = str(solution["text"])
        for one in [*text.splitlines(), ""]:
            if (one.startswith("$ ") or not one) and prose:
                yield line(self._text(" ".join(prose)), bar="  ")
                prose = []
            if one.startswith("$ "):
                yield line(
                    (self._text(one[2:]), "command"), hang=2, bar="    ", copies=one[2:].partition("   #")[0].strip()
                )
            elif one:
                prose.append(one.strip())
        if solution["check"]:
            yield line()
            yield line(("kdiag calls it: ", "dim"), self._text(solution["title"]), bar="  ")
            yield line((f"{self._signs.arrow} ", "dim"), (self._text(solution["check"]), "link"), (", its page", "dim"),
                       bar="  ", action=Action("page", str(solution["check"])))  # fmt: skip

    def unfinished(self, state: Mapping[str, Any]) -> list[Line]:
        """A lab that is neither there nor gone."""
        if state["phase"] == "strange":
            text = f"{state['why']}. x ends the session and puts everything back."
        elif state["busy"]:
            doing = "started" if state["phase"] == "starting" else "ended"
            return [line((f"A lab is being {doing} by another kdiag; it shows here when that is done.", "bold"))]
        elif state["phase"] == "starting":
            text = "The last start did not come to its end. x takes back what was done."
        else:
            text = "A lab was ended, and not all is as it was. x goes on."
        lines = [line((self._text(text), "warn"))]
        if state.get("rest"):
            lines += [line(), line(("NOT RESTORED YET", "head"))]
            lines += [line(self._text(what), bar="  ") for what in state["rest"]]
        return lines


def _hints(count: int) -> str:
    return "1 hint" if count == 1 else f"{count} hints"

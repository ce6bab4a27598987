"""Measure the screen in a real terminal: from a key to the paint, from the start to the first frame, memory.

tests/bench/tui.py [READINGS]    with 5,000 findings, and the memory over so many readings (200)
tests/bench/tui.py --live        on the cluster of KUBECONFIG: while it is read, and afterwards
"""

from __future__ import annotations

import argparse
import asyncio
import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pexpect
import pyte

from kdiag.cli.parser import parser
from kdiag.engine.correlate import Node
from kdiag.engine.library import checks
from kdiag.engine.verdict import Verdict
from kdiag.model.result import Evidence, Finding, Ref, Result, Status
from kdiag.tui.app import KdiagApp
from kdiag.tui.case import Heard
from kdiag.tui.case import Verdict as Come
from kdiag.tui.messages import Judged
from kdiag.tui.model import Tree

DEMO = Path(__file__).parents[2] / "fixtures" / "clusters" / "demo"
FINDINGS = 5000
KEYS = {
    "down": ["down"] * 40,
    "page down": ["pagedown"] * 30,
    "end, home": ["end", "home"] * 10,
    "a letter of a filter": ["slash", *"web-77", "escape"] * 4,
    "fold": ["space"] * 12,
    "group": ["1"] * 12,
    "runbook": ["enter", "escape"] * 8,
    "search": ["f", *"disk", "escape"] * 3,
}
_BYTES = {
    "down": "\x1b[B", "up": "\x1b[A", "pagedown": "\x1b[6~", "end": "\x1b[F", "home": "\x1b[H", "slash": "/",
    "space": " ", "enter": "\r", "escape": "\x1b",
}  # fmt: skip
#: When nothing has come for so long, a key has done all that it does, in seconds.
_QUIET = 0.2


class Screen:
    """The screen in a terminal of 160 by 50."""

    def __init__(self, *command: str) -> None:
        self.begin = time.perf_counter()
        self.child = pexpect.spawn(
            sys.executable, list(command), dimensions=(50, 160),
            env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
        )  # fmt: skip
        self.child.delaybeforesend = None  # by itself it waits for 50 ms before each key, which would be measured
        self._cells = pyte.Screen(160, 50)
        self._stream = pyte.ByteStream(self._cells)

    @property
    def text(self) -> str:
        """What stands on it."""
        return "\n".join(self._cells.display)

    def until(self, condition: Callable[[], bool], seconds: float = 120) -> float:
        """Read until the condition holds; how long after the start that was."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise SystemExit(f"it did not come about:\n{self.text}")
            self.read(0.05)
        return time.perf_counter() - self.begin

    def read(self, quiet: float) -> tuple[float, float]:
        """Read until nothing comes for so long; when the first and the last came, 0 for nothing."""
        first = last = 0.0
        data = b""
        while select.select([self.child.child_fd], [], [], quiet)[0]:
            data += os.read(self.child.child_fd, 1 << 16)
            last = time.perf_counter()
            first = first or last
        self._stream.feed(data)
        return first, last

    def press(self, key: str) -> tuple[float, float, float] | None:
        """Milliseconds from the key to the first and to the last that is painted, and of CPU; None: nothing is."""
        cpu, start = self.cpu(), time.perf_counter()
        self.child.send(_BYTES.get(key, key))
        first, last = self.read(_QUIET)
        return ((first - start) * 1000, (last - start) * 1000, self.cpu() - cpu) if first else None

    def cpu(self) -> float:
        """The CPU that its own process has used, in milliseconds."""
        tasks = Path(f"/proc/{self.child.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e6

    def resident(self) -> list[float]:
        """The memory of the screen and of the process that reads for it, in MiB."""
        children = Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text().split()
        return [_resident(pid) for pid in (str(self.child.pid), *children)]

    def close(self) -> None:
        """Leave."""
        self.child.send("q")
        self.child.expect(pexpect.EOF)
        self.child.close()


def table(screen: Screen, keys: dict[str, list[str]]) -> None:
    """What each kind of key takes."""
    print(f"{'':24}{'first paint':>12}{'all painted':>12}{'of ten, nine':>14}{'most':>8}{'CPU':>8}   milliseconds")
    for name, presses in keys.items():
        taken = [one for key in presses if (one := screen.press(key))]
        if not taken:  # a fold, where there is nothing to be folded
            continue
        first, last, cpu = zip(*taken, strict=True)
        nine = sorted(last)[int(len(last) * 0.9)]
        middle = [statistics.median(column) for column in (first, last, cpu)]
        print(f"{name:24}{middle[0]:12.0f}{middle[1]:12.0f}{nine:14.0f}{max(last):8.0f}{middle[2]:8.0f}", flush=True)


def verdict(findings: int) -> Verdict:
    """Causes with four symptoms each."""
    library = list(checks().values())

    def node(number: int, below: int, *symptoms: Node) -> Node:
        ref = Ref("Deployment", f"web-{number}-{below}", f"shop{number % 50}")
        text = f"{ref} has 0 of 3 pods ready: something happened to it that is told here at some length"
        evidence = (Evidence(f"kubectl -n {ref.namespace} describe deployment {ref.name}", "Events: none " * 12),) * 3
        check = library[(number + below) % len(library)]
        return Node(check, Finding(ref, text, evidence, since="2026-11-22T10:00:00Z"), list(symptoms))

    causes = tuple(node(n, 0, *(node(n, below) for below in range(1, 5))) for n in range(findings // 5))
    return Verdict(
        server="https://s", context="c", namespace="", version="v1", taken="2026-11-22T11:00:00Z", source="api",
        causes=causes, results=tuple(Result(c.id, Status.FAIL) for c in library),
    )  # fmt: skip


def shown() -> None:
    """The screen itself, with findings that nobody had to read: what ``keys`` looks at."""
    app = KdiagApp(parser().parse_args(["tui", "--snapshot", str(DEMO)]))

    def come() -> None:
        if app.case.reading.running:
            app.set_timer(0.1, come)
            return
        made = verdict(FINDINGS)
        head = Judged(verdict=made, parts=0, final=True)
        app.post_message(app.Said(Heard(app.case.runs, Come(Tree(made), head))))

    app.call_later(come)
    app.run()
    app.close_all()


def keys() -> None:
    """From a key to the paint."""
    os.environ.setdefault("TEXTUAL_FPS", "120")  # as kdiag.tui.main has it
    screen = Screen(__file__, "--shown")
    screen.until(lambda: "1,000 causes" in screen.text)
    screen.read(1.0)
    table(screen, KEYS)
    screen.close()


def start() -> None:
    """From the start until the first frame stands in a terminal: the wall over that of python itself, and the CPU."""
    walls, bare, used = [], [], []
    for _ in range(7):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", ""], check=True)
        bare.append(time.perf_counter() - begin)
        screen = Screen("-m", "kdiag", "tui", "--snapshot", str(DEMO))
        screen.child.expect("runbook")
        walls.append(time.perf_counter() - screen.begin)
        used.append(screen.cpu())
        screen.close()
    own = statistics.median(walls) - statistics.median(bare)
    print(
        f"start to first frame    {own:6.2f} s over python -c '' (median of 7; fastest {min(walls) - min(bare):.2f} s),"
        f" {statistics.median(used):.0f} ms of CPU"
    )


def memory(rounds: int) -> None:
    """The screen's own memory over many readings of the demo, each by a process of its own."""

    async def run() -> None:
        app = KdiagApp(parser().parse_args(["tui", "--snapshot", str(DEMO)]))
        async with app.run_test(size=(120, 40)) as pilot:
            seen = []
            for number in range(rounds):
                app.action_refresh()
                while app.case.reading.running:
                    await pilot.pause(0.02)
                if number in (9, rounds // 2, rounds - 1):
                    seen.append(_resident("self"))
            print(f"memory over {rounds} readings  " + " → ".join(f"{m:.0f} MiB" for m in seen))
        app.close_all()

    asyncio.run(run())


def live() -> None:
    """A cluster that takes long to read: the screen meanwhile, and with all of it."""
    screen = Screen("-m", "kdiag", "tui", "--no-nodes")
    print(f"first frame             {screen.until(lambda: 'reading' in screen.text):6.2f} s")
    first = screen.until(lambda: "cause" in screen.text)
    print(f"first findings          {first:6.2f} s")
    meanwhile: list[tuple[float, float, float]] = []
    while "reading" in screen.text.partition("\n")[0]:
        for key in ("down", "down", "up", "pagedown", "home"):
            if taken := screen.press(key):
                meanwhile.append(taken)
    print(f"all read and judged     {time.perf_counter() - screen.begin:6.2f} s")
    print(" ".join(screen.text.split("\n")[0].split()))
    if meanwhile:
        firsts = sorted(one[0] for one in meanwhile)
        words = f"{statistics.median(firsts):.0f} ms median, {firsts[int(len(firsts) * 0.9)]:.0f} ms of ten nine"
        print(f"a key while reading: to the first paint {words}, {firsts[-1]:.0f} ms at most, of {len(firsts)}")
    screen.read(1.0)
    table(screen, {name: some for name, some in KEYS.items() if name != "runbook"})
    print("memory of the screen and of its reader: " + ", ".join(f"{m:.0f} MiB" for m in screen.resident()))
    screen.close()


def _resident(process: str) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def main(words: Iterable[str]) -> None:
    """One of the modes."""
    given = argparse.ArgumentParser()
    given.add_argument("readings", type=int, nargs="?", default=200)
    given.add_argument("--live", action="store_true")
    given.add_argument("--shown", action="store_true")
    options = given.parse_args(list(words))
    if options.shown:
        shown()
    elif options.live:
        live()
    else:
        print(f"keys, with {FINDINGS:,} findings:")
        keys()
        start()
        memory(options.readings)


if __name__ == "__main__":
    main(sys.argv[1:])

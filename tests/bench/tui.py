"""Measure the screen: from a key to the paint with 5,000 findings, from the start to the first frame, memory."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pexpect
from textual import events

from kdiag.cli.main import parser
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
    "end, home": ["end", "home"] * 8,
    "a letter of a filter": ["slash", *"web-77", "escape"] * 3,
    "fold": ["space"] * 8,
    "group": ["1"] * 8,
    "runbook": ["enter", "escape"] * 6,
}
_CHARACTERS = {"slash": "/", "space": " "}


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


async def keys() -> None:
    """The CPU of the screen's own process from a key until nothing is left to draw: what a quiet machine would take."""
    app = KdiagApp(parser().parse_args(["tui", "--snapshot", str(DEMO)]))
    async with app.run_test(size=(160, 50)) as pilot:
        while app.case.reading.running:
            await pilot.pause()
        made = verdict(FINDINGS)
        head = Judged(verdict=made, parts=0, final=True)
        app.post_message(app.Said(Heard(app.case.runs, Come(Tree(made), head))))
        await pilot.pause(0.5)
        for name, presses in KEYS.items():
            taken = []
            for key in presses:
                start = time.process_time()
                app._driver.send_message(events.Key(key, _CHARACTERS.get(key, key if len(key) == 1 else None)))  # type: ignore[union-attr]
                idle = 0
                while idle < 5:  # a message may be between two queues
                    await asyncio.sleep(0)
                    idle = 0 if _busy(app) else idle + 1
                taken.append((time.process_time() - start) * 1000)
            print(f"{name:24}{statistics.median(taken):6.1f} ms median{max(taken):8.1f} ms at most")
    app.close_all()


def _busy(app: KdiagApp) -> bool:
    screen = app.screen
    pumps = [app, screen, *screen.walk_children()]
    return bool(screen._dirty_widgets or screen._callbacks) or any(not p._message_queue.empty() for p in pumps)


def start() -> None:
    """Wall and CPU from the start until the first frame stands in a terminal, over those of python itself."""
    walls, bare = [], []
    for _ in range(7):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", ""], check=True)
        bare.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        child = pexpect.spawn(
            sys.executable, ["-m", "kdiag", "tui", "--snapshot", str(DEMO)], dimensions=(40, 120),
            env={**os.environ, "TERM": "xterm-256color"},
        )  # fmt: skip
        child.expect("runbook")
        walls.append(time.perf_counter() - begin)
        child.send("q")
        child.expect(pexpect.EOF)
        child.close()
    own = statistics.median(walls) - statistics.median(bare)
    print(
        f"start to first frame    {own:6.2f} s over python -c '' (median of 7; fastest {min(walls) - min(bare):.2f} s)"
    )


def memory(rounds: int = 200) -> None:
    """The screen's own memory over many readings of the demo, each by a process of its own."""

    async def run() -> None:
        app = KdiagApp(parser().parse_args(["tui", "--snapshot", str(DEMO)]))
        async with app.run_test(size=(120, 40)) as pilot:
            seen = []
            for number in range(rounds):
                app.action_refresh()
                while app.case.reading.running:
                    await pilot.pause()
                if number in (9, rounds // 2, rounds - 1):
                    seen.append(_resident())
            print(f"memory over {rounds} readings  " + " → ".join(f"{m:.0f} MiB" for m in seen))
        app.close_all()

    asyncio.run(run())


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


if __name__ == "__main__":
    print(f"keys, with {FINDINGS:,} findings (CPU of the screen's process):")
    asyncio.run(keys())
    start()
    memory(int(sys.argv[1]) if len(sys.argv) > 1 else 200)

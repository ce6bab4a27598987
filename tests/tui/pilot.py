"""Drive the screen without a terminal: keys in, text out, and nothing that sleeps."""

from __future__ import annotations

import argparse
import asyncio
import functools
import time
import unicodedata
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual import events
from textual.keys import REPLACED_KEYS, _character_to_key, _get_unicode_name_from_key
from textual.pilot import Pilot

from kdiag.cli.parser import parser
from kdiag.tui.app import KdiagApp
from kdiag.tui.glyphs import FANCY, Glyphs
from kdiag.tui.messages import Run
from kdiag.tui.screens.page import PageScreen
from kdiag.tui.screens.verdict import VerdictScreen
from kdiag.tui.widgets.bar import Bar
from kdiag.tui.widgets.page import PageView
from kdiag.tui.work import Worker

ROOT = Path(__file__).parents[2]
CLUSTERS = ROOT / "fixtures" / "clusters"
DEMO = CLUSTERS / "demo"
DEAD = CLUSTERS / "broken-etcd-certificate-path"
HEALTHY = CLUSTERS / "healthy-lab"
_PATIENCE = 60.0
_LOOK = 0.005


def options(*words: str | Path) -> argparse.Namespace:
    """The options of ``kdiag tui`` with these words."""
    return parser().parse_args(["tui", *map(str, words)])


def on_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Let pytest run a coroutine."""

    @functools.wraps(test)
    def run(*args: Any, **named: Any) -> None:
        asyncio.run(test(*args, **named))

    return run


class Hand(Pilot[int]):
    """Presses keys, and waits until what they started is done and painted, not until the machine is idle."""

    async def press(self, *keys: str) -> None:
        """Press these keys, one after the other."""
        for key in keys:
            name = _character_to_key(key) if len(key) == 1 and not key.isalnum() else key
            try:
                char: str | None = unicodedata.lookup(_get_unicode_name_from_key(REPLACED_KEYS.get(name, name)))
            except KeyError:
                char = name if len(name) == 1 else None
            event = events.Key(name, char)
            event.set_sender(self.app)
            assert self.app._driver is not None
            self.app._driver.send_message(event)
            await self.pause()

    async def pause(self, delay: float | None = None) -> None:
        """Wait until nothing is left to be done."""
        assert delay is None, "nothing here waits for the clock"
        quiet = 0
        while quiet < 2 and self.app.is_running:
            await asyncio.sleep(0)
            await self._wait_for_screen()
            self.app.screen._on_timer_update()
            quiet = 0 if self._busy() else quiet + 1

    async def resize_terminal(self, width: int, height: int) -> None:
        """Make the terminal another size, and wait until the screen has it."""
        await super().resize_terminal(width, height)
        await until(self, lambda: self.app.screen._compositor.size == (width, height), "the size")

    def _busy(self) -> bool:
        screen = self.app.screen
        pumps = (self.app, screen, *screen.walk_children())
        return bool(screen._dirty_widgets or screen._callbacks or screen._layout_required) or any(
            not pump._message_queue.empty() for pump in pumps
        )


async def until(pilot: Pilot[int], condition: Callable[[], object], what: str = "it") -> None:
    """Let the application work until the condition holds; fail when that never comes."""
    end = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < end, f"{what} did not come about; the screen says:\n{text(pilot)}"
        await asyncio.sleep(_LOOK)  # another process is at work, or a timer
        await pilot.pause()


_ahead: list[Worker] = []


def _reader(*words: str | Path) -> Worker | None:
    """For the recording that most tests are about, a process that has read it meanwhile; it ends with this one."""
    if words != ("--snapshot", DEMO):
        return None
    _ahead.append(Worker(Run(options(*words))))
    return _ahead.pop(0) if len(_ahead) > 1 else None


@asynccontextmanager
async def screen(
    *words: str | Path, size: tuple[int, int] = (120, 40), signs: Glyphs = FANCY, read: bool = True
) -> AsyncIterator[Pilot[int]]:
    """The application over these options; with ``read``, once everything was read."""
    app = KdiagApp(options(*words), worker=_reader(*words), signs=signs, theme="kdiag-dark")
    async with app.run_test(size=size):
        pilot = Hand(app)
        try:
            if read:
                await until(pilot, lambda: not app.case.reading.running, "the end of reading")
                await pilot.pause()
            yield pilot
        finally:
            app.case.close()


def recording(folder: Path, **named: Any) -> Any:
    """The application over a recording."""
    return screen("--snapshot", folder, **named)


def app(pilot: Pilot[int]) -> KdiagApp:
    """The application."""
    assert isinstance(pilot.app, KdiagApp)
    return pilot.app


def main(pilot: Pilot[int]) -> VerdictScreen:
    """Its first screen."""
    return app(pilot).main


def page(pilot: Pilot[int]) -> str:
    """What the page on top says."""
    top = app(pilot).screen
    assert isinstance(top, PageScreen), f"{top} is no page"
    return "\n".join(view.text for view in top.query("#page").results(PageView))  # nothing before it is mounted


def choices(pilot: Pilot[int]) -> str:
    """What there is to choose among, where anything is to be chosen."""
    return "\n".join(view.text for view in app(pilot).screen.query("#choices").results(PageView))


def bar(pilot: Pilot[int], name: str) -> str:
    """What one of the lines across the screen says."""
    return main(pilot).query_one(f"#{name}", Bar).text


def text(pilot: Pilot[int]) -> str:
    """The cells of the screen as text, as a person sees them."""
    width, height = pilot.app.size
    strips = pilot.app.screen._compositor.render_strips(pilot.app.size)
    assert len(strips) == height, (width, height)
    return "\n".join("".join(s.text for s in strip).rstrip() for strip in strips)


async def typed(pilot: Pilot[int], words: str) -> None:
    """Type these characters."""
    names = {" ": "space", "-": "minus", "/": "slash", ":": "colon", "_": "underscore", ".": "full_stop"}
    await pilot.press(*(names.get(c, c) for c in words))


async def said(pilot: Pilot[int], words: str) -> None:
    """Wait for a word in the corner."""
    await until(pilot, lambda: any(words in n.message for n in app(pilot)._notifications), f"the word {words!r}")


async def shown(pilot: Pilot[int], words: str) -> None:
    """Wait for a page that says this."""
    await until(
        pilot, lambda: isinstance(app(pilot).screen, PageScreen) and words in page(pilot), f"{words!r} on a page"
    )


def select(pilot: Pilot[int], words: str) -> None:
    """Put the cursor on the cause whose message holds these words."""
    tree = app(pilot).case.tree
    assert tree is not None
    row = next(r for r in tree.causes() if words in r.title)
    assert row.node is not None
    assert main(pilot).rows.select(row.node.fingerprint)

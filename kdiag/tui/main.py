"""Start the screen, and leave the terminal as it was whatever ends it."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from kdiag.tui.messages import Run
from kdiag.tui.work import Worker

if TYPE_CHECKING:
    from kdiag.tui.app import KdiagApp

_FAULT = 3
#: How long the screen may take to end by itself after a signal, in seconds.
_GRACE = 2.0
#: What a terminal is told when the screen can no longer do it: no mouse, no paste marks, wrapped lines, its own screen,
#: a cursor, plain colours.
_RESET = (
    b"\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l\x1b[?2004l\x1b[?2048l\x1b[?1004l\x1b[?7h"
    b"\x1b[<u\x1b[?1049l\x1b[?25h\x1b[0m"
)


def run(options: argparse.Namespace) -> int:
    """Show the screen until it is left; the exit code."""
    # Reading begins before anything of the screen is loaded.
    worker = Worker(Run(options))
    terminal = _Terminal()
    try:
        # A key paints in two steps, the list and what is beside it, and textual waits for a frame between the two.
        os.environ.setdefault("TEXTUAL_FPS", "120")
        if not os.environ.get("NO_COLOR"):
            os.environ.pop("NO_COLOR", None)  # empty is as good as not set
        from kdiag.tui.app import KdiagApp
        from kdiag.tui.glyphs import glyphs

        # A thread that takes in a verdict is not to keep a key waiting.
        sys.setswitchinterval(0.001)
        app = KdiagApp(options, worker=worker, signs=glyphs(os.environ, sys.stderr.encoding or "ascii"))
        terminal.watch(app)
        app.run()
    finally:
        worker.stop()
    app.close_all()
    terminal.leave()
    if app.crash is not None:
        raise app.crash
    if terminal.signal:
        return 128 + terminal.signal
    return app.return_code or 0


class _Terminal:
    """Keeps what is needed to put the terminal back, and does so when the screen cannot."""

    def __init__(self) -> None:
        import termios

        self.signal = 0
        self._app: KdiagApp | None = None
        self._lock = threading.Lock()
        try:
            self._before: list[Any] | None = termios.tcgetattr(0)
        except termios.error:
            self._before = None

    def watch(self, app: KdiagApp) -> None:
        """End the screen on SIGTERM and SIGHUP, and when the terminal is gone."""
        self._app = app
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, self._signalled)
        threading.excepthook = self._thread_died

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        # Should the screen hang, it is not waited for.
        threading.Thread(target=self._insist, args=(128 + number,), daemon=True).start()
        app = self._app
        if app is not None and app._loop is not None:
            app._loop.call_soon_threadsafe(app.exit, 128 + number, 128 + number)

    def _insist(self, code: int) -> None:
        import time

        time.sleep(_GRACE)
        self.leave()
        os._exit(code)

    def _thread_died(self, what: Any) -> None:
        error: BaseException | None = what.exc_value
        trace: TracebackType | None = what.exc_traceback
        if isinstance(error, OSError) and what.thread is not None and what.thread.name.startswith("textual-"):
            # Nobody looks any more: the terminal was closed without a word.
            self.leave()
            os._exit(128 + signal.SIGHUP)
        if self._app is not None and error is not None:
            self._app.crash = error.with_traceback(trace)
            if self._app._loop is not None:
                self._app._loop.call_soon_threadsafe(self._app.exit, _FAULT, _FAULT)

    def leave(self) -> None:
        """Put the terminal back; where that was done already, once more does no harm."""
        import termios

        with self._lock:
            try:
                if self.signal or (self._app is not None and self._app.crash is not None):
                    os.write(2, _RESET)
                if self._before is not None:
                    termios.tcsetattr(0, termios.TCSANOW, self._before)
            except (OSError, termios.error):
                return

"""How a run goes on: told to who watches it, and to a person at a terminal."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kdiag.engine.intake import Facts


class Watch:
    """Is told how a run goes on, from whichever thread it happens in. By itself it does nothing with that."""

    def begins(self, whole: Callable[[], Facts]) -> None:
        """The run begins. ``whole`` gives, at any time, the facts of all that has been read to its end."""

    def expects(self, names: Sequence[str], *, node: bool = False) -> None:
        """These lists of the API, or these nodes, will be read."""

    def reads(self, name: str, *, node: bool = False) -> None:
        """It is being read."""

    def ends(self, name: str, error: str, *, node: bool = False) -> None:
        """It has been read, or could not be, and why."""

    def notes(self, text: str) -> None:
        """The run has something to say of itself."""


class Progress:
    """One line on standard error that says what is being done, on a terminal and after ``patience`` seconds."""

    def __init__(self, patience: float = 0.7) -> None:
        self._patience = patience
        self._on = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._start = time.monotonic()
        self._shown = False
        self._text = ""
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def __call__(self, text: str) -> None:
        """Show this line in place of the one before."""
        if not self._on:
            return
        with self._lock:
            self._text = text
            left = self._patience - (time.monotonic() - self._start)
            if left <= 0:
                self._show()
            elif self._timer is None:
                # What is said too early is shown later: it may be the last word for half a minute.
                self._timer = threading.Timer(left, self._late)
                self._timer.daemon = True
                self._timer.start()

    def _late(self) -> None:
        with self._lock:
            self._show()

    def _show(self) -> None:
        if self._text:
            sys.stderr.write(f"\r\x1b[K{self._text}")
            sys.stderr.flush()
            self._shown = True

    def done(self) -> None:
        """Take the line away."""
        with self._lock:
            self._text = ""
            if self._timer:
                self._timer.cancel()
                self._timer = None
            if self._shown:
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()
                self._shown = False

"""The screen's handle on the process that plays the lab: a question at a time, its answer heard on a thread."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import threading
from collections.abc import Callable
from typing import Any

from kdiag.tui.child import started

Told = dict[str, Any]


class Labs:
    """One process, started by the first question. ``tell`` is called on another thread with all that it says."""

    def __init__(self, options: argparse.Namespace, tell: Callable[[Told], object]) -> None:
        plain = (str, int, float, bool, list, tuple, type(None))
        self._options = {name: value for name, value in vars(options).items() if isinstance(value, plain)}
        self._tell = tell
        self._write: int | None = None
        self._leaving = threading.Lock()

    def ask(self, verb: str, **words: Any) -> None:
        """Ask; the answer bears the same verb."""
        if self._write is None:
            self._start()
        self._send({"verb": verb, **words})

    def _start(self) -> None:
        child = started("kdiag.lab.serve")
        self._write = child.writes
        listen = (child.pid, child.reads, child.writes)
        threading.Thread(target=self._listen, args=listen, name="kdiag-labs", daemon=True).start()
        self._send(self._options)

    def _send(self, value: Told) -> None:
        body = (json.dumps(value) + "\n").encode()
        with contextlib.suppress(OSError):  # the thread that listens says that it is gone
            while body and self._write is not None:
                body = body[os.write(self._write, body) :]

    def _listen(self, pid: int, reads: int, writes: int) -> None:
        with os.fdopen(reads, encoding="utf-8") as said:
            for text in said:
                self._tell(json.loads(text))
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        if self._shut(writes):
            self._tell({"error": "the process that plays the lab ended by itself"})

    def leave(self) -> None:
        """Ask no more. What it is at it finishes, so that nothing is left half done; then it ends by itself."""
        if self._write is not None:
            self._shut(self._write)

    def _shut(self, writes: int) -> bool:
        with self._leaving:
            if self._write != writes:
                return False
            self._write = None
            os.close(writes)
            return True

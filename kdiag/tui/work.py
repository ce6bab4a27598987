"""The screen's handle on the process that reads and judges: started at once, listened to on a thread, killed at will.

A process of its own, so that neither 150,000 pods nor a hanging connection can hold up a key, so that its memory goes
back when it ends, and so that nothing that it imports or starts can write on the screen.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import os
import signal
import threading
from collections.abc import Callable

from kdiag.tui.child import started
from kdiag.tui.messages import Ask, Failed, Run, Watch
from kdiag.tui.wire import Channel

Listener = Callable[[object], None]


class Worker:
    """One process, for one run and the questions about what it read."""

    def __init__(self, first: Run | Watch) -> None:
        child = started("kdiag.tui.worker")
        self._pid = child.pid
        self._channel = Channel(child.reads, child.writes)
        self._numbers = itertools.count(1)
        self._stopped = False
        self._heard = False
        self._reaped = threading.Lock()
        # The function of the command is of no use there.
        plain = {name: value for name, value in vars(first.options).items() if name != "run"}
        self._channel.send(dataclasses.replace(first, options=argparse.Namespace(**plain)))

    def listen(self, listener: Listener) -> None:
        """Call the listener, on a thread of its own, with everything that is said from now on."""
        self._heard = True
        threading.Thread(target=self._listen, args=(listener,), name="kdiag-listen", daemon=True).start()

    def _listen(self, listener: Listener) -> None:
        try:
            while not self._stopped:
                value = self._channel.receive()
                if not self._stopped:
                    listener(value)
        except EOFError:
            how = self._reap()
            if not self._stopped:
                listener(Failed(f"the process that reads ended by itself{how}"))
        finally:
            self._channel.close()

    def _reap(self) -> str:
        with self._reaped:
            if not self._pid:
                return ""
            try:
                _, status = os.waitpid(self._pid, 0)
            except ChildProcessError:
                status = 0
            self._pid = 0
        code = os.waitstatus_to_exitcode(status)
        return f" ({signal.Signals(-code).name})" if code < 0 else f" (exit code {code})" if code else ""

    def ask(self, request: object) -> int:
        """Ask about what was read; the number that the answer will bear."""
        number = next(self._numbers)
        self._channel.send(Ask(number, request))
        return number

    def stop(self) -> None:
        """End it, whatever it does."""
        self._stopped = True
        with self._reaped:
            if self._pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(self._pid, 0)
                self._pid = 0
        if not self._heard:  # else the thread that listens comes to the end, and closes
            self._channel.close()

"""Look again at one finding, and only at what it needs, until it is gone."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from kdiag.tui.messages import Failed, Judged, Part
from kdiag.tui.work import Worker

if TYPE_CHECKING:
    from kdiag.engine.correlate import Node

#: How long to wait between two looks, and for the finding to go away, in seconds.
PAUSE = 2.0
PATIENCE = 300.0


class Verify:
    """One finding under watch. ``tell`` is called on another thread; what it is given belongs to ``take``."""

    def __init__(
        self, options: argparse.Namespace, node: Node, tell: Callable[[object], None], *, pause: float = PAUSE
    ) -> None:
        self.node = node
        self.looks = 0
        self.cleared = False
        self.over = False
        self.pause = pause
        self.reason = ""
        self._tell = tell
        self._start = time.monotonic()
        self._options = argparse.Namespace(**{**vars(options), "checks": [node.check.id]})
        self._worker: Worker | None = None
        self._found = False
        self._parts = 0
        self._head: Judged | None = None
        self.look()

    @property
    def words(self) -> str:
        """How it stands, in a line."""
        took = time.monotonic() - self._start
        if self.cleared:
            return f"cleared after {took:.0f} s: {self.node.finding.message}"
        if self.over:
            return self.reason or f"still there after {took:.0f} s: {self.node.finding.message}"
        return f"verify {self.node.check.id.partition('/')[2]}: {self.reason or 'still there'}, {took:.0f} s"

    def look(self) -> None:
        """Look once more."""
        if self.over:
            return
        if self._worker is not None:
            self._worker.stop()
        self.looks += 1
        self._head = None
        self._worker = Worker(self._options, lean=True)
        look = self.looks
        self._worker.listen(lambda value: self._tell((look, value)))

    def take(self, said: object) -> bool:
        """Take in what was said. True when a look is over."""
        look, value = said if isinstance(said, tuple) else (0, None)
        if look != self.looks or self.over:
            return False
        match value:
            case Judged() if value.final:
                self._head, self._parts, self._found = value, value.parts, False
            case Part() if self._head is not None:
                self._parts -= 1
                wanted = self.node.fingerprint
                self._found = self._found or any(n.fingerprint == wanted for c in value.nodes for n in c.walk())
            case Failed():
                self.reason = f"cannot be looked at: {value.text}"
                return self._ended()
            case _:
                return False
        return self._judged() if self._head is not None and self._parts == 0 else False

    def _judged(self) -> bool:
        from kdiag.model.result import Status

        verdict = self._head.verdict if self._head else None
        status = verdict.results[0].status if verdict and verdict.results else Status.UNKNOWN
        if not self._found and status in (Status.PASS, Status.FAIL, Status.SKIPPED):
            self.cleared = self.over = True
            return True
        # What cannot be seen is not gone.
        self.reason = "" if self._found else "cannot be seen at present"
        return self._ended()

    def _ended(self) -> bool:
        self._head = None
        self.over = time.monotonic() - self._start > PATIENCE
        return True

    def stop(self) -> None:
        """Look no more."""
        self.over = True
        if self._worker is not None:
            self._worker.stop()

"""One finding under watch: it is looked at again and again, with no more reading than it takes, until it is gone."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from kdiag.model.text import listing
from kdiag.tui.messages import Failed, Looked, Watch
from kdiag.tui.work import Worker

if TYPE_CHECKING:
    from kdiag.engine.correlate import Node

#: How long to wait for the finding to go away, in seconds.
PATIENCE = 600.0


class Verify:
    """``tell`` is called on another thread with what is said; give it back to ``take``."""

    def __init__(
        self,
        options: argparse.Namespace,
        node: Node,
        tell: Callable[[object], None],
        *,
        pause: float,
        patience: float = PATIENCE,
    ) -> None:
        self.node = node
        self.looks = 0
        self.cleared = False
        self.over = False
        self._clear = 0
        self._said = "looking"
        self._start = time.monotonic()
        self._patience = patience
        self._worker = Worker(Watch(options, node.check.id, node.finding, pause))
        self._worker.listen(tell)

    @property
    def words(self) -> str:
        """How it stands, in a line."""
        took = f"{time.monotonic() - self._start:.0f} s"
        if self.over:
            return self._said
        return f"verify {self.node.check.id.partition('/')[2]}: {self._said}, {took}"

    def take(self, said: object) -> None:
        """Take in what one look came to."""
        took = f"{time.monotonic() - self._start:.0f} s"
        message = self.node.finding.message
        match said:
            case Looked():
                self.looks += 1
                # Once is not enough: what crashes is well between two crashes.
                self._clear = self._clear + 1 if said.state == "cleared" else 0
                self._said = {
                    "cleared": "gone; looking once more",
                    "there": "still there",
                    "unseen": f"cannot be seen ({said.reason}), which is no all-clear",
                }[said.state]
                if self._clear >= 2:
                    self.cleared = self.over = True
                    self._said = f"cleared after {took}: {message}"
                    if said.instead:
                        self._said += f"; instead: {listing(said.instead, 2)}"
                elif time.monotonic() - self._start > self._patience:
                    self.over = True
                    self._said = f"{self._said} after {took}: {message}"
            case Failed():
                self.over = True
                self._said = f"verify came to an end: {said.text}"

    def stop(self) -> None:
        """Look no more."""
        self._worker.stop()

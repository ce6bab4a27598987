"""By when something must be over: every wait of kdiag has such a moment."""

from __future__ import annotations

import time


class Deadline:
    """A moment on the monotonic clock by which something must be over."""

    __slots__ = ("at", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = max(0.0, seconds)
        self.at = time.monotonic() + self.seconds

    def remaining(self) -> float:
        """Seconds left; never below zero."""
        return max(0.0, self.at - time.monotonic())

    def within(self, seconds: float) -> Deadline:
        """The sooner of this deadline and ``seconds`` from now."""
        return Deadline(min(seconds, self.remaining()))

"""What became of a command that was run on a node."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """What became of a command."""

    ENDED = "ended"
    MISSING = "missing"
    NO_SUDO = "no sudo"
    DENIED = "cannot be executed"
    LATE = "late"
    KILLED = "killed"
    # Not asked, for the daemon that it asks had just let another one wait.
    SPARED = "spared"
    # The connection ended in the middle of it, or before it began.
    SHORT = "short"
    UNREACHED = "unreached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """The answer of one command, in the order of the batch."""

    key: str
    name: str = ""
    status: int | None = None
    body: bytes = b""
    cut: bool = False
    state: State = State.ENDED
    # For NO_SUDO: why, as sudo says it. Otherwise empty.
    reason: str = ""

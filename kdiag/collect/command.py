"""One command to run on a node, and what became of it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command to run on a node. ``key`` and ``name`` go into the observation."""

    key: str
    argv: tuple[str, ...]
    sudo: bool = False
    seconds: int = 5
    limit: int = 262144
    name: str = ""
    # The exit codes that are answers; empty for what is usual for the program (0, and for grep 1 as well).
    answers: tuple[int, ...] = ()

    def __str__(self) -> str:
        return shlex.join([*(("sudo",) if self.sudo else ()), *self.argv])


class State(Enum):
    """What became of a command."""

    ENDED = "ended"
    MISSING = "missing"
    NO_SUDO = "no sudo"
    DENIED = "cannot be executed"
    LATE = "late"
    KILLED = "killed"
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

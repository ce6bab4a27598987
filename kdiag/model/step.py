"""One step of something that is looked at in order: a hop of a trace, a line of the doctor."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from kdiag.model.result import Ref


class State(enum.Enum):
    """What a step came to. UNKNOWN is never to be read as well; ABSENT was not asked for and is missed by nobody."""

    OK = "ok"
    BROKEN = "broken"
    UNKNOWN = "unknown"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step. ``detail`` says what was seen, ``command`` shows it, and ``ref`` is the object it is about.

    ``level`` is how deep it is nested. ``blocks`` is False for an UNKNOWN that leaves the answer as it is: something
    that can be seen only from elsewhere and that nothing speaks against.
    """

    state: State
    title: str
    detail: str = ""
    command: str = ""
    ref: Ref | None = None
    level: int = 0
    blocks: bool = True


def outcome(steps: Iterable[Step]) -> State:
    """What all of them come to together: the worst that counts."""
    found = {s.state for s in steps if s.state is not State.UNKNOWN or s.blocks}
    return next((state for state in (State.BROKEN, State.UNKNOWN) if state in found), State.OK)

"""What one source said, untouched: the only thing that comes in, and the only thing a snapshot holds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Observation:
    """One answer of one source, or the error that came instead.

    ``source`` is "api" or "node"; ``key`` says what was asked ("pods", "events", "readyz", "log"); ``host`` is
    the node that was asked and ``scope`` the namespace a list was asked for in (empty: all). ``name`` names the object
    where the answer is about one (a log's ``namespace/pod/container/previous``). ``body`` is the answer's bytes.
    ``error`` is a line for a person; with it ``absent`` says that what was asked for is not there (a file, a log):
    that is knowledge and no gap. ``restart`` says that the list is read again from its start: what came before is void.
    """

    source: str
    key: str
    host: str = ""
    scope: str = ""
    name: str = ""
    body: bytes | memoryview = b""
    error: str = ""
    absent: bool = False
    restart: bool = False

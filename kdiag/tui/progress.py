"""How far a reading is: each source, when it began and ended, and what is slow."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from kdiag.tui.messages import Ends, Expects, Note, Reads

#: A source that takes longer than this is worth a word, in seconds.
SLOW = 1.5


@dataclass(slots=True)
class Source:
    """One list of the API, one container's log or one node."""

    name: str
    kind: str  # api, log or node
    began: float = 0.0
    ended: float = 0.0
    error: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing more comes of it."""
        return bool(self.ended)


class Reading:
    """One run, as far as it is."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.start = clock()
        self.end = 0.0
        self.sources: dict[tuple[str, str], Source] = {}
        self.notes: list[str] = []

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return not self.end

    def finish(self) -> None:
        """It is over; what has not spoken will not."""
        self.end = self.end or self._clock()

    @property
    def elapsed(self) -> float:
        """How long it has taken, in seconds."""
        return (self.end or self._clock()) - self.start

    def seconds(self, source: Source) -> float:
        """How long one source has taken so far."""
        return ((source.ended or self.end or self._clock()) - source.began) if source.began else 0.0

    def take(self, message: Expects | Reads | Ends | Note) -> None:
        """Take one message of the process that reads."""
        match message:
            case Expects():
                for name in message.names:
                    self._of(name, message.node)
            case Reads():
                self._of(message.name, message.node).began = self._clock()
            case Ends():
                source = self._of(message.name, message.node)
                source.began = source.began or self._clock()
                source.ended = self._clock()
                source.error = message.error
            case Note():
                self.notes.append(message.text)

    def _of(self, name: str, node: bool) -> Source:
        kind = "node" if node else "log" if "/" in name else "api"
        return self.sources.setdefault((kind, name), Source(name, kind))

    def of(self, kind: str) -> list[Source]:
        """The sources of one kind, in the order in which they were named."""
        return [s for s in self.sources.values() if s.kind == kind]

    def words(self) -> list[str]:
        """How far it is, in a few words each: the lists, the logs, the nodes, and what is slow."""
        found: list[str] = []
        for kind, what in (("api", "API lists"), ("log", "logs")):
            some = self.of(kind)
            if some:
                found.append(f"{sum(s.over for s in some)}/{len(some)} {what}")
        nodes = self.of("node")
        if len(nodes) > 4:
            found.append(f"{sum(s.over for s in nodes)}/{len(nodes)} nodes")
        elif nodes:
            done, left = [s.name for s in nodes if s.over], [s.name for s in nodes if not s.over]
            found.append(f"{len(done)}/{len(nodes)} nodes" + (f" (waiting for {', '.join(left)})" if left else ""))
        slow = sorted((s for s in self.sources.values() if s.began and not s.over), key=lambda s: s.began)
        if slow and self.seconds(slow[0]) >= SLOW and slow[0].kind != "node":
            found.append(f"{slow[0].name} takes {self.seconds(slow[0]):.0f} s")
        return found or ["connecting"]

"""What is known of one cluster: the reading under way, the last verdict, and whom to ask about it. No textual here."""

from __future__ import annotations

import argparse
import dataclasses
import gc
import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kdiag.tui.messages import Answer, Ask, Ends, Expects, Failed, Judged, Note, Part, Reads, Refused, Run
from kdiag.tui.model import Tree
from kdiag.tui.progress import Reading
from kdiag.tui.work import Worker

if TYPE_CHECKING:
    from kdiag.engine.correlate import Node

Then = Callable[[object], None]
#: With more findings than this, looking for garbage among them takes so long that a key would wait ...
_MANY = 1000
#: ... so it is done only after so many readings.
_SELDOM = 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict that has come whole, as a tree."""

    tree: Tree
    head: Judged


@dataclass(frozen=True, slots=True)
class Heard:
    """Something was said by the process of this run."""

    run: int
    value: object


class Case:
    """One cluster, or one recording. ``tell`` is called on another thread with a Heard: give it back to ``take``."""

    def __init__(self, options: argparse.Namespace, tell: Callable[[Heard], None]) -> None:
        self.options = options
        self.reading = Reading()
        self.tree: Tree | None = None
        self.head: Judged | None = None
        self.failure: Failed | None = None
        self.cancelled = False
        self.runs = 0
        self._tell = tell
        self._whole: Tree | None = None  # the last verdict on everything
        self._working: Worker | None = None  # the one that reads
        self._answering: Worker | None = None  # the one that answers: it has read
        self._waiting: dict[tuple[Worker, int], Then] = {}

    # Reading

    def start(self, worker: Worker | None = None) -> None:
        """Read, anew if that was done before; ``worker`` is one that has begun already."""
        self.cancel()
        self.runs += 1
        self.cancelled = False
        self.failure = None
        self.reading = Reading()
        self._working = worker or Worker(Run(self.options))
        self._working.listen(_Ear(self.runs, self._tell, self._whole))

    def cancel(self) -> bool:
        """Stop reading; what was found so far stays. False when nothing is being read."""
        if self._working is None or not self.reading.running:
            return False
        self._working.stop()
        self._drop(self._working)
        self._working = None
        self.reading.finish()
        self.cancelled = True
        return True

    def close(self) -> None:
        """End every process."""
        for worker in {self._working, self._answering} - {None}:
            if worker is not None:
                worker.stop()

    def take(self, heard: Heard) -> None:
        """Take in what was heard; what an older run says comes too late."""
        if heard.run != self.runs and not isinstance(heard.value, Answer | Refused):
            return
        match heard.value:
            case Expects() | Reads() | Ends() | Note():
                self.reading.take(heard.value)
            case Verdict():
                self._judged(heard.value)
            case Failed():
                self._failed(heard.value)
            case Answer() | Refused():
                self._answered(heard.run, heard.value)

    def _judged(self, verdict: Verdict) -> None:
        if verdict.head.final:
            self.reading.finish()
            self._whole = verdict.tree
            if self._answering is not None and self._answering is not self._working:
                self._answering.stop()
                self._drop(self._answering)
            self._answering = self._working
        elif self._whole is not None:
            return  # the last whole verdict says more than the beginning of the next
        self.tree, self.head = verdict.tree, verdict.head

    def _failed(self, failure: Failed) -> None:
        self.failure = failure
        self.reading.finish()
        if self._working is not None and self._working is not self._answering:
            self._working.stop()
            self._drop(self._working)
        elif self._working is not None:
            self._drop(self._working)
            self._answering = None
        self._working = None

    # Asking

    def ask(self, request: object, then: Then) -> None:
        """Ask about what was read last; ``then`` is called with an Answer or a Refused."""
        worker = self._answering or self._working
        if worker is None:
            then(Refused(0, "nothing was read that could be asked about"))
            return
        self._waiting[worker, worker.ask(request)] = then

    def _answered(self, run: int, answer: Answer | Refused) -> None:
        for worker in (self._answering, self._working):
            if worker is not None and (then := self._waiting.pop((worker, answer.number), None)):
                then(answer)
                return

    def _drop(self, worker: Worker) -> None:
        """Tell those who wait for a process that is gone."""
        for key in [k for k in self._waiting if k[0] is worker]:
            self._waiting.pop(key)(Refused(key[1], "it was read anew meanwhile: ask again"))


@dataclass(slots=True)
class _Ear:
    """Listens to one run on its thread: puts a verdict together and makes its rows, so that the screen need not."""

    run: int
    tell: Callable[[Heard], None]
    before: Tree | None
    _head: Judged | None = None
    _causes: list[Node] = field(default_factory=list)
    _infos: list[Node] = field(default_factory=list)
    _parts: int = 0

    def __call__(self, value: object) -> None:
        match value:
            case Judged():
                # Looking for garbage among thousands of findings as they come would hold up keys for 0.1 s and more.
                gc.disable()
                self._head, self._causes, self._infos, self._parts = value, [], [], value.parts
            case Part():
                (self._infos if value.remarks else self._causes).extend(value.nodes)
                self._parts -= 1
            case Ask():
                return
            case _:
                self.tell(Heard(self.run, value))
                return
        if self._head is not None and self._parts == 0:
            verdict = dataclasses.replace(self._head.verdict, causes=tuple(self._causes), infos=tuple(self._infos))
            tree = Tree(verdict, provisional=self._head.provisional, before=self.before, final=self._head.final)
            self.tell(Heard(self.run, Verdict(tree, dataclasses.replace(self._head, verdict=verdict))))
            self._head = None
            # What the next keys need is loaded here, so that none of them waits for it.
            importlib.import_module("kdiag.tui.walk")
            if len(tree.by_key) > _MANY:
                # They are in no cycle and go when nobody holds them: the collector need not look at them each time.
                if self.run % _SELDOM == 0:
                    gc.unfreeze()
                    gc.collect()
                gc.freeze()
            gc.enable()

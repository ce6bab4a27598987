"""The process that reads and judges for the screen: ``python -m kdiag.tui.worker``. It has no terminal.

It reads once, says how that goes on and what it comes to so far, and then answers questions about what was read until
the pipe that leads to it is closed.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from kdiag.errors import CollectError, KdiagError
from kdiag.model.text import clean_line, shorten
from kdiag.session import Seen, Watch, live, recorded
from kdiag.tui import messages
from kdiag.tui.messages import (
    Answer,
    Ask,
    Ends,
    Expects,
    Failed,
    Judged,
    Looked,
    Note,
    Part,
    Reads,
    Refused,
    Run,
    RunStep,
)  # fmt: skip
from kdiag.tui.wire import Channel

if TYPE_CHECKING:
    from kdiag.check import Check
    from kdiag.engine.intake import Facts
    from kdiag.engine.verdict import Verdict

_PIECE = 100
#: How long after one verdict on what was read so far the next may come, in seconds, and how many times as long as the
#: last one took to make: reading is to go on meanwhile.
_PAUSE = 0.4
_SHARE = 4.0


class Desk:
    """What was read, and the answers about it."""

    def __init__(self, channel: Channel, run: Run) -> None:
        from kdiag.tui.answers import Steps
        from kdiag.tui.keep import Keep

        self._channel = channel
        self._options = run.options
        self._steps = Steps(run.options)
        self._start = time.monotonic()
        self._ready = threading.Event()
        self._asking = threading.Lock()
        self._seen: Seen | None = None
        self._verdict: Verdict | None = None
        self._keep = Keep()
        self._nodes = False  # whether any is being read

    # Reading

    def run(self) -> None:
        """Read, judge, and say so."""
        try:
            self._run()
        except KdiagError as exc:
            self._channel.send(Failed(clean_line(str(exc)), 3 if isinstance(exc, CollectError) else 2))
        except BaseException as exc:  # a fault of kdiag's own: it is said, and the screen stays
            text = shorten(clean_line(f"{type(exc).__name__}: {exc}"), 300)
            self._channel.send(Failed(f"a fault of kdiag's own: {text}"))
        finally:
            self._ready.set()

    def _run(self) -> None:
        from kdiag.engine.intake import needed, roots
        from kdiag.engine.library import choose
        from kdiag.engine.trace import READS
        from kdiag.facts import Cluster, Version
        from kdiag.report.node import FACTS

        options = self._options
        chosen = choose(options.checks, risks=options.risks)
        kinds = tuple(dict.fromkeys((*needed(chosen), *FACTS, *roots(READS), Cluster, Version)))
        if options.snapshot:
            seen = recorded(options.snapshot, kinds, options.namespace)
        else:
            progress = _Progress(self._channel, lambda facts: self._partly(chosen, facts, progress))
            try:
                seen = live(options, kinds, tee=self._keep.take, watch=progress)
            finally:
                progress.over()
        self._seen = seen
        self._verdict = self._say(chosen, seen.facts, final=True, source=seen.source, notes=seen.notes, late=seen.late)

    def _partly(self, chosen: Sequence[Check], facts: Facts, progress: _Progress) -> None:
        self._nodes = progress.nodes
        self._say(chosen, facts, final=False)

    def _say(
        self,
        chosen: Sequence[Check],
        facts: Facts,
        *,
        final: bool,
        source: str = "api",
        notes: Iterable[str] = (),
        late: Callable[[], str] = str,
    ) -> Verdict:
        import dataclasses

        from kdiag.engine.library import checks
        from kdiag.engine.verdict import judge
        from kdiag.facts import Namespaces
        from kdiag.report.node import names

        verdict = judge(chosen, facts, checks(), source=source, notes=notes, late=late)
        spaces = facts.get(Namespaces)
        pieces = [
            Part(tuple(some[start : start + _PIECE]), remarks)
            for some, remarks in ((verdict.causes, False), (verdict.infos, True))
            for start in range(0, len(some), _PIECE)
        ]
        head = Judged(
            # The findings go over in pieces, and once: those of the results are the same ones.
            verdict=dataclasses.replace(
                verdict,
                causes=(),
                infos=(),
                results=tuple(dataclasses.replace(r, findings=()) for r in verdict.results),
            ),
            parts=len(pieces),
            final=final,
            provisional=frozenset() if final else _provisional(verdict, chosen, facts, nodes=self._nodes),
            namespaces=tuple(sorted(n.name for n in spaces.items)) if spaces else (),
            nodes=names(facts),
            seconds=time.monotonic() - self._start,
        )
        for message in (head, *pieces):
            self._channel.send(message)
        return verdict

    # Answering

    def answer(self, asked: Ask) -> None:
        """Answer one question, when the reading is over."""
        try:
            from kdiag.tui.answers import answer

            if isinstance(asked.request, RunStep):
                # A step asks the cluster itself: it need not wait for what is still being read.
                self._channel.send(Answer(asked.number, self._steps.run(asked.request, self._seen)))
                return
            self._ready.wait()
            if self._seen is None or self._verdict is None:
                raise KdiagError("nothing was read that could be asked about")
            with self._asking:
                value = answer(asked.request, self._seen, self._verdict, self._keep)
        except KdiagError as exc:
            self._channel.send(Refused(asked.number, clean_line(str(exc))))
        except Exception as exc:  # the question comes to nothing; the screen and the other answers stay
            text = shorten(clean_line(f"{type(exc).__name__}: {exc}"), 300)
            self._channel.send(Refused(asked.number, f"a fault of kdiag's own: {text}"))
        else:
            self._channel.send(Answer(asked.number, value))


class _Progress(Watch):
    """Says what is being read, and has what was read so far judged now and then, on a thread of its own."""

    def __init__(self, channel: Channel, judge: Callable[[Facts], object]) -> None:
        self._channel = channel
        self._judge = judge
        self._whole: Callable[[], Facts] | None = None
        self._more = threading.Event()
        self._over = threading.Event()
        self._idle = threading.Lock()
        self.nodes = False  # whether any is being read

    def begins(self, whole: Callable[[], Facts]) -> None:
        self._whole = whole
        threading.Thread(target=self._work, name="kdiag-judge", daemon=True).start()

    def expects(self, names: Sequence[str], *, node: bool = False) -> None:
        self.nodes = self.nodes or node
        self._channel.send(Expects(names=tuple(names), node=node))

    def reads(self, name: str, *, node: bool = False) -> None:
        self._channel.send(Reads(name=name, node=node))

    def ends(self, name: str, error: str, *, node: bool = False) -> None:
        self._channel.send(Ends(name=name, error=error, node=node))
        self._more.set()

    def notes(self, text: str) -> None:
        self._channel.send(Note(text))

    def over(self) -> None:
        """No more verdicts on a part: what is being judged is waited for, so that it cannot come after the whole."""
        self._over.set()
        self._more.set()
        with self._idle:
            return

    def _work(self) -> None:
        pause = _PAUSE
        while not self._over.wait(pause):
            self._more.wait()
            self._more.clear()
            start = time.monotonic()
            with self._idle:
                if self._over.is_set() or self._whole is None:
                    return
                try:
                    self._judge(self._whole())
                except Exception as exc:
                    # A fault of kdiag's own: the whole verdict meets it again, or comes all the same.
                    why = shorten(clean_line(f"{type(exc).__name__}: {exc}"), 160)
                    self._channel.send(
                        Note(f"no findings before all is read: what was read so far cannot be judged ({why})")
                    )
                    return
            pause = max(_PAUSE, _SHARE * (time.monotonic() - start))


def _provisional(verdict: Verdict, chosen: Sequence[Check], facts: Facts, *, nodes: bool) -> frozenset[str]:
    """The findings whose cause may be found by a check that cannot be made yet. ``nodes``: some are being read."""
    from kdiag.engine.correlate import reach
    from kdiag.engine.intake import needed
    from kdiag.engine.library import checks
    from kdiag.facts.hosts import HostFact

    def awaited(check: Check) -> bool:
        if all(facts.get(kind) is not None for kind in check.needs.values()):
            return False
        return nodes or not any(issubclass(root, HostFact) for root in needed([check]))

    explains = reach(checks())
    may = {symptom for c in chosen if awaited(c) for symptom in (*explains[c.id], *c.explains_here)}
    return frozenset(n.fingerprint for n in verdict.causes if n.check.id in may)


def _look(channel: Channel, watch: messages.Watch) -> None:
    """Look at one finding until nobody wants to know any more."""
    from kdiag.engine.intake import needed
    from kdiag.engine.library import find
    from kdiag.engine.verify import State, fingerprints, look, successors
    from kdiag.engine.wanted import Wanted
    from kdiag.facts import Cluster

    check, finding = find(watch.check_id), watch.finding
    subject = finding.subject
    wanted = Wanted(kind=subject.kind, namespace=subject.namespace, name=subject.name)
    kinds = tuple(dict.fromkeys((*needed([check]), Cluster)))
    before: frozenset[str] | None = None
    while True:
        try:
            facts = live(watch.options, kinds).facts
        except CollectError as exc:
            channel.send(Looked(state=State.UNSEEN.value, reason=clean_line(str(exc))))
        else:
            found = look(check, facts, wanted)
            instead: tuple[str, ...] = ()
            if found.state is State.CLEARED and before is not None:
                instead = tuple(n.finding.message for n in successors(before, facts, finding))
            elif found.finding is not None and before is None:
                before = frozenset(fingerprints(facts, (subject, *finding.touches)))
            channel.send(Looked(state=found.state.value, reason=found.reason, instead=instead))
        time.sleep(watch.pause)


def _watch(channel: Channel, watch: messages.Watch) -> None:
    try:
        _look(channel, watch)
    except BaseException as exc:
        channel.send(Failed(shorten(clean_line(str(exc) or type(exc).__name__), 300)))


def main() -> None:
    """Take the pipes, then serve until the other end is gone."""
    channel = Channel(os.dup(0), os.dup(1))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(nowhere, stream)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The objects of a run live until its end, and the process ends with it: there is no garbage worth looking for.
    gc.disable()
    desk: Desk | None = None
    while True:
        try:
            message = channel.receive()
        except EOFError:
            os._exit(0)
        if isinstance(message, Run) and desk is None:
            desk = Desk(channel, message)
            threading.Thread(target=desk.run, name="kdiag-run", daemon=True).start()
        elif isinstance(message, messages.Watch):
            gc.enable()
            threading.Thread(target=_watch, args=(channel, message), name="kdiag-watch", daemon=True).start()
        elif isinstance(message, Ask) and desk is not None:
            threading.Thread(target=desk.answer, args=(message,), name="kdiag-answer", daemon=True).start()


if __name__ == "__main__":
    main()

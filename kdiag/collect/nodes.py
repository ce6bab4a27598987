"""All nodes at once: one connection a node, two rounds of commands, and no node that keeps the others waiting."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kdiag.collect.api import Emit, Progress, Step
from kdiag.collect.batch import observe, refuse_writes
from kdiag.collect.deadline import Deadline
from kdiag.collect.fields import in_seconds, one_line
from kdiag.collect.shell import Shell
from kdiag.errors import BadAnswer, CheckDefinitionError, KdiagError
from kdiag.facts.base import NodeCommand
from kdiag.model.observation import Observation

NODE_SECONDS = 20.0
WORKERS = 32
# A node that has not finished by then waits for something: it gives its place among the workers to the next one.
SLOW_SECONDS = 2.0
# How long a node that ran into the end of the whole run may take to say how far it came.
_LAST_WORDS_SECONDS = 0.5

# What to ask a node next, from what it answered first; called on that node's thread.
Follow = Callable[[str, list[Observation]], Sequence[NodeCommand]]


@dataclass(frozen=True, slots=True)
class NodeTarget:
    """A node by the name that its observations bear, and the shell that leads to it."""

    host: str
    shell: Shell


def read_nodes(
    targets: Sequence[NodeTarget],
    commands: Sequence[NodeCommand],
    deadline: Deadline,
    *,
    emit: Emit,
    progress: Progress | None = None,
    step: Step | None = None,
    follow: Follow | None = None,
    known: Sequence[NodeCommand] = (),
    workers: int = WORKERS,
    node_seconds: float = NODE_SECONDS,
) -> None:
    """Run the commands on every node and emit what comes, node by node, in the thread of the caller.

    A node that cannot be read is one observation with the key ``node`` and an error. Each node has ``node_seconds`` for
    both rounds together, and the run ends with ``deadline`` whatever the nodes do. ``known`` is for ``observe``.
    """
    tell = progress or (lambda _: None)
    told = step or (lambda _, __: None)
    answers: queue.SimpleQueue[tuple[int, list[Observation], bool]] = queue.SimpleQueue()
    waiting = deque(range(len(targets)))
    running: dict[int, float] = {}
    done = 0

    def start(number: int) -> None:
        running[number] = time.monotonic()
        told(targets[number].host, False)
        job = _Job(number, targets[number], commands, follow, known, deadline.within(node_seconds), answers)
        # A daemon: nothing waits for a node that hangs, not even the end of the program.
        threading.Thread(target=job.run, name=f"kdiag-node-{number}", daemon=True).start()

    while waiting or running:
        now = time.monotonic()
        busy = [began for began in running.values() if now - began < SLOW_SECONDS]
        while waiting and len(busy) < max(1, workers) and deadline.remaining():
            start(waiting.popleft())
            busy.append(now)
        left = deadline.at + _LAST_WORDS_SECONDS - now
        if left <= 0 or (not running and not deadline.remaining()):
            break
        turn = min(busy) + SLOW_SECONDS - now if waiting and busy else left
        try:
            number, found, over = answers.get(timeout=max(0.001, min(left, turn)))
        except queue.Empty:
            continue
        for observation in found:
            emit(observation)
        if over:
            del running[number]
            done += 1
            told(targets[number].host, True)
            tell(f"{done} of {len(targets)} nodes read: {targets[number].host}")
    for number in [*running, *waiting]:
        why = "did not answer in time" if number in running else "was not asked"
        emit(_failure(targets[number].host, f"the node {why}: the run has {in_seconds(deadline.seconds)}"))
        told(targets[number].host, True)


class _Job:
    """One node on its thread."""

    def __init__(
        self,
        number: int,
        target: NodeTarget,
        commands: Sequence[NodeCommand],
        follow: Follow | None,
        known: Sequence[NodeCommand],
        deadline: Deadline,
        answers: queue.SimpleQueue[tuple[int, list[Observation], bool]],
    ) -> None:
        self._number = number
        self._target = target
        self._commands = commands
        self._follow = follow
        self._known = known
        self._deadline = deadline
        self._answers = answers

    def run(self) -> None:
        try:
            found = self._rounds()
        except KdiagError as exc:
            found = [_failure(self._target.host, str(exc))]
        except Exception as exc:  # a node that breaks kdiag must not cost the others
            found = [_failure(self._target.host, f"{type(exc).__name__}: {one_line(str(exc), 160)}")]
        self._answers.put((self._number, found, True))
        self._target.shell.close()

    def _rounds(self) -> list[Observation]:
        host, shell = self._target.host, self._target.shell
        found = observe(shell, host, self._commands, self._deadline, known=self._known)
        more: list[NodeCommand] = []
        for command in self._follow(host, found) if self._follow is not None else ():
            try:
                refuse_writes(command.argv)
            except CheckDefinitionError as exc:
                # One path that may not be asked for costs its own answer, not those of the others.
                error = f"not asked: {exc}"
                found.append(Observation("node", command.key, host=host, name=command.name, error=error))
            else:
                more.append(command)
        if not more:
            return found
        # Out at once: what the second round does to the connection is no reason to lose the first.
        self._answers.put((self._number, found, False))
        try:
            if not self._deadline.remaining():
                limit = in_seconds(self._deadline.seconds)
                raise BadAnswer(f"not asked: the first answers took all of the node's {limit}")
            return observe(shell, host, more, self._deadline)
        except KdiagError as exc:
            return [Observation("node", command.key, host=host, name=command.name, error=str(exc)) for command in more]


def _failure(host: str, error: str) -> Observation:
    return Observation("node", "node", host=host, error=error)

"""Nodes that are read while the API server is asked."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kdiag.facts.base import Fact
from kdiag.session.progress import Watch

if TYPE_CHECKING:
    from kdiag.collect.deadline import Deadline
    from kdiag.collect.inventory import Machine, Plan
    from kdiag.facts.base import NodeCommand
    from kdiag.model.observation import Observation


class Reading:
    """Nodes that are being read, on a thread of their own; what they say is taken from it by whoever waits for it."""

    def __init__(
        self,
        plan: Plan,
        commands: list[NodeCommand],
        kinds: tuple[type[Fact], ...],
        bound: Deadline,
        watch: Watch | None,
    ) -> None:
        from kdiag.engine.intake import known
        from kdiag.engine.plan import node_commands, node_follow
        from kdiag.model.observation import Observation

        self.plan = plan
        self._said: queue.SimpleQueue[Observation | str | None] = queue.SimpleQueue()
        #: Of each node that has said all: what it said.
        self.complete: dict[str, list[Observation]] = {}

        def follow(host: str, found: list[Observation]) -> list[NodeCommand]:
            return list(node_follow(kinds, host, found))

        errors: dict[str, str] = {}
        held: dict[str, list[Observation]] = {}

        def emit(seen: Observation) -> None:
            if seen.key == "node":
                errors[seen.host] = seen.error
            held.setdefault(seen.host, []).append(seen)
            self._said.put(seen)

        def step(host: str, over: bool) -> None:
            if over:
                self.complete[host] = held.pop(host, [])
                self._said.put(host)
            if watch and over:
                watch.ends(host, errors.get(host, ""), node=True)
            elif watch:
                watch.reads(host, node=True)

        def work() -> None:
            # Imported here, so that the API is asked meanwhile: the library for SSH takes its time.
            from kdiag.collect.nodes import read_nodes

            try:
                every = list(node_commands(known()))
                read_nodes(plan.targets, commands, bound, emit=emit, step=step, follow=follow, known=every)
            except Exception as exc:  # a fault of kdiag's own: no node is then to be taken for read
                for one in plan.targets:
                    error = f"{type(exc).__name__}: {exc}"
                    self._said.put(Observation("node", "node", host=one.host, error=error))
            finally:
                self._said.put(None)

        threading.Thread(target=work, name="kdiag-nodes", daemon=True).start()

    def answers(self) -> Iterator[tuple[str, list[Observation]]]:
        """All that each says, node by node as they come to their end, until all have or their time is up."""
        held: dict[str, list[Observation]] = {}
        while (seen := self._said.get()) is not None:
            if isinstance(seen, str):
                yield seen, held.pop(seen, [])
            else:
                held.setdefault(seen.host, []).append(seen)
        yield from held.items()

    def names(self, machines: Sequence[Machine]) -> dict[str, str]:
        """Of the nodes that are being read, those that are among these machines, with the name that they have there."""
        found: dict[str, str] = {}
        by_name = {m.name: m for m in machines}
        by_address = {address: m for m in machines for address in m.addresses}
        for host, known in self.plan.addresses.items():
            machine = by_name.get(host)
            if machine and known and machine.addresses and not set(known) & set(machine.addresses):
                continue  # made anew under an old name: the machine that was read is another one
            machine = machine or next((by_address[a] for a in (*known, host) if a in by_address), None)
            if machine and machine.name not in found.values():
                found[host] = machine.name
        return found

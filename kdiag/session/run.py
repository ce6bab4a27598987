"""One run: the facts that are read of a live cluster, of its nodes where it is dead, or of a recording."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdiag.facts.base import Fact
from kdiag.session.nodes import Reading
from kdiag.session.options import deadline, inventory_of, target
from kdiag.session.progress import Progress, Watch

if TYPE_CHECKING:
    from kdiag.collect.inventory import Inventory, Machine, Plan
    from kdiag.collect.kubeconfig import Target
    from kdiag.engine.intake import Facts
    from kdiag.errors import CollectError
    from kdiag.model.observation import Observation

#: How long an API server may take for its first answer where the nodes can be asked instead, in seconds.
_PATIENCE = 15.0
#: What was read is judged for so long even where reading took all the time there was, in seconds.
_JUDGING = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The facts of a run, where they came from, and what the run has to say of itself.

    ``late`` tells why no more of them can be judged; "" while there is time, and always for a recording.
    """

    facts: Facts
    source: str
    notes: tuple[str, ...] = ()
    late: Callable[[], str] = str


def live(
    options: argparse.Namespace,
    kinds: Iterable[type[Fact]],
    *,
    tee: Callable[[Observation], None] | None = None,
    logs: bool = True,
    namespace: str | None = None,
    fallback: str = "",
    node: str = "",
    ways: dict[str, str] | None = None,
    watch: Watch | None = None,
) -> Seen:
    """Read what these facts need: the API, and the nodes where a way to them is known.

    When the API server cannot be used, the nodes alone are read, and that is said. Raises ConfigError, or CollectError
    when nothing at all can be read. ``namespace`` goes before the option; ``fallback`` is read when this user may not
    read all namespaces; ``node`` is asked even if nobody else names it;
    ``ways`` is filled with how each node was reached; ``watch`` is told how the run goes on.
    """
    run = _Run(options, tuple(kinds), tee, namespace, fallback, node, watch)
    try:
        return run.read(logs=logs)
    finally:
        if ways is not None:
            ways.update(run.ways)


class _Run:
    """One run against a live cluster."""

    def __init__(
        self,
        options: argparse.Namespace,
        kinds: tuple[type[Fact], ...],
        tee: Callable[[Observation], None] | None,
        namespace: str | None,
        fallback: str,
        node: str,
        watch: Watch | None,
    ) -> None:
        from kdiag.engine.intake import Intake
        from kdiag.engine.plan import node_commands

        self._options = options
        self._kinds = kinds
        self._tee = tee
        self._scope = getattr(options, "namespace", "") if namespace is None else namespace
        self._fallback = fallback
        self._node = node
        self._bound = deadline(options)
        self._progress = Progress()
        self._intake = Intake(kinds)
        self._watch = watch
        self._lock: contextlib.AbstractContextManager[Any] = threading.Lock() if watch else contextlib.nullcontext()
        self._over: set[str] = set()
        self._errors: dict[str, str] = {}
        self._where: Target | None = None
        self._ahead: Reading | None = None  # nodes that are read while the API server is asked
        self._notes: list[str] = []
        self.ways: dict[str, str] = {}
        wanted = not getattr(options, "no_nodes", False)
        self._commands = list(node_commands(kinds)) if wanted else []

    def read(self, *, logs: bool) -> Seen:
        """Read everything."""
        from kdiag.errors import AccessDenied, CollectError, ConfigError

        if self._watch:
            self._watch.begins(self.whole)
        inventory = inventory_of(self._options)
        where: Target | None = None
        early: Reading | None = None
        try:
            where = self._where = target(self._options, local=inventory.local)
            if not self._bound.remaining():
                raise CollectError(
                    f"{where.origin} was read for all of the {self._bound.seconds:g} s of this run: "
                    "a file with fewer contexts is read sooner; --timeout gives more time"
                )
            early = self._ahead = self._early(inventory, where)
            self._api(where, logs=logs, hurry=early is not None)
        except CollectError as exc:
            # Who is refused has met an API server: that it answers is not in doubt.
            if not self._instead(inventory, where, str(exc), early, dead=not isinstance(exc, AccessDenied)):
                raise self._alone(exc) from exc.__cause__
        except ConfigError as exc:
            # A worker has no kubeconfig, and can be read all the same.
            if where or not inventory.local or not self._instead(inventory, None, str(exc), None, dead=False):
                raise
        else:
            self._beside(inventory, where, early)
        finally:
            self._progress.done()
        return Seen(facts=self._intake.finish(), source="api", notes=tuple(self._notes), late=self._late())

    def _late(self) -> Callable[[], str]:
        from kdiag.collect.deadline import Deadline

        bound, whole = self._bound, self._bound.seconds
        end = bound if bound.remaining() >= _JUDGING else Deadline(_JUDGING)
        return lambda: "" if end.remaining() else f"no time was left to judge it within the {whole:g} s of this run"

    def _alone(self, exc: CollectError) -> CollectError:
        """The error, with what would help where an API server is dead and no way to a node is known."""
        from kdiag.errors import Unreachable

        if not self._commands or not isinstance(exc, Unreachable):
            return exc
        hint = "no way to a node is known that could tell why: see --ssh-config, --local and kdiag doctor"
        return Unreachable(f"{exc}{'' if str(exc).endswith('?') else ';'} {hint}")

    def _emit(self, *observations: Observation) -> None:
        for seen in observations if self._tee else ():
            self._tee(seen)  # type: ignore[misc]
        with self._lock:
            for seen in observations:
                self._intake.feed(seen)
                if seen.source == "api" and seen.key != "log" and not seen.restart:
                    self._errors[seen.key] = "" if seen.absent else seen.error

    def whole(self) -> Facts:
        """The facts of what has been read to its end; what is still being read is missing, as if nobody had asked."""
        with self._lock:
            found = self._intake.finish(kind for kind in self._kinds if self._over.issuperset(_keys(kind)))
        ahead = self._ahead
        return found.beside(self._beforehand(ahead)) if ahead else found

    def _beforehand(self, ahead: Reading) -> Facts:
        """What nodes have said that wait for the API server to be heard first: while it hangs, that is all there is."""
        from kdiag.engine.intake import Intake
        from kdiag.facts import Cluster
        from kdiag.facts.hosts import HostFact

        intake = Intake(kind for kind in self._kinds if issubclass(kind, HostFact | Cluster))
        intake.feed(self._record(self._where))
        for observations in list(ahead.complete.values()):
            for seen in observations:
                intake.feed(seen)
        return intake.finish()

    def _step(self, name: str, over: bool) -> None:
        if over:
            self._over.add(name)
        if self._watch and over:
            self._watch.ends(name, self._errors.get(name, ""))
        elif self._watch:
            self._watch.reads(name)

    def _api(self, where: Target, *, logs: bool, hurry: bool) -> None:
        from kdiag.collect.api import ApiSource
        from kdiag.engine.intake import sources
        from kdiag.engine.plan import logs_wanted
        from kdiag.facts import Logs
        from kdiag.facts.base import ApiGet, ApiList

        api = ApiSource(where, deadline=self._bound, namespace=self._scope, progress=self._progress, step=self._step)
        try:
            if hurry:
                api.probe(_PATIENCE)
            else:
                api.probe()
            api.narrow(self._fallback)
            self._emit(api.run_record())
            self._over.add("run")
            asked = sources(self._kinds)
            if self._watch:
                self._watch.expects([s.key for s in asked if isinstance(s, ApiList | ApiGet)])
            api.observe(asked, self._emit)
            if logs and Logs in self._kinds:
                requests, left = logs_wanted(self._intake.finish())
                if self._watch:
                    self._watch.expects([r.name for r in requests])
                api.logs(((r.name, r.url, r.node) for r in requests), self._emit)
                self._emit(_end_of_logs(left, len(requests)))
                self._over.add("log")
            for note in api.notes:
                self._note(note)
        finally:
            api.close()

    # The nodes

    def _plan(self, inventory: Inventory, machines: Sequence[Machine], origin: str) -> Plan:
        """The way to each machine; an SSH configuration that nobody named and that makes no sense is a note."""
        from kdiag.collect.inventory import Plan
        from kdiag.errors import ConfigError

        try:
            plan = inventory.plan(machines, origin)
            if plan.broken and not plan.targets:
                raise ConfigError(next(iter(plan.broken.values())))
        except ConfigError as exc:
            if inventory.named:
                raise
            self._note(f"the nodes are not read: {exc}")
            return Plan()
        return plan

    def _note(self, text: str) -> None:
        if text and text not in self._notes:
            self._notes.append(text)
            if self._watch:
                self._watch.notes(text)

    def _started(self, plan: Plan) -> Reading | None:
        if not plan.targets:
            return None
        if self._watch:
            self._watch.expects([t.host for t in plan.targets], node=True)
        return Reading(plan, self._commands, self._kinds, self._bound, self._watch)

    def _early(self, inventory: Inventory, where: Target) -> Reading | None:
        """Begin with the nodes that are known already, so that they do not wait for the API server."""
        if not self._commands:
            return None
        machines, origin = inventory.known(where.server, "")
        return self._started(self._plan(inventory, self._with_own(machines), origin)) if machines else None

    def _with_own(self, machines: Sequence[Machine]) -> list[Machine]:
        """The machines, and the node that was named on the command line."""
        from kdiag.collect.inventory import Machine

        known = {name.lower() for m in machines for name in (m.name, m.name.partition(".")[0], *m.addresses)}
        more = [Machine(name=self._node)] if self._node and self._node.lower() not in known else []
        return [*machines, *more]

    def _instead(
        self, inventory: Inventory, where: Target | None, reason: str, early: Reading | None, *, dead: bool
    ) -> bool:
        """Read the nodes in the place of an API server that cannot be used. False when no way to any is known."""
        if not self._commands:
            return False
        reading = early
        if reading is None:
            machines, origin = inventory.known(where.server, where.host) if where else ((), "")
            reading = self._started(self._plan(inventory, self._with_own(machines), origin))
        if reading is None:
            return False
        hosts = [t.host for t in reading.plan.targets]
        names = ", ".join(hosts[:6]) + (f" and {len(hosts) - 6} more" if len(hosts) > 6 else "")
        origin = f" (names from {reading.plan.origin})" if reading.plan.origin else ""
        self._note(f"{reason.rstrip('.?')}: reading {names} instead{origin}")
        self._without_api(where, reason, dead=dead)
        self._take(reading, {})
        self._unread(reading.plan)
        return True

    def _beside(self, inventory: Inventory, where: Target, early: Reading | None) -> None:
        """Read the nodes that the API server names, less those that are read already."""
        from kdiag.collect.inventory import Machine
        from kdiag.facts import Nodes

        if not self._commands:
            return
        seen = self._intake.fact(Nodes)
        if not isinstance(seen, Nodes) or not seen.items:
            # This user may not list nodes, or there are none.
            reading = early
            if reading is None:
                machines, origin = inventory.known(where.server, where.host)
                reading = self._started(self._plan(inventory, self._with_own(machines), origin))
            if reading:
                self._take(reading, {})
                self._unread(reading.plan)
            return
        machines = tuple(
            Machine(name=n.name, addresses=tuple(a.address for a in n.status.addresses))
            for n in seen.items
            if not n.virtual
        )
        self._note(inventory.remember(where.server, machines))
        names = early.names(machines) if early else {}
        rest = [m for m in machines if m.name not in names.values()]
        plan = self._plan(inventory, rest, "the Node objects")
        if early and plan.extra:
            plan = dataclasses.replace(plan, targets=tuple(t for t in plan.targets if t.host != plan.extra))
        late = self._started(plan)
        if early:
            self._take(early, names)
        if late:
            self._take(late, {})
        if early or late:
            self._unread(plan)

    def _take(self, reading: Reading, names: Mapping[str, str]) -> None:
        """Take what the nodes say, under the names that the API server has for them; without ``names`` as it comes."""
        from kdiag.facts.hosts import HostFact
        from kdiag.model.text import listing

        self._ahead = None
        waiting = dict.fromkeys(t.host for t in reading.plan.targets)
        self._progress(f"waiting for {listing(list(waiting), 4)}")
        self.ways |= {names.get(host, host): way for host, way in reading.plan.ways.items()}
        said = {source.key for kind in self._kinds if issubclass(kind, HostFact) for source in kind.sources}
        for host, observations in reading.answers():
            waiting.pop(host, None)
            if waiting:
                self._progress(f"waiting for {listing(list(waiting), 4)}")
            if not names:
                self._emit(*observations)
            elif host in names:
                self._emit(*(dataclasses.replace(seen, host=names[host]) for seen in observations))
            self._over |= said

    def _unread(self, plan: Plan) -> None:
        """Say of the nodes that were not asked why."""
        from kdiag.model.observation import Observation

        reasons = {name: "no way to it: no SSH entry by its name or address" for name in plan.without}
        for name, reason in {**reasons, **plan.broken}.items():
            self._emit(Observation("node", "node", host=name, error=reason))

    def _without_api(self, where: Target | None, reason: str, *, dead: bool) -> None:
        """Say of everything that the API would have told that it was not seen, and why."""
        from kdiag.engine.intake import sources
        from kdiag.facts.base import ApiGet, ApiList, PodLog
        from kdiag.model.observation import Observation

        self._over |= {"run", *(s.key for s in sources(self._kinds) if isinstance(s, ApiList | ApiGet | PodLog))}
        self._emit(self._record(where, reason if dead else ""))
        for source in sources(self._kinds):
            if isinstance(source, ApiList | ApiGet | PodLog):
                self._emit(Observation("api", source.key, scope=self._scope, error=reason))

    def _record(self, where: Target | None, dead: str = "") -> Observation:
        """What is known of the run without the API server."""
        import json
        from datetime import UTC, datetime

        from kdiag.model.observation import Observation

        record = {
            "taken": datetime.now(UTC).replace(microsecond=0).isoformat(),
            "server": where.server if where else "",
            "context": where.context if where else "",
            "namespace": self._scope,
            **({"dead": dead} if dead else {}),
        }
        return Observation("api", "run", body=json.dumps(record).encode())


def _keys(kind: type[Fact]) -> Iterator[str]:
    return (source.key for source in kind.sources)


def _end_of_logs(left: int, read: int) -> Observation:
    from kdiag.model.observation import Observation

    if left:
        return Observation("api", "log", error=f"{left:,} more logs were wanted than the {read} that a run reads")
    return Observation("api", "log", absent=True)


def recorded(folder: str, kinds: Iterable[type[Fact]], namespace: str = "") -> Seen:
    """Read these facts from a recording, or what it holds of one namespace. Raises SnapshotError and UsageError."""
    from kdiag.collect.snapshot import Snapshot
    from kdiag.engine.intake import Intake
    from kdiag.engine.narrow import narrowed

    snapshot = Snapshot(Path(folder))
    intake = Intake(kinds)
    observations = snapshot.observations()
    for seen in narrowed(observations, namespace) if namespace else observations:
        intake.feed(seen)
    return Seen(facts=intake.finish(), source=f"snapshot {folder}", notes=tuple(snapshot.notes))

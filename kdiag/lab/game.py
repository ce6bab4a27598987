"""A session in the practice lab, from its start to its last restored file. Words for people are in ``desk``."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdiag.collect.inventory import Inventory
from kdiag.collect.kubeconfig import Target
from kdiag.errors import CollectError, LabError
from kdiag.lab.api import Api, Ref, bare
from kdiag.lab.apps import images
from kdiag.lab.ground import Ground, look
from kdiag.lab.hosts import Hosts, NodeShells
from kdiag.lab.proof import Line, Witness, prove, slow
from kdiag.lab.record import Attempt, Change, Session, Store, Task
from kdiag.lab.scenario import Drawn, Scenario, scenarios
from kdiag.lab.steps import Workbench, undo_object, undo_on_node
from kdiag.model.text import clean_line, listing, plural

#: What a hint costs of a scenario's hundred points.
HINT_COST = 10
#: What passes an exam, of a hundred.
PASS = 66
#: What is left of the points of a scenario that is solved after its time.
LATE = 0.5
_API_SECONDS = 240.0
_GONE_SECONDS = 150.0
_PROOF_SECONDS = 90.0
_SHOWS_SECONDS = 90.0

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The points of one scenario, of a hundred, and what made them."""

    points: float
    solved: bool
    late: bool


class Game:
    """One user's lab on one cluster."""

    def __init__(
        self,
        target: Callable[[], Target],
        inventory: Inventory,
        store: Store,
        *,
        environ: Mapping[str, str],
        progress: Progress = lambda text: None,
        wait: Callable[[float], None] = time.sleep,
        hosts: Callable[[Mapping[str, Sequence[str]]], Hosts] | None = None,
    ) -> None:
        self._target = target
        self._inventory = inventory
        self.store = store
        self._environ = environ
        self._say = progress
        self._wait = wait
        self._hosts_of = hosts or (lambda machines: NodeShells(self._inventory, machines))
        self._api: Api | None = None

    @property
    def api(self) -> Api:
        """The cluster of the command line."""
        if self._api is None:
            self._api = Api(self._target())
        return self._api

    # Starting

    def start(self, chosen: Sequence[tuple[Scenario, int]], *, minutes: int = 0, exam: bool = False) -> Session:
        """Set up and break these scenarios. What fails half-way is taken back, and the reason is raised."""
        self.idle()
        ground = look(self.api)
        ground.refuse()
        hosts = self._hosts_of(ground.machines)
        known = images(list(ground.nodes), ground.images)
        drawn: list[Drawn] = []
        for scenario, seed in chosen:
            given = {**known, **ground.values(seed + len(drawn))}
            if why := unfit(scenario, ground, hosts):
                raise LabError(f"{scenario.code} cannot run here: {why}")
            drawn.append(scenario.resolve(seed, given, [d.values for d in drawn]))
        session = Session(
            id=secrets.token_hex(4),
            server=ground.server,
            context=ground.context,
            machines=ground.machines,
            phase="starting",
            started=time.time(),
            minutes=minutes or sum(s.minutes for s, _ in chosen),
            exam=exam,
            tasks=[Task(scenario=d.scenario.id, seed=d.seed, values=dict(d.values)) for d in drawn],
        )
        self.store.save(session)
        try:
            self._broken(session, drawn, hosts)
        except (CollectError, LabError) as exc:
            self._say("it failed: taking back what was done")
            left = self.stop(remember=False)
            more = f"; not restored yet: {listing(left)}; kdiag lab stop tries again" if left else ""
            raise LabError(f"the lab could not be started: {exc}{more}") from exc
        session.phase, session.started = "running", time.time()
        self.store.save(session)
        return session

    def idle(self) -> None:
        """Raise LabError while a lab is under way: also where its cluster is dead, and cannot be asked."""
        if (running := self.store.session()) is not None:
            half = {"starting": "was not finished starting", "stopping": "is not restored yet"}.get(running.phase, "")
            raise LabError(f"a lab {half or 'is under way already'}: kdiag lab status shows it, kdiag lab stop ends it")

    def _broken(self, session: Session, drawn: Sequence[Drawn], hosts: Hosts) -> None:
        def note(change: Change) -> None:
            session.changes.append(change)
            self.store.save(session)

        bench = Workbench(
            self.api, hosts, session=session.id, note=note, numbers=lambda: len(session.changes) + 1, wait=self._wait
        )
        for one in drawn:
            self._say(f"setting up {one.scenario.code}")
            bench.namespace(one.scenario.id, one.values["ns"], one.namespace)
            for step in one.setup:
                bench.take(one.scenario.id, step, one.values)
        # What takes the cluster down comes last: the others need it to be set up.
        for one in sorted(drawn, key=lambda d: ("cluster" in d.takes, d.scenario.api_dies)):
            self._say(f"breaking {one.scenario.code}")
            for step in one.breaks:
                bench.take(one.scenario.id, step, one.values)
        self._say("waiting until it shows")
        for task, one in zip(session.tasks, drawn, strict=True):
            if not one.scenario.risk:
                self._shows(session, one, hosts)
            task.held = self._held(session, one, hosts)

    def _shows(self, session: Session, one: Drawn, hosts: Hosts) -> None:
        """Wait until a user would notice; a fault that nobody notices is no scenario."""
        ends = time.monotonic() + _SHOWS_SECONDS
        witness = self._witness(session, one, hosts)
        # The quick lines first: the first that fails is enough, and what asks a new pod takes half a minute to.
        lines = sorted(one.proof, key=slow)
        while all(line.holds for item in lines for line in prove(witness, [item], 0)):
            if time.monotonic() > ends:
                raise LabError(f"{one.scenario.code} does not show: its proof holds although it is broken")
            self._wait(2)

    def _held(self, session: Session, one: Drawn, hosts: Hosts) -> list[bool]:
        """Which lines hold in spite of the fault; of what a new pod must be asked, none is taken to."""
        witness = self._witness(session, one, hosts)
        return [not slow(i) and all(line.holds for line in prove(witness, [i], 0)) for i in one.proof]

    def _witness(self, session: Session, one: Drawn, hosts: Hosts) -> Witness:
        return Witness(api=self.api, hosts=hosts, values=one.values, machines=session.machines, wait=self._wait)

    # While it runs

    def running(self) -> tuple[Session, list[Drawn]]:
        """What runs now. Raises LabError when nothing does."""
        session = self.store.session()
        if session is None:
            raise LabError("no lab is under way: kdiag lab start begins one, kdiag lab list shows what there is")
        if session.phase == "starting":
            raise LabError("the last start did not come to its end: kdiag lab stop takes it back")
        known = scenarios()
        if strange := [t.scenario for t in session.tasks if t.scenario not in known]:
            raise LabError(
                f"{listing(strange)} is no scenario of this version of kdiag: kdiag lab stop ends the session"
            )
        return session, [Drawn(known[t.scenario], t.seed, t.values) for t in session.tasks]

    def check(self, number: int = 0, patience: float = 20) -> list[list[Line]]:
        """Run the proofs, of one task (counted from 1) or of all, and keep what holds."""
        session, drawn = self.running()
        self._same_cluster(session)
        hosts = self._hosts_of(session.machines)
        found = []
        for position, (task, one) in enumerate(zip(session.tasks, drawn, strict=True), 1):
            if number and position != number:
                continue
            self._say(f"checking {one.scenario.code}")
            lines = prove(self._witness(session, one, hosts), one.proof, patience)
            if task.solved is None and not _over(session):
                task.passed = [line.holds for line in lines]
                task.solved = time.time() if all(task.passed) else None
            found.append(lines)
        self.store.save(session)
        return found

    def hint(self, number: int = 1) -> tuple[str, int]:
        """The next hint of a task, and how many it has had."""
        session, drawn = self.running()
        task, one = _nth(session, drawn, number)
        if task.hints >= len(one.hints):
            raise LabError("there are three hints, and all were given; kdiag lab solve explains the way out")
        task.hints += 1
        self.store.save(session)
        return one.hints[task.hints - 1], task.hints

    def solve(self, number: int = 1) -> Drawn:
        """The solution of a task; its points are gone."""
        session, drawn = self.running()
        task, one = _nth(session, drawn, number)
        task.shown = task.shown or task.solved is None
        self.store.save(session)
        return one

    def mend(self) -> list[list[Line]]:
        """Mend everything as a student would, and run the proofs: this is how a scenario is proven to be solvable."""
        session, drawn = self.running()
        hosts = self._hosts_of(session.machines)
        for change in reversed(session.changes):
            if change.node:
                hosts.run(change.node, undo_on_node(change, session.id), seconds=90)
        self._until(self.api.alive, _API_SECONDS)
        _hurry(session, hosts)
        repaired = {d.scenario.id for d in drawn if d.fix}
        for change in reversed(session.changes):
            if change.kind == "object" and change.before is not None and change.scenario not in repaired:
                undo_object(self.api, change)
        bench = Workbench(self.api, hosts, session=session.id, note=lambda c: None, numbers=lambda: 0, wait=self._wait)
        for one in drawn:
            for step in one.fix:
                bench.take(one.scenario.id, step, one.values)
        return self.check(patience=_PROOF_SECONDS)

    # Ending

    def stop(self, *, remember: bool = True) -> list[str]:
        """Put everything back, from the record; what could not be put back yet is returned, and stays in the record."""
        session = self.store.session()
        if session is None:
            raise LabError("no lab is under way")
        self._same_cluster(session)
        finished = session.phase
        if remember and finished == "running":
            self.store.remember(_attempt(session))
        session.phase = "stopping"
        self.store.save(session)
        hosts = self._hosts_of(session.machines)
        left = self._nodes_back(session, hosts)
        try:
            left += self._patiently(lambda: self._objects_back(session, hosts))
        except CollectError as exc:
            left.append(clean_line(str(exc)))
        if not left:
            self.store.forget()
        return left

    def _nodes_back(self, session: Session, hosts: Hosts) -> list[str]:
        """The nodes first: the API server may be dead because of one."""
        left = []
        for change in reversed(session.changes):
            if not change.node or change.undone:
                continue
            self._say(f"{change.node}: putting {change.kind} {change.what[:60]} back")
            try:
                hosts.run(change.node, undo_on_node(change, session.id), seconds=90)
            except (CollectError, LabError) as exc:
                left.append(f"{change.what} on {change.node} ({exc})")
                continue
            change.undone = True
            self.store.save(session)
        return left

    def _objects_back(self, session: Session, hosts: Hosts) -> list[str]:
        if not self._until(self.api.alive, _API_SECONDS):
            raise LabError("the API server does not answer yet: kdiag lab stop again puts the rest back")
        _hurry(session, hosts)
        left = []
        for change in reversed(session.changes):
            if change.node or change.undone:
                continue
            if change.own:  # it goes with its namespace
                change.undone = True
                continue
            self._say(f"putting {change.kind} {change.what} back")
            try:
                undo_object(self.api, change)
            except LabError as exc:
                left.append(f"{change.what} ({exc})")
                continue
            if change.kind != "namespace":
                change.undone = True
                self.store.save(session)
        for change in session.changes:
            if change.kind == "namespace" and not change.undone:
                self._say(f"waiting until namespace {change.what} is gone")
                if self._until(lambda name=change.what: self._swept(name), _GONE_SECONDS):  # type: ignore[misc]
                    change.undone = True
                    self.store.save(session)
                else:
                    left.append(f"namespace {change.what} is still being deleted")
        return left

    def _swept(self, namespace: str) -> bool:
        """Whether a namespace of ours is gone; what only a finalizer holds in it is let go."""
        if self.api.get(Ref("Namespace", "", namespace)) is None:
            return True
        for kind in ("Pod", "PersistentVolumeClaim", "ConfigMap", "Deployment", "Job"):
            for item in self.api.list(kind, namespace):
                meta = item["metadata"]
                if meta.get("deletionTimestamp") and meta.get("finalizers"):
                    self.api.patch(Ref(kind, namespace, meta["name"]), {"metadata": {"finalizers": None}})
                elif kind == "Pod" and meta.get("deletionTimestamp"):
                    self.api.delete(Ref(kind, namespace, meta["name"]), grace=0)
        return False

    def _patiently(self, back: Callable[[], list[str]]) -> list[str]:
        """A manifest that was put back restarts the API server, also in the midst of what is asked of it."""
        for _ in range(3):
            try:
                return back()
            except CollectError:
                self._wait(5)
        return back()

    def _until(self, true: Callable[[], bool], seconds: float) -> bool:
        ends = time.monotonic() + seconds
        while True:
            try:
                if true():
                    return True
            except (CollectError, LabError):
                pass
            if time.monotonic() > ends:
                return False
            self._wait(1)

    def _same_cluster(self, session: Session) -> None:
        if self.api.target.server != session.server:
            raise LabError(
                f"the lab runs on {session.server} (context {session.context}), and this is {self.api.target.server}: "
                f"use --context {session.context}"
            )


def _hurry(session: Session, hosts: Hosts) -> None:
    """Let the control plane start at once what crashed while the API server was dead.

    A kubelet forgets its back-off, five minutes at worst, with its restart; without a controller manager nothing of
    the lab goes away.
    """
    known = scenarios()
    dead = {t.scenario for t in session.tasks if t.scenario in known and known[t.scenario].api_dies}
    core = ("/kube-apiserver.yaml", "/etcd.yaml")
    for node in sorted({c.node for c in session.changes if c.node and (c.scenario in dead or c.what.endswith(core))}):
        with contextlib.suppress(CollectError, LabError):  # it only takes longer
            hosts.run(node, "systemctl restart kubelet", seconds=60)


def unfit(scenario: Scenario, ground: Ground, hosts: Hosts) -> str:
    """Why a scenario cannot run on this cluster; empty when it can."""
    needs = scenario.needs
    if "worker" in needs and not ground.workers:
        return "it wants a worker node"
    if "workers" in needs and len(ground.workers) < 2:
        return f"it wants two worker nodes, and there {plural(len(ground.workers), 'is one', 'are none')}"
    if "kubeadm" in needs and not ground.static:
        return "it wants a cluster that kubeadm made, with the control plane as static pods"
    if "nodes" in needs:
        without = [n for n in ground.machines if not hosts.reaches(n)]
        if without:
            return f"it wants a root shell on the nodes; no SSH entry and no container leads to {listing(without)}"
    return ""


def score(task: Task, session: Session, minutes: int) -> Score:
    """The points of a task: the share of its proof that was mended, less hints; half when late, none for a solution.

    What held all the time gives nothing, and takes as much as another line where it no longer does.
    """
    held = 0 if all(task.held) or len(task.held) != len(task.passed) else sum(task.held)
    share = max(0, sum(task.passed) - held) / (len(task.passed) - held) if task.passed else 0.0
    late = task.solved is not None and not session.exam and task.solved - session.started > minutes * 60
    points = max(0.0, 100 * share - HINT_COST * task.hints) * (LATE if late else 1)
    return Score(points=0.0 if task.shown else round(points, 1), solved=task.solved is not None, late=late)


def total(session: Session) -> float:
    """The score of a session, of a hundred."""
    known = scenarios()
    found = [score(t, session, known[t.scenario].minutes).points for t in session.tasks if t.scenario in known]
    return round(sum(found) / len(found), 1) if found else 0.0


def left(session: Session) -> float:
    """Seconds until the time is up; negative afterwards."""
    return session.started + session.minutes * 60 - time.time()


def _over(session: Session) -> bool:
    return session.exam and left(session) < 0


def _nth(session: Session, drawn: Sequence[Drawn], number: int) -> tuple[Task, Drawn]:
    if not 1 <= number <= len(drawn):
        raise LabError(f"there is no task {number}; this session has {plural(len(drawn), 'task')}")
    return session.tasks[number - 1], drawn[number - 1]


def _attempt(session: Session) -> Attempt:
    known = scenarios()
    tasks: list[dict[str, Any]] = [
        {
            "scenario": t.scenario,
            "seed": t.seed,
            "hints": t.hints,
            "shown": t.shown,
            "seconds": round(t.solved - session.started) if t.solved else None,
            "points": score(t, session, known[t.scenario].minutes).points,
        }
        for t in session.tasks
        if t.scenario in known
    ]
    return Attempt(
        id=session.id,
        exam=session.exam,
        started=session.started,
        ended=time.time(),
        minutes=session.minutes,
        score=total(session),
        tasks=tasks,
    )


__all__ = ["Game", "Score", "bare", "left", "score", "total", "unfit"]

"""What workloads complain of in their logs, as far as it still holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from kdiag.facts.base import Derived
from kdiag.facts.cluster import Cluster
from kdiag.facts.logs import ContainerLog, LogLine, Logs
from kdiag.facts.phrases import Said, Topic, said, says_connected, says_server
from kdiag.facts.pods import ContainerStatus, Pod, Pods
from kdiag.facts.podspec import Container
from kdiag.facts.workloads import Owners
from kdiag.model.result import Ref, present

#: How long a line of a container that seems well counts, in seconds.
RECENT = 900.0
#: How long a container may complain of what it waits for before that means anything, in seconds.
_STARTING = 60.0
#: A line this close to the end of a run that failed is about that end, in seconds.
_END = 120.0
_LAST_LINES = 15
_PASSING = frozenset({Topic.UNREACHABLE, Topic.UNRESOLVED})
#: In the words of who cannot connect: it knows the address, or was refused by what is there.
_ANSWERED = re.compile(r"(?i)\brefused\b|\b\d{1,3}(?:\.\d{1,3}){3}\b|\[[0-9a-f:]+\]")
_DATABASE = re.compile(
    r"(?:^|/)(?:[a-z0-9-]*-)?(?:mysql|mariadb|percona|postgres|postgresql|timescaledb|pgvector|postgis|mongo|mongodb|redis"
    r"|valkey|rabbitmq|kafka|cassandra|elasticsearch|opensearch|mssql|oracle|cockroach|clickhouse)(?:-server|-ha|-cluster|-repmgr|-galera)?(?:[:@]|$)"
    r"|(?:^|/)(?:spilo-\d+|pgbouncer|pgpool(?:-ii)?|pgcat|odyssey|proxysql|maxscale|percona-xtradb-cluster|mysql/[a-z]+-server"
    r"|redis-(?:stack|sentinel)[a-z-]*|keydb|dragonfly)(?:[:@]|$)|mssql/server|/database/(?:free|express|enterprise)"
)
#: How fresh a line must be, and over how long it must recur, to be said still: seconds.
_STILL = 45.0
_RECURS = 30.0
#: After which silence one that runs well no longer says a thing, in seconds.
_SAID_STILL = 120.0
#: How long who says a thing again and again may be silent before it has stopped, in seconds.
_BREATH = 15.0
#: How long after a server was made or restarted its clients may have had to wait for it, in seconds.
_REPLACED = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """What one workload says in its log: the newest line of its kind, and how often it was said in the lines read.

    ``failing`` means that the container which says it does not run well; otherwise it runs, and complains.
    """

    said: Said
    workload: Ref
    pod: Pod
    container: str
    previous: bool = False
    when: datetime | None = None
    first: datetime | None = None
    count: int = 1
    #: The longest silence between two such lines, in seconds.
    pause: float = 0.0
    failing: bool = False

    @property
    def command(self) -> tuple[str, ...]:
        """The words of the kubectl command that shows the line."""
        more = ("-c", self.container) if len(self.pod.spec.all_containers) > 1 else ()
        return present("logs", self.pod.name, *more, "--previous" if self.previous else None, "--tail=60")

    def goes_on(self, cluster: Cluster) -> bool:
        """Whether it was said just now, and has been for a while: also where what it names is well by now.

        What was said every two seconds and not for the last half minute has come to its end.
        """
        quiet = min(_STILL, max(_BREATH, 2 * self.pause))
        return cluster.age(self.when) <= quiet and self.count >= 2 and self.span >= _RECURS

    def goes_on_past(self, servers: Iterable[Pod], cluster: Cluster, *, within: float = _REPLACED) -> bool:
        """Whether it goes on, and not only because what serves it was replaced: a name goes and comes with its pods."""
        return self.goes_on(cluster) and not self.replaced(servers, within=within)

    def replaced(self, servers: Iterable[Pod], *, service: datetime | None = None, within: float = _REPLACED) -> bool:
        """Whether one of these pods was made or restarted so many seconds before it was said, or since.

        Or the Service before them was made then.
        """
        begun = (
            service,
            *(
                m
                for p in servers
                for m in (p.created, p.started, *(s.state.running.started_at for s in p.statuses if s.state.running))
            ),
        )
        return self.when is not None and any(m and (self.when - m).total_seconds() < within for m in begun)

    @property
    def by_server(self) -> bool:
        """Whether a database server says it, of one of its clients and not of itself."""
        container = self.pod.spec.container(self.container)
        return (container is not None and _is_database(container)) or says_server(self.said.text)

    def passed(self, cluster: Cluster) -> bool:
        """Whether it was said by one that runs well, once, or is not said any more: it may be over."""
        return not self.failing and (self.count < 2 or cluster.age(self.when) > _SAID_STILL)

    def at_start(self, cluster: Cluster) -> bool:
        """Whether one that runs well said it as it started, as who waits for a server does, and not since."""
        begun = _begun(self.pod, self.container)
        early = bool(begun and self.when and (self.when - begun).total_seconds() < 2 * _STARTING)
        return early and not self.failing and cluster.age(self.when) > _SAID_STILL

    @property
    def crashed(self) -> bool:
        """Whether its container has ended over it at least once; one that is only not ready has not."""
        status = self.pod.status(self.container)
        if status is None:  # of a pod that is well they are not kept
            return not self.pod.ready
        return status.state.running is None or status.restart_count > 0

    @property
    def since(self) -> str:
        """The time of the first such line."""
        return self.first.isoformat() if self.first else ""

    @property
    def span(self) -> float:
        """Seconds from the first such line to the newest."""
        return (self.when - self.first).total_seconds() if self.when and self.first else 0.0


@dataclass(frozen=True, kw_only=True)
class Complaints(Derived):
    """The complaints that hold now.

    An old line, one that success followed and one of an ordinary start are none: what a container that runs well said
    more than a quarter of an hour ago, and what it could not reach yet in its first two minutes.
    """

    logs: Logs = field(default_factory=Logs)
    pods: Pods = field(default_factory=Pods)
    cluster: Cluster = field(default_factory=Cluster)
    owners: Owners = field(default_factory=Owners)

    @classmethod
    def derive(cls, logs: Logs, pods: Pods, cluster: Cluster, owners: Owners) -> Complaints:
        """Join the logs with the pods that wrote them."""
        return cls(logs=logs, pods=pods, cluster=cluster, owners=owners)

    @cached_property
    def items(self) -> tuple[Complaint, ...]:
        """One for each workload, container, topic and thing complained of, newest line first among equals."""
        found: dict[tuple[Ref, str, Topic, str], Complaint] = {}
        for log in self.logs.items:
            pod = self.pods.get(log.pod, log.namespace)
            if pod is None or pod.terminating:
                continue
            workload = self.owners.top(pod)
            if self._left_over(pod, workload):
                continue
            for complaint in self._in(log, pod, workload):
                key = (workload, log.container, complaint.said.topic, complaint.said.word)
                found[key] = _merged(found[key], complaint) if key in found else complaint
        return tuple(found.values())

    def about(self, *topics: Topic, system: bool = False) -> tuple[Complaint, ...]:
        """The complaints of these topics; of kube-system only when ``system`` is asked for."""
        return tuple(c for c in self.items if c.said.topic in topics and (system or c.pod.namespace != "kube-system"))

    @cached_property
    def by_workload(self) -> Mapping[Ref, tuple[Complaint, ...]]:
        """Complaints by who has them."""
        return _by_workload(self.items)

    @cached_property
    def unresolved(self) -> Mapping[Ref, tuple[Complaint, ...]]:
        """Which names did not resolve for whom, of those complaints that ``unmended`` has."""
        found = {
            ref: tuple(c for c in items if c.said.topic is Topic.UNRESOLVED) for ref, items in self.unmended.items()
        }
        return {ref: items for ref, items in found.items() if items}

    @cached_property
    def unmended(self) -> Mapping[Ref, tuple[Complaint, ...]]:
        """What did not resolve or answer, for whom, however long ago, in the present runs: no success was logged since.

        For what is still as it was, the name of no Service or a closed port: silence then says that nobody has asked
        since, and not that it is mended.
        """
        found: dict[tuple[Ref, str, Topic, str], Complaint] = {}
        for log in self.logs.items:
            pod = self.pods.get(log.pod, log.namespace)
            if pod is None or pod.terminating or pod.finished:
                continue
            workload, state = self.owners.top(pod), self._state(pod, log.container)
            if log.previous and state != "failing":
                continue
            for line in reversed(log.lines):
                if state != "failing" and says_connected(line.text):
                    break
                one = said(line.text)
                if one and one.topic in _PASSING:
                    key = (workload, log.container, one.topic, one.word)
                    complaint = _complaint(one, pod, workload, log, line, failing=state == "failing")
                    found[key] = _merged(found[key], complaint) if key in found else complaint
        return _by_workload(found.values())

    def read(self, pod: Pod) -> bool:
        """Whether any log of this pod was read."""
        return bool(self.logs.of(pod.namespace, pod.name))

    def recent(self, pod: Pod, container: str, pattern: re.Pattern[str]) -> Iterator[LogLine]:
        """The lines of a container's log that hold ``pattern`` and still count, newest first."""
        for log in reversed(self.logs.of(pod.namespace, pod.name, container)):
            state = self._state(pod, log.container)
            for number, line in enumerate(reversed(log.lines)):
                if pattern.search(line.text) and self._counts(log, line, number, state, None, pod):
                    yield line

    def failing(self, pod: Pod, container: str) -> bool:
        """Whether the container does not run well, start-up aside."""
        return self._state(pod, container) == "failing"

    def _left_over(self, pod: Pod, workload: Ref) -> bool:
        """Whether it is a pod that ended well, or one that failed and was followed by another that did not."""
        if not pod.finished:
            return False
        siblings = self.pods.by_owner.get(pod.owner.uid, ()) if pod.owner else ()
        ended = max((s.ended.finished_at for s in pod.all_statuses if s.ended and s.ended.finished_at), default=None)
        return (
            pod.phase == "Succeeded"
            or ended is None
            or self.cluster.age(ended) > RECENT
            or self.owners.adrift(pod)
            or any(p.phase == "Succeeded" or p.ready for p in siblings)
            or (workload in self._succeeded and ended <= self._succeeded[workload])
        )

    @cached_property
    def _succeeded(self) -> Mapping[Ref, datetime]:
        """When a run of a CronJob last ended well."""
        found: dict[Ref, datetime] = {}
        for pod in self.pods.items:
            workload = self.owners.top(pod) if pod.phase == "Succeeded" else None
            for status in pod.all_statuses if workload and workload.kind == "CronJob" else ():
                if workload and status.ended and (when := status.ended.finished_at):
                    found[workload] = max(when, found.get(workload, when))
        return found

    def _in(self, log: ContainerLog, pod: Pod, workload: Ref) -> Iterator[Complaint]:
        state = self._state(pod, log.container)
        resolved: set[str] = set()  # what a later line tells the address of, or that it refuses
        for number, line in enumerate(reversed(log.lines)):
            if state != "failing" and says_connected(line.text):
                return  # what came before is over
            one = said(line.text)
            if one and one.topic is Topic.UNREACHABLE and _ANSWERED.search(line.text):
                resolved.add(one.host)
            if one and one.topic is Topic.UNRESOLVED and one.host in resolved:
                continue
            if one and self._counts(log, line, number, state, one.topic, pod):
                yield _complaint(one, pod, workload, log, line, failing=state == "failing")

    def _state(self, pod: Pod, container: str) -> str:
        status = pod.status(container)
        if status is None or (pod.ready and status.ready and not self._looping(status)):
            return "well"
        state = status.state
        if state.terminated is not None:
            return "well" if state.terminated.exit_code == 0 else "failing"
        if state.running is not None:
            if status.ready and not self._looping(status):
                return "well"
            young = self.cluster.age(state.running.started_at) < _STARTING
            return "starting" if young and not status.restart_count else "failing"
        return "failing" if status.last_state.terminated else "starting"

    def _looping(self, status: ContainerStatus) -> bool:
        """Whether it runs between two crashes of a row of them: not when this run has outlived the last one."""
        ended, running = status.last_state.terminated, status.state.running
        if ended is None or running is None or status.restart_count < 2 or self.cluster.age(ended.finished_at) > 600:
            return False
        began, over = ended.started_at, ended.finished_at
        last = (over - began).total_seconds() if began and over else 0.0
        return self.cluster.age(running.started_at) <= 2 * last + _STARTING / 2

    def _counts(self, log: ContainerLog, line: LogLine, number: int, state: str, topic: Topic | None, pod: Pod) -> bool:
        if state == "failing":
            if _was_ready_since(pod, log.container, line.when):
                return False
            last = log.lines[-1].when
            near = line.when and last and (last - line.when).total_seconds() <= _END
            return number < _LAST_LINES or bool(near)
        if log.previous or line.when is None:
            return False
        age = self.cluster.age(line.when)
        if age > RECENT:
            return False
        if topic not in _PASSING:
            return True
        start = _begun(pod, log.container)
        # An ordinary start: it tried before what it needs was there, and has been quiet since.
        at_start = start is not None and (line.when - start).total_seconds() < 2 * _STARTING
        return state == "well" and not (at_start and age > _STARTING)


def _was_ready_since(pod: Pod, container: str, when: datetime | None) -> bool:
    """Whether a container that runs and is not ready was ready after that moment: what it said then is over."""
    status, spec = pod.status(container), pod.spec.container(container)
    turned = pod.condition("ContainersReady")
    if when is None or status is None or status.state.running is None or status.restart_count:
        return False
    if turned is None or turned.status != "False" or turned.last_transition_time is None:
        return False
    probe = spec.readiness_probe if spec else None
    noticed = probe.period_seconds * probe.failure_threshold + probe.timeout_seconds if probe else 0
    return when < turned.last_transition_time - timedelta(seconds=noticed + _STARTING / 2)


def _begun(pod: Pod, container: str) -> datetime | None:
    """When the present run of a container began, as far as that was kept."""
    status = pod.status(container)
    running = status.state.running if status else None
    return (running.started_at if running else None) or pod.started or pod.created


def _is_database(container: Container) -> bool:
    """Whether it is a database server, whose log tells of its clients' faults and not of its own."""
    return bool(_DATABASE.search(container.image)) and "exporter" not in container.image


def _by_workload(complaints: Iterable[Complaint]) -> Mapping[Ref, tuple[Complaint, ...]]:
    found: dict[Ref, list[Complaint]] = {}
    for complaint in complaints:
        found.setdefault(complaint.workload, []).append(complaint)
    return {ref: tuple(items) for ref, items in found.items()}


def _complaint(one: Said, pod: Pod, workload: Ref, log: ContainerLog, line: LogLine, *, failing: bool) -> Complaint:
    return Complaint(
        said=one,
        workload=workload,
        pod=pod,
        container=log.container,
        previous=log.previous,
        when=line.when,
        first=line.when,
        failing=failing,
    )


def _merged(newest: Complaint, other: Complaint) -> Complaint:
    """Two lines of one kind: the newer of them, and both counted."""
    if other.when and newest.when and other.when > newest.when:
        newest, other = other, newest
    first = min((t for t in (newest.first, other.first) if t), default=None)
    between = (newest.first - other.when).total_seconds() if newest.first and other.when else 0.0
    return Complaint(
        said=newest.said,
        workload=newest.workload,
        pod=newest.pod,
        container=newest.container,
        previous=newest.previous,
        when=newest.when,
        first=first,
        count=newest.count + other.count,
        pause=max(newest.pause, other.pause, between),
        failing=newest.failing or other.failing,
    )

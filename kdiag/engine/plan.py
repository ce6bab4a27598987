"""Which containers' logs are worth reading, once the pods are known; bounded, and what was left out is counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from kdiag.engine.intake import Facts
from kdiag.facts import Backends, Cluster, Container, ContainerStatus, Dependencies, Owners, Pod, Pods
from kdiag.facts.base import Fact, NodeCommand
from kdiag.facts.hosts import HostFact, answers_of
from kdiag.model.observation import Observation

MOST = 60
LINES = 60
BYTES = 65536
#: How far back the log of a container that seems well is read, in seconds.
RECENT = 1800
_RESTARTED = 1800.0
_SYSTEM = ("kube-dns", "kube-proxy", "calico-node", "cilium", "flannel", "canal", "weave-net")


@dataclass(frozen=True, slots=True, order=True)
class LogRequest:
    """One log to read, and the node that has it. ``since`` bounds it in seconds; 0: as far back as there are lines."""

    priority: int
    namespace: str
    pod: str
    container: str
    previous: bool = False
    since: int = 0
    node: str = ""

    @property
    def name(self) -> str:
        """How the observation is called."""
        return f"{self.namespace}/{self.pod}/{self.container}/{'previous' if self.previous else 'current'}"

    @property
    def url(self) -> str:
        """The URL of the log."""
        from urllib.parse import quote, urlencode

        query = {"container": self.container, "tailLines": LINES, "limitBytes": BYTES, "timestamps": "true"}
        if self.previous:
            query["previous"] = "true"
        if self.since:
            query["sinceSeconds"] = self.since
        place = f"/api/v1/namespaces/{quote(self.namespace, safe='')}/pods/{quote(self.pod, safe='')}/log"
        return f"{place}?{urlencode(query)}"


def logs_wanted(facts: Facts, most: int = MOST) -> tuple[tuple[LogRequest, ...], int]:
    """The logs to read, the most telling first, and how many more of failing containers were wanted than ``most``.

    One pod stands for all pods of its template that fail in the same container.
    """
    pods = facts.get(Pods)
    if pods is None:
        return (), 0
    owners = facts.get(Owners)
    cluster = facts.get(Cluster)
    found: dict[tuple[object, ...], list[LogRequest]] = {}
    for pod in pods.troubled:
        if pod.phase == "Succeeded":
            continue
        for container, previous, priority in _failing(pod, cluster):
            key = (owners.top(pod) if owners else pod.ref(), pod.template_hash, container, previous)
            request = LogRequest(priority, pod.namespace, pod.name, container, previous, node=pod.node)
            found.setdefault(key, []).append(request)
    wanted = [min(requests) for requests in found.values()]
    wanted += _system(pods)
    if len(wanted) < most:
        wanted += _dependents(pods, facts, {(r.namespace, r.pod) for r in wanted})
    wanted.sort()
    # Of what seems well, the log is a sample: only a container that fails and was not read is a gap.
    left = sum(1 for request in wanted[most:] if request.priority <= 3)
    return tuple(wanted[:most]), left


def _failing(pod: Pod, cluster: Cluster | None) -> Iterator[tuple[str, bool, int]]:
    if pod.terminating or not pod.node or pod.reason == "Evicted":
        return  # with an evicted pod the kubelet takes its logs away
    for status in pod.all_statuses:
        state = status.state
        done_well = state.terminated is not None and state.terminated.exit_code == 0
        if state.terminated and not done_well:
            yield status.name, False, 0
        elif state.waiting and status.last_state.terminated:
            yield status.name, True, 0
        elif state.running and not status.ready and status in pod.statuses:
            yield status.name, False, 1
            if status.restart_count:
                yield status.name, True, 1
        elif state.running and status.last_state.terminated and _lately(status, cluster):
            yield status.name, True, 2
        elif state.running and status in pod.init_statuses and not status.ready:
            yield status.name, False, 1


def _lately(status: ContainerStatus, cluster: Cluster | None) -> bool:
    ended = status.last_state.terminated
    return bool(ended and ended.finished_at and cluster and cluster.age(ended.finished_at) < _RESTARTED)


def _system(pods: Pods) -> list[LogRequest]:
    found: list[LogRequest] = []
    for namespace in ("kube-system", "kube-flannel", "calico-system"):
        for pod in pods.within(namespace):
            name = pod.labels.get("k8s-app") or pod.labels.get("app") or ""
            if name in _SYSTEM and pod.phase == "Running" and sum(r.pod.startswith(name) for r in found) < 8:
                container = pod.spec.first.name
                found.append(LogRequest(3, namespace, pod.name, container, since=RECENT * 4, node=pod.node))
    return found


def _dependents(pods: Pods, facts: Facts, known: set[tuple[str, str]]) -> list[LogRequest]:
    """The logs of containers that seem well and depend on others: what they name, and whom they ask.

    Priority 4 names a host that no Service has: its log is read from its start, for a line of any age still holds. 5
    and 6 are other pods of such a template: the one request that failed may have come to any. 7 names a host of the
    cluster; 8 is named by one of those (a database tells whom it refused); 9 may talk to the API server, or reads its
    settings from a Secret, so that what it names cannot be seen.
    """
    dependencies = facts.get(Dependencies)
    if dependencies is None:
        return []
    backends = facts.get(Backends)
    found: dict[tuple[str, str, str], LogRequest] = {}

    def want(priority: int, pod: Pod, container: str) -> None:
        key = (pod.namespace, pod.name, container)
        if pod.spec.container(container) in pod.spec.containers and (pod.namespace, pod.name) not in known:
            request = LogRequest(priority, *key, since=0 if priority < 7 else RECENT, node=pod.node)
            found[key] = min(request, found.get(key, request))

    for group in pods.templates:
        running = list(islice((p for p in group if p.phase == "Running" and not p.terminating), 3))
        if not running or running[0].namespace == "kube-system":
            continue
        pod = running[0]
        for dependency in dependencies.of(pod):
            target = dependencies.resolve(dependency.host, pod.namespace)
            if target and target.service is None:
                for number, one in enumerate(running):
                    want(4 + number, one, dependency.container)
            elif target:
                want(7, pod, dependency.container)
                server = backends.one_of(target.service) if backends and target.service else None
                if server and server.phase == "Running":
                    want(8, server, server.spec.first.name)
        for dependency in dependencies.addressed(pod):
            want(7, pod, dependency.container)
        for container in pod.spec.containers:
            if pod.spec.service_account_name not in ("", "default") or _reads_secret(container):
                want(9, pod, container.name)
    return list(found.values())


def _reads_secret(container: Container) -> bool:
    return any(e.value_from and e.value_from.secret_key_ref for e in container.env) or any(
        e.secret_ref for e in container.env_from
    )


def node_commands(facts: Iterable[type[Fact]]) -> tuple[NodeCommand, ...]:
    """The commands that make these facts, each once."""
    return tuple(dict.fromkeys(s for fact in facts for s in fact.sources if isinstance(s, NodeCommand)))


def node_follow(facts: Iterable[type[Fact]], host: str, seen: Sequence[Observation]) -> tuple[NodeCommand, ...]:
    """What to ask of one node next, given what it said first."""
    found: dict[NodeCommand, None] = {}
    told = answers_of(seen)
    for fact in facts:
        if issubclass(fact, HostFact):
            keys = {source.key for source in fact.sources}
            answers = tuple(a for a in told if a.key in keys)
            if answers:
                found.update(dict.fromkeys(fact.follow(host, answers)))
    return tuple(found)

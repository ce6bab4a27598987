"""Which containers' logs are worth reading, once the pods are known; bounded, and what was left out is counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kdiag.engine.intake import Facts
from kdiag.facts import Cluster, ContainerStatus, Dependencies, Owners, Pod, Pods

MOST = 60
LINES = 60
BYTES = 65536
#: How far back the log of a container that seems well is read, in seconds.
RECENT = 1800
_RESTARTED = 1800.0
_SYSTEM = ("kube-dns", "kube-proxy", "calico-node", "cilium", "flannel", "canal", "weave-net")


@dataclass(frozen=True, slots=True, order=True)
class LogRequest:
    """One log to read. ``since`` bounds it in seconds; 0 means as far back as there are lines."""

    priority: int
    namespace: str
    pod: str
    container: str
    previous: bool = False
    since: int = 0

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
    """The logs to read, the most telling first, and how many more were wanted than ``most``.

    One pod stands for all pods of its template that fail in the same container.
    """
    pods = facts.get(Pods)
    if pods is None:
        return (), 0
    owners = facts.get(Owners)
    cluster = facts.get(Cluster)
    found: dict[tuple[object, ...], list[LogRequest]] = {}
    for pod in pods.items:
        if pod.finished and pod.phase == "Succeeded":
            continue
        group = owners.top(pod) if owners else pod.ref()
        for container, previous, priority in _failing(pod, cluster):
            key = (group, pod.template_hash, container, previous)
            request = LogRequest(priority, pod.namespace, pod.name, container, previous)
            found.setdefault(key, []).append(request)
    wanted = [min(requests) for requests in found.values()]
    wanted += _system(pods) + _dependents(pods, facts, {(r.namespace, r.pod) for r in wanted})
    wanted.sort()
    return tuple(wanted[:most]), max(0, len(wanted) - most)


def _failing(pod: Pod, cluster: Cluster | None) -> Iterator[tuple[str, bool, int]]:
    if pod.terminating or not pod.node:
        return
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
                found.append(LogRequest(3, namespace, pod.name, pod.spec.containers[0].name, since=RECENT * 4))
    return found


def _dependents(pods: Pods, facts: Facts, known: set[tuple[str, str]]) -> list[LogRequest]:
    dependencies = facts.get(Dependencies)
    if dependencies is None:
        return []
    found: list[LogRequest] = []
    for group in pods.templates:
        pod = next((p for p in group if p.phase == "Running" and not p.terminating), None)
        if pod is None or pod.namespace == "kube-system" or (pod.namespace, pod.name) in known:
            continue
        for container in {d.container for d in dependencies.of(pod) if dependencies.resolve(d.host, pod.namespace)}:
            if pod.spec.container(container) in pod.spec.containers:
                found.append(LogRequest(4, pod.namespace, pod.name, container, since=RECENT))
    return found

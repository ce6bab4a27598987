"""The work of a Job is done, but another container of its pod never ends."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing
from kdiag.facts import Cluster, Container, Owners, Pod, Pods

#: Whoever is told to stop when the work is done stops within this many seconds.
_GRACE = 60
_SERVER = re.compile(
    r"(?:^|[/_-])(?:istio-proxy|proxyv2|linkerd-proxy|envoy|cloud[-_]?sql[-_]proxy|gce-proxy|haproxy|fluent-?bit|fluentd|filebeat"
    r"|promtail|vector|logstash|vault-agent|daprd|consul-dataplane|otel(?:col)?|opentelemetry-collector|nginx|redis|memcached)"
    r"(?:[:@_-]|$)"
)
_ENDLESS = re.compile(
    r"\bwhile (?:true|:|\[ 1 \])|\bfor \(\(;;\)\)|\btail (?:-\S+ )*-[fF]|\btail -\w*[fF]|\bsleep (?:inf|\d{5})"
)
_TRAP = re.compile(r"\btrap (?:'[^']*'|\"[^\"]*\"|\w+)")
_WAY_OUT = re.compile(r"\b(?:break|exit|timeout)\b")


@check(
    title="Sidecar keeps a Job from ending",
    severity=Severity.WARNING,
    layer=Layer.ROLLOUT,
    explains=("application/cronjob_not_running", "application/job_failed"),
    tags=("job", "cronjob", "sidecar"),
)
def job_held_by_sidecar(pods: Pods, owners: Owners, cluster: Cluster) -> Iterator[Finding]:
    """Only where all that still runs cannot end by itself: two workers of one pod may take their time."""
    seen: set[Ref] = set()
    for pod in pods.troubled:
        if pod.owner is None or pod.owner.kind != "Job" or pod.phase != "Running" or pod.terminating:
            continue
        owner, done, left = owners.top(pod), _done(pod, cluster), _left(pod)
        if owner in seen or not done or not left or not all(map(_endless, left)):
            continue
        seen.add(owner)
        job, namespace = pod.owner.name, pod.namespace
        names = listing([c.name for c in left])
        yield Finding(
            owner,
            f"{owner} does not end: container {listing(done)} is done, and {names} runs on",
            evidence=(
                Evidence(
                    kubectl("get", "pod", pod.name, namespace=namespace),
                    listing([*(f"{name} Completed" for name in done), *(f"{c.name} Running" for c in left)], 6),
                ),
                Evidence(kubectl("get", "job", job, namespace=namespace), "Running, 0 of its pods succeeded"),
            ),
            next=(
                f"in the template: {names} under initContainers with restartPolicy: Always, which ends with the pod",
                kubectl("delete", "job", job, namespace=namespace)
                + "   # and create it anew: its template cannot be edited",
            ),
            touches=(pod.ref(), Ref("Job", job, namespace)),
        )


def _done(pod: Pod, cluster: Cluster) -> list[str]:
    """The containers that ended well a while ago; none where one failed, for then the pod has."""
    ended = [(s.name, s.state.terminated) for s in pod.statuses if s.state.terminated]
    if any(end.exit_code or cluster.age(end.finished_at) < _GRACE for _, end in ended):
        return []
    return [name for name, _ in ended]


def _left(pod: Pod) -> list[Container]:
    running = {s.name for s in pod.statuses if s.state.running}
    return [c for c in pod.spec.containers if c.name in running]


def _endless(container: Container) -> bool:
    command = _TRAP.sub("", " ".join((*container.command, *container.args)))
    if _ENDLESS.search(command):
        return not _WAY_OUT.search(command)
    return bool(_SERVER.search(container.name) or (not command and _SERVER.search(container.image)))

"""A static pod of the control plane cannot start, or crashes each time it does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from kdiag.check import Evidence, Finding, Gap, Layer, Ref, Severity, check, kubectl, nearest, shorten
from kdiag.facts import (
    COMPONENTS,
    RETURN,
    Cluster,
    Container,
    ContainerStatus,
    Events,
    Logs,
    Manifests,
    Nodes,
    Pod,
    Pods,
    SystemLeases,
    Terminated,
    absent_file,
    api_server_since,
    component,
    last_words,
    lived,
    mended_meanwhile,
    mount_of,
    next_start_at,
    returning,
    stopped,
    stuck,
    unread,
)

_GAVE_UP = re.compile(r"leader ?election lost", re.IGNORECASE)
_NO_ANSWER = re.compile(
    r"connection refused|i/o timeout|deadline exceeded|TLS handshake timeout|EOF$|connection reset|no route to host"
    r"|http2: client connection lost|the server is currently unable",
    re.IGNORECASE,
)
_BACK_OFF = 320  # seconds
_TAKEN_UP = 30  # seconds: what the kubelet needs to see that a manifest was written, and to start it
_READY = 60  # seconds: a component that finds its API server is ready by then
_NOTICED = 15  # seconds: one that began to ask before the API server answered may still give up after it did
_INIT = 30  # seconds: what an init container of a component may well take
_LONG = 600  # seconds: what crashes at its start has not run for so long
# A component may take this long to become ready; its startup probe allows four minutes.
_START = 240


@check(
    title="Static pod of the control plane fails",
    severity=Severity.CRITICAL,
    layer=Layer.CONTROLLERS,
    explains=(
        "control_plane/scheduler_not_running",
        "control_plane/controller_manager_not_running",
        "control_plane/api_server_unhealthy",
    ),
    explains_here=(
        "application/container_crashes",
        "application/pod_not_ready",
        "application/container_command_not_found",
        "application/image_not_found",
        "application/init_container_fails",
        "application/init_container_waits",
    ),
    tags=("static-pods", "scheduler", "etcd", "apiserver"),
    namespaces=("kube-system",),
)
def static_pod_failing(
    pods: Pods,
    cluster: Cluster,
    logs: Logs | None,
    events: Events | None,
    leases: SystemLeases | None,
    manifests: Manifests | None,
    nodes: Nodes | None,
) -> Iterator[Finding | Gap]:
    """Critical where no other pod of the component is ready; the log or the runtime's message gives the cause."""
    back = api_server_since(pods, leases, cluster.taken)
    static = [(component(p), p) for p in pods.within("kube-system") if p.mirror]
    for part, pod in static:
        if not part or pod.ready or pod.terminating or returning(pod, cluster.taken, events):
            continue
        if _replaced(part, pod, cluster, manifests):
            continue
        others = any(p.ready for name, p in static if name == part)
        if held := _held(pod, cluster):
            yield _by_init(part, pod, *held, severity=Severity.ERROR if others else Severity.CRITICAL)
            continue
        for status in pod.statuses:
            container = pod.spec.container(status.name)
            if part in COMPONENTS[2:] and _recovers(pod, status, cluster, logs, back):
                continue
            told = _told(pod, status, cluster, logs, events) if container else None
            if container is None or told is None:
                continue
            if part in COMPONENTS[2:] and status.state.running and logs and (gap := unread(logs, [pod])):
                yield gap  # whether the API server was away is for its log to say
                continue
            if status.state.running and (nodes is None or nodes.gaps):
                yield Gap("nodes", "not seen: whether the kubelet of a static pod is heard of is not known")
                continue
            if status.state.running and _unheard(pod, nodes, cluster):
                continue
            command, line = told
            if mended_meanwhile(part, pod, status, line, cluster, manifests):
                continue
            what, repair = _cause(part, pod, container, status, line)
            lease = (Ref("Lease", part, "kube-system"),) if part in COMPONENTS[2:] else ()
            yield Finding(
                pod.ref(),
                shorten(f"static pod {pod.path} {what}", 200),
                evidence=(
                    Evidence(kubectl("get", "pod", pod.name, namespace=pod.namespace), _state(status)),
                    Evidence(command, shorten(line, 300)),
                ),
                next=(
                    *(
                        (
                            f"ssh -t {pod.node} sudoedit /etc/kubernetes/manifests/{part}.yaml    # {repair}",
                            "the kubelet takes the change up by itself within 20 s; keep no copy of the file there",
                        )
                        if repair
                        else (
                            kubectl("logs", pod.name, "--previous", "--tail=30", namespace=pod.namespace),
                            f"ssh {pod.node} sudo journalctl -u kubelet -n 200 --no-pager    # who ended it?",
                            f"ssh {pod.node} sudo systemctl restart kubelet    # or wait: this starts it now",
                        )
                    ),
                    kubectl("get", "pod", pod.name, "-w", namespace=pod.namespace),
                ),
                touches=lease,
                severity=Severity.ERROR if others else Severity.CRITICAL,
            )


def _held(pod: Pod, cluster: Cluster) -> tuple[ContainerStatus, str] | None:
    """The init container that keeps the component from starting, and how."""
    for status in pod.init_statuses:
        container = next((c for c in pod.spec.init_containers if c.name == status.name), None)
        if container is None or container.sidecar:
            continue
        running, ended = status.state.running, status.ended
        if running and running.started_at and cluster.age(running.started_at) > _INIT and not status.restart_count:
            return status, f"runs since {running.started_at:%H:%M:%S} UTC and does not end"
        if ended and ended.exit_code and status.restart_count > 1:
            return status, f"fails again and again, exit code {ended.exit_code}"
        if (waiting := stuck(status)) and waiting.reason != "CrashLoopBackOff":
            return status, f"cannot start: {waiting.reason}"
    return None


def _by_init(part: str, pod: Pod, status: ContainerStatus, how: str, *, severity: Severity) -> Finding:
    manifest = f"/etc/kubernetes/manifests/{part}.yaml"
    return Finding(
        pod.ref(),
        shorten(f"static pod {pod.path} does not start: its init container {status.name} {how}", 200),
        evidence=(
            Evidence(kubectl("get", "pod", pod.name, namespace=pod.namespace), f"{status.name}: {how}"),
            Evidence(f"grep -n -A8 initContainers {manifest}", f"name: {status.name}", pod.node),
        ),
        next=(
            kubectl("logs", pod.name, "-c", status.name, "--tail=20", namespace=pod.namespace),
            f"ssh -t {pod.node} sudoedit {manifest}    # initContainers: kubeadm's manifest has none",
            kubectl("get", "pod", pod.name, "-w", namespace=pod.namespace),
        ),
        touches=(Ref("Lease", part, "kube-system"),) if part in COMPONENTS[2:] else (),
        severity=severity,
    )


def _replaced(part: str, pod: Pod, cluster: Cluster, manifests: Manifests | None) -> bool:
    """Whether its manifest was written after it was made, and a moment ago: its successor is on the way."""
    found = manifests.get(pod.node) if manifests else None
    manifest = found.of(part) if found else None
    written = manifest.info.changed if manifest else None
    return bool(written and pod.created and pod.created < written and cluster.age(written) < _TAKEN_UP)


def _unheard(pod: Pod, nodes: Nodes | None, cluster: Cluster) -> bool:
    """Whether its kubelet is silent, or was until now: the controllers have called it not ready for that."""
    node = nodes.get(pod.node) if nodes else None
    ready = node.condition("Ready") if node else None
    if ready is None:
        return False
    return ready.status == "Unknown" or (ready.status == "True" and cluster.age(ready.last_transition_time) < _TAKEN_UP)


def _told(
    pod: Pod, status: ContainerStatus, cluster: Cluster, logs: Logs | None, events: Events | None
) -> tuple[str, str] | None:
    """Who says why it does not work, and what they say; None while it may be starting."""
    describe = kubectl("describe", "pod", pod.name, namespace=pod.namespace)
    waiting, ended = stuck(status), None if _restarts(pod, status, cluster, events) else status.ended
    if waiting and waiting.reason != "CrashLoopBackOff" and waiting.message:
        return describe, waiting.message
    failed = ended is not None and (ended.exit_code != 0 or waiting is not None)
    if ended and failed and (waiting or status.state.terminated or status.restart_count > 1):
        if ended.message:
            return describe, ended.message
        killed = ended.exit_code in (137, 143)
        words = last_words(logs, pod.namespace, pod.name, status.name, killed=killed)
        if words:
            again = () if status.state.terminated else ("--previous",)
            return kubectl("logs", pod.name, *again, namespace=pod.namespace), words
        return describe, _code(ended)
    if waiting:
        return describe, waiting.message or waiting.reason
    running = status.state.running
    if running and not status.ready and cluster.age(running.started_at) > _START:
        event = events.latest(pod.ref(), "Unhealthy") if events else None
        return describe, event.message if event else "it runs and its probe does not succeed"
    return None


def _code(ended: Terminated) -> str:
    """All that is known of an end that nothing explains."""
    return f"{ended.reason or 'Error'}, exit code {ended.exit_code}"


def _restarts(pod: Pod, status: ContainerStatus, cluster: Cluster, events: Events | None) -> bool:
    """Whether its last end says nothing: it was asked to, or it had run for long and is starting again."""
    ended, running = status.ended, status.state.running
    if stopped(pod, status, events):
        return True
    young = running is not None and cluster.age(running.started_at) < _READY
    return young and ended is not None and lived(ended) > _LONG


def _recovers(pod: Pod, status: ContainerStatus, cluster: Cluster, logs: Logs | None, back: datetime | None) -> bool:
    """Whether it ended because the API server was away, and has not had the time to come up since."""
    ended, running = status.ended, status.state.running
    if ended is None or ended.finished_at is None or ended.message:
        return False
    if running and cluster.age(running.started_at) > _READY:
        # What the kubelet could not write while there was no API server is written within a minute.
        return back is not None and cluster.age(back) < RETURN
    words = last_words(logs, pod.namespace, pod.name, status.name)
    if _GAVE_UP.search(words):
        # Who gives up its Lease had held it: there is nothing wrong with its manifest. The kubelet waits 5 min at most.
        return cluster.age(ended.finished_at) < _BACK_OFF
    away = not words or _NO_ANSWER.search(words)
    return bool(away and back and ended.finished_at < back + timedelta(seconds=_NOTICED))


def _state(status: ContainerStatus) -> str:
    state = status.state
    if state.waiting:
        shown = state.waiting.reason
    elif state.terminated:
        shown = f"{state.terminated.reason}, exit code {state.terminated.exit_code}"
    else:
        shown = "Running, not ready"
    return f"{shown}; restarts: {status.restart_count}"


def _cause(part: str, pod: Pod, container: Container, status: ContainerStatus, line: str) -> tuple[str, str]:
    """What is wrong, and what to change in the manifest."""
    words = (*container.command, *container.args)
    if found := re.search(r'exec: "([^"]+)":', line):
        meant = nearest(found[1], [part])
        hint = f", meant is {meant}" if meant else ""
        return f'cannot start: its command "{found[1]}" does not exist{hint}', f"command: {part}"
    if found := re.search(r"unknown (?:shorthand )?flag: (\S+)", line):
        return f"exits at once: unknown flag {found[1]}", f"remove or correct {found[1]}"
    if path := absent_file(line):
        source = next((w for w in words if w.endswith(f"={path}")), "")
        volume, below = mount_of(container, path)
        host = next((v.host_path.path for v in pod.spec.volumes if v.name == volume and v.host_path), "")
        if not volume:
            where = "and no volume of the pod is mounted there"
        elif host:
            where = f"which is {host.rstrip('/')}/{below}".rstrip("/") + f" on {pod.node}"
        else:
            where = ""
        flag_text = f" ({source.partition('=')[0]})" if source else ""
        return f"exits: {path}{flag_text} does not exist, {where}".rstrip(", "), f"correct {source or path}"
    if status.state.waiting and "Image" in status.state.waiting.reason:
        return f"cannot start: image {container.image} cannot be had", "correct the image's name and tag"
    if status.state.running:
        return f"runs but is not ready: {line}", "compare the probes with what the component listens on"
    if status.ended and line == _code(status.ended):
        again = next_start_at(status)
        return f"ended, and its log does not say why: {line}" + (f"; it is started again {again}" if again else ""), ""
    return f"fails: {line}", "correct what the line above names"

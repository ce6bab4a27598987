"""A static pod of the control plane runs now, and keeps being restarted."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Gap, Layer, Severity, check, kubectl, shorten, whole
from kdiag.facts import (
    Cluster,
    Container,
    Events,
    Logs,
    Manifests,
    Pods,
    component,
    flag,
    last_words,
    mended_meanwhile,
    stopped,
    unread,
)

_RECENT = 90  # seconds: what has run for longer since may well have been mended
_OFTEN = 3
_HOLDS = 30  # seconds: it runs and is ready, so what ended it before has been mended
_DEFAULT_PORTS = {"kube-apiserver": 6443, "kube-scheduler": 10259, "kube-controller-manager": 10257}


@check(
    title="Static pod of the control plane keeps restarting",
    severity=Severity.ERROR,
    layer=Layer.APISERVER,
    explains=("control_plane/leader_election_lost",),
    explains_here=(
        "application/container_crashes",
        "application/liveness_probe_kills",
    ),
    tags=("static-pods", "apiserver", "probes"),
    namespaces=("kube-system",),
)
def static_pod_restarting(
    pods: Pods, cluster: Cluster, logs: Logs | None, events: Events | None, manifests: Manifests | None
) -> Iterator[Finding | Gap]:
    """Several restarts, the last one lately; or a probe that asks a port on which the component does not listen."""
    for pod in pods.within("kube-system"):
        part = component(pod)
        if not part:
            continue
        for container in pod.spec.containers:
            wrong = _wrong_probe(part, container)
            status = pod.status(container.name)
            ended = status.last_state.terminated if status and status.state.running else None
            often = ended is not None and status is not None and status.restart_count >= _OFTEN
            recent = ended is not None and ended.finished_at is not None and cluster.age(ended.finished_at) < _RECENT
            running = status.state.running if status else None
            holds = (
                running is not None and cluster.age(running.started_at) > _HOLDS and status is not None and status.ready
            )
            if not wrong and (holds or not (often and recent) or (status and stopped(pod, status, events))):
                continue
            words = last_words(logs, pod.namespace, pod.name, container.name)
            if not (wrong or words) and logs and (gap := unread(logs, [pod])):
                yield gap
                continue
            if not wrong and status and mended_meanwhile(part, pod, status, words, cluster, manifests):
                continue
            if not wrong and "election lost" in words.lower():
                continue  # the API server or etcd was slow or away: leader_election_lost says so
            event = events.latest(pod.ref(), "Unhealthy", "Killing") if events else None
            evidence = []
            if status and ended:
                evidence.append(
                    Evidence(
                        kubectl("get", "pod", pod.name, namespace=pod.namespace),
                        f"restarts: {status.restart_count}; the last run ended with {ended.reason}, "
                        f"exit code {ended.exit_code}",
                    )
                )
            if wrong:
                evidence.append(Evidence(kubectl("get", "pod", pod.name, "-o", "yaml", namespace="kube-system"), wrong))
            if event:
                evidence.append(Evidence(kubectl("describe", "pod", pod.name, namespace="kube-system"), event.message))
            if words and not wrong:
                evidence.append(
                    Evidence(kubectl("logs", pod.name, "--previous", namespace="kube-system"), shorten(words, 300))
                )
            why = wrong or (words and shorten(words, 120)) or "its log does not say why"
            yield Finding(
                pod.ref(),
                f"static pod {pod.path} keeps restarting: {why}",
                evidence=tuple(evidence),
                next=(
                    f"ssh -t {pod.node} sudoedit /etc/kubernetes/manifests/{part}.yaml    # give the probe the port"
                    if wrong
                    else f"ssh {pod.node} sudo crictl ps -a --name {part}",
                    kubectl("get", "pod", pod.name, "-w", namespace="kube-system"),
                ),
            )


def _wrong_probe(part: str, container: Container) -> str:
    """A liveness or startup probe that cannot succeed, as the manifest alone shows."""
    if part not in _DEFAULT_PORTS:
        return ""
    given = flag(container, "secure-port")
    port = whole(given or "") or _DEFAULT_PORTS[part]
    for kind, probe in container.probes():
        if kind == "readiness" or probe.port is None:
            continue
        asked = container.port_number(probe.port)
        if asked is None:
            return f"its {kind} probe asks port {probe.port!r}, a name that no port has"
        if asked != port:
            return f"its {kind} probe asks port {asked}; it listens on {port}"
    return ""

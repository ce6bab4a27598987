"""How far a pod or a rollout has come: what is still starting, what has failed for certain, what a rollout changed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from kdiag.facts.cluster import Cluster
from kdiag.facts.events import Events
from kdiag.facts.pods import ContainerStatus, Pod
from kdiag.facts.podspec import Container, PodSpec, Probe

#: Seconds within which an ordinary container is pulled, started and asked for the first time.
START = 60

#: Seconds within which a node makes the sandbox of a pod, also one that has joined a moment ago.
SANDBOX = 120
#: Seconds within which a large image may be pulled by a node that has nothing to complain of.
PULL = 600

#: Waiting reasons that do not pass by themselves within a normal start.
DEFINITE = frozenset(
    {
        *("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ErrInvalidImageName"),
        *("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff"),
        *("PostStartHookError", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed"),
    }
)


def start_allowance(spec: PodSpec) -> int:
    """Seconds that pods of this template may take to be Ready without anything being wrong."""
    return START + max((_allowance(c) for c in spec.containers), default=0) + _init_delay(spec) + _sidecars(spec)


def _sidecars(spec: PodSpec) -> int:
    """Nothing after a sidecar is started before its startup probe has succeeded."""
    return sum(_full_budget(c.startup_probe) for c in spec.init_containers if c.sidecar and c.startup_probe)


def _init_delay(spec: PodSpec) -> int:
    # Init containers run one after the other: half a minute each.
    return 30 * sum(1 for c in spec.init_containers if not c.sidecar)


def _allowance(container: Container) -> int:
    startup = _full_budget(container.startup_probe) if container.startup_probe else 0
    ready = container.readiness_probe
    return startup + (ready.initial_delay_seconds + ready.period_seconds * ready.success_threshold if ready else 0)


def _full_budget(probe: Probe) -> int:
    return probe.initial_delay_seconds + probe.period_seconds * probe.failure_threshold


def definite_failure(pod: Pod) -> str:
    """Why this pod will not be Ready by waiting a little longer, in kubectl's words; empty when that is not certain."""
    if pod.terminating or pod.ready or pod.phase == "Succeeded":
        return ""
    if pod.phase == "Failed":
        return pod.reason or "Error"
    for prefix, statuses in (("Init:", pod.init_statuses), ("", pod.statuses)):
        for status in statuses:
            if reason := _failure(status):
                return prefix + reason
    return ""


def _failure(status: ContainerStatus) -> str:
    waiting = status.state.waiting
    if waiting and waiting.reason in DEFINITE:
        return waiting.reason
    ended = status.ended
    if status.restart_count >= 2 and not status.ready and ended and ended.exit_code:
        return ended.reason or "Error"
    return ""


def unready_for(pod: Pod, cluster: Cluster) -> float:
    """Seconds since this pod was last Ready, or since it was made."""
    ready = pod.condition("Ready")
    return cluster.age((ready.last_transition_time if ready else None) or begun(pod))


def begun(pod: Pod) -> datetime | None:
    """When a pod could begin to start: when it was made, or was given its node after a wait for one or for its turn."""
    placed = pod.condition("PodScheduled")
    return (placed.last_transition_time if placed and placed.status == "True" else None) or pod.created


def gives_way(pod: Pod) -> bool:
    """Whether a pod without a node is a placeholder for which there is no room: a priority below zero asks for that."""
    said = pod.condition("PodScheduled") if pod.spec.priority < 0 and not pod.node else None
    return said is not None and ("Insufficient " in said.message or "Too many pods" in said.message)


def stalled(pod: Pod, cluster: Cluster, events: Events | None = None) -> bool:
    """Whether a pod that is not Ready has failed for certain or has had the time that a normal start takes.

    A pod whose sandbox stands and whose containers are still being made may be pulling a large image.
    """
    if pod.ready or pod.terminating or pod.finished:
        return False
    if definite_failure(pod):
        return True
    if pod.spec.scheduling_gates and not pod.node:
        return False  # whoever gated it has not let it go yet
    if gives_way(pod) or (not pod.node and events and events.node_coming(pod.ref(), cluster.taken)):
        return False
    return unready_for(pod, cluster) > max(start_allowance(pod.spec), _making(pod))


def _making(pod: Pod) -> int:
    """Seconds that a pod may take of which no container has run yet, and of which nothing bad is said."""
    sandbox = pod.condition("PodReadyToStartContainers")
    if not pod.statuses or any(s.state.running for s in pod.init_statuses):
        return 0
    for status in pod.statuses:
        waiting = status.state.waiting
        if not waiting or status.restart_count or waiting.reason not in ("ContainerCreating", "PodInitializing"):
            return 0
    return PULL if sandbox and sandbox.status == "True" else SANDBOX


def state_of(pod: Pod) -> str:
    """The state of a pod in one word, as ``kubectl get pods`` shows it."""
    if pod.terminating:
        return "Terminating"
    if failure := definite_failure(pod):
        return failure
    if pod.ready:
        return "Ready"
    for prefix, statuses in (("Init:", pod.init_statuses), ("", pod.statuses)):
        for status in statuses:
            if status.state.waiting and status.state.waiting.reason and not status.ready:
                return prefix + status.state.waiting.reason
    if pod.phase == "Running":
        gate = _closed_gate(pod)
        return f"Running, readiness gate {gate} is not true" if gate else "Running, not ready"
    return pod.phase or "Unknown"


def _closed_gate(pod: Pod) -> str:
    """The readiness gate that alone keeps a pod from being ready; empty where a container does, too."""
    containers = pod.condition("ContainersReady")
    if not containers or containers.status != "True":
        return ""
    conditions = ((g.condition_type, pod.condition(g.condition_type)) for g in pod.spec.readiness_gates)
    return next((name for name, found in conditions if found is None or found.status != "True"), "")


def template_changes(old: PodSpec, new: PodSpec) -> Iterator[str]:
    """What differs between two revisions of a template and may decide whether its pods start."""
    before = {c.name: c for c in old.all_containers}
    after = {c.name: c for c in new.all_containers}
    for name in before.keys() - after.keys():
        yield f"container {name} was removed"
    for name, now in after.items():
        was = before.get(name)
        if was is None:
            yield f"container {name} is new"
            continue
        if was.image != now.image:
            yield f"image {was.image} → {now.image}"
        if (was.command, was.args) != (now.command, now.args):
            yield f"command of {name}: {_words(was)} → {_words(now)}"
        if was.env != now.env or was.env_from != now.env_from:
            names = {e.name for e in set(was.env) ^ set(now.env)}
            yield f"environment of {name}{': ' + ', '.join(sorted(names)) if names else ''}"
        for kind in ("readiness", "liveness", "startup"):
            if getattr(was, f"{kind}_probe") != getattr(now, f"{kind}_probe"):
                yield f"{kind} probe of {name}"
        if was.resources != now.resources:
            yield f"resources of {name}"
        if was.volume_mounts != now.volume_mounts:
            yield f"volume mounts of {name}"
        if was.security_context != now.security_context:
            yield f"security context of {name}"
    for field, what in (
        ("volumes", "volumes"),
        ("node_selector", "node selector"),
        ("affinity", "affinity"),
        ("tolerations", "tolerations"),
        ("service_account_name", "service account"),
        ("security_context", "pod security context"),
        ("priority_class_name", "priority class"),
        ("image_pull_secrets", "image pull secrets"),
        ("readiness_gates", "readiness gates"),
    ):
        if getattr(old, field) != getattr(new, field):
            yield what


def _words(container: Container) -> str:
    return " ".join((*container.command, *container.args)) or "the image's own"

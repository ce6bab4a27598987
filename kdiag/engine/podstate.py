"""Why a pod does not serve, in half a sentence."""

from __future__ import annotations

from kdiag.facts import ContainerStatus, Pod
from kdiag.model.text import clean_line, shorten


def why_not_ready(pod: Pod) -> str:
    """What a person would read off ``kubectl describe pod``; fits behind the pod's name."""
    if pod.terminating:
        return "is being deleted"
    if pod.phase == "Failed":
        return f"has failed: {pod.reason or 'a container ended with an error'}"
    if pod.phase == "Succeeded":
        return "has run to its end"
    if not pod.node:
        scheduled = pod.condition("PodScheduled")
        told = _first_sentence(scheduled.message) if scheduled else ""
        return f"has no node: {told}" if told else "has no node yet"
    for status in pod.init_statuses:
        if not status.ready and (told := _told(status)):
            return f"waits for init container {status.name}: {told}"
    for status in pod.statuses:
        if not status.ready and (told := _told(status)):
            return f"is not ready: container {status.name} {told}"
    for status in pod.statuses:
        if not status.ready and status.state.running:
            container = pod.spec.container(status.name)
            probed = container is not None and container.readiness_probe is not None
            return (
                f"is not ready: container {status.name} runs, {'its readiness probe fails' if probed else 'not ready'}"
            )
    for gate in pod.spec.readiness_gates:
        found = pod.condition(gate.condition_type)
        if found is None or found.status != "True":
            return f"is not ready: readiness gate {gate.condition_type} is not True"
    ready = pod.condition("Ready")
    told = _first_sentence(ready.message) or ready.reason if ready else ""
    return f"is not ready: {told}" if told else "is not ready"


def _told(status: ContainerStatus) -> str:
    waiting, ended = status.state.waiting, status.state.terminated
    if waiting and waiting.reason:
        last = status.last_state.terminated
        code = f" (last exit code {last.exit_code})" if last else ""
        message = "" if last else _first_sentence(waiting.message)
        return f"waits, {waiting.reason}{code}{f': {message}' if message else ''}"
    if ended:
        return f"ended with exit code {ended.exit_code}{f' ({ended.reason})' if ended.reason else ''}"
    return ""


def _first_sentence(text: str) -> str:
    return shorten(clean_line(text.strip().partition("\n")[0]), 120)

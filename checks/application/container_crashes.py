"""A container's program ends with an error again and again."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, present, shorten
from kdiag.facts import (
    Cluster,
    ConfigMaps,
    Events,
    Failure,
    Failures,
    Fault,
    Logs,
    Pod,
    Services,
    clue,
    edit,
    exit_text,
    touched,
)

_LEFT = 86_400
_PASSING = re.compile(r"failed to sync (?:configmap|secret) cache|timed out waiting for the condition")
#: A program that stumbles over itself or over what it was given, in the words of its language.
_OWN = re.compile(
    r"panic: |SyntaxError|IndentationError|ImportError|ModuleNotFoundError|Cannot find module|NameError|TypeError"
    r"|ValueError|IndexError|AttributeError|NullPointerException|NumberFormatException|ClassNotFoundException"
    r"|IllegalArgumentException|(?i:unknown (?:flag|option|directive|argument|command)|unrecognized (?:option|argument)"
    r"|invalid (?:syntax|option|argument|value|number)|parse error|cannot parse|error parsing)"
)
#: What may as well come of a server that does not answer.
_OF_OTHERS = re.compile(
    r"(?i)connect|refus|time[d ]*out|reach|resolv|lookup|dial|socket|network|host|upstream|unavailable|econn|enotfound"
    r"|tcp|https?:|database|server|broker|redis|mysql|postgres|mongo|kafka|rabbit|login|auth|denied|\bEOF\b|null|nil"
)
_SECCOMP = "seccompProfile: RuntimeDefault, or put the file on each node that it may run on"
_WRAPPED = re.compile(r"^(?:failed to (?:create|start) (?:containerd )?(?:container|task)[^:]{0,80}: )+")


@check(
    title="Container crashes",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/job_failed"),
    tags=(
        "crash",
        "restarts",
    ),
)
def container_crashes(
    failures: Failures,
    cluster: Cluster,
    events: Events | None,
    logs: Logs | None,
    configmaps: ConfigMaps | None,
    services: Services | None,
) -> Iterator[Finding]:
    """What no closer check knows: the exit code in words, the line of the log that says most, what that points at."""
    for group in (*failures.of(Fault.CRASH, events, logs, configmaps), *_refused(failures, events, logs)):
        one = group[0]
        namespace = one.pod.namespace
        said = one.text if one.log else _WRAPPED.sub("", one.said)
        # A container that was never made has no log: the runtime's answer is all there is.
        made = bool(one.end or one.log)
        over = all(f.pod.finished for f in group)
        how = f"{'has ended' if over else 'crashes'}, {exit_text(one.end)}" if one.end else "cannot be started"
        if over and one.pod.reason == "DeadlineExceeded":
            how, said = "was ended by the kubelet: it ran longer than its activeDeadlineSeconds", ""
        # Somebody ran a pod once: a day later nobody waits for it any more; who debugs sees how it ends.
        left = over and all(cluster.age(f.pod.created) > _LEFT or _debugs(f.pod) for f in group)
        hint = clue(one, configmaps, services)
        yield Finding(
            one.owner,
            f"{one.where} {how}" + (f": {shorten(said, 110)}" if said else "") + (f"; {hint.text}" if hint else ""),
            evidence=(
                Evidence(kubectl("get", "pod", one.pod.name, namespace=namespace), one.status),
                Evidence(
                    kubectl(*one.log_command, "--tail=20", namespace=namespace)
                    if made
                    else kubectl("describe", "pod", one.pod.name, namespace=namespace),
                    one.text or _no_text(one, logs),
                ),
            ),
            next=present(
                edit(one, hint.change) if hint else None,
                edit(one, _SECCOMP) if "cannot load seccomp profile" in said else None,
                kubectl(*one.log_command, namespace=namespace) if made else None,
                kubectl("describe", "pod", one.pod.name, namespace=namespace),
            ),
            touches=touched(group),
            key=one.container,
            severity=Severity.INFO if left else Severity.WARNING if over else None,
            since=one.started,
            container=one.container,
            own=bool(one.log and _OWN.search(said) and not _OF_OTHERS.search(said)),
        )


def _debugs(pod: Pod) -> bool:
    """Whether ``kubectl debug node/NAME`` made it."""
    return pod.owner is None and pod.name.startswith("node-debugger-") and pod.spec.first.name == "debugger"


def _refused(failures: Failures, events: Events | None, logs: Logs | None) -> Iterator[list[Failure]]:
    """What the kubelet cannot make a container of; a file that it has not got yet passes by itself."""
    for group in failures.of(Fault.CONFIG_OTHER, events, logs):
        if group[0].said and not _PASSING.search(group[0].said):
            yield group


def _no_text(one: Failure, logs: Logs | None) -> str:
    """Why nothing of its log is shown: an empty one tells something, one that was not read does not."""
    if one.log or (logs and logs.of(one.pod.namespace, one.pod.name, one.container)):
        return "the log is empty"
    path = f"{one.pod.namespace}/{one.pod.name}/{one.container}/"
    why = [g for g in logs.gaps if g.source == "log" or g.source.startswith(f"log of {path}")] if logs else []
    return "the log was not read" + (f": {why[0].reason}" if why else "")

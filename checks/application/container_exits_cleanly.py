"""A container that is meant to keep running ends by itself without an error, and is restarted for ever."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, shorten
from kdiag.facts import (
    Events,
    Failures,
    Fault,
    Logs,
    edit,
    lived,
    touched,
)

#: Who ends well after so long has worked, and is made anew on purpose: the kubelet forgets its restarts then, too.
_WORKED = 600


@check(
    title="Container exits and is restarted",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/job_failed"),
    tags=(
        "crash",
        "restarts",
        "command",
    ),
)
def container_exits_cleanly(failures: Failures, events: Events | None, logs: Logs | None) -> Iterator[Finding]:
    """Exit code 0 with restartPolicy Always: the program has nothing that keeps it running."""
    for group in failures.of(Fault.CLEAN_EXIT, events, logs):
        if all(f.end and lived(f.end) >= _WORKED for f in group):
            continue
        one = group[0]
        namespace = one.pod.namespace
        typed = shorten(" ".join([*one.spec.command, *one.spec.args]), 80)
        yield Finding(
            one.owner,
            f"{one.where} ends by itself with exit code 0 and is restarted: its command does not keep running",
            evidence=(
                Evidence(kubectl("get", "pod", one.pod.name, namespace=namespace), one.status),
                Evidence("", f"command: {typed}" if typed else f"no command: the entrypoint of {one.spec.image}"),
                Evidence(kubectl(*one.log_command, namespace=namespace), one.text or "nothing in the log"),
            ),
            next=(
                edit(one, "a command that stays in the foreground"),
                "work that is done once belongs into a Job",
            ),
            touches=touched(group),
            key=one.container,
            since=one.started,
        )

"""An init container ends with an error, so the pod's own containers never start."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, listing, shorten
from kdiag.facts import (
    ConfigMaps,
    Events,
    Failures,
    Fault,
    Logs,
    Services,
    clue,
    edit,
    exit_text,
    touched,
)


@check(
    title="Init container fails",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/job_failed"),
    tags=(
        "init",
        "crash",
        "restarts",
    ),
)
def init_container_fails(
    failures: Failures,
    events: Events | None,
    logs: Logs | None,
    configmaps: ConfigMaps | None,
    services: Services | None,
) -> Iterator[Finding]:
    """The exit code in words and the line of its log that says most."""
    for group in failures.of(Fault.INIT_FAILS, events, logs, configmaps):
        one = group[0]
        namespace = one.pod.namespace
        code = exit_text(one.end) if one.end else "it fails"
        waiting = listing([c.name for c in one.pod.spec.containers])
        hint = clue(one, configmaps, services)
        yield Finding(
            one.owner,
            f"{one.where} fails, {code}"
            + (f": {shorten(one.text, 110)}" if one.text else "")
            + (f"; {hint.text}" if hint else ""),
            evidence=(
                Evidence(
                    kubectl("get", "pod", one.pod.name, namespace=namespace), f"{one.status}; {waiting} never starts"
                ),
                Evidence(kubectl(*one.log_command, namespace=namespace), one.text or "nothing in the log"),
            ),
            next=(
                kubectl(*one.log_command, namespace=namespace),
                edit(one, hint.change if hint else ""),
            ),
            touches=touched(group),
            key=one.container,
            since=one.started,
            container=one.container,
        )

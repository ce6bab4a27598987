"""A container's postStart hook fails, so the kubelet kills the container each time it starts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, shorten, ssh
from kdiag.facts import (
    Events,
    Failures,
    Fault,
    Logs,
    edit,
    touched,
)


@check(
    title="postStart hook fails",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/job_failed"),
    tags=(
        "hooks",
        "crash",
        "restarts",
    ),
)
def post_start_hook_fails(failures: Failures, events: Events | None, logs: Logs | None) -> Iterator[Finding]:
    """From 1.32 on the event says only that it failed; the status may say how."""
    for group in failures.of(Fault.POST_START, events, logs):
        one = group[0]
        namespace = one.pod.namespace
        hook = one.spec.lifecycle.post_start
        done = "exec " + shorten(" ".join(hook.exec.command), 60) if hook and hook.exec else "the hook"
        if hook and hook.http_get:
            done = f"GET :{hook.http_get.port}{hook.http_get.path}"
        code = re.search(r"exited with (\d+)", one.text)
        how = f", exit code {code[1]}" if code else ""
        yield Finding(
            one.owner,
            f"{one.where} is killed after each start: its postStart hook fails ({done}{how})",
            evidence=(
                Evidence(kubectl("get", "pod", one.pod.name, namespace=namespace), one.status),
                Evidence(
                    kubectl("describe", "pod", one.pod.name, namespace=namespace), one.said or "FailedPostStartHook"
                ),
            ),
            next=(
                edit(one, "lifecycle.postStart"),
                ssh(one.pod.node, "sudo journalctl -u kubelet --since -15min | grep PostStartHook"),
            ),
            touches=touched(group),
            key=one.container,
            since=one.started,
        )

"""A container runs, but its readiness probe fails, so no Service sends it anything."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, present
from kdiag.facts import (
    Events,
    Failures,
    Fault,
    Logs,
    edit,
    probe_setting,
    probe_verdict,
    telling,
    touched,
)


@check(
    title="Readiness probe fails",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/job_failed"),
    tags=(
        "probes",
        "readiness",
    ),
)
def readiness_probe_fails(failures: Failures, events: Events | None, logs: Logs | None) -> Iterator[Finding]:
    """Say what the probe asks, what it gets, and where its port is one that nothing declares."""
    for group in failures.of(Fault.READINESS, events, logs):
        one = group[0]
        namespace = one.pod.namespace
        probe = one.spec.readiness_probe
        if probe is None:
            continue
        yield Finding(
            one.owner,
            f"{one.where} is not ready: {probe_verdict('readiness', probe, one)}",
            evidence=present(
                Evidence(kubectl("get", "pod", one.pod.name, namespace=namespace), one.status),
                Evidence(
                    kubectl("describe", "pod", one.pod.name, namespace=namespace),
                    one.said or "Ready False: containers not ready",
                ),
                Evidence("", probe_setting(probe, one.spec)),
                Evidence(kubectl(*one.log_command, namespace=namespace), telling(one.log))
                if telling(one.log)
                else None,
            ),
            next=(
                edit(one, "readinessProbe"),
                kubectl("logs", one.pod.name, "-c", one.container, "--tail=20", namespace=namespace),
            ),
            touches=touched(group),
            key=one.container,
            since=one.started,
            container=one.container,
        )

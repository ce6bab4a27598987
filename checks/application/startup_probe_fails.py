"""A container is killed and restarted because its startup probe never succeeds."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl
from kdiag.facts import (
    Events,
    Failures,
    Fault,
    Logs,
    edit,
    probe_setting,
    probe_verdict,
    touched,
)


@check(
    title="Startup probe never succeeds",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/job_failed"),
    tags=(
        "probes",
        "startup",
        "restarts",
        "crash",
    ),
)
def startup_probe_fails(failures: Failures, events: Events | None, logs: Logs | None) -> Iterator[Finding]:
    """Say what the probe asks and for how long it was asked."""
    for group in failures.of(Fault.STARTUP, events, logs):
        one = group[0]
        namespace = one.pod.namespace
        probe = one.spec.startup_probe
        if probe is None:
            continue
        does = "is killed by" if one.end else "does not get past"
        after = (
            f"killed {probe.budget} s after a start without success" if one.end else "never a result, so never killed"
        )
        verdict = probe_verdict("startup", probe, one)
        longer = f"startupProbe: if it only starts slowly, a failureThreshold above {probe.failure_threshold}"
        yield Finding(
            one.owner,
            f"{one.where} {does} its startup probe: {verdict}",
            evidence=(
                Evidence(kubectl("get", "pod", one.pod.name, namespace=namespace), one.status),
                Evidence(kubectl("describe", "pod", one.pod.name, namespace=namespace), one.said),
                Evidence("", f"{probe_setting(probe, one.spec)}: {after}"),
            ),
            next=(
                edit(one, longer if " within " in verdict else "startupProbe"),
                kubectl(*one.log_command, namespace=namespace),
            ),
            touches=touched(group),
            key=one.container,
            since=one.started,
            container=one.container,
        )

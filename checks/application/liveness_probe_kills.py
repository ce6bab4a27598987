"""A container is killed and restarted because its liveness probe fails."""

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
    title="Liveness probe kills the container",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/job_failed"),
    tags=(
        "probes",
        "liveness",
        "restarts",
        "crash",
    ),
)
def liveness_probe_kills(failures: Failures, events: Events | None, logs: Logs | None) -> Iterator[Finding]:
    """The kubelet says in an event that it killed it; the probe is then held against the ports."""
    for group in failures.of(Fault.LIVENESS, events, logs):
        one = group[0]
        namespace = one.pod.namespace
        probe = one.spec.liveness_probe
        if probe is None:
            continue
        yield Finding(
            one.owner,
            f"{one.where} is killed by its liveness probe: {probe_verdict('liveness', probe, one)}",
            evidence=(
                Evidence(kubectl("get", "pod", one.pod.name, namespace=namespace), one.status),
                Evidence(kubectl("describe", "pod", one.pod.name, namespace=namespace), one.said),
                Evidence(
                    "", f"{probe_setting(probe, one.spec)}: killed {probe.budget} s after a start without success"
                ),
            ),
            next=(
                edit(one, "livenessProbe"),
                kubectl(*one.log_command, namespace=namespace),
            ),
            touches=touched(group),
            key=one.container,
            since=one.started,
            container=one.container,
        )

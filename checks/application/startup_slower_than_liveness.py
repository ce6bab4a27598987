"""A container needs longer to start than its liveness probe gives it, and is killed before it listens."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, present
from kdiag.facts import (
    Events,
    Failures,
    Fault,
    Logs,
    edit,
    lifetime,
    probe_setting,
    startup_for,
    starved,
    touched,
)


@check(
    title="Liveness probe kills the container while it starts",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/job_failed"),
    tags=(
        "probes",
        "liveness",
        "startup",
        "restarts",
        "crash",
    ),
)
def startup_slower_than_liveness(failures: Failures, events: Events | None, logs: Logs | None) -> Iterator[Finding]:
    """The arithmetic: delay + period x (failures - 1) + timeout, against the life of each run."""
    for group in failures.of(Fault.SLOW_START, events, logs):
        one = group[0]
        namespace = one.pod.namespace
        probe = one.spec.liveness_probe
        if probe is None:
            continue
        patch = (
            '[{"op":"add","path":"/spec/template/spec/containers/0/startupProbe","value":' + startup_for(probe) + "}]"
        )
        failures_ = f"{probe.period_seconds} x ({probe.failure_threshold} - 1)"
        sum_ = f"{probe.initial_delay_seconds} + {failures_} + {probe.timeout_seconds} = {probe.budget} s"
        slow = starved(one.spec)
        yield Finding(
            one.owner,
            f"{one.where} is killed while it starts: "
            + (
                f"{slow}, and its liveness probe gives it {probe.budget} s"
                if slow
                else f"its liveness probe gives it {probe.budget} s, and there is no startupProbe"
            ),
            evidence=(
                Evidence(
                    kubectl("get", "pod", one.pod.name, namespace=namespace),
                    f"{one.status}; each run lives {lifetime(one.end) or '?'}",
                ),
                Evidence(kubectl("describe", "pod", one.pod.name, namespace=namespace), one.said),
                Evidence(
                    "",
                    f"{probe_setting(probe, one.spec)}: delay + period x (failures - 1) + timeout = {sum_}",
                ),
            ),
            next=present(
                edit(one, "a CPU limit of 100m or more, or none") if slow else None,
                kubectl(
                    "patch", one.owner.kind.lower(), one.owner.name, "--type=json", "-p", patch, namespace=namespace
                )
                if one.owner.kind in ("Deployment", "StatefulSet", "DaemonSet") and one.spec == one.pod.spec.first
                else edit(one, "add a startupProbe"),
                kubectl(*one.log_command, namespace=namespace),
            ),
            touches=touched(group),
            key=one.container,
            since=one.started,
        )

"""The grace period ends before, or just after, the preStop hook: the program has no time to end by itself."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl
from kdiag.facts import Workloads, sleep_seconds

_LITTLE = 5  # seconds that a program should have after SIGTERM


@check(
    title="Grace period is too short for preStop",
    severity=Severity.RISK,
    layer=Layer.ROLLOUT,
    tags=("rollout", "shutdown"),
)
def grace_shorter_than_pre_stop(workloads: Workloads) -> Iterator[Finding]:
    """Grace starts with preStop, SIGTERM follows preStop, SIGKILL comes when grace is over."""
    for workload in workloads.items:
        grace = workload.pod_spec.termination_grace_period_seconds
        for container in workload.pod_spec.containers:
            sleep = sleep_seconds(container.lifecycle.pre_stop)
            left = grace - sleep
            if not sleep or left >= _LITTLE:
                continue
            kind, namespace = workload.ref().kind.lower(), workload.namespace
            if left <= 0:
                said = "the program is killed before the hook has ended, or two seconds after SIGTERM"
            else:
                said = f"{left:g} s are left between SIGTERM and SIGKILL"
            want = int(sleep) + 30
            yield Finding(
                workload.ref(),
                f"{workload.ref()} {container.name}: preStop sleeps {sleep:g} s, grace is {grace} s: {said}",
                evidence=(
                    Evidence(
                        kubectl("get", kind, workload.name, "-o", "yaml", namespace=namespace),
                        f"terminationGracePeriodSeconds {grace}, preStop sleeps {sleep:g} s",
                    ),
                ),
                next=(
                    kubectl(
                        "patch",
                        kind,
                        workload.name,
                        "-p",
                        f'{{"spec":{{"template":{{"spec":{{"terminationGracePeriodSeconds":{want}}}}}}}}}',
                        namespace=namespace,
                    ),
                ),
                key=container.name,
            )

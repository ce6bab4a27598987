"""A container must not run as root (runAsNonRoot), and its image would run it as root."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl
from kdiag.facts import (
    Events,
    Failures,
    Fault,
    Logs,
    edit,
    touched,
)


@check(
    title="Container would run as root and may not",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/job_failed"),
    tags=(
        "security",
        "config",
    ),
)
def runs_as_root_refused(failures: Failures, events: Events | None, logs: Logs | None) -> Iterator[Finding]:
    """The kubelet refuses before it starts anything, so there is no log."""
    for group in failures.of(Fault.RUNS_AS_ROOT, events, logs):
        one = group[0]
        namespace = one.pod.namespace
        own, pod = one.spec.security_context, one.pod.spec.security_context
        user = own.run_as_user if own.run_as_user is not None else pod.run_as_user
        level = "container" if own.run_as_non_root else "pod"
        if "non-numeric" in one.text:
            why = f"the user of image {one.spec.image} is a name, and runAsUser gives no number"
        elif user == 0:
            why = "runAsUser is 0"
        else:
            why = f"image {one.spec.image} runs as root and no runAsUser says otherwise"
        yield Finding(
            one.owner,
            f"{one.where} is not started: runAsNonRoot is set, but {why}",
            evidence=(
                Evidence(kubectl("get", "pod", one.pod.name, namespace=namespace), one.status),
                Evidence(kubectl("describe", "pod", one.pod.name, namespace=namespace), one.said),
                Evidence(
                    "",
                    f"{level}'s securityContext: runAsNonRoot true, runAsUser {'not set' if user is None else user}",
                ),
            ),
            next=(edit(one, "runAsUser: a number that the image can run as"),),
            touches=touched(group),
            key=one.container,
            since=one.started,
        )

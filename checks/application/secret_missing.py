"""A container or volume names a Secret that does not exist in its namespace."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, Shared, check, kubectl, nearest
from kdiag.facts import (
    Events,
    Failures,
    Fault,
    Logs,
    edit,
    secrets_of,
    source_of,
    touched,
)


@check(
    title="Secret does not exist",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/job_failed"),
    tags=(
        "config",
        "secret",
    ),
)
def secret_missing(failures: Failures, events: Events | None, logs: Logs | None) -> Iterator[Finding]:
    """Secrets are never read: what was meant can only be one that pods which are well name."""
    known: dict[str, set[str]] = {}
    for group in failures.of(Fault.SECRET_MISSING, events, logs):
        one = group[0]
        namespace = one.pod.namespace
        if namespace not in known:
            templates = (pods for pods in failures.pods.templates if pods[0].namespace == namespace)
            known[namespace] = {name for pods in templates for name in secrets_of(pods)}
        meant = nearest(one.about, sorted(known[namespace] - {one.about}))
        hint = f"; pods that run use {meant}" if meant else ""
        steps = [kubectl("get", "secrets", namespace=namespace)]
        if meant:
            steps.append(edit(one, f"{one.about} → {meant}"))
        steps.append(kubectl("create", "secret", "generic", one.about, "--from-literal=KEY=VALUE", namespace=namespace))
        yield Finding(
            one.owner,
            f"{one.where} needs Secret {namespace}/{one.about}, which does not exist{hint}",
            evidence=(
                Evidence(kubectl("get", "pod", one.pod.name, namespace=namespace), one.status),
                Evidence(kubectl("describe", "pod", one.pod.name, namespace=namespace), one.said),
                Evidence("", f"used as {source_of(one)}"),
            ),
            next=tuple(steps),
            touches=touched(group, Ref("Secret", one.about, namespace)),
            key=f"{one.container} {one.about}",
            since=one.started,
            shared=Shared(Ref("Secret", one.about, namespace), f"Secret {namespace}/{one.about} does not exist{hint}"),
        )

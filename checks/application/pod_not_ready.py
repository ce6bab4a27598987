"""Pods of a workload are not ready, and for longer than a start takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, plural, present
from kdiag.facts import Events, Failure, Failures, Fault, Logs


@check(
    title="Pods are not ready",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=(
        "application/workload_unavailable",
        "control_plane/webhook_backend_unavailable",
    ),
    tags=("pods", "workload"),
)
def pod_not_ready(failures: Failures, events: Events | None, logs: Logs | None) -> Iterator[Finding]:
    """A symptom, whatever the reason: the checks that know the reason explain this one."""
    bad: dict[Ref, list[Failure]] = {}
    for failure in failures.all(events, logs):
        if not failure.pod.ready and not failure.pod.finished:
            bad.setdefault(failure.owner, []).append(failure)
    if not bad:
        return
    total: Counter[Ref] = Counter()
    for pods_ in failures.pods.by_owner.values():
        owner = failures.owners.top(pods_[0])
        if owner in bad:
            total[owner] += sum(1 for pod in pods_ if not pod.finished and not pod.terminating)
    for name, found in bad.items():
        one = found[0]
        pods = {f.pod.name: f.pod for f in found}
        reasons = Counter(_reason(f) for f in found)
        text = ", ".join(reason for reason, _ in reasons.most_common(3))
        namespace = one.pod.namespace
        alone = one.owner.kind == "Pod"
        yield Finding(
            one.owner,
            f"{name} is not ready: {text}"
            if alone
            else f"{len(pods):,} of {plural(max(total[name], len(pods)), 'pod')} of {name} not ready: {text}",
            evidence=present(
                Evidence(kubectl("get", "pod", one.pod.name, "-o", "wide", namespace=namespace), _shown(one)),
                Evidence(kubectl("describe", "pod", one.pod.name, namespace=namespace), one.said) if one.text else None,
            ),
            next=(
                kubectl("describe", "pod", one.pod.name, namespace=namespace),
                kubectl("events", "--for", f"pod/{one.pod.name}", namespace=namespace),
            ),
            touches=tuple(p.ref() for p in list(pods.values())[:50]),
            since=min((f.started for f in found if f.started), default=""),
        )


def _reason(failure: Failure) -> str:
    match failure.fault:
        case Fault.UNSCHEDULED:
            return "Pending"
        case Fault.NODE_SILENT:
            return f"node {failure.pod.node} reports nothing of it"
        case Fault.GATE:
            return "a readiness gate is open"
        case Fault.READINESS:
            return "its readiness probe fails"
        case Fault.INIT_WAITS:
            return f"init container {failure.container} runs"
    return f"Init:{failure.reason}" if failure.init else failure.reason


def _shown(failure: Failure) -> str:
    pod = failure.pod
    ready = sum(s.ready for s in pod.statuses)
    on = f", on {pod.node}" if pod.node else ", on no node"
    return f"{ready}/{len(pod.spec.containers)} ready, {failure.status}{on}"

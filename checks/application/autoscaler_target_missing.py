"""An autoscaler names a workload that does not exist."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing, nearest
from kdiag.facts import Autoscalers, Cluster, HorizontalPodAutoscaler, Workloads

#: How the HPA controller says that the apiVersion has no such kind.
_NO_KIND = "no matches for kind"
_GROUPS = dict.fromkeys(("Deployment", "StatefulSet", "ReplicaSet", "DaemonSet"), "apps/v1")
_YOUNG = 60  # seconds: it may have been created before its target


@check(
    title="Autoscaler's target does not exist",
    severity=Severity.WARNING,
    layer=Layer.ROLLOUT,
    explains=("application/autoscaler_blind",),
    tags=("autoscaling",),
)
def autoscaler_target_missing(autoscalers: Autoscalers, workloads: Workloads, cluster: Cluster) -> Iterator[Finding]:
    """The workload that was meant keeps the number of replicas that it has."""
    for scaler in autoscalers.items:
        target = scaler.spec.scale_target_ref
        able = scaler.condition("AbleToScale")
        failed = able is not None and able.status == "False" and able.reason == "FailedGetScale"
        there = workloads.get(Ref(target.kind, target.name, scaler.namespace))
        if cluster.age(scaler.created) < _YOUNG or not failed or able is None:
            continue  # not looked at yet, or of a kind that kdiag does not read
        if there and _NO_KIND not in able.message:
            continue
        message = able.message.removeprefix("the HPA controller was unable to get the target's current scale: ")
        yield _finding(scaler, message, workloads)


def _finding(scaler: HorizontalPodAutoscaler, message: str, workloads: Workloads) -> Finding:
    target, namespace = scaler.spec.scale_target_ref, scaler.namespace
    here = [w.ref() for w in workloads.items if w.namespace == namespace]
    names = [r.name for r in here if r.kind == target.kind]
    close = nearest(target.name, names)
    other = next((r for r in here if r.name == target.name), None)
    if other and other.kind == target.kind:
        hint = f"; {other} is of {_GROUPS.get(other.kind, 'v1')}"
    elif other:
        hint = f"; there is a {other.kind} of that name"
    elif close:
        hint = f"; there is {close}"
    else:
        hint = ""
    kind, name = (other.kind, other.name) if other else (target.kind, close or "NAME")
    group = ""
    if _NO_KIND in message:
        said = f"there is no kind {target.kind} in {target.api_version or 'v1'}"
        group = f'"apiVersion":"{_GROUPS.get(kind, "v1")}",'
    elif "not found" in message:
        said = f"there is no {target.kind} {target.name}"
    else:
        said = f"{target.kind} {target.name}: {message}"
    patch = f'{{"spec":{{"scaleTargetRef":{{{group}"kind":"{kind}","name":"{name}"}}}}}}'
    return Finding(
        scaler.ref(),
        f"{scaler.ref()} scales nothing: {said}{hint}",
        evidence=(
            Evidence(kubectl("describe", "hpa", scaler.name, namespace=namespace), f"AbleToScale False: {message}"),
            Evidence(
                kubectl("get", "deploy,sts", namespace=namespace),
                listing(sorted(f"{r.kind} {r.name}" for r in here), 5) or "none",
            ),
        ),
        next=(
            kubectl("patch", "hpa", scaler.name, "-p", patch, namespace=namespace)
            if other or close
            else kubectl("delete", "hpa", scaler.name, namespace=namespace) + "   # if its workload is gone for good",
        ),
        touches=(Ref(target.kind, target.name, namespace),),
    )

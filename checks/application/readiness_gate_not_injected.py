"""Pods behind an AWS load balancer have no readiness gate, so a rollout does not wait for their targets."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl
from kdiag.facts import Front, Fronts, Namespaces, Workloads, on_alb, on_nlb

_LABEL = "elbv2.k8s.aws/pod-readiness-gate-inject"


@check(
    title="Load balancer readiness gate is not injected",
    severity=Severity.RISK,
    layer=Layer.INGRESS,
    tags=("rollout", "aws"),
)
def readiness_gate_not_injected(fronts: Fronts, namespaces: Namespaces, workloads: Workloads) -> Iterator[Finding]:
    """Gates are for targets of type ip, and are put into pods only when they are created."""
    for front in fronts.items:
        ref = _with_ip_targets(front)
        workload = front.workload
        if ref is None or workload.pod_spec.readiness_gates:
            continue
        mine = [p for p in workloads.pods_of(workload) if not p.finished and not p.terminating]
        if any(p.spec.readiness_gates for p in mine):
            continue
        namespace = namespaces.get(workload.namespace)
        if namespace is None:
            continue
        labelled = namespace.labels.get(_LABEL) == "enabled"
        if labelled and not mine:
            continue
        kind = workload.ref().kind.lower()
        why = (
            "its pods are older than the namespace's label"
            if labelled
            else f"namespace {workload.namespace} lacks the label {_LABEL}=enabled"
        )
        yield Finding(
            workload.ref(),
            f"{workload.ref()} behind {ref.kind} {ref.name} has no readiness gate: {why}; rollouts do not wait for the "
            "targets",
            evidence=(
                Evidence(
                    kubectl("get", "namespace", workload.namespace, "-L", _LABEL), "enabled" if labelled else "no label"
                ),
                Evidence(
                    kubectl(
                        "get", "pods", "-l", str(workload.spec.selector), "-o", "wide", namespace=workload.namespace
                    ),
                    "READINESS GATES <none>",
                ),
            ),
            next=(
                kubectl("label", "namespace", workload.namespace, f"{_LABEL}=enabled", "--overwrite"),
                kubectl("rollout", "restart", f"{kind}/{workload.name}", namespace=workload.namespace),
            ),
            touches=(ref,),
        )


def _with_ip_targets(front: Front) -> Ref | None:
    for ingress in front.ingresses:
        if on_alb(ingress) and ingress.metadata.annotations.target_type == "ip":
            return ingress.ref()
    for service in front.services:
        notes = service.metadata.annotations
        if on_nlb(service) and notes.nlb_target_type == "ip":
            return service.ref()
    return None

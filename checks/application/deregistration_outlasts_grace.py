"""The load balancer lets targets drain for longer than their pods live."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl
from kdiag.facts import Annotations, Front, Fronts, deregistration_delay, on_alb, on_nlb, sleep_seconds

_PROPAGATION = 15  # seconds from the pod's deletion until an ALB or NLB sends it nothing new


@check(
    title="Load balancer drains longer than pods live",
    severity=Severity.RISK,
    layer=Layer.INGRESS,
    tags=("rollout", "aws", "shutdown"),
)
def deregistration_outlasts_grace(fronts: Fronts) -> Iterator[Finding]:
    """On AWS: preStop must outlast the target's leaving, and grace what is still under way."""
    for front in fronts.items:
        for ref, notes in _balanced(front):
            grace = front.workload.pod_spec.termination_grace_period_seconds
            delay, default = deregistration_delay(notes)
            sleep = max((sleep_seconds(c.lifecycle.pre_stop) for c in front.containers), default=0.0)
            if delay <= grace and sleep >= min(delay, _PROPAGATION):
                continue
            yield _finding(front, ref, grace, delay, sleep, default=default)
            break


def _balanced(front: Front) -> Iterator[tuple[Ref, Annotations]]:
    for ingress in front.ingresses:
        if on_alb(ingress):
            yield ingress.ref(), ingress.metadata.annotations
    for service in front.services:
        if on_nlb(service):
            yield service.ref(), service.metadata.annotations


def _finding(front: Front, ref: Ref, grace: int, delay: int, sleep: float, *, default: bool) -> Finding:
    workload = front.workload
    kind, namespace = workload.ref().kind.lower(), workload.namespace
    said = f"deregistration delay {delay} s{' (default)' if default else ''}, preStop {sleep:g} s, grace {grace} s"
    why = (
        f"pods are gone {delay - grace} s before {ref.kind} {ref.name} has done with them"
        if delay > grace
        else f"SIGTERM comes before {ref.kind} {ref.name} has taken the target out"
    )
    name = "alb.ingress.kubernetes.io/target-group-attributes"
    if ref.kind == "Service":
        name = "service.beta.kubernetes.io/aws-load-balancer-target-group-attributes"
    return Finding(
        workload.ref(),
        f"{workload.ref()}: {why}: {said}",
        evidence=(
            Evidence(
                kubectl(
                    "get", ref.kind.lower(), ref.name, "-o", "jsonpath={.metadata.annotations}", namespace=namespace
                ),
                f"deregistration_delay.timeout_seconds {'not set: 300' if default else delay}",
            ),
            Evidence(
                kubectl("get", kind, workload.name, "-o", "yaml", namespace=namespace),
                f"terminationGracePeriodSeconds {grace}, preStop sleeps {sleep:g} s",
            ),
        ),
        next=(
            kubectl("edit", kind, workload.name, namespace=namespace)
            + "   # preStop sleep 20, terminationGracePeriodSeconds 60",
            f"then shorten the delay to no more than the grace: {name}: deregistration_delay.timeout_seconds=30",
        ),
        touches=(ref,),
    )

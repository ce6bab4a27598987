"""A connection-draining annotation stands where nothing reads it."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl
from kdiag.facts import Annotations, Ingresses, Services, on_nlb

_NAME = "service.beta.kubernetes.io/aws-load-balancer-connection-draining-*"


@check(
    title="Draining annotation has no effect",
    severity=Severity.RISK,
    layer=Layer.INGRESS,
    tags=("rollout", "aws", "shutdown"),
)
def draining_annotation_without_effect(ingresses: Ingresses, services: Services) -> Iterator[Finding]:
    """It is read on a Service of type LoadBalancer that becomes a Classic Load Balancer, and nowhere else."""
    for ingress in ingresses.items:
        if _set(ingress.metadata.annotations):
            yield _finding(
                ingress.ref(),
                "it belongs on a Service; an Ingress has alb.ingress.kubernetes.io/target-group-attributes",
                "alb.ingress.kubernetes.io/target-group-attributes=deregistration_delay.timeout_seconds=30",
            )
    for service in services.items:
        if not _set(service.metadata.annotations):
            continue
        if service.spec.type != "LoadBalancer":
            yield _finding(service.ref(), f"the Service is of type {service.spec.type} and has no load balancer", "")
        elif on_nlb(service):
            yield _finding(
                service.ref(),
                "it is for Classic Load Balancers, and this Service has an NLB",
                "service.beta.kubernetes.io/aws-load-balancer-target-group-attributes="
                "deregistration_delay.timeout_seconds=30",
            )


def _set(notes: Annotations) -> bool:
    return bool(notes.elb_draining or notes.elb_draining_timeout)


def _finding(ref: Ref, why: str, instead: str) -> Finding:
    kind = ref.kind.lower()
    old = "service.beta.kubernetes.io/aws-load-balancer-connection-draining-"
    steps = [kubectl("annotate", kind, ref.name, instead, namespace=ref.namespace)] if instead else []
    steps.append(kubectl("annotate", kind, ref.name, f"{old}enabled-", f"{old}timeout-", namespace=ref.namespace))
    return Finding(
        ref,
        f"{ref} has a connection-draining annotation that does nothing: {why}",
        evidence=(
            Evidence(
                kubectl("get", kind, ref.name, "-o", "jsonpath={.metadata.annotations}", namespace=ref.namespace), _NAME
            ),
        ),
        next=tuple(steps),
    )

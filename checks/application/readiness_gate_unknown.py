"""A pod template names a load balancer readiness gate that no Ingress of the namespace can set."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, listing, nearest
from kdiag.facts import Ingresses, Workloads

_PREFIX = "target-health.alb.ingress.k8s.aws/"


@check(
    title="Readiness gate names no target group",
    severity=Severity.RISK,
    layer=Layer.INGRESS,
    tags=("rollout", "aws"),
)
def readiness_gate_unknown(workloads: Workloads, ingresses: Ingresses) -> Iterator[Finding]:
    """The old form is written by hand: <ingress>_<service>_<port>. A slip in it is never noticed."""
    for workload in workloads.items:
        for gate in workload.pod_spec.readiness_gates:
            if workload.desired < 1 or not gate.condition_type.startswith(_PREFIX):
                continue
            name = gate.condition_type.removeprefix(_PREFIX)
            known = sorted(
                {
                    f"{ingress.name}_{backend.name}_{port}"
                    for ingress in ingresses.within(workload.namespace)
                    for _, backend in ingress.backends
                    for port in (backend.port.name, backend.port.number)
                    if port
                }
            )
            if name in known:
                continue
            close = nearest(name, known)
            kind = workload.ref().kind.lower()
            yield Finding(
                workload.ref(),
                f"{workload.ref()} has the readiness gate {name}, which no Ingress of {workload.namespace} sets"
                + (f"; there is {close}" if close else ""),
                evidence=(
                    Evidence(
                        kubectl("get", "ingress", namespace=workload.namespace),
                        f"makes {listing(known, 3)}" if known else "none",
                    ),
                ),
                next=(
                    kubectl("edit", kind, workload.name, namespace=workload.namespace)
                    + (f"   # conditionType: {_PREFIX}{close}" if close else "   # take the gate out"),
                ),
                key=gate.condition_type,
            )

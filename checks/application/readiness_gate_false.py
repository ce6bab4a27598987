"""Containers are ready, but a readiness gate that something outside must set is not true."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl
from kdiag.facts import Cluster, Owners, Pod, Pods

_FIRST = 300  # seconds that a load balancer may take to register a target and pass its first health checks
_SURE = 120  # seconds after which a definite answer counts
_AWS = {
    "Target.FailedHealthChecks": "the load balancer's health checks fail",
    "Target.ResponseCodeMismatch": "the health check gets a status code that it does not expect",
    "Target.Timeout": "the health check times out: a security group, or the wrong port",
    "Target.NotRegistered": "the pod is not registered with the target group",
    "Target.NotInUse": "no listener or rule uses the target group",
    "Target.InvalidState": "the target is in an invalid state",
    "Target.IpUnusable": "the pod's address cannot be a target of this load balancer",
    "Target.HealthCheckDisabled": "the target group's health checks are off",
    "Elb.InternalError": "the load balancer has an internal error",
}
_PENDING = ("Elb.InitialHealthChecking", "Elb.RegistrationInProgress", "Target.DeregistrationInProgress")


@check(
    title="Readiness gate is not true",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/workload_unavailable"),
    tags=("rollout", "aws", "probes"),
)
def readiness_gate_false(pods: Pods, owners: Owners, cluster: Cluster) -> Iterator[Finding]:
    """Such a pod is READY 1/1 and not Ready: no Service sends anything to it."""
    told = set()
    for pod in pods.troubled:
        if pod.ready or pod.terminating or pod.finished or not pod.spec.readiness_gates:
            continue
        containers = pod.condition("ContainersReady")
        if not containers or containers.status != "True":
            continue
        waited = cluster.age(containers.last_transition_time)
        top = owners.top(pod)
        for gate in pod.spec.readiness_gates:
            reason, why = _why(pod, gate.condition_type)
            if why is None or (top, gate.condition_type) in told or waited < (_SURE if reason in _AWS else _FIRST):
                continue
            told.add((top, gate.condition_type))
            yield Finding(
                top,
                f"{top} waits for readiness gate {gate.condition_type}: {why}",
                evidence=tuple(_evidence(pod, gate.condition_type)),
                next=tuple(_next(pod, gate.condition_type)),
                touches=(pod.ref(),),
                key=gate.condition_type,
            )


def _why(pod: Pod, gate: str) -> tuple[str, str | None]:
    found = pod.condition(gate)
    if found is None:
        return "", "nobody has set it"
    if found.status == "True":
        return "", None
    said = found.message.strip()
    if found.reason in _AWS:
        return found.reason, f"{_AWS[found.reason]} ({found.reason})"
    if found.reason in _PENDING:
        return "", f"the load balancer is still at it ({found.reason})"
    return "", (f"{found.reason}: {said}" if found.reason and said else found.reason or said or f"it is {found.status}")


def _evidence(pod: Pod, gate: str) -> Iterator[Evidence]:
    yield Evidence(kubectl("get", "pod", pod.name, "-o", "wide", namespace=pod.namespace), "READINESS GATES 0/1")
    found = pod.condition(gate)
    shown = f"{gate}={found.status} {found.reason}: {found.message}" if found else f"no condition {gate}"
    yield Evidence(kubectl("describe", "pod", pod.name, namespace=pod.namespace), shown)


def _next(pod: Pod, gate: str) -> Iterator[str]:
    if "elbv2" in gate or "alb.ingress" in gate:
        yield kubectl("get", "targetgroupbindings", "-o", "wide", namespace=pod.namespace)
        yield kubectl(
            "logs", "-l", "app.kubernetes.io/name=aws-load-balancer-controller", "--tail=50", namespace="kube-system"
        )
        yield "aws elbv2 describe-target-health --target-group-arn <the ARN of the binding>"
    else:
        yield kubectl("get", "pod", pod.name, "-o", "jsonpath={.status.conditions}", namespace=pod.namespace)
        yield f"look for what should set {gate}: its controller, and that controller's log"

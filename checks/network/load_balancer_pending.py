"""A Service of type LoadBalancer has no address: nobody makes its load balancer, or making it fails."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, shorten
from kdiag.facts import Cluster, Events, Service, Services

_START = 300  # seconds that a cloud may take to make one
_FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
_FAILED = ("SyncLoadBalancerFailed", "CreatingLoadBalancerFailed", "FailedDeployModel", "FailedBuildModel")
_REFUSED = ("AllocationFailed", *_FAILED)


@check(
    title="Load balancer has no address",
    severity=Severity.ERROR,
    layer=Layer.INGRESS,
    tags=("service", "loadbalancer"),
)
def load_balancer_pending(services: Services, cluster: Cluster, events: Events | None) -> Iterator[Finding]:
    """Without an event and without a load balancer that works there is likely no controller, which is no fault."""
    wanted = [s for s in services.items if s.spec.type == "LoadBalancer" and not s.metadata.deletion_timestamp]
    working = [s for s in wanted if s.status.load_balancer.ingress]
    for service in wanted:
        if service.status.load_balancer.ingress:
            continue
        failed = events.latest(service.ref(), *_REFUSED) if events else None
        if failed is None and cluster.age(service.created) < _START:
            continue
        klass = service.spec.load_balancer_class
        same = [s for s in working if s.spec.load_balancer_class == klass]
        if failed:
            why, severity = shorten(failed.message, 200), Severity.ERROR
        elif _FINALIZER in service.metadata.finalizers:
            why, severity = "a controller has taken it up and not finished", Severity.ERROR
        elif same:
            why, severity = f"no controller has taken it up; {same[0].ref().path} has an address", Severity.WARNING
        elif klass:
            why, severity = f"no controller answers for loadBalancerClass {klass}", Severity.WARNING
        else:
            why, severity = "no controller makes load balancers here", Severity.INFO
        yield Finding(
            service.ref(),
            f"Service {service.ref().path} waits for a load balancer's address: {why}",
            evidence=tuple(_evidence(service, failed.reason if failed else "", failed.message if failed else "")),
            next=tuple(_next(service, found=failed is not None)),
            severity=severity,
        )


def _evidence(service: Service, reason: str, message: str) -> Iterator[Evidence]:
    ports = ",".join(f"{p.port}:{p.node_port}/{p.protocol}" if p.node_port else str(p.port) for p in service.spec.ports)
    yield Evidence(
        kubectl("get", "service", service.name, namespace=service.namespace), f"EXTERNAL-IP <pending>, PORT(S) {ports}"
    )
    command = kubectl("events", "--for", f"service/{service.name}", namespace=service.namespace)
    yield Evidence(command, f"{reason}: {shorten(message, 300)}" if reason else "no event about a load balancer")


def _next(service: Service, *, found: bool) -> Iterator[str]:
    yield kubectl("describe", "service", service.name, namespace=service.namespace)
    if not found:
        port = next((p.node_port for p in service.spec.ports if p.node_port), 0)
        if port:
            yield f"until then it answers on every node: curl http://NODE_ADDRESS:{port}/"
        yield "install a controller for load balancers (a cloud's own, MetalLB), or make it type NodePort"

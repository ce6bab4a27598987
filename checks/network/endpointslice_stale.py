"""A Service's EndpointSlices do not follow its pods: ready pods are absent, or addresses of gone pods are kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from kdiag.check import Evidence, Finding, Gap, Layer, Severity, check, duration, kubectl, listing
from kdiag.facts import (
    Backends,
    Cluster,
    Endpoint,
    EndpointSlices,
    Pod,
    Service,
    SystemLeases,
    controllers_begin,
)

_LAG = 120  # seconds since a pod was made, by which its address is listed
_LONG = 600  # the same while the controller manager lives: a pod may wait for a node and start between two lists
_LEASE = 60  # a controller manager that lives renews its lease every two seconds


@check(
    title="EndpointSlices do not follow the pods",
    severity=Severity.ERROR,
    layer=Layer.ENDPOINTS,
    explains=(
        "network/ingress_backend_unavailable",
        "application/dependency_unreachable",
        "application/pod_not_ready",
        "application/workload_unavailable",
    ),
    tags=("service", "endpoints"),
)
def endpointslice_stale(
    backends: Backends, slices: EndpointSlices, cluster: Cluster, leases: SystemLeases | None
) -> Iterator[Finding | Gap]:
    """Pods are listed by their address before they are ready, so an absent one was missed and is not merely late."""
    age = _lease_age(cluster, leases)
    if age is not None and age < _LEASE and controllers_begin(backends.pods, leases, cluster.taken):
        return  # what they missed while they were away, they write now
    lag = _LAG if age is not None and age > _LEASE else _LONG
    for service in backends.services.items:
        if not service.spec.selector or service.external or cluster.age(service.created) < _LAG:
            continue
        if not backends.pods.covers(service.namespace) or not slices.covers(service.namespace):
            continue
        found = slices.of_service(service)
        endpoints = [e for s in found if s.managed for e in s.endpoints or ()]
        if any(not s.managed for s in found):
            continue  # somebody else writes them too
        listed = {e.target_ref.name for e in endpoints if e.target_ref}
        if listed == {p.name for p in backends.of(service)}:
            continue  # one for each pod, as it is nearly everywhere
        addresses = {a for e in endpoints for a in e.addresses}
        pods = backends.live(service)
        absent = [
            p for p in pods if p.ready and p.ip and _missed(p, listed, addresses) and cluster.age(p.created) > lag
        ]
        gone = [e for e in endpoints if e.ready and _gone(e, backends)]
        if not absent and not (gone and (age is not None and age > _LEASE)) and not _all_gone(gone, endpoints, pods):
            continue
        if leases is None or leases.gaps:
            yield Gap("leases", "not seen: whether the controllers have only begun to work is not known")
            return
        yield _finding(service, absent, gone, pods, age)


def _missed(pod: Pod, listed: set[str], addresses: set[str]) -> bool:
    # By name as well: of a pod with two addresses only the first is known here.
    return pod.name not in listed and pod.ip not in addresses


def _gone(endpoint: Endpoint, backends: Backends) -> bool:
    target = endpoint.target_ref
    return target is not None and target.kind == "Pod" and backends.pods.get(target.name, target.namespace) is None


def _all_gone(gone: Sequence[Endpoint], endpoints: Sequence[Endpoint], pods: Sequence[Pod]) -> bool:
    """Every address is that of a pod that is gone, while there are others: no passing moment of one pod's end."""
    return len(gone) > 1 and len(gone) == len([e for e in endpoints if e.ready]) and bool(pods)


def _lease_age(cluster: Cluster, leases: SystemLeases | None) -> float | None:
    found = leases.get("kube-controller-manager", "kube-system") if leases else None
    return found.age(cluster.taken) if found else None


def _finding(
    service: Service, absent: Sequence[Pod], gone: Sequence[Endpoint], pods: Sequence[Pod], age: float | None
) -> Finding:
    what = "lacks ready pods" if absent else "keeps addresses of pods that are gone"
    if absent and gone:
        what += " and keeps addresses of pods that are gone"
    label = f"kubernetes.io/service-name={service.name}"
    shown = []
    if absent:
        shown.append(f"absent: {listing([f'{p.name} {p.ip}' for p in absent], 3)}")
    if gone:
        names = [f"{e.target_ref.name} {','.join(e.addresses)}" for e in gone if e.target_ref]
        shown.append(f"gone: {listing(names, 3)}")
    evidence = [
        Evidence(kubectl("get", "endpointslices", "-l", label, namespace=service.namespace), "; ".join(shown)),
        Evidence(
            kubectl("get", "pods", "-l", service.selector_text, "-o", "wide", namespace=service.namespace),
            listing([f"{p.name} {p.ip} {'Ready' if p.ready else 'not ready'}" for p in pods], 3) or "no pod",
        ),
    ]
    if age is not None:
        evidence.append(
            Evidence(
                kubectl("get", "lease", "kube-controller-manager", namespace="kube-system"),
                f"renewed {duration(timedelta(seconds=age))} ago",
            )
        )
    return Finding(
        service.ref(),
        f"EndpointSlices of Service {service.ref().path} do not follow its pods: the list {what}",
        evidence=tuple(evidence),
        next=(
            kubectl("get", "pods", "-l", "component=kube-controller-manager", namespace="kube-system"),
            kubectl("logs", "-l", "component=kube-controller-manager", "--tail=50", namespace="kube-system"),
        ),
    )

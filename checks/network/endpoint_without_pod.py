"""An EndpointSlice that somebody wrote beside the controller's leads a Service to an address that no pod has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kdiag.check import DEPENDENT_FAILS, Evidence, Finding, Layer, Severity, check, kubectl, listing
from kdiag.facts import Cluster, Dependencies, EndpointSlice, EndpointSlices, Nodes, Service, Services

_MANAGER = "endpointslice.kubernetes.io/managed-by"
_FRESH = 120  # seconds in which whoever wrote it may still be about to start what stands there


@check(
    title="EndpointSlice leads to an address that no pod has",
    severity=Severity.ERROR,
    layer=Layer.ENDPOINTS,
    explains=(*DEPENDENT_FAILS, "application/dependency_unreachable"),
    tags=("service", "endpoints"),
)
def endpoint_without_pod(
    slices: EndpointSlices, services: Services, dependencies: Dependencies, cluster: Cluster, nodes: Nodes | None
) -> Iterator[Finding]:
    """No controller keeps such a slice, and kube-proxy sends its share of the connections there all the same.

    One that names its pods is written by an operator, which may be about to write it anew.
    """
    for one in slices.items:
        service = services.get(one.service, one.namespace) if not one.labels.get(_MANAGER) else None
        if service is None or not service.spec.selector or service.external or cluster.age(one.created) < _FRESH:
            continue
        nowhere = [
            a
            for e in one.endpoints or ()
            if e.ready and not e.target_ref
            for a in e.addresses
            if dependencies.no_pod(a, nodes)
        ]
        if nowhere:
            yield _written(service, one, nowhere, len(slices.endpoints(service)))


def _written(service: Service, one: EndpointSlice, nowhere: Sequence[str], among: int) -> Finding:
    name, space = one.metadata.name, service.namespace
    share = f"{len(nowhere)} of its {among} endpoints" if among > len(nowhere) else "all of its endpoints"
    return Finding(
        service.ref(),
        f"Service {service.ref().path} also leads to {listing(nowhere, 3)}, which no pod has: EndpointSlice {name} was "
        f"written by hand, and connections to {share} end nowhere",
        evidence=(
            Evidence(
                kubectl("get", "endpointslices", "-l", f"kubernetes.io/service-name={service.name}", namespace=space),
                f"{name}: {listing(nowhere, 3)}; no label {_MANAGER}: no controller keeps it",
            ),
            Evidence(
                f"kubectl get pods -A -o wide | grep -e {nowhere[0]}",
                "no pod; the address is of the pods' range",
            ),
        ),
        next=(
            kubectl("get", "endpointslice", name, "-o", "yaml", namespace=space),
            kubectl("delete", "endpointslice", name, namespace=space)
            + "    # the controller's own slice has the pods that the selector finds",
        ),
        key=name,
    )

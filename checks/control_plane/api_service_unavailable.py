"""An aggregated API does not answer: its backend is missing, not ready or refused."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, present, shorten
from kdiag.facts import APIServices, Cluster

#: worker_node/metrics_server_unavailable says it in its own words.
METRICS = "v1beta1.metrics.k8s.io"
_START = 60
_CERTIFICATE = re.compile(r"x509: [^\n]{1,200}")
_ABSENT = 5  # a Service that does not exist does not come by waiting
_WHY = {
    "ServiceNotFound": "its Service {service} does not exist",
    "MissingEndpoints": "its Service {service} has no ready endpoint",
    "EndpointsNotFound": "its Service {service} has no endpoints",
    "ServicePortError": "its Service {service} has no port {port}",
    "ServiceAccessError": "its Service {service} cannot be read",
    "EndpointsAccessError": "the endpoints of Service {service} cannot be read",
}


@check(
    title="Aggregated API does not answer",
    severity=Severity.ERROR,
    layer=Layer.WEBHOOK,
    explains=(
        "application/autoscaler_blind",
        "application/namespace_stuck_terminating",
    ),
    tags=("apiservice", "discovery"),
)
def api_service_unavailable(apis: APIServices, cluster: Cluster) -> Iterator[Finding]:
    """Also blocks the deletion of every namespace, because the namespace controller cannot list what is in it."""
    for api in apis.items:
        state, target = api.available, api.spec.service
        if api.name == METRICS or target is None or state is None or state.status == "True":
            continue
        if cluster.age(state.last_transition_time) < (_ABSENT if state.reason == "ServiceNotFound" else _START):
            continue
        path = f"{target.namespace}/{target.name}"
        why = _WHY.get(state.reason, "its backend {service} gives no valid answer").format(
            service=path, port=target.port
        )
        refused = _CERTIFICATE.search(state.message)
        if refused:
            why = f"the certificate of {path} is not accepted ({shorten(refused[0], 100)})"
        yield Finding(
            api.ref(),
            f"API {api.name} does not answer: {why}",
            evidence=(
                Evidence(kubectl("get", "apiservice", api.name), f"False ({state.reason})"),
                Evidence(kubectl("describe", "apiservice", api.name), shorten(state.message, 300)),
            ),
            next=present(
                _bundle(api.name) if refused else None,
                kubectl("get", "pods,service,endpointslices", "-o", "wide", namespace=target.namespace),
                f"{kubectl('delete', 'apiservice', api.name)}    # only when nothing serves or wants this API any more",
            ),
            since=state.last_transition_time.isoformat() if state.last_transition_time else "",
        )


def _bundle(name: str) -> str:
    decode = "base64 -d | openssl x509 -noout -subject -enddate"
    return (
        kubectl("get", "apiservice", name, "-o", "jsonpath={.spec.caBundle}")
        + f" | {decode}   # is it the CA that has signed the server's certificate?"
    )

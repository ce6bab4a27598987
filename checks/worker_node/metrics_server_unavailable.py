"""The resource metrics API does not answer, so kubectl top and autoscalers see nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, Skip, check, kubectl, shorten
from kdiag.facts import APIServices, Cluster, Deployments, Logs, Pod, Pods, Services, selects

_API = "v1beta1.metrics.k8s.io"
_START = 60
_ABSENT = 5  # a Service that does not exist does not come by waiting
_SAID = re.compile(r"x509: [^\"]+|dial tcp \S+:10250: [^\"]+|unable to (?:fetch|fully) [^\"]+|forbidden[^\"]*")


@check(
    title="Metrics server does not answer",
    severity=Severity.ERROR,
    layer=Layer.WEBHOOK,
    explains=("application/autoscaler_blind",),
    tags=("metrics", "autoscaling", "apiservice"),
)
def metrics_server_unavailable(
    apis: APIServices,
    cluster: Cluster,
    services: Services | None,
    deployments: Deployments | None,
    pods: Pods | None,
    logs: Logs | None,
) -> Iterator[Finding | Skip]:
    """Its own pods' state and log say more than the APIService: the kubelets' certificates are the usual cause."""
    api = apis.get(_API)
    if api is None or api.spec.service is None:
        yield Skip("no metrics server is installed: APIService v1beta1.metrics.k8s.io does not exist")
        return
    state, target = api.available, api.spec.service
    if state is None or state.status == "True":
        return
    if cluster.age(state.last_transition_time) < (_ABSENT if state.reason == "ServiceNotFound" else _START):
        return
    path = f"{target.namespace}/{target.name}"
    service = services.get(target.name, target.namespace) if services else None
    selector = service.spec.selector if service else {}
    behind = [
        d
        for d in (deployments.within(target.namespace) if deployments else ())
        if selector and selects(selector, d.spec.template.metadata.labels)
    ]
    mine = [p for p in (pods.within(target.namespace) if pods and selector else ()) if selects(selector, p.labels)]
    said = _log(logs, mine)
    if said:
        why = said
    elif state.reason == "ServiceNotFound":
        why = f"its Service {path} does not exist"
    elif behind and not behind[0].desired:
        why = f"{behind[0].ref()} is scaled to zero"
    elif state.reason in ("MissingEndpoints", "EndpointsNotFound"):
        why = f"its Service {path} has no ready endpoint"
    else:
        why = f"the API server gets no valid answer from Service {path}"
    evidence = [
        Evidence(kubectl("get", "apiservice", _API), f"False ({state.reason})"),
        Evidence(kubectl("describe", "apiservice", _API), shorten(state.message, 300)),
    ]
    if said:
        evidence.append(Evidence(kubectl("logs", mine[0].name, namespace=target.namespace), said))
    tls = "x509" in said
    yield Finding(
        api.ref(),
        shorten(f"metrics server ({_API}) does not answer: {why}", 200),
        evidence=tuple(evidence),
        next=(
            kubectl("get", "pods,service,endpointslices", "-o", "wide", namespace=target.namespace),
            "give the kubelets certificates with their addresses (serverTLSBootstrap), or, in a test cluster, start it "
            "with --kubelet-insecure-tls"
            if tls
            else kubectl(
                "logs", f"deployment/{behind[0].name if behind else 'metrics-server'}", namespace=target.namespace
            ),
        ),
        touches=(
            Ref("Service", target.name, target.namespace),
            *(d.ref() for d in behind),
        ),
        since=state.last_transition_time.isoformat() if state.last_transition_time else "",
    )


def _log(logs: Logs | None, pods: list[Pod]) -> str:
    for pod in pods:
        if pod.ready:
            continue
        for line in logs.lines(pod.namespace, pod.name) if logs else ():
            if found := _SAID.search(line.text):
                return shorten(found[0].strip(), 140)
    return ""

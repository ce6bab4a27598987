"""The agents through which a managed API server reaches nodes and Services do not run."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import CLUSTER, Evidence, Finding, Layer, Severity, Skip, check, kubectl, listing, shorten
from kdiag.facts import APIServices, Cluster, Events, Pod, Workload, Workloads, labels_text, stalled, state_of

#: Konnectivity (GKE, AKS, HyperShift, k0s, by hand), and what AKS had before it.
_AGENTS = ("konnectivity-agent", "tunnelfront", "aks-link")
_START = 60


@check(
    title="Tunnel of the API server is down",
    severity=Severity.ERROR,
    layer=Layer.APISERVER,
    explains=("control_plane/api_service_unavailable", "worker_node/metrics_server_unavailable"),
    tags=("konnectivity", "webhook", "apiservice"),
    namespaces=("kube-system",),
)
def api_server_tunnel_down(
    workloads: Workloads, cluster: Cluster, apis: APIServices | None, events: Events | None
) -> Iterator[Finding | Skip]:
    """One agent is enough. Without any, logs, exec, webhooks and aggregated APIs fail, and all pods run on."""
    agents = [w for w in workloads.within("kube-system") if w.name in _AGENTS]
    if not agents:
        yield Skip("no konnectivity-agent: the API server reaches the nodes by itself")
        return
    for workload in agents:
        pods = tuple(p for p in workloads.pods_of(workload) if not p.terminating and not p.finished)
        if not workload.desired or any(p.ready for p in pods) or not _down(workload, pods, cluster, events):
            continue
        ref = workload.ref()
        states = listing([f"{p.name} {state_of(p)}" for p in pods], 3) or "no pod"
        labels = labels_text(workload.spec.selector.match_labels)
        yield Finding(
            ref,
            f"no pod of {ref} is ready: the API server reaches neither kubelets nor Services "
            "(kubectl logs and exec, webhooks, aggregated APIs)",
            evidence=(
                Evidence(kubectl("get", "pods", "-l", labels, "-o", "wide", namespace=ref.namespace), states),
                *_refused(apis),
            ),
            next=(
                kubectl("describe", "pods", "-l", labels, namespace=ref.namespace),
                kubectl("rollout", "restart", f"{ref.kind.lower()}/{ref.name}", namespace=ref.namespace)
                + "    # when nothing keeps them from starting: the agents dial the control plane anew",
            ),
            touches=(CLUSTER, *(p.ref() for p in pods[:50])),
        )


def _down(workload: Workload, pods: tuple[Pod, ...], cluster: Cluster, events: Events | None) -> bool:
    """Not while they start, nor where they wait for the first node of a cluster."""
    if not pods:
        return cluster.age(workload.created) > _START
    return any(p.node and stalled(p, cluster, events) for p in pods)


def _refused(apis: APIServices | None) -> Iterator[Evidence]:
    for api in apis.items if apis else ():
        state = api.available
        if api.spec.service and state and state.status == "False":
            yield Evidence(kubectl("get", "apiservice", api.name), shorten(f"False: {state.message}", 200))
            return

"""The kube-proxy DaemonSet does not run on some nodes, which do not learn of new Services and endpoints."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, Skip, check, kubectl, listing, shorten
from kdiag.facts import NO_KUBE_PROXY, Cluster, DaemonSets, Logs, Nodes, Pods, daemon_outages, kube_proxy, last_words


@check(
    title="kube-proxy does not run",
    severity=Severity.ERROR,
    layer=Layer.PROXY,
    explains=(
        "network/coredns_cannot_reach_api",
        "application/workload_unavailable",
        "application/pod_not_ready",
        "application/daemonset_schedules_nowhere",
        "application/dependency_unreachable",
        "network/kube_proxy_rules_missing",
        "worker_node/metrics_server_unavailable",
        "control_plane/webhook_call_fails",
        "control_plane/api_service_unavailable",
    ),
    explains_here=("application/container_crashes",),
    tags=("kube-proxy", "service"),
    namespaces=("kube-system",),
)
def kube_proxy_not_running(
    daemonsets: DaemonSets, pods: Pods, nodes: Nodes, cluster: Cluster, logs: Logs | None
) -> Iterator[Finding | Skip]:
    """What it programmed before stays in the kernel: old Services go on, and each change is lost on those nodes."""
    daemonset = kube_proxy(daemonsets)
    if daemonset is None:
        yield Skip(NO_KUBE_PROXY)
        return
    ref = daemonset.ref()
    show = kubectl("get", "pods", "-l", "k8s-app=kube-proxy", "-o", "wide", namespace=ref.namespace)
    if not daemonset.desired and daemonset.observed and any(n.ready and not n.virtual for n in nodes.items):
        chosen = ",".join(f"{k}={v}" for k, v in daemonset.pod_spec.node_selector.items())
        yield Finding(
            ref,
            f"DaemonSet {ref.path} runs on no node: its nodeSelector {chosen or '(none)'} matches none",
            evidence=(
                Evidence(kubectl("get", "daemonset", ref.name, namespace=ref.namespace), "DESIRED 0"),
                Evidence(kubectl("get", "nodes", "--show-labels"), f"no node has {chosen}"),
            ),
            next=(kubectl("edit", "daemonset", ref.name, namespace=ref.namespace),),
            touches=tuple(n.ref() for n in nodes.items),
            severity=Severity.CRITICAL,
        )
        return
    outages = daemon_outages(daemonset, pods, nodes, cluster.taken)
    if not outages:
        return
    where = [o.node for o in outages]
    pod = outages[0].pod
    words = last_words(logs, pod.namespace, pod.name, pod.spec.first.name) if pod else ""
    evidence = [Evidence(show, f"{outages[0].node}: {outages[0].why}")]
    if words and pod:
        evidence.append(Evidence(kubectl("logs", pod.name, "--previous", namespace=pod.namespace), shorten(words, 300)))
    everywhere = len(where) >= daemonset.desired > 0
    yield Finding(
        ref,
        f"DaemonSet {ref.path} does not run on {'any node' if everywhere else listing(where)}: "
        + shorten(words or outages[0].why, 130),
        evidence=tuple(evidence),
        next=(show, kubectl("describe", "daemonset", ref.name, namespace=ref.namespace)),
        touches=tuple(Ref("Node", node) for node in where),
        severity=Severity.CRITICAL if everywhere else Severity.ERROR,
    )

"""The DaemonSet that makes the pod network does not run on some nodes."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, Skip, check, kubectl, listing, shorten
from kdiag.facts import (
    Cluster,
    DaemonSets,
    Events,
    Logs,
    Nodes,
    Outage,
    Pod,
    Pods,
    daemon_outages,
    last_words,
    network_daemonsets,
)


@check(
    title="Network plugin's DaemonSet does not run",
    severity=Severity.ERROR,
    layer=Layer.CNI,
    explains=(
        "network/network_plugin_not_ready",
        "network/pod_sandbox_fails",
        "network/coredns_cannot_reach_api",
        "application/workload_unavailable",
        "application/pod_not_ready",
        "application/daemonset_schedules_nowhere",
        "application/dependency_unreachable",
        "network/cni_config_missing",
        "network/routes_to_pods_missing",
    ),
    explains_here=("application/container_crashes",),
    tags=("cni",),
)
def network_plugin_daemonset_unavailable(
    daemonsets: DaemonSets, pods: Pods, nodes: Nodes, cluster: Cluster, logs: Logs | None, events: Events | None
) -> Iterator[Finding | Skip]:
    """Recognised by what it mounts of the node: the folder of network configurations, or that of the plugins."""
    plugins = network_daemonsets(daemonsets)
    if not plugins:
        yield Skip("no DaemonSet writes /etc/cni/net.d or /opt/cni/bin")
        return
    for daemonset in plugins:
        ref = daemonset.ref()
        show = kubectl(
            "get", "pods", "-o", "wide", "-l", _labels(daemonset.spec.selector.match_labels), namespace=ref.namespace
        )
        alone = len(plugins) == 1
        if not daemonset.desired and daemonset.observed and alone and any(not n.virtual for n in nodes.items):
            chosen = ",".join(f"{k}={v}" for k, v in daemonset.pod_spec.node_selector.items())
            yield Finding(
                ref,
                f"DaemonSet {ref.path}, the pod network, runs on no node: nodeSelector {chosen or '(none)'}",
                evidence=(Evidence(kubectl("get", "daemonset", ref.name, namespace=ref.namespace), "DESIRED 0"),),
                next=(kubectl("edit", "daemonset", ref.name, namespace=ref.namespace),),
                touches=tuple(n.ref() for n in nodes.items),
                severity=Severity.CRITICAL,
            )
            continue
        outages = daemon_outages(daemonset, pods, nodes, cluster.taken)
        if not outages:
            continue
        where = [o.node for o in outages]
        pod = outages[0].pod
        words = ""
        if pod:
            words = next(
                (w for c in pod.spec.all_containers if (w := last_words(logs, pod.namespace, pod.name, c.name))), ""
            )
        event = events.latest(pod.ref(), "Unhealthy", "FailedMount", "Failed") if pod and events else None
        evidence = [Evidence(show, f"{where[0]}: {outages[0].why}")]
        if words and pod:
            evidence.append(Evidence(kubectl("logs", pod.name, namespace=pod.namespace), shorten(words, 300)))
        if event and pod:
            evidence.append(
                Evidence(kubectl("describe", "pod", pod.name, namespace=pod.namespace), shorten(event.message, 300))
            )
        everywhere = len(where) >= daemonset.desired
        why = shorten(words or (event.message if event else "") or outages[0].why, 130)
        if pod and (mute := _typha(pod, pods)):
            evidence.append(
                Evidence(kubectl("get", "pods", "-l", "k8s-app=calico-typha", namespace=ref.namespace), mute)
            )
            why = mute
        yield Finding(
            ref,
            f"DaemonSet {ref.path}, the pod network, {_verb(outages)} on "
            f"{'any node' if everywhere and len(where) > 1 else listing(where)}: {why}",
            evidence=tuple(evidence),
            next=(show, kubectl("describe", "daemonset", ref.name, namespace=ref.namespace)),
            touches=tuple(Ref("Node", node) for node in where),
            severity=Severity.CRITICAL if everywhere else Severity.ERROR,
        )


def _typha(pod: Pod, pods: Pods) -> str:
    """Calico's agents hear of the cluster through Typha, where it is installed: without it none gets ready."""
    asked = next((e.value for c in pod.spec.containers for e in c.env if e.name == "FELIX_TYPHAK8SSERVICENAME"), "")
    between = [p for p in pods.within(pod.namespace) if p.labels.get("k8s-app") == asked] if asked else []
    return f"no pod of {asked}, which it asks, is ready" if between and not any(p.ready for p in between) else ""


def _verb(outages: tuple[Outage, ...]) -> str:
    pods = [o.pod for o in outages if o.pod and o.pod.phase == "Running"]
    runs = len(pods) == len(outages) and not any(s.state.waiting for p in pods for s in p.statuses)
    return "is not ready" if runs else "does not run"


def _labels(labels: dict[str, str]) -> str:
    return ",".join(f"{k}={v}" for k, v in sorted(labels.items()))

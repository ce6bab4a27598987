"""The kube-proxy DaemonSet does not run on some nodes, which do not learn of new Services and endpoints."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, Skip, check, kubectl, listing, shorten
from kdiag.facts import (
    INOTIFY_EXHAUSTED,
    NO_KUBE_PROXY,
    Cluster,
    ConfigMaps,
    DaemonSet,
    DaemonSets,
    Logs,
    Nodes,
    Pods,
    daemon_outages,
    file_of_config,
    flag,
    kube_proxy,
    last_words,
    line_meant,
    more_inotify,
)

#: Where the complaint comes from, which the line of the file says better.
_WRAPPING = re.compile(r"^failed (?:validate|complete|load)\w*: (?:KubeProxyConfiguration\.)?")


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
    daemonsets: DaemonSets,
    pods: Pods,
    nodes: Nodes,
    cluster: Cluster,
    logs: Logs | None,
    configs: ConfigMaps | None,
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
    place = ""
    next_: tuple[str, ...] = (show, kubectl("describe", "daemonset", ref.name, namespace=ref.namespace))
    touches = [Ref("Node", node) for node in where]
    if meant := _meant(daemonset, configs, words):
        config, key, line, text = meant
        place = f"ConfigMap {config.path}, line {line} of {key}: "
        evidence.insert(
            0, Evidence(kubectl("get", "configmap", config.name, "-o", "yaml", namespace=ref.namespace), text)
        )
        next_ = (
            kubectl("edit", "configmap", config.name, namespace=ref.namespace) + f"    # line {line} of {key}",
            kubectl("rollout", "restart", f"daemonset/{ref.name}", namespace=ref.namespace),
        )
        touches.append(config)
    elif pod and INOTIFY_EXHAUSTED.search(words):
        place = f"{pod.node} has no inotify instances left: "
        next_ = (*more_inotify(pod.node), show)
    everywhere = len(where) >= daemonset.desired > 0
    yield Finding(
        ref,
        f"DaemonSet {ref.path} does not run on {'any node' if everywhere else listing(where)}: "
        + place
        + shorten((_WRAPPING.sub("", words) if place else words) or outages[0].why, 130),
        evidence=tuple(evidence),
        next=next_,
        touches=tuple(touches),
        severity=Severity.CRITICAL if everywhere else Severity.ERROR,
    )


def _meant(daemonset: DaemonSet, configs: ConfigMaps | None, words: str) -> tuple[Ref, str, int, str] | None:
    """The ConfigMap, key, line and text that kube-proxy's last words are about."""
    container = next((c for c in daemonset.pod_spec.containers if "proxy" in c.name), daemonset.pod_spec.first)
    path = flag(container, "config") or ""
    found = file_of_config(daemonset, path) if path and configs else None
    config = configs.get(found[0], daemonset.namespace) if configs and found else None
    text = config.data.get(found[1], "") if config and found else ""
    line = line_meant(text, words) or _mode(text, words)
    return (config.ref(), found[1], line, text.splitlines()[line - 1].strip()) if config and found and line else None


def _mode(text: str, words: str) -> int:
    """The line that chooses what the node lacks: "can't use the IPVS proxier: error getting ipset version"."""
    proxier = re.search(r"\b(ipvs|nftables|iptables)(?: \w+)? proxier", words, re.IGNORECASE)
    lines = enumerate(text.splitlines(), 1)
    found = [n for n, line in lines if proxier and re.fullmatch(rf'mode: "?{proxier[1].lower()}"?', line.strip())]
    return found[0] if len(found) == 1 else 0

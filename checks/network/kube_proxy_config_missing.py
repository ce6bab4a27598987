"""The kube-proxy DaemonSet is told to read a file that nothing puts into its pods."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, Skip, check, kubectl, listing, nearest
from kdiag.facts import (
    NO_KUBE_PROXY,
    Cluster,
    ConfigMaps,
    DaemonSet,
    DaemonSets,
    Nodes,
    Pods,
    daemon_outages,
    file_of_config,
    flag,
    kube_proxy,
    mount_of,
)


@check(
    title="kube-proxy lacks its configuration",
    severity=Severity.CRITICAL,
    layer=Layer.PROXY,
    explains=(
        "network/kube_proxy_not_running",
        "application/workload_unavailable",
        "application/pod_not_ready",
        "application/daemonset_schedules_nowhere",
        "application/dependency_unreachable",
        "network/kube_proxy_rules_missing",
    ),
    explains_here=("application/container_crashes",),
    tags=("kube-proxy", "service", "config"),
    namespaces=("kube-system",),
)
def kube_proxy_config_missing(
    daemonsets: DaemonSets, configs: ConfigMaps, pods: Pods, cluster: Cluster, nodes: Nodes | None
) -> Iterator[Finding | Skip]:
    """Seen before any pod crashes: pods that run keep what they read, and those that start will not."""
    daemonset = kube_proxy(daemonsets)
    if daemonset is None:
        yield Skip(NO_KUBE_PROXY)
        return
    container = next((c for c in daemonset.pod_spec.containers if "proxy" in c.name), None)
    container = container or daemonset.pod_spec.first
    path = flag(container, "config") or ""
    wanted = [("--config", path)] if path else [("--kubeconfig", flag(container, "kubeconfig") or "")]
    if path and (found := file_of_config(daemonset, path)):
        config = configs.get(found[0], daemonset.namespace)
        text = config.data.get(found[1], "") if config else ""
        if other := re.search(r'^\s+kubeconfig:\s*"?(/[^\s"]+)', text, re.MULTILINE):
            wanted.append(("clientConnection.kubeconfig", other[1]))
    broken = bool(daemon_outages(daemonset, pods, nodes, cluster.taken))
    for name, file in wanted:
        if not file or not (wrong := _missing(daemonset, configs, file)):
            continue
        map_name, keys = wrong
        ref = daemonset.ref()
        volume = f"ConfigMap {daemonset.namespace}/{map_name}" if map_name else ""
        base = file.rpartition("/")[2]
        meant = nearest(base, keys) or (
            next((k for k in keys if "kubeconfig" not in k), None) if name == "--config" else None
        )
        if volume:
            text = f"{volume} has no key {base}" + (f", it has {listing(keys)}" if keys else " (or does not exist)")
        else:
            text = "no volume is mounted there"
        # kubeadm calls it config.conf: what asks for that name is right, and the ConfigMap is not.
        subject = Ref("ConfigMap", map_name, ref.namespace) if base in ("config.conf", "config") and map_name else ref
        yield Finding(
            subject,
            f"DaemonSet {ref.path} reads {file} ({name}), which is not there: {text}",
            evidence=(
                Evidence(
                    kubectl("get", "daemonset", ref.name, "-o", "yaml", namespace=ref.namespace), f"{name}: {file}"
                ),
                Evidence(
                    kubectl("get", "configmap", map_name or "kube-proxy", "-o", "yaml", namespace=ref.namespace),
                    f"keys: {listing(keys, 5) or 'none'}",
                ),
            ),
            next=(
                f"{kubectl('edit', 'daemonset', ref.name, namespace=ref.namespace)}"
                + (f"    # {file.rpartition('/')[0]}/{meant}" if meant else ""),
                kubectl("rollout", "status", f"daemonset/{ref.name}", namespace=ref.namespace),
            ),
            touches=(ref,),
            key=name,
            severity=Severity.CRITICAL if broken else Severity.WARNING,
        )


def _missing(daemonset: DaemonSet, configs: ConfigMaps, path: str) -> tuple[str, list[str]] | None:
    """The ConfigMap that lacks the file and the keys that it has; None where the file is there or cannot be judged."""
    spec = daemonset.pod_spec
    if found := file_of_config(daemonset, path):
        name, key = found
        config = configs.get(name, daemonset.namespace)
        if config is not None and key and config.has(key):
            return None
        return name, sorted(config.keys) if config else []
    mounted = any(mount_of(container, path)[0] for container in spec.containers)
    maps = [v.config_map.name for v in spec.volumes if v.config_map and "proxy" in v.config_map.name]
    if mounted or not maps:
        return None  # from the host or from the image: only the node can say
    config = configs.get(maps[0], daemonset.namespace)
    return "", sorted(config.keys) if config else []

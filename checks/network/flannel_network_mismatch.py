"""The network that flannel is configured with does not contain the ranges that the nodes give to their pods."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, ip_network

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, listing, present, shorten
from kdiag.facts import (
    Cluster,
    ConfigMap,
    ConfigMaps,
    DaemonSet,
    DaemonSets,
    Logs,
    Nodes,
    Pods,
    daemon_outages,
    last_words,
    read_object,
)

_KEY = "net-conf.json"


@check(
    title="flannel's network is not that of the nodes",
    severity=Severity.CRITICAL,
    layer=Layer.CNI,
    explains=(
        "network/network_plugin_daemonset_unavailable",
        "network/network_plugin_not_ready",
        "network/pod_sandbox_fails",
    ),
    tags=("cni", "flannel", "config"),
)
def flannel_network_mismatch(
    configs: ConfigMaps, daemonsets: DaemonSets, nodes: Nodes, pods: Pods, cluster: Cluster, logs: Logs | None
) -> Iterator[Finding]:
    """flannel ships with 10.244.0.0/16; a cluster made with another range needs it in flannel's ConfigMap as well.

    flannel checks it when it starts: pods of it that run on were started before one of the two was changed.
    """
    for config in configs.items:
        network = _network(config)
        if network is None:
            continue
        daemonset = next((d for d in daemonsets.within(config.namespace) if _reads(d, config.name)), None)
        outside = [
            n for n in nodes.items if not n.virtual and (own := _range(n.spec.pod_cidr)) and not own.subnet_of(network)
        ]
        if daemonset is None or not outside:
            continue
        outages = daemon_outages(daemonset, pods, nodes, cluster.taken)
        failing = {o.node for o in outages} & {n.name for n in outside}
        first = next((o.pod for o in outages if o.node in failing), None)
        words = last_words(logs, first.namespace, first.name, first.spec.first.name) if first else ""
        everyone = len(outside) == sum(1 for n in nodes.items if n.spec.pod_cidr and not n.virtual)
        whole = f"{outside[0].spec.pod_cidr} of {listing([n.name for n in outside])}"
        yield Finding(
            config.ref(),
            f"flannel's network {network} (ConfigMap {config.ref().path}) does not contain the pod range {whole}: "
            + ("flannel does not run there" if failing else "it will not start there again"),
            evidence=present(
                Evidence(
                    kubectl("get", "configmap", config.name, "-o", "yaml", namespace=config.namespace),
                    f'{_KEY}: "Network": "{network}"',
                ),
                Evidence(
                    kubectl("get", "nodes", "-o", "custom-columns=NODE:.metadata.name,PODS:.spec.podCIDR"),
                    listing([f"{n.name} {n.spec.pod_cidr}" for n in outside], 5),
                ),
                Evidence(kubectl("logs", first.name, namespace=first.namespace), shorten(words, 300))
                if first and words
                else None,
            ),
            next=(
                kubectl("edit", "configmap", config.name, namespace=config.namespace)
                + (
                    f'    # "Network": the range of --cluster-cidr, which holds {outside[0].spec.pod_cidr}'
                    if everyone
                    else ""
                ),
                kubectl("rollout", "restart", f"daemonset/{daemonset.name}", namespace=config.namespace),
            ),
            touches=(daemonset.ref(), *(n.ref() for n in outside)),
            severity=Severity.CRITICAL if failing and everyone else Severity.ERROR if failing else Severity.WARNING,
        )


def _network(config: ConfigMap) -> IPv4Network | None:
    """The IPv4 network of flannel's configuration; None for any other ConfigMap."""
    return _range(read_object(config.data.get(_KEY, "")).get("Network"))


def _range(text: object) -> IPv4Network | None:
    try:
        found = ip_network(text, strict=False) if isinstance(text, str) and text else None
    except ValueError:
        return None
    return found if isinstance(found, IPv4Network) else None


def _reads(daemonset: DaemonSet, name: str) -> bool:
    return any(v.config_map and v.config_map.name == name for v in daemonset.pod_spec.volumes)

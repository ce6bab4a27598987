"""The kube-proxy of a node looks for it under a wrong name, so it does not know the node's address."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Gap, Layer, Severity, Skip, check, kubectl, listing, nearest, shorten
from kdiag.facts import (
    NO_KUBE_PROXY,
    ConfigMaps,
    DaemonSet,
    DaemonSets,
    Logs,
    Nodes,
    Pods,
    flag,
    kube_proxy,
    plain,
    unread,
)

_LOST = re.compile(
    r"Failed to retrieve node (?:info|IPs?)|Can't determine this node's IP"
    r"|invalid nodeIP, initializing kube-proxy with 127\.0\.0\.1|nodes? \\?\"[^\"\\]+\\?\" not found"
)
_FOUND = re.compile(r"Successfully retrieved (?:NodeIPs|node IP)")
_NAMED = re.compile(r"nodes? \\?\"([^\"\\]+)\\?\" not found")
_OVERRIDE = re.compile(r"^\s*hostnameOverride:\s*[\"']?([^\s\"']+)", re.MULTILINE)


@check(
    title="kube-proxy does not find its node",
    severity=Severity.ERROR,
    layer=Layer.PROXY,
    explains=(
        "network/kube_proxy_not_running",
        "network/kube_proxy_sync_fails",
    ),
    tags=("kube-proxy", "service", "config"),
    namespaces=("kube-system",),
)
def kube_proxy_node_unknown(
    daemonsets: DaemonSets,
    pods: Pods,
    nodes: Nodes,
    configs: ConfigMaps | None,
    logs: Logs | None,
) -> Iterator[Finding | Gap | Skip]:
    """It asks once, when it starts, and says whether it found one; --hostname-override decides the name."""
    daemonset = kube_proxy(daemonsets)
    if daemonset is None:
        yield Skip(NO_KUBE_PROXY)
        return
    mine = [p for p in pods.by_owner.get(daemonset.metadata.uid, ()) if p.node and not p.deleted]
    told = _told(daemonset, configs)
    lost: dict[str, tuple[str, str]] = {}
    for pod in mine:
        lines = [li.text for li in (logs.lines(pod.namespace, pod.name) if logs else ())]  # the newest first
        said = next((li for li in lines if _LOST.search(li) or _FOUND.search(li)), "")
        if _LOST.search(said):
            named = next((m[1] for li in lines if (m := _NAMED.search(li))), "")
            if not named or nodes.get(named) is None:
                lost[pod.node] = (pod.name, plain(next((li for li in lines if _NAMED.search(li)), said)))
    wrong = told if told and (nodes.get(told) is None or len(mine) > 1) else ""
    if not lost and not wrong:
        if gap := unread(logs, [p for p in mine if p.ready]):
            yield gap
        return
    ref = daemonset.ref()
    where = sorted(lost) or sorted(p.node for p in mine if p.node != wrong)
    asked = wrong or next((m[1] for _, text in lost.values() if (m := _NAMED.search(text))), "")
    named = asked if nodes.get(asked) else f"{asked}, and no node is called so"
    evidence = [
        Evidence(kubectl("logs", name, namespace=ref.namespace), shorten(text, 300))
        for name, text in list(lost.values())[:2]
    ]
    if wrong:
        command = kubectl("get", "daemonset,configmap", "kube-proxy", "-o", "yaml", namespace=ref.namespace)
        evidence.append(Evidence(command, f"hostname override: {wrong}"))
    evidence.append(Evidence(kubectl("get", "nodes"), listing([n.name for n in nodes.items], 5) or "no node"))
    meant = nearest(asked, [n.name for n in nodes.items]) if asked and nodes.get(asked) is None else None
    yield Finding(
        ref,
        f"DaemonSet {ref.path} does not find its node on {listing(where)}"
        + (f": it looks for {named}" if asked else "")
        + (f"; there is {meant}" if meant else ""),
        evidence=tuple(evidence),
        next=(
            f"{kubectl('edit', 'daemonset', ref.name, namespace=ref.namespace)}"
            "    # --hostname-override=$(NODE_NAME), with NODE_NAME from spec.nodeName",
            kubectl("rollout", "status", f"daemonset/{ref.name}", namespace=ref.namespace),
        ),
        key="override" if wrong else "log",
        severity=Severity.ERROR if lost else Severity.WARNING,
    )


def _told(daemonset: DaemonSet, configs: ConfigMaps | None) -> str:
    """The one name that all its pods are told; empty where each has that of its own node, or of its host."""
    for container in daemonset.pod_spec.containers:
        given = flag(container, "hostname-override")
        if given is not None:
            return "" if "$(" in given else given
    for volume in daemonset.pod_spec.volumes if configs else ():
        config = configs.get(volume.config_map.name, daemonset.namespace) if configs and volume.config_map else None
        for text in config.data.values() if config else ():
            if found := _OVERRIDE.search(text):
                return found[1]
    return ""

"""The pods of kube-proxy run and do not get through to the API server, so no new Service works."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, Skip, check, kubectl, listing, present, shorten
from kdiag.facts import (
    ASKS_AGAIN,
    NO_KUBE_PROXY,
    Cluster,
    ConfigMaps,
    DaemonSet,
    DaemonSets,
    LogLine,
    Logs,
    Manifests,
    Nodes,
    Pods,
    ServerURL,
    SystemLeases,
    agreed_server,
    api_server_since,
    kube_proxy,
    server_urls,
)

_FAILED = re.compile(
    r"failed to (?:list|watch) [^:]{1,80}: "
    r'(?:Get \\*"(?P<url>https?://[^/"\\]{1,260})[^"\\]*\\*": (?P<why>[^"\\]{3,200})'
    r"|(?P<refused>Unauthorized|the server has asked for the client to provide credentials))"
)
#: One failed attempt is no outage: seconds.
_AGAIN = 15.0
#: client-go pauses for 30 s at most, and as long again by chance.
_REFUSED = 62.0
#: After an outage of the API server its clients find back within this time.
_BACK = timedelta(seconds=45)


@check(
    title="kube-proxy does not reach the API server",
    severity=Severity.ERROR,
    layer=Layer.PROXY,
    explains=(
        "application/dependency_unreachable",
        "network/coredns_cannot_reach_api",
        "network/kube_proxy_not_running",
        "network/kube_proxy_rules_missing",
    ),
    tags=("kube-proxy", "service", "config"),
    namespaces=("kube-system",),
)
def kube_proxy_cannot_reach_api(
    daemonsets: DaemonSets,
    pods: Pods,
    logs: Logs,
    nodes: Nodes,
    cluster: Cluster,
    configs: ConfigMaps | None,
    leases: SystemLeases | None,
    manifests: Manifests | None,
) -> Iterator[Finding | Skip]:
    """Its pods are Running and Ready all the same: it waits. The kubelets of these nodes do reach the API server."""
    daemonset = kube_proxy(daemonsets)
    if daemonset is None:
        yield Skip(NO_KUBE_PROXY)
        return
    ready = {n.name for n in nodes.items if n.ready}
    since = api_server_since(pods, leases, cluster.taken)
    right = agreed_server(manifests)
    hits: dict[str, tuple[str, str, LogLine, re.Match[str]]] = {}
    for pod in pods.by_owner.get(daemonset.metadata.uid, ()):
        if pod.deleted or pod.finished or pod.node not in ready:
            continue
        said = [
            (line, found)
            for line in logs.lines(pod.namespace, pod.name)
            if line.when
            and (found := _FAILED.search(line.text))
            and (_elsewhere(found, right) or _long_there(line.when, since, leases))
        ]
        if said and _goes_on([line for line, _ in said], cluster):
            hits[pod.node] = (pod.name, pod.namespace, *said[0])
    if not hits:
        return
    name, namespace, line, found = next(iter(hits.values()))
    where = sorted(hits)
    everywhere = len(where) >= len(ready)
    on = "any node" if everywhere and len(ready) > 1 else listing(where)
    why = (found["why"] or found["refused"]).rpartition(": connect: ")[2].strip()
    place = _place(daemonset, configs, found["url"] or "")
    astray = place is not None and _elsewhere(found, right)
    ref = Ref("ConfigMap", place[0], namespace) if astray and place else daemonset.ref()
    meant = f"{right.scheme}://{right.host}:{right.port}" if right else ""
    text = f"kube-proxy does not reach the API server on {on}: "
    if astray and place:
        text += f"ConfigMap {ref.path}, line {place[2]} of {place[1]}, leads it to {found['url']}; kubelets use {meant}"
    else:
        text += f"{found['url']}: {why}" if found["url"] else f"it is refused: {why}"
    yield Finding(
        daemonset.ref(),
        shorten(text, 260),
        evidence=present(
            Evidence(kubectl("logs", name, "--tail=5", namespace=namespace), shorten(line.text, 320)),
            Evidence(kubectl("get", "configmap", ref.name, "-o", "yaml", namespace=namespace), f"server: {place[3]}")
            if astray and place
            else None,
        ),
        next=present(
            (
                kubectl("edit", "configmap", ref.name, namespace=namespace)
                + f"    # {place[1]}, line {place[2]}: server: {meant}"
            )
            if astray and place
            else None,
            kubectl("rollout", "restart", f"daemonset/{daemonset.name}", namespace=namespace),
            kubectl("logs", "-l", "k8s-app=kube-proxy", "--tail=3", "--prefix", namespace=namespace),
        ),
        touches=(ref, *(Ref("Node", node) for node in where)),
        severity=Severity.CRITICAL if everywhere else Severity.ERROR,
    )


def _long_there(moment: datetime, since: datetime | None, leases: SystemLeases | None) -> bool:
    """Whether the API server had been there for long enough; not where that cannot be told."""
    return moment > since + _BACK if since else leases is not None and not leases.gaps


def _elsewhere(found: re.Match[str], right: ServerURL | None) -> bool:
    """Whether it asks another place than the kubelets do."""
    asked = next(iter(server_urls(found["url"] or "", default=443)), None)
    return bool(asked and right and (asked.host, asked.port) != (right.host, right.port))


def _goes_on(lines: Sequence[LogLine], cluster: Cluster) -> bool:
    """Whether it fails at present and has for a while; the newest line comes first."""
    newest, oldest = lines[0].when, lines[-1].when
    # Who is refused at once asks again within a minute; who waits for an answer notices half a minute later.
    waits = ASKS_AGAIN if re.search(r"timeout|deadline", lines[0].text) else _REFUSED
    if newest is None or oldest is None or cluster.age(newest) > waits:
        return False
    return (newest - oldest).total_seconds() >= _AGAIN


def _place(daemonset: DaemonSet, configs: ConfigMaps | None, url: str) -> tuple[str, str, int, str] | None:
    """The ConfigMap, key and line that name this server, and how."""
    for volume in daemonset.pod_spec.volumes if configs and url else ():
        config = configs.get(volume.config_map.name, daemonset.namespace) if configs and volume.config_map else None
        for key, text in config.data.items() if config else ():
            for number, line in enumerate(text.splitlines(), 1):
                found = re.match(r"\s*(?:- )?server:\s*[\"']?([^\s\"']+)", line)
                if found and found[1].rstrip("/") == url:
                    return volume.config_map.name if volume.config_map else "", key, number, found[1]
    return None

"""A node lacks the iptables rules of a Service, or has them for endpoints that are gone, though kube-proxy runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from kdiag.check import (
    TRAFFIC_LOST,
    Evidence,
    Finding,
    Gap,
    Layer,
    Ref,
    Severity,
    Skip,
    check,
    kubectl,
    listing,
    plural,
)
from kdiag.facts import (
    NO_KUBE_PROXY,
    Cluster,
    ConfigMaps,
    Containers,
    DaemonSets,
    EndpointSlices,
    Nodes,
    Pods,
    Service,
    ServicePort,
    ServiceRules,
    Services,
    ServiceTables,
    SystemLeases,
    kube_proxy,
)

# kube-proxy writes within a second, in a large cluster within some tens of seconds.
_SETTLE = 60
_RETURN = 180
#: What was seen of the first port, and the ports.
_Lack = tuple[str, tuple[str, ...]]
_MODE = re.compile(r"^\s*mode:\s*[\"']?(\w*)[\"']?\s*$", re.MULTILINE)


@check(
    title="Service has no rules on a node",
    severity=Severity.ERROR,
    layer=Layer.PROXY,
    explains=TRAFFIC_LOST,
    tags=("kube-proxy", "service", "iptables"),
)
def kube_proxy_rules_missing(
    tables: ServiceTables,
    services: Services,
    slices: EndpointSlices,
    daemonsets: DaemonSets,
    configs: ConfigMaps,
    pods: Pods,
    cluster: Cluster,
    leases: SystemLeases | None,
    containers: Containers | None,
    nodes: Nodes | None,
) -> Iterator[Finding | Gap | Skip]:
    """Only in iptables mode: the others have no such rules. Where kube-proxy itself does not run, that is the fault."""
    daemonset = kube_proxy(daemonsets)
    if daemonset is None:
        yield Skip(NO_KUBE_PROXY)
        return
    mode = _mode(configs)
    if mode not in ("", "iptables"):
        yield Skip(f"kube-proxy is in {mode or 'an unknown'} mode and writes no such rules")
        return
    late: list[Finding] = []
    working = {p.node for p in pods.by_owner.get(daemonset.metadata.uid, ()) if p.ready and _old(p.created, cluster)}
    for node, rules in tables:
        if node not in working:
            continue
        if rules.legacy or not any(name.startswith("KUBE-") for name in rules.names):
            # The container's iptables may speak the backend that the node's own does not show.
            yield Gap(f"{node} iptables-nat", "kube-proxy's rules are not in this backend of iptables")
            continue
        if rules.written and not {"PREROUTING", "OUTPUT"} <= rules.hooks:
            gone = " and ".join(sorted({"PREROUTING", "OUTPUT"} - rules.hooks))
            yield _unhooked(node, gone, daemonset.ref())
            continue
        lacking: dict[Ref, _Lack] = {}
        stale: dict[Ref, _Lack] = {}
        for service in services.items:
            for port in service.spec.ports:
                judged = _judge(service, port, rules, slices, pods, cluster)
                if judged is None:
                    continue
                kind, shown = judged
                group = lacking if kind == "lacking" else stale
                first, ports = group.get(service.ref(), (shown, ()))
                group[service.ref()] = (first, (*ports, f"{port.port}/{port.protocol.lower()}"))
        for key, found in (("lacking", lacking), ("stale", stale)):
            if found:
                late.append(_finding(node, key, found, daemonset.ref()))
    if late and _just_back(pods, leases, containers, nodes, cluster):
        yield Gap("kube-proxy", "the API server came back a moment ago: kube-proxy may not have heard of all yet")
        return
    yield from late


def _just_back(
    pods: Pods, leases: SystemLeases | None, containers: Containers | None, nodes: Nodes | None, cluster: Cluster
) -> bool:
    """Whether the API was away until a short while ago: its own endpoint goes and comes with it, and watches lag."""
    for pod in pods.within("kube-system"):
        if pod.labels.get("component") != "kube-apiserver":
            continue
        moments = [pod.created, *(s.state.running.started_at for s in pod.all_statuses if s.state.running)]
        if any(m and cluster.age(m) < _RETURN for m in moments) or not pod.ready:
            return True
    for _, seen in containers or ():
        begun = [c.started or c.created for c in seen.of("kube-apiserver") if c.running]
        if any(moment and cluster.age(moment) < _RETURN for moment in begun):
            return True
    for node in nodes.items if nodes else ():
        ready = node.condition("Ready")
        moment = ready.last_transition_time if ready and node.control_plane else None
        if moment and cluster.age(moment) < _RETURN:
            return True
    for name in ("kube-controller-manager", "kube-scheduler"):
        lease = leases.get(name, "kube-system") if leases else None
        age = lease.age(cluster.taken) if lease else None
        if age is not None and _SETTLE < age < 3600:
            return True
    return False


def _mode(configs: ConfigMaps) -> str | None:
    """What the ConfigMap says; empty for the default, None when it is not there."""
    config = configs.get("kube-proxy", "kube-system")
    if config is None:
        return ""
    texts = [m[1] for text in config.data.values() if (m := _MODE.search(text))]
    return texts[0] if texts else ""


def _old(moment: datetime | None, cluster: Cluster) -> bool:
    return moment is not None and cluster.age(moment) > _SETTLE


def _judge(
    service: Service, port: ServicePort, rules: ServiceRules, slices: EndpointSlices, pods: Pods, cluster: Cluster
) -> tuple[str, str] | None:
    address = service.spec.cluster_ip
    if service.external or not re.fullmatch(r"[\d.]+", address) or not _old(service.created, cluster):
        return None
    if "service.kubernetes.io/service-proxy-name" in service.labels or port.protocol not in ("TCP", "UDP", "SCTP"):
        return None
    if service.spec.internal_traffic_policy == "Local":
        return None
    ready: list[str] = []
    for item in slices.of_service(service):
        number = next((p.port for p in item.ports or () if p.name == port.name and p.port), None)
        if number is None or item.address_type not in ("IPv4", ""):
            continue
        for endpoint in item.endpoints or ():
            if not endpoint.ready or endpoint.conditions.terminating:
                continue
            target = endpoint.target_ref
            if target and target.kind == "Pod":
                pod = pods.get(target.name, target.namespace or service.namespace)
                if pod is None or pod.deleted or not pod.ready or not _old(pod.created, cluster):
                    continue
            ready += [f"{a}:{number}" for a in endpoint.addresses]
    if not ready:
        return None
    written = rules.endpoints(address, port.protocol, port.port)
    where = f"{address}:{port.port}/{port.protocol.lower()}"
    if written is None:
        return "lacking", f"no rule for {where}; its endpoints are {listing(sorted(ready))}"
    if not set(written) & set(ready):
        leads = f"leads to {listing(written)}" if written else "leads nowhere"
        return "stale", f"{where} {leads}; its endpoints are {listing(sorted(ready))}"
    return None


def _finding(node: str, key: str, found: dict[Ref, _Lack], daemonset: Ref) -> Finding:
    names = [f"{ref.path} ({', '.join(sorted(ports))})" for ref, (_, ports) in sorted(found.items())]
    first = min(found)
    what = "has no rules for" if key == "lacking" else "leads to endpoints that are gone for"
    return Finding(
        Ref("Node", node),
        f"{node} {what} Service {listing(names, 3)}: connections from that node fail, though kube-proxy runs",
        evidence=(
            Evidence("iptables-save -t nat", f"{first.path}: {found[first][0]}", source=node),
            Evidence(
                kubectl(
                    "get", "endpointslices", "-l", f"kubernetes.io/service-name={first.name}", namespace=first.namespace
                ),
                f"ready; {plural(len(found), 'Service')} like this on {node}",
            ),
        ),
        next=(
            kubectl("logs", "-l", "k8s-app=kube-proxy", "--tail=20", "--prefix", namespace=daemonset.namespace),
            kubectl(
                "delete",
                "pod",
                "-l",
                "k8s-app=kube-proxy",
                f"--field-selector=spec.nodeName={node}",
                namespace=daemonset.namespace,
            )
            + "    # the new one writes all rules anew",
        ),
        touches=tuple(sorted(found))[:200],
        key=key,
    )


def _unhooked(node: str, gone: str, daemonset: Ref) -> Finding:
    return Finding(
        Ref("Node", node),
        f"no packet on {node} reaches kube-proxy's rules: table nat has no way from {gone} to KUBE-SERVICES",
        evidence=(Evidence("iptables-save -t nat", f"no -A {gone} … -j KUBE-SERVICES", source=node),),
        next=(
            kubectl(
                "delete",
                "pod",
                "-l",
                "k8s-app=kube-proxy",
                f"--field-selector=spec.nodeName={node}",
                namespace=daemonset.namespace,
            )
            + "    # the new one writes all rules anew",
            f"ssh {node} sudo iptables -t nat -S PREROUTING    # who flushed it: firewalld, ufw, a script?",
        ),
        key="unhooked",
    )

"""A node lacks the rules of a Service, or has them for endpoints that are gone, though kube-proxy runs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
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
    Backends,
    Cluster,
    ConfigMaps,
    Containers,
    DaemonSets,
    EndpointSlices,
    NftNames,
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
_MODE = re.compile(r"^\s*mode:\s*[\"']?(\w*)[\"']?\s*$", re.MULTILINE)


#: What was seen of the first port, and the ports.
_Lack = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Late:
    """One port of a Service that a node does not lead to where the API says."""

    service: Ref
    port: str
    shown: str
    lacking: bool = False  # there is no rule at all
    nowhere: bool = False  # there is one that refuses


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
    backends: Backends,
    daemonsets: DaemonSets,
    configs: ConfigMaps,
    pods: Pods,
    cluster: Cluster,
    leases: SystemLeases | None,
    containers: Containers | None,
    nodes: Nodes | None,
    nft: NftNames | None,
) -> Iterator[Finding | Gap | Skip]:
    """Of each Service in iptables mode, of all in nftables mode. Where kube-proxy is down, that is the fault."""
    daemonset = kube_proxy(daemonsets)
    if daemonset is None:
        yield Skip(NO_KUBE_PROXY)
        return
    mode = _mode(configs)
    working = {p.node for p in pods.by_owner.get(daemonset.metadata.uid, ()) if p.ready and _old(p.created, cluster)}
    if mode == "nftables":
        yield from _emptied(sorted(working), nft, services, daemonset.ref())
        return
    if mode not in ("", "iptables"):
        yield Skip(f"kube-proxy is in {mode or 'an unknown'} mode and writes no such rules")
        return
    late: dict[str, list[_Late]] = {}
    settled = [s for s in services.items if not _changing(s, backends, cluster)]
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
        late[node] = [
            found
            for service in settled
            for port in service.spec.ports
            if (found := _judge(service, port, rules, slices, pods, cluster)) is not None
        ]
    # Every node knows that a Service leads nowhere: its pods went while kdiag looked, first at the API, then there.
    nowhere = Counter((one.service, one.port) for found in late.values() for one in found if one.nowhere)
    agreed = {key for key, count in nowhere.items() if count == len(late)}
    # None has a rule for any port of it, and all have those of others: it was deleted while kdiag looked.
    lacking = Counter(one.service for found in late.values() for one in found if one.lacking)
    ports = {s.ref(): len(s.spec.ports) for s in settled}
    deleted = {s for s, count in lacking.items() if len(late) > 1 and count == len(late) * ports.get(s, 0)}
    if deleted and len(deleted) * 2 < len(settled):
        names = listing(sorted(s.path for s in deleted), 3)
        yield Gap("iptables-nat", f"no node has rules for Service {names}: was it deleted a moment ago?")
        agreed |= {(one.service, one.port) for found in late.values() for one in found if one.service in deleted}
    findings = [
        finding
        for node, found in late.items()
        for finding in _findings(node, [o for o in found if (o.service, o.port) not in agreed], daemonset.ref())
    ]
    if findings and _just_back(pods, leases, containers, nodes, cluster):
        yield Gap("kube-proxy", "the API server came back a moment ago: kube-proxy may not have heard of all yet")
        return
    yield from findings


def _emptied(working: list[str], nft: NftNames | None, services: Services, daemonset: Ref) -> Iterator[Finding | Gap]:
    """In nftables mode all rules of a family are in one table of kube-proxy's own: it is there, or nothing is."""
    api = services.get("kubernetes", "default")
    if api is None or not api.spec.cluster_ip:
        return
    table = f"{'ip6' if ':' in api.spec.cluster_ip else 'ip'} kube-proxy"
    for node in working:
        names = nft.get(node) if nft else None
        if names is None:
            yield Gap(f"{node} nft-tables", "whether kube-proxy's rules are there was not seen")
        elif table not in names:
            yield _gone(node, table, names, daemonset)


def _gone(node: str, table: str, names: frozenset[str], daemonset: Ref) -> Finding:
    return Finding(
        Ref("Node", node),
        f"no Service is reached from {node}: kube-proxy runs there, and its table {table} is gone",
        evidence=(
            Evidence("sudo nft list tables", listing(sorted(names), 6) or "no table at all", source=node),
            Evidence(
                kubectl("get", "configmap", daemonset.name, "-o", "yaml", namespace=daemonset.namespace),
                "mode: nftables",
            ),
        ),
        next=(
            _anew(node, daemonset),
            f"ssh {node} 'sudo journalctl --since -1h | grep -iE \"firewalld|nftables|flush\"'    # who removed it?",
        ),
        touches=(Ref("ServiceAccount", "kube-proxy", daemonset.namespace),),
        key="emptied",
    )


def _anew(node: str, daemonset: Ref) -> str:
    at = f"--field-selector=spec.nodeName={node}"
    step = kubectl("delete", "pod", "-l", "k8s-app=kube-proxy", at, namespace=daemonset.namespace)
    return f"{step}    # the new one writes all rules anew"


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
) -> _Late | None:
    address = service.spec.cluster_ip
    if service.external or not re.fullmatch(r"[\d.]+", address) or not _old(service.created, cluster):
        return None
    if "service.kubernetes.io/service-proxy-name" in service.labels or port.protocol not in ("TCP", "UDP", "SCTP"):
        return None
    if service.spec.internal_traffic_policy == "Local":
        return None
    ready: list[str] = []
    known: set[str] = set()  # ready or not: a pod that was not yet is a moment later, when the node is read
    for item in slices.of_service(service):
        number = next((p.port for p in item.ports or () if p.name == port.name and p.port), None)
        if number is None or item.address_type not in ("IPv4", ""):
            continue
        for endpoint in item.endpoints or ():
            known.update(f"{a}:{number}" for a in endpoint.addresses)
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
    its_port, where = f"{port.port}/{port.protocol.lower()}", f"{address}:{port.port}/{port.protocol.lower()}"
    its = f"its endpoints are {listing(sorted(ready))}"
    if written is None:
        return _Late(service.ref(), its_port, f"no rule for {where}; {its}", lacking=True)
    if set(written) & known:
        return None
    leads = f"leads to {listing(written)}" if written else "leads nowhere"
    return _Late(service.ref(), its_port, f"{where} {leads}; {its}", nowhere=not written)


def _changing(service: Service, backends: Backends, cluster: Cluster) -> bool:
    """Whether pods of it came a moment ago, or go: the node's rules may be newer than what the API told."""
    return any(p.terminating or not _old(p.created, cluster) for p in backends.of(service))


def _findings(node: str, late: list[_Late], daemonset: Ref) -> Iterator[Finding]:
    for key in ("lacking", "stale"):
        found: dict[Ref, _Lack] = {}
        for one in late:
            if one.lacking is (key == "lacking"):
                first, ports = found.get(one.service, (one.shown, ()))
                found[one.service] = (first, (*ports, one.port))
        if found:
            yield _finding(node, key, found, daemonset)


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
            _anew(node, daemonset),
        ),
        # As this account kube-proxy learns of them: what it may not do, it does not do on any node.
        touches=(*sorted(found)[:200], Ref("ServiceAccount", "kube-proxy", daemonset.namespace)),
        key=key,
    )


def _unhooked(node: str, gone: str, daemonset: Ref) -> Finding:
    return Finding(
        Ref("Node", node),
        f"no packet on {node} reaches kube-proxy's rules: table nat has no way from {gone} to KUBE-SERVICES",
        evidence=(Evidence("iptables-save -t nat", f"no -A {gone} … -j KUBE-SERVICES", source=node),),
        next=(
            _anew(node, daemonset),
            f"ssh {node} sudo iptables -t nat -S PREROUTING    # who flushed it: firewalld, ufw, a script?",
        ),
        key="unhooked",
    )

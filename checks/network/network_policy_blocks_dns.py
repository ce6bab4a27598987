"""NetworkPolicies let pods out, but not to the cluster's DNS, so that they resolve no name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kdiag.check import Evidence, Finding, Gap, Layer, Ref, Severity, check, kubectl, listing
from kdiag.facts import (
    ClusterDNS,
    Complaint,
    Complaints,
    DaemonSets,
    Dependencies,
    Enforced,
    Namespaces,
    NetworkPolicies,
    NetworkPolicy,
    Nodes,
    Owners,
    Pod,
    Pods,
    Topic,
    enforcement,
    governing,
    living,
    outgoing,
    shown_peers,
    shown_ports,
)

# What a DNS pod looks like where kube-system may not be read.
_DNS_POD = Pod(name="coredns", namespace="kube-system", labels={"k8s-app": "kube-dns"})


@check(
    title="NetworkPolicy leaves pods without DNS",
    severity=Severity.ERROR,
    layer=Layer.DNS,
    explains=(
        "application/dependency_name_unresolved",
        "application/dependency_unreachable",
        "application/pod_not_ready",
        "application/workload_unavailable",
    ),
    tags=("networkpolicy", "dns"),
)
def network_policy_blocks_dns(
    policies: NetworkPolicies,
    pods: Pods,
    namespaces: Namespaces,
    owners: Owners,
    dependencies: Dependencies | None,
    complaints: Complaints | None,
    dns: ClusterDNS | None,
    daemonsets: DaemonSets | None,
    nodes: Nodes | None,
) -> Iterator[Finding | Gap]:
    """Only pods that are seen to need a name; where nothing may enforce policies, only pods that say it fails."""
    enforced, plugin = enforcement(daemonsets, nodes)
    if enforced is Enforced.NO or not policies.items:
        return
    if enforced is Enforced.UNKNOWN and daemonsets is None:
        yield Gap("daemonsets", "not seen: whether the network plugin enforces policies is not known")
        return
    found: dict[tuple[str, ...], list[tuple[Pod, Complaint | None]]] = {}
    for group in pods.templates:
        pod = living(group)
        if pod is None or pod.spec.dns_policy not in ("ClusterFirst", "ClusterFirstWithHostNet"):
            continue
        govern = governing(policies, pod, "Egress")
        if not govern or _reaches_dns(policies, namespaces, pod, dns):
            continue
        complaint = _complaint(pod, owners, dependencies, complaints, dns)
        needs = any(d.host for d in dependencies.of(pod)) if dependencies else False
        if complaint or (needs and enforced is Enforced.YES and not _node_local(daemonsets)):
            found.setdefault(tuple(sorted(p.ref().path for p in govern)), []).append((pod, complaint))
    for names, troubled in found.items():
        govern = governing(policies, troubled[0][0], "Egress")
        said = [c for _, c in troubled if c]
        sure = bool(said) and enforced is Enforced.YES
        workloads = sorted({owners.top(p) for p, _ in troubled})
        yield Finding(
            Ref("NetworkPolicy", names[0].partition("/")[2], troubled[0][0].namespace),
            f"NetworkPolicy {listing(names, 2)} leaves {listing(map(str, workloads), 2)} no way to DNS:"
            f" {_what(govern)}" + ("" if plugin else ", if the network plugin enforces policies"),
            evidence=tuple(_evidence(govern, said, plugin)),
            next=tuple(_next(govern[0])),
            touches=(*workloads, *(p.ref() for p, _ in troubled)),
            severity=Severity.ERROR if sure else Severity.WARNING,
        )


def _reaches_dns(policies: NetworkPolicies, namespaces: Namespaces, pod: Pod, dns: ClusterDNS | None) -> bool:
    """Whether one DNS pod can be asked over UDP, which is what resolvers use."""
    targets: Sequence[Pod] = [p for p in dns.pods if p.ready][:4] if dns else ()
    for target in targets or (_DNS_POD,):
        ports = {p.container_port for c in target.spec.containers for p in c.ports if p.name in ("dns", "dns-udp")}
        for port in (53, *sorted(ports - {53})):
            if outgoing(policies, namespaces, pod, target, port, "UDP").allowed:
                return True
    return False


def _node_local(daemonsets: DaemonSets | None) -> bool:
    # A cache on the node itself is reached past most plugins' policies.
    return any("node-local" in d.name or "nodelocal" in d.name for d in daemonsets.items) if daemonsets else False


def _complaint(
    pod: Pod,
    owners: Owners,
    dependencies: Dependencies | None,
    complaints: Complaints | None,
    dns: ClusterDNS | None,
) -> Complaint | None:
    """A name that this workload cannot resolve although it exists, while DNS itself is up."""
    if complaints is None or (dns and dns.known and dns.down and dns.sliced):
        return None
    for complaint in complaints.by_workload.get(owners.top(pod), ()):
        if complaint.said.topic is not Topic.UNRESOLVED:
            continue
        target = dependencies.resolve(complaint.said.host, pod.namespace) if dependencies else None
        text = complaint.said.text
        late = any(w in text for w in ("timeout", "timed out", "EAI_AGAIN", "Temporary failure", "Try again", "-3]"))
        if late or (target is not None and target.service is not None and "NXDOMAIN" not in text):
            return complaint
    return None


def _what(policies: Sequence[NetworkPolicy]) -> str:
    rules = [r for p in policies for r in p.spec.egress]
    if not rules:
        return "nothing is let out"
    tcp = any(q.port == 53 and (q.protocol or "TCP") == "TCP" for r in rules for q in r.ports)
    udp = any(q.port == 53 and q.protocol == "UDP" for r in rules for q in r.ports)
    if tcp and not udp:
        return "53 is let out for TCP, not for UDP"
    if udp:
        return "53/UDP is let out, but not to the DNS pods"
    return "53/UDP is not let out"


def _evidence(policies: Sequence[NetworkPolicy], said: Sequence[Complaint], plugin: str) -> Iterator[Evidence]:
    for policy in policies[:3]:
        rules = [f"{shown_ports(r.ports)} to {shown_peers(r.to)}" for r in policy.spec.egress]
        yield Evidence(
            kubectl("describe", "networkpolicy", policy.name, namespace=policy.namespace),
            f"selects {policy.spec.pod_selector or 'all pods'}; egress: {'; '.join(rules[:3]) or 'none'}",
        )
    for complaint in said[:1]:
        yield Evidence(kubectl(*complaint.command, namespace=complaint.pod.namespace), complaint.said.text[:200])
    if plugin:
        yield Evidence("", f"{plugin} enforces policies here")


def _next(policy: NetworkPolicy) -> Iterator[str]:
    yield kubectl("edit", "networkpolicy", policy.name, namespace=policy.namespace)
    yield "add to egress: {to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}}]," + (
        " ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]}"
    )

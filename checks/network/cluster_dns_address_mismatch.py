"""Kubelets or pods name a DNS server that is not the address of the DNS Service."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from kdiag.check import CLUSTER, Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing
from kdiag.facts import ClusterDNS, ConfigMaps, Kubelets, KubeletSetup, Owners, Pods, Service, Services

#: A cache on the node itself.
_NEAR = ("169.254.", "127.")


@check(
    title="Pods are given the wrong DNS server",
    severity=Severity.ERROR,
    layer=Layer.DNS,
    explains=(
        "application/dependency_name_unresolved",
        "application/dependency_unreachable",
        "network/cluster_dns_not_asked",
    ),
    tags=("dns", "config", "kubelet"),
    namespaces=("kube-system", "openshift-dns"),
)
def cluster_dns_address_mismatch(
    dns: ClusterDNS,
    services: Services,
    pods: Pods,
    owners: Owners,
    configs: ConfigMaps | None,
    kubelets: Kubelets | None,
) -> Iterator[Finding]:
    """An address that looks like a Service's and belongs to none; a node-local cache or a server outside is fine."""
    if dns.service is None or dns.service.headless or "." not in dns.service.spec.cluster_ip:
        return
    right = dns.service.spec.cluster_ip
    known = {s.spec.cluster_ip for s in services.items} | {p.ip for p in pods.items}
    given = _given(configs)
    wrong = [a for a in given if not a.startswith(_NEAR)]
    told = {node: s for node, setup in kubelets or () if (s := _told(setup)) is not None}
    astray = {node: s for node, s in told.items() if _wrong(s, right, known, told.values())}
    alike = len(astray) == len(told) and len(set(astray.values())) == 1
    if alike and (len(told) > 1 or wrong):
        yield _by_all(sorted(astray), next(iter(astray.values())), right, dns.reference)
    else:
        for node in sorted(astray):
            if setup := kubelets.get(node) if kubelets else None:
                yield _by_kubelet(node, setup, astray[node], right)
    if wrong and not astray and right not in given and not known & set(wrong):
        # It is what the next kubelets get; those that are there have their own file.
        yield _by_next_kubelets(wrong, dns.service, Severity.WARNING if told else None)
    yield from _by_pods(dns.service, known, pods, owners)


def _given(configs: ConfigMaps | None) -> list[str]:
    """The DNS servers that kubeadm gives to kubelets when they join."""
    config = configs.get("kubelet-config", "kube-system") if configs else None
    text = config.data.get("kubelet", "") if config else ""
    block = re.search(r"^clusterDNS:[ \t]*(.*(?:\n[ ]*-.*)*)", text, re.MULTILINE)
    return re.findall(r"[\d.]+\.[\d.]+", block[1]) if block else []


def _address(service: Service) -> Evidence:
    command = kubectl("get", "service", service.name, namespace=service.namespace)
    return Evidence(command, f"CLUSTER-IP {service.spec.cluster_ip}")


def _by_next_kubelets(wrong: list[str], service: Service, severity: Severity | None) -> Finding:
    right = service.spec.cluster_ip
    look = kubectl("get", "configmap", "kubelet-config", "-o", "yaml", namespace="kube-system")
    return Finding(
        Ref("ConfigMap", "kubelet-config", "kube-system"),
        f"kubelet-config gives pods the DNS server {listing(wrong)}; Service {service.ref().path} has {right}",
        evidence=(Evidence(look, f"clusterDNS: {listing(wrong)}"), _address(service)),
        next=(
            "ssh NODE sudo grep -A1 clusterDNS /var/lib/kubelet/config.yaml    # what the kubelets use now",
            kubectl("edit", "configmap", "kubelet-config", namespace="kube-system"),
        ),
        touches=(service.ref(),),
        severity=severity,
    )


def _by_pods(service: Service, known: set[str], pods: Pods, owners: Owners) -> Iterator[Finding]:
    """Pods with a resolver of their own that asks where a Service could be, and none is."""
    right = service.spec.cluster_ip
    prefix = right.rsplit(".", 2)[0] + "."
    asked: set[tuple[Ref, str]] = set()
    for group in pods.templates:
        pod = group[0]
        servers = pod.spec.dns_config.nameservers if pod.spec.dns_config and pod.spec.dns_policy == "None" else ()
        bad = [a for a in servers if a.startswith(prefix) and a not in known]
        ref = owners.top(pod)
        if not bad or len(bad) < len(servers) or pod.finished or (ref, bad[0]) in asked:
            continue
        asked.add((ref, bad[0]))
        look = kubectl("get", "pod", pod.name, "-o", "yaml", namespace=pod.namespace)
        yield Finding(
            ref,
            f"{ref} asks {listing(bad)} for names, where no Service is; the cluster's DNS is {right}",
            evidence=(Evidence(look, f"dnsPolicy: None, dnsConfig.nameservers: {listing(bad)}"), _address(service)),
            next=(
                f"{kubectl('edit', ref.kind.lower(), ref.name, namespace=ref.namespace)}"
                "    # remove dnsConfig and set dnsPolicy: ClusterFirst",
            ),
        )


def _told(setup: KubeletSetup) -> tuple[str, ...] | None:
    """The DNS servers that a kubelet writes into its pods' resolv.conf; None where that is not known."""
    if flag := setup.flag("cluster-dns"):
        return tuple(one.strip() for one in flag.value.split(",") if one.strip())
    if setup.config is None or not setup.settings_known:
        return None
    given = setup.config.get("clusterDNS")
    return tuple(str(one) for one in given) if isinstance(given, list) else ()


def _wrong(given: tuple[str, ...], right: str, known: set[str], others: Collection[tuple[str, ...]]) -> bool:
    """Whether pods get a server that is nobody's, or none; one outside is somebody's wish where all have it."""
    if right in given or any(one in known or one.startswith(_NEAR) for one in given):
        return False
    near = right.rsplit(".", 2)[0] + "."
    return any(right in other for other in others) or any(one.startswith(near) for one in given)


def _by_all(nodes: list[str], given: tuple[str, ...], right: str, service: Ref) -> Finding:
    """All agree with each other, and not with the Service: mostly it was made anew."""
    server = listing(given) or "none"
    return Finding(
        Ref("ConfigMap", "kubelet-config", "kube-system"),
        f"Service {service.path} has the address {right}, and all kubelets (kubelet-config) give pods {server} for DNS:"
        " no name resolves",
        evidence=(
            Evidence("grep -n -A1 clusterDNS /var/lib/kubelet/config.yaml", f"clusterDNS: {server}", nodes[0]),
            Evidence(kubectl("get", "service", service.name, namespace=service.namespace), f"CLUSTER-IP {right}"),
        ),
        next=(
            kubectl("get", "service", service.name, "-o", "yaml", namespace=service.namespace)
            + f" > {service.name}.yaml    # was it made anew? delete it, and create it with clusterIP: {server}",
            f"ssh -t {nodes[0]} sudoedit /var/lib/kubelet/config.yaml    # or on each node: clusterDNS: [{right}]",
        ),
        touches=(service, CLUSTER, *(Ref("Node", node) for node in nodes)),
        severity=Severity.CRITICAL,
    )


def _by_kubelet(node: str, setup: KubeletSetup, given: tuple[str, ...], right: str) -> Finding:
    flag, config = setup.flag("cluster-dns"), setup.config
    file = config.file("clusterDNS") if config else None
    path, line = (flag.path, flag.line) if flag else (file.path, file.line("clusterDNS")) if file else ("", 0)
    place = f"{path}:{line}" if line else path
    if given:
        what = f"gives pods the DNS server {listing(given)}; the Service has {right}: {place} clusterDNS"
    else:
        what = f"gives pods no DNS server of the cluster, but the node's own: {place} has no clusterDNS"
    return Finding(
        Ref("Node", node),
        f"kubelet on {node} {what}",
        evidence=(
            Evidence(f"grep -n -A1 clusterDNS {path}", f"clusterDNS: {listing(given) or 'none'}", node),
            Evidence(kubectl("get", "service", "-A", "-l", "k8s-app=kube-dns"), f"CLUSTER-IP {right}"),
        ),
        next=(
            f"ssh -t {node} sudoedit {path}    # "
            + (f"line {line}: --cluster-dns={right}" if flag else f"clusterDNS: [{right}]"),
            f"ssh {node} sudo systemctl restart kubelet",
            kubectl("get", "pods", "-A", "-o", "wide", f"--field-selector=spec.nodeName={node}")
            + "    # those that were made there meanwhile keep the wrong server: delete them",
        ),
        key="kubelet",
    )

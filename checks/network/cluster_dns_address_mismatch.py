"""Kubelets or pods name a DNS server that is not the address of the DNS Service."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing
from kdiag.facts import ClusterDNS, ConfigMaps, Owners, Pods, Services


@check(
    title="Pods are given the wrong DNS server",
    severity=Severity.ERROR,
    layer=Layer.DNS,
    explains=("application/dependency_name_unresolved", "network/cluster_dns_not_asked"),
    tags=("dns", "config", "kubelet"),
    namespaces=("kube-system", "openshift-dns"),
)
def cluster_dns_address_mismatch(
    dns: ClusterDNS, services: Services, pods: Pods, owners: Owners, configs: ConfigMaps | None
) -> Iterator[Finding]:
    """An address that looks like a Service's and belongs to none; a node-local cache or a server outside is fine."""
    if dns.service is None or dns.service.headless or "." not in dns.service.spec.cluster_ip:
        return
    right = dns.service.spec.cluster_ip
    known = {s.spec.cluster_ip for s in services.items} | {p.ip for p in pods.items}
    config = configs.get("kubelet-config", "kube-system") if configs else None
    text = config.data.get("kubelet", "") if config else ""
    block = re.search(r"^clusterDNS:[ \t]*(.*(?:\n[ ]*-.*)*)", text, re.MULTILINE)
    given = re.findall(r"[\d.]+\.[\d.]+", block[1]) if block else []
    wrong = [a for a in given if not a.startswith(("169.254.", "127."))]
    if wrong and right not in given and not known & set(wrong):
        yield Finding(
            Ref("ConfigMap", "kubelet-config", "kube-system"),
            f"kubelet-config gives pods the DNS server {listing(wrong)}; Service {dns.reference.path} has {right}",
            evidence=(
                Evidence(
                    kubectl("get", "configmap", "kubelet-config", "-o", "yaml", namespace="kube-system"),
                    f"clusterDNS: {listing(wrong)}",
                ),
                Evidence(
                    kubectl("get", "service", dns.service.name, namespace=dns.service.namespace), f"CLUSTER-IP {right}"
                ),
            ),
            next=(
                "ssh NODE sudo grep -A1 clusterDNS /var/lib/kubelet/config.yaml    # what the kubelets use now",
                kubectl("edit", "configmap", "kubelet-config", namespace="kube-system"),
            ),
            touches=(dns.reference,),
        )
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
        yield Finding(
            ref,
            f"{ref} asks {listing(bad)} for names, where no Service is; the cluster's DNS is {right}",
            evidence=(
                Evidence(
                    kubectl("get", "pod", pod.name, "-o", "yaml", namespace=pod.namespace),
                    f"dnsPolicy: None, dnsConfig.nameservers: {listing(bad)}",
                ),
                Evidence(
                    kubectl("get", "service", dns.service.name, namespace=dns.service.namespace), f"CLUSTER-IP {right}"
                ),
            ),
            next=(
                f"{kubectl('edit', ref.kind.lower(), ref.name, namespace=ref.namespace)}"
                "    # remove dnsConfig and set dnsPolicy: ClusterFirst",
            ),
        )

"""Pods look for names in a domain for which CoreDNS does not answer, so no name of a Service is found."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import CLUSTER, Evidence, Finding, Layer, Ref, Severity, Skip, check, kubectl, listing
from kdiag.facts import (
    KUBELET_CONFIG,
    ClusterDNS,
    ConfigMaps,
    Kubelets,
    KubeletSetup,
    corefile_map,
    service_zones,
)


@check(
    title="Cluster domain of kubelets and CoreDNS differ",
    severity=Severity.ERROR,
    layer=Layer.DNS,
    explains=("application/dependency_name_unresolved", "network/coredns_cannot_reach_api"),
    tags=("dns", "coredns", "config", "kubelet"),
    namespaces=("kube-system", "openshift-dns"),
)
def cluster_domain_differs(dns: ClusterDNS, configs: ConfigMaps, kubelets: Kubelets) -> Iterator[Finding | Skip]:
    """The kubelet writes its clusterDomain into each pod's resolv.conf; CoreDNS knows Services in its zones alone."""
    if not dns.known or not dns.workloads:
        yield Skip(dns.unknown)
        return
    domains = {node: d for node, setup in kubelets if (d := _plain(setup.setting("cluster-domain", "clusterDomain")))}
    bare = [node for node, setup in kubelets if _without(setup)] if domains else []
    for node in bare:
        setup = kubelets.get(node)
        path = setup.config.path if setup and setup.config else KUBELET_CONFIG
        usual = next(iter(domains.values()))  # of another node
        yield Finding(
            Ref("Node", node),
            f"new pods on {node} find no Service by its short name: {path} has no clusterDomain; others: {usual}",
            evidence=(Evidence(f"grep -n clusterDomain {path}", "no line, or an empty one", node),),
            next=(
                f"ssh -t {node} sudoedit {path}    # clusterDomain: {usual}",
                f"ssh {node} sudo systemctl restart kubelet    # then make the pods that started there anew",
            ),
            key="none",
        )
    for workload in dns.workloads:
        name, key = corefile_map(workload)
        config = configs.get(name, workload.namespace) if name else None
        found = service_zones(config.data.get(key, "")) if config else None
        if not found or not domains:
            continue
        directive, zones = found
        outside = {node: d for node, d in domains.items() if not _within(d, zones)}
        here = kubectl("get", "configmap", name, "-o", "yaml", namespace=workload.namespace)
        line = f"line {directive.line} of the {key}"
        if outside and len(outside) == len(domains):
            most = max(set(outside.values()), key=list(outside.values()).count)
            node = next(n for n, d in outside.items() if d == most)
            yield Finding(
                Ref("ConfigMap", name, workload.namespace),
                f"no name of a Service is found: ConfigMap {workload.namespace}/{name}, {line}, "
                f"answers for {listing(zones, 3)}; kubelets tell pods {most}",
                evidence=(
                    Evidence(here, f"kubernetes {' '.join(directive.args)}"),
                    Evidence("grep clusterDomain /var/lib/kubelet/config.yaml", f"clusterDomain: {most}", node),
                ),
                next=(
                    kubectl("edit", "configmap", name, namespace=workload.namespace)
                    + f"    # {line}: kubernetes {most}",
                    kubectl(
                        "rollout",
                        "restart",
                        f"{workload.ref().kind.lower()}/{workload.name}",
                        namespace=workload.namespace,
                    ),
                ),
                touches=(workload.ref(), dns.reference, CLUSTER),
                severity=Severity.CRITICAL,
            )
            continue
        for node, domain in outside.items():
            setup = kubelets.get(node)
            file = setup.config.file("clusterDomain") if setup and setup.config else None
            path = file.path if file else KUBELET_CONFIG
            place = f"{file.path}:{file.line('clusterDomain')} " if file and file.line("clusterDomain") else ""
            yield Finding(
                Ref("Node", node),
                f"new pods on {node} find no Service by name: {place}clusterDomain is {domain}, "
                f"CoreDNS answers for {listing(zones, 3)}",
                evidence=(
                    Evidence(f"grep -n clusterDomain {path}", f"clusterDomain: {domain}", node),
                    Evidence(here, f"kubernetes {' '.join(directive.args)}"),
                ),
                next=(
                    f"ssh -t {node} sudoedit {path}    # clusterDomain: {zones[0]}",
                    f"ssh {node} sudo systemctl restart kubelet    # then make the pods that started there anew",
                ),
            )


def _without(setup: KubeletSetup) -> bool:
    """Whether a kubelet is told of no domain at all; not where its setup is not known in full."""
    return setup.settings_known and not setup.setting("cluster-domain", "clusterDomain")


def _plain(domain: str) -> str:
    return domain.strip().rstrip(".").lower()


def _within(domain: str, zones: tuple[str, ...]) -> bool:
    return any(not zone or domain == zone or domain.endswith(f".{zone}") for zone in zones)

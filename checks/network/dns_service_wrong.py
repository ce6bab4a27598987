"""The Service that all pods ask for names does not exist, or selects no pod of the cluster's DNS."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import CLUSTER, Evidence, Finding, Layer, Severity, Skip, check, kubectl
from kdiag.facts import ClusterDNS, labels_text, selects


@check(
    title="DNS Service is missing or selects nothing",
    severity=Severity.CRITICAL,
    layer=Layer.DNS,
    explains=(
        "application/dependency_name_unresolved",
        "network/cluster_dns_unavailable",
    ),
    explains_here=("network/service_selects_nothing",),
    tags=("dns", "coredns", "service"),
    namespaces=("kube-system", "openshift-dns"),
)
def dns_service_wrong(dns: ClusterDNS) -> Iterator[Finding | Skip]:
    """Its pods may run and be ready: nobody reaches them, whatever else is wrong with them or the network."""
    if not dns.known:
        yield Skip(dns.unknown)
        return
    ref = dns.reference
    touches = (CLUSTER, *(w.ref() for w in dns.workloads))
    if dns.service is None:
        first = dns.workloads[0]
        labels = first.spec.selector.match_labels
        yield Finding(
            ref,
            f"Service {ref.path} does not exist: pods ask for names and nothing answers",
            evidence=(
                Evidence(
                    kubectl("get", "service", ref.name, namespace=ref.namespace), f'services "{ref.name}" not found'
                ),
                Evidence(
                    kubectl("get", "pods", "-l", labels_text(labels), namespace=first.namespace),
                    f"{first.ref()} is there",
                ),
            ),
            next=(
                f"{kubectl('get', 'configmap', 'kubelet-config', '-o', 'yaml', namespace='kube-system')}"
                "    # clusterDNS: the address that it must get",
                "sudo kubeadm init phase addon coredns    # on a control-plane node of a kubeadm cluster",
            ),
            touches=touches,
        )
        return
    if dns.service.external:
        yield Finding(
            ref,
            f"Service {ref.path} is of type ExternalName ({dns.service.spec.external_name}): it has no address, and "
            "nothing answers at the one that pods ask",
            evidence=(
                Evidence(kubectl("get", "service", ref.name, "-o", "wide", namespace=ref.namespace), "ExternalName"),
            ),
            next=(kubectl("edit", "service", ref.name, namespace=ref.namespace) + "    # type: ClusterIP",),
            touches=touches,
        )
        return
    selector = dns.service.spec.selector
    if not dns.down or not selector:
        return
    meant = [w for w in dns.workloads if not selects(selector, w.spec.template.metadata.labels)]
    if meant and len(meant) == len(dns.workloads):
        labels = {k: v for k, v in meant[0].spec.template.metadata.labels.items() if "hash" not in k}
        yield Finding(
            ref,
            f"Service {ref.path} selects no DNS pod: it asks for {labels_text(selector)}, "
            f"the pods of {meant[0].ref()} have {labels_text(labels)}",
            evidence=(
                Evidence(
                    kubectl("get", "service", ref.name, "-o", "wide", namespace=ref.namespace),
                    f"SELECTOR {labels_text(selector)}",
                ),
                Evidence(kubectl("get", "pods", "--show-labels", namespace=ref.namespace), labels_text(labels)),
            ),
            next=(kubectl("edit", "service", ref.name, namespace=ref.namespace),),
            touches=touches,
        )

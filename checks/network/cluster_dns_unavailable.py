"""Nothing answers for the Service that all pods ask for names."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import CLUSTER, Evidence, Finding, Layer, Ref, Severity, Skip, check, kubectl, listing, plural
from kdiag.facts import Cluster, ClusterDNS, DaemonSet, Pod, labels_text, selects, stuck

_START = 30


@check(
    title="Cluster DNS does not answer",
    severity=Severity.CRITICAL,
    layer=Layer.DNS,
    explains=("application/dependency_name_unresolved", "application/dependency_unreachable"),
    tags=("dns", "coredns", "service"),
    namespaces=("kube-system", "openshift-dns"),
)
def cluster_dns_unavailable(dns: ClusterDNS, cluster: Cluster) -> Iterator[Finding | Skip]:
    """A symptom in most cases: what stopped the pods, the Corefile or the Service is named by its own check."""
    if not dns.known:
        yield Skip(dns.unknown)
        return
    ref = dns.reference
    touches = (CLUSTER, *(w.ref() for w in dns.workloads))
    if dns.service is None:
        return  # dns_service_wrong says so
    selector = dns.service.spec.selector
    if not dns.down or not selector:
        return
    wanted = [w for w in dns.workloads if selects(selector, w.spec.template.metadata.labels)]
    if dns.workloads and not wanted:
        return  # and that, too
    if dns.pods and all(_starting(p, cluster) for p in dns.pods):
        return  # all of them start at this moment
    shown = listing([f"{p.name} {'ready' if p.ready else p.phase + ', not ready'}" for p in dns.pods], 4) or "no pod"
    why = f"none of {plural(len(dns.pods), 'pod')} is ready" if dns.pods else "there is no pod behind it"
    if not dns.pods and (nowhere := _nowhere(dns)):
        why = nowhere
    gone = not dns.pods and not dns.workloads
    if gone:
        why = "there is no pod behind it and no workload that would make one"
    ready = any(p.ready for p in dns.pods)
    if ready:
        why = "its pods are ready and the endpoints do not show it"
    yield Finding(
        ref,
        f"cluster DNS is down: Service {ref.path} has no ready endpoint, {why}",
        evidence=(
            Evidence(
                kubectl(
                    "get", "endpointslices", "-l", f"kubernetes.io/service-name={ref.name}", namespace=ref.namespace
                ),
                "no ready endpoint",
            ),
            Evidence(kubectl("get", "pods", "-l", labels_text(selector), "-o", "wide", namespace=ref.namespace), shown),
        ),
        next=(
            kubectl("get", "deployments,daemonsets", namespace=ref.namespace) + "    # was CoreDNS deleted?",
            "sudo kubeadm init phase addon coredns    # on a control-plane node of a kubeadm cluster",
        )
        if gone
        else (
            kubectl("describe", "pods", "-l", labels_text(selector), namespace=ref.namespace),
            kubectl("logs", "-l", labels_text(selector), "--tail=20", namespace=ref.namespace),
        ),
        touches=(*touches, *(p.ref() for p in dns.pods), *(Ref("Node", p.node) for p in dns.pods if p.node)),
    )


def _nowhere(dns: ClusterDNS) -> str:
    """A DaemonSet that wants no node has no pod, and nothing is Pending."""
    for workload in dns.workloads:
        if isinstance(workload, DaemonSet) and workload.observed and not workload.desired:
            selector = workload.pod_spec.node_selector
            chosen = (
                f"no node has {labels_text(selector)}"
                if selector
                else "each node has a taint that it does not tolerate"
            )
            return f"{workload.ref()} runs on no node: {chosen}"
    return ""


def _starting(pod: Pod, cluster: Cluster) -> bool:
    return (
        not pod.ready
        and cluster.age(pod.created) < _START
        and not pod.restarts
        and not any(stuck(status) for status in pod.all_statuses)
    )

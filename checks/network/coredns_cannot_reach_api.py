"""CoreDNS does not reach the API server, so it knows no Service and is not ready."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Gap, Layer, Ref, Severity, Skip, check, kubectl, listing, shorten
from kdiag.facts import (
    RETURN,
    Cluster,
    ClusterDNS,
    LogLine,
    Logs,
    Pods,
    Services,
    SystemLeases,
    api_server_returned,
    unread,
)

_DIAL = re.compile(r"dial tcp (\S+?): (i/o timeout|connect: [\w ]+|operation was canceled|.*deadline exceeded)")
_AWAY = re.compile(r'(?:failed to list|Failed to watch|Get "https?://\S+|Unhandled Error|reflector)')
_WAITS = re.compile(r'(?:Plugins not ready|Still waiting on): .*"kubernetes"')
_RECENT = 300
# A start takes seconds; what says for longer that it waits gets no answer.
_START = 30


@check(
    title="CoreDNS does not reach the API server",
    severity=Severity.CRITICAL,
    layer=Layer.DNS,
    explains=(
        "network/cluster_dns_unavailable",
        "network/service_has_no_ready_endpoint",
        "application/dependency_name_unresolved",
    ),
    explains_here=(
        "application/workload_unavailable",
        "application/container_crashes",
        "application/pod_not_ready",
        "application/readiness_probe_fails",
    ),
    tags=("dns", "coredns", "service"),
    namespaces=("kube-system", "openshift-dns"),
)
def coredns_cannot_reach_api(
    dns: ClusterDNS,
    cluster: Cluster,
    logs: Logs | None,
    services: Services | None,
    pods: Pods | None,
    leases: SystemLeases | None,
) -> Iterator[Finding | Gap | Skip]:
    """Usually the Service network of the pod's node: kube-proxy or the network plugin. Not CoreDNS's own fault."""
    if not dns.known:
        yield Skip(dns.unknown)
        return
    if gap := unread(logs, [p for p in dns.pods if not p.ready and p.phase == "Running" and not p.deleted]):
        yield gap
    for workload in dns.workloads:
        hits: list[tuple[str, str, str, str]] = []
        for pod in dns.of(workload):
            if pod.ready or pod.deleted:
                continue  # it has what it needs, whatever its log said before
            lines = list(logs.lines(pod.namespace, pod.name) if logs else ())
            if any("is forbidden: User" in line.text for line in lines):
                continue  # it is reached and refuses: coredns_forbidden
            for line in lines:
                found = _DIAL.search(line.text) if _AWAY.search(line.text) and _new(line, cluster) else None
                if found:
                    hits.append((pod.name, pod.node, line.text, f"{found[1]} {found[2].removeprefix('connect: ')}"))
                    break
            else:
                running = next((s.state.running for s in pod.statuses if s.state.running), None)
                waits = next((li for li in lines if _WAITS.search(li.text)), None)
                if waits and running and cluster.age(running.started_at) > _START and _new(waits, cluster):
                    hits.append((pod.name, pod.node, waits.text, "it waits for the first answer"))
        if not hits:
            continue
        if pods and api_server_returned(pods, leases, cluster.taken):
            yield Gap("CoreDNS", f"the API server came back less than {RETURN} s ago: it may not have asked again yet")
            return
        ref = workload.ref()
        name, _, text, why = hits[0]
        nodes = sorted({node for _, node, _, _ in hits})
        yield Finding(
            ref,
            f"CoreDNS ({ref.path}) does not reach the API server from {listing(nodes)}: {why}",
            evidence=(
                Evidence(kubectl("logs", name, namespace=ref.namespace), shorten(text, 300)),
                Evidence(
                    kubectl("get", "pods", "-l", "k8s-app=kube-dns", "-o", "wide", namespace=ref.namespace),
                    f"{listing([h[0] for h in hits])}: Running, not ready",
                ),
            ),
            next=(
                kubectl("get", "pods", "-o", "wide", "-l", "k8s-app=kube-proxy", namespace="kube-system"),
                kubectl("get", "endpointslices", "-l", "kubernetes.io/service-name=kubernetes", namespace="default"),
                f"ssh {nodes[0]} curl -sk --max-time 5 https://{_address(why, services)}/version    # from the node",
            ),
            touches=(dns.reference, *(Ref("Node", node) for node in nodes)),
            severity=Severity.CRITICAL if dns.down else Severity.ERROR,
        )


def _new(line: LogLine, cluster: Cluster) -> bool:
    return line.when is None or cluster.age(line.when) < _RECENT


def _address(why: str, services: Services | None) -> str:
    first = why.split()[0]
    own = services.get("kubernetes", "default") if services else None
    return first if ":" in first else own.spec.cluster_ip if own else "ADDRESS-OF-SERVICE-KUBERNETES"

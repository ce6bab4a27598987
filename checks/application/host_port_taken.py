"""A pod wants a port of the node itself, and on every node another pod has it."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, listing, plural
from kdiag.facts import Claims, Cluster, Events, Owners, Pod, Scheduling, Volumes, Why, host_ports


@check(
    title="Host port is taken on every node",
    severity=Severity.ERROR,
    layer=Layer.SCHEDULING,
    explains=(
        "application/pod_not_ready",
        "application/workload_unavailable",
    ),
    tags=("scheduling", "ports"),
)
def host_port_taken(
    scheduling: Scheduling,
    cluster: Cluster,
    owners: Owners,
    claims: Claims | None,
    volumes: Volumes | None,
    events: Events | None,
) -> Iterator[Finding]:
    """Says who has the port: other replicas of the same workload, or somebody else."""
    for stuck in scheduling.stuck(Why.PORT, cluster.taken, claims, volumes, events):
        wanted = host_ports(stuck.pod.spec)
        ports = listing(f"{port}/{protocol}" if protocol != "TCP" else str(port) for protocol, port in sorted(wanted))
        holders = {
            node.name: other
            for node in stuck.near
            for other in scheduling.running(node.name)
            if wanted & host_ports(other.spec)
        }
        tops = list(dict.fromkeys(owners.top(p) for p in holders.values()))
        own = bool(tops) and all(t == stuck.owner for t in tops)
        who = (
            f"its own replicas have it on {listing(sorted(holders))}: one fits on a node"
            if own
            else f"{listing(str(t) for t in tops)} has it on {listing(sorted(holders))}"
            if tops
            else f"it is taken on {plural(stuck.said.get(Why.PORT, 0), 'node')}"
        )
        yield Finding(
            stuck.owner,
            f"{stuck.owner} wants host port {ports}; {who}",
            evidence=(
                Evidence(kubectl("describe", "pod", stuck.pod.name, namespace=stuck.pod.namespace), stuck.quote),
                *(_holder(node, pod) for node, pod in sorted(holders.items())[:3]),
            ),
            next=(
                kubectl(
                    "scale",
                    f"{stuck.owner.kind.lower()}/{stuck.owner.name}",
                    f"--replicas={len(holders)}",
                    namespace=stuck.owner.namespace,
                )
                if own and stuck.owner.kind in ("Deployment", "StatefulSet", "ReplicaSet")
                else f"give {stuck.owner} another hostPort, or take the port from the other",
                "better: no hostPort at all, and a Service of type NodePort or LoadBalancer in front",
            ),
            touches=tuple(p.ref() for p in stuck.pods[:50]),
            key=ports,
            since=stuck.since,
        )


def _holder(node: str, pod: Pod) -> Evidence:
    return Evidence(kubectl("get", "pod", pod.name, "-o", "wide", namespace=pod.namespace), f"has the port on {node}")

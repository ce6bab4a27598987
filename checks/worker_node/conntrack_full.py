"""A node tracks as many connections as its kernel allows, so it drops new ones at random."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check
from kdiag.facts import Kernels

_FULL = 0.98
_NEAR = 0.90


@check(
    title="Connection table is full",
    severity=Severity.ERROR,
    layer=Layer.HOST,
    explains=(
        "application/dependency_unreachable",
        "application/dependency_name_unresolved",
        "network/coredns_upstream_unreachable",
        "network/coredns_cannot_reach_api",
    ),
    tags=("conntrack", "node", "network", "dns"),
)
def conntrack_full(kernels: Kernels) -> Iterator[Finding]:
    """What is tracked already goes on; only new connections and UDP queries fail, and only on this node."""
    for node, kernel in kernels:
        if kernel.conntrack is None:
            continue
        count, most = kernel.conntrack
        if most < 1 or count < most * _NEAR:
            continue
        full = count >= most * _FULL
        state = "is full" if full else "is nearly full"
        effect = ": new connections and DNS queries from it are dropped" if full else ""
        yield Finding(
            Ref("Node", node),
            f"the connection table of {node} {state} (at most {most}){effect}",
            evidence=(
                Evidence(
                    "sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max",
                    f"nf_conntrack_count = {count}, nf_conntrack_max = {most}",
                    source=node,
                ),
            ),
            next=(
                f"ssh {node} sudo sysctl -w net.netfilter.nf_conntrack_max={most * 2}",
                f"ssh {node} \"sudo conntrack -L 2>/dev/null | grep -o 'src=[^ ]*' | sort | uniq -c | sort -n | tail\""
                "    # who opens so many",
                "kubectl -n kube-system edit configmap kube-proxy    # conntrack.maxPerCore, so that it lasts",
            ),
            severity=Severity.ERROR if full else Severity.WARNING,
        )

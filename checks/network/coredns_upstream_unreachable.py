"""CoreDNS gets no answer from the resolver that it forwards to, so names outside the cluster fail."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Gap, Layer, Severity, Skip, check, kubectl, listing, shorten
from kdiag.facts import Cluster, ClusterDNS, Logs, unread

_LOST = re.compile(
    r"plugin/errors: 2 (\S+) \w+: (?:read|write|dial) (?:udp|tcp) (?:\S+->)?(\S+?): "
    r"(i/o timeout|read: connection refused|connect: [\w ]+|.*no route to host|.*unreachable)"
)
_RECENT = 300
_MANY = 10


@check(
    title="CoreDNS does not reach its upstream resolver",
    severity=Severity.WARNING,
    layer=Layer.DNS,
    explains=("application/dependency_name_unresolved",),
    tags=("dns", "coredns"),
    namespaces=("kube-system", "openshift-dns"),
)
def coredns_upstream_unreachable(
    dns: ClusterDNS, logs: Logs | None, cluster: Cluster
) -> Iterator[Finding | Gap | Skip]:
    """The log holds failures only; so many of them lately are more than the odd lost packet."""
    if not dns.known:
        yield Skip("no DNS Service and no CoreDNS in kube-system")
        return
    if gap := unread(logs, dns.pods):
        yield gap
    for workload in dns.workloads:
        lost: Counter[str] = Counter()
        said: dict[str, tuple[str, str, str]] = {}
        for pod in dns.of(workload):
            for line in logs.lines(pod.namespace, pod.name) if logs else ():
                found = _LOST.search(line.text)
                if found and _outside(found[1]) and (line.when is None or cluster.age(line.when) < _RECENT):
                    lost[found[2]] += 1
                    said.setdefault(found[2], (pod.name, line.text, found[3].removeprefix("read: ")))
        upstreams = sorted(address for address, count in lost.items() if count >= _MANY)
        if not upstreams:
            continue
        ref = workload.ref()
        name, text, why = said[upstreams[0]]
        yield Finding(
            ref,
            f"CoreDNS ({ref.path}) gets no answer from its upstream {listing(upstreams)}: {why}",
            evidence=(Evidence(kubectl("logs", name, namespace=ref.namespace), shorten(text, 240)),),
            next=(
                kubectl("get", "configmap", "coredns", "-o", "jsonpath={.data.Corefile}", namespace=ref.namespace),
                f"dig @{upstreams[0].rpartition(':')[0]} kubernetes.io    # from the node of {name}",
            ),
        )


def _outside(name: str) -> bool:
    """Whether it is a name that only a resolver outside could know: not a misspelt short name of the cluster's own."""
    labels = name.rstrip(".").lower().split(".")
    return len(labels) > 1 and labels[-1] not in ("local", "arpa", "svc", "internal", "") and "svc" not in labels

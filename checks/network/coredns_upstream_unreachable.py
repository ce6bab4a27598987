"""CoreDNS gets no answer from the resolver that it forwards to, so names outside the cluster fail."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Gap, Layer, Severity, Skip, check, kubectl, listing, shorten
from kdiag.facts import (
    Cluster,
    ClusterDNS,
    ConfigMaps,
    Logs,
    Namespaces,
    Services,
    StatefulSets,
    Workload,
    corefile_map,
    parse_corefile,
    unread,
)

_LOST = re.compile(
    r"plugin/errors: 2 (\S+) \w+: (?:read|write|dial) (?:udp|tcp) (?:\S+->)?(\S+?): "
    r"(i/o timeout|read: connection refused|connect: [\w ]+|.*no route to host|.*unreachable)"
)
#: A pod of a StatefulSet whose Service, mostly of its own name, is gone: db-0.db.
_PEER = re.compile(r"(.+)-\d+\.\1\.?")
#: What the loop plugin asks when CoreDNS starts, under a name of two random numbers: nobody waits for the answer.
_OWN = re.compile(r"\d+\.\d+\.")
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
    dns: ClusterDNS,
    logs: Logs | None,
    cluster: Cluster,
    configs: ConfigMaps | None,
    namespaces: Namespaces | None,
    services: Services | None,
    statefulsets: StatefulSets | None,
) -> Iterator[Finding | Gap | Skip]:
    """The log holds failures only; so many of them lately are more than the odd lost packet.

    A cluster without a way to the internet is well: there the node's own resolver never answers, and CoreDNS says so
    when it starts. So its own queries count only against an address that somebody wrote into the Corefile.
    """
    if not dns.known:
        yield Skip(dns.unknown)
        return
    if gap := unread(logs, dns.pods):
        yield gap
    inside = {"local", "arpa", "svc", "internal"}
    for known in (namespaces, services):
        inside.update(one.name for one in (known.items if known else ()))
    inside.update(s.spec.service_name for s in (statefulsets.items if statefulsets else ()))  # pod-0.service
    for workload in dns.workloads:
        named = _named(workload, configs)
        lost: Counter[str] = Counter()
        said: dict[str, tuple[str, str, str]] = {}
        for pod in dns.of(workload):
            for line in logs.lines(pod.namespace, pod.name) if logs else ():
                found = _LOST.search(line.text)
                if found is None or (line.when is not None and cluster.age(line.when) >= _RECENT):
                    continue
                if found[2] in named if _OWN.fullmatch(found[1]) else _outside(found[1], inside):
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


def _named(workload: Workload, configs: ConfigMaps | None) -> set[str]:
    """The addresses with port that the Corefile itself forwards to, those of a resolv.conf left out."""
    name, key = corefile_map(workload)
    config = configs.get(name, workload.namespace) if configs and name else None
    blocks = parse_corefile(config.data.get(key, "")).blocks if config else ()
    targets = (t.removeprefix("dns://") for b in blocks for d in b.all("forward") for t in d.args[1:])
    return {t if re.search(r"[^:]:\d+$|\]:\d+$", t) else f"[{t}]:53" if ":" in t else f"{t}:53" for t in targets}


def _outside(name: str, inside: set[str]) -> bool:
    """Whether only a resolver outside could know it: no misspelt or half-written name of the cluster's own."""
    labels = name.rstrip(".").lower().split(".")
    if _PEER.fullmatch(name):
        return False
    return len(labels) > 1 and bool(labels[-1]) and labels[-1] not in inside and "svc" not in labels

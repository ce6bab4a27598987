"""Pods that need the names of Services ask a DNS server that does not know them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kdiag.check import DEPENDENT_FAILS, Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing, shorten
from kdiag.facts import (
    Cluster,
    Complaint,
    Complaints,
    Dependencies,
    Owners,
    Pod,
    PodSpec,
    Service,
    edit_template,
    living,
)


@check(
    title="Pods do not ask the cluster's DNS",
    severity=Severity.ERROR,
    layer=Layer.DNS,
    explains=("application/dependency_name_unresolved",),
    explains_here=DEPENDENT_FAILS,
    tags=("dns", "config", "service"),
)
def cluster_dns_not_asked(
    dependencies: Dependencies, owners: Owners, cluster: Cluster, complaints: Complaints | None
) -> Iterator[Finding]:
    """The node's resolver cannot know a short name. What it, or a server of one's own, knows beyond: the log tells."""
    for group in dependencies.pods.templates:
        pod = living(group)
        if pod is None or pod.namespace == "kube-system":
            continue
        workload = owners.top(pod)
        asked = _asked(pod.spec, dependencies)
        # Of one namespace alone it is not seen which servers are the cluster's.
        if asked is None or (pod.spec.dns_policy == "None" and dependencies.services.scope):
            if finding := _without_searches(pod, group, workload, dependencies, complaints, cluster):
                yield finding
            continue
        said = _said(pod, workload, dependencies, complaints)
        named = [] if pod.spec.dns_policy == "None" else list(_short(pod, dependencies))
        if not said and not named:
            continue
        places = {c.said.host: "" for c in said} | {host: f" ({origin})" for host, origin, _ in named}
        names = listing([host + origin for host, origin in places.items()], 2)
        hurt = bool(said) or cluster.fresh(pod.created) or any(not p.ready for p in group)
        evidence = [
            Evidence(kubectl("get", "pod", pod.name, "-o", "yaml", namespace=pod.namespace), _policy(pod.spec)),
            *(Evidence(kubectl(*c.command, namespace=c.pod.namespace), shorten(c.said.text, 200)) for c in said[:1]),
        ]
        yield Finding(
            workload,
            f"{workload} asks {asked} for names, not the cluster's DNS ({_policy(pod.spec)}); it needs {names}",
            evidence=tuple(evidence),
            next=tuple(_next(workload, pod.spec)),
            touches=tuple(dict.fromkeys(service.ref() for _, _, service in named)),
            severity=Severity.ERROR if hurt else Severity.WARNING,
            since=said[0].since if said else "",
        )


def _without_searches(
    pod: Pod,
    group: Sequence[Pod],
    workload: Ref,
    dependencies: Dependencies,
    complaints: Complaints | None,
    cluster: Cluster,
) -> Finding | None:
    """The cluster's DNS is asked, by a pod that completes no name: dnsPolicy None brings no search domain with it."""
    config = pod.spec.dns_config
    if pod.spec.dns_policy != "None" or config is None or not config.nameservers or config.searches:
        return None
    named = list(_short(pod, dependencies))
    if not named:
        return None
    said = _said(pod, workload, dependencies, complaints)
    hurt = bool(said) or cluster.fresh(pod.created) or any(not p.ready for p in group)
    names = listing([f"{host} ({origin})" for host, origin, _ in named], 2)
    domain = dependencies.domain
    domains = f"{pod.namespace}.svc.{domain}, svc.{domain}, {domain}"
    return Finding(
        workload,
        f"{workload} has no search domain (dnsPolicy None, dnsConfig without searches); it needs {names}",
        evidence=(
            Evidence(
                kubectl("get", "pod", pod.name, "-o", "yaml", namespace=pod.namespace),
                f"dnsPolicy None, nameservers {listing(config.nameservers, 3)}, no searches",
            ),
            *(Evidence(kubectl(*c.command, namespace=c.pod.namespace), shorten(c.said.text, 200)) for c in said[:1]),
        ),
        next=(
            edit_template(workload, f"dnsConfig.searches: [{domains}], or dnsPolicy: ClusterFirst without dnsConfig"),
        ),
        touches=tuple(dict.fromkeys(service.ref() for _, _, service in named)),
        severity=Severity.ERROR if hurt else Severity.WARNING,
        since=said[0].since if said else "",
    )


def _asked(spec: PodSpec, dependencies: Dependencies) -> str | None:
    """Who is asked for names, where that is not the cluster's DNS."""
    if spec.dns_policy == "None":
        servers = spec.dns_config.nameservers if spec.dns_config else ()
        near = any(dependencies.has_address(s) or s.startswith(("169.254.", "127.", "fe80:", "::1")) for s in servers)
        return None if near or not servers else listing(servers, 2)
    if spec.dns_policy == "Default" or (spec.dns_policy == "ClusterFirst" and spec.host_network):
        added = spec.dns_config.nameservers if spec.dns_config else ()
        return None if any(map(dependencies.has_address, added)) else "its node's resolver"
    return None


def _policy(spec: PodSpec) -> str:
    if spec.dns_policy == "ClusterFirst":
        return "hostNetwork with dnsPolicy ClusterFirst"
    return f"dnsPolicy {spec.dns_policy}"


def _short(pod: Pod, dependencies: Dependencies) -> Iterator[tuple[str, str, Service]]:
    """The Services that it is told of by names which only the cluster's search domains complete."""
    aliases = {name.lower() for alias in pod.spec.host_aliases for name in alias.hostnames}
    searches = pod.spec.dns_config.searches if pod.spec.dns_config else ()
    for dependency in dependencies.of(pod):
        target = dependencies.resolve(dependency.host, pod.namespace)
        if target is None or target.service is None or dependency.host.lower() in aliases or searches:
            continue
        if dependency.plain and dependency.host.count(".") < 2:
            yield dependency.host, dependency.origin, target.service


def _said(pod: Pod, workload: Ref, dependencies: Dependencies, complaints: Complaints | None) -> Sequence[Complaint]:
    """Its complaints of names that Services have."""
    found = []
    for complaint in complaints.unresolved.get(workload, ()) if complaints else ():
        target = dependencies.resolve(complaint.said.host, pod.namespace)
        if target and target.service:
            found.append(complaint)
    return found


def _next(workload: Ref, spec: PodSpec) -> Iterator[str]:
    policy = "ClusterFirstWithHostNet" if spec.host_network else "ClusterFirst"
    kind = workload.kind.lower()
    if spec.dns_policy == "None" or workload.kind not in ("Deployment", "StatefulSet", "DaemonSet"):
        yield (
            kubectl("edit", kind, workload.name, namespace=workload.namespace)
            + f"   # dnsPolicy: {policy}"
            + (", without dnsConfig" if spec.dns_policy == "None" else "")
        )
        return
    patch = f'{{"spec":{{"template":{{"spec":{{"dnsPolicy":"{policy}"}}}}}}}}'
    yield kubectl("patch", kind, workload.name, "-p", patch, namespace=workload.namespace)

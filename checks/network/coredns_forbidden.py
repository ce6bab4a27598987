"""CoreDNS may not read Services and EndpointSlices: its role or its binding is gone."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Gap, Layer, Severity, Skip, check, kubectl, listing, shorten
from kdiag.facts import (
    ASKS_AGAIN,
    Access,
    Cluster,
    ClusterDNS,
    ConfigMaps,
    Logs,
    Workload,
    corefile_map,
    parse_corefile,
    unread,
)

_DENIED = re.compile(
    r'(\S+) is forbidden: User "(system:serviceaccount:[^"]+)" cannot (?:list|watch) resource "(\w+)"'
    r'(?: in API group "([^"]*)")?'
)
_BOOTSTRAPPING = "kubernetes.io/bootstrapping"
#: What the plugin kubernetes reads in any case.
_READS = (("services", ""), ("endpointslices", "discovery.k8s.io"), ("namespaces", ""))
#: Its options by which it comes to the API as somebody else.
_OWN_WAY = ("endpoint", "kubeconfig", "tls")
#: What is known to lack its role is told for longer than what may have got it since: seconds.
_RECENT = 300


@check(
    title="CoreDNS is not allowed to read the API",
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
        "application/api_access_forbidden",
    ),
    tags=("dns", "coredns", "access", "rbac"),
    namespaces=("kube-system", "openshift-dns"),
)
def coredns_forbidden(
    dns: ClusterDNS, logs: Logs | None, cluster: Cluster, access: Access | None, configs: ConfigMaps | None
) -> Iterator[Finding | Gap | Skip]:
    """A pod that was ready before answers on with what it knew; one that starts never becomes ready."""
    if not dns.known:
        yield Skip(dns.unknown)
        return
    if gap := unread(logs, [p for p in dns.pods if not p.ready and p.phase == "Running" and not p.deleted]):
        yield gap
    for workload in dns.workloads:
        denied: dict[str, None] = {}
        said = name = user = ""
        for pod in dns.of(workload):
            for line in logs.lines(pod.namespace, pod.name) if logs else ():
                found = _DENIED.search(line.text)
                recent = cluster.age(line.when) < (_RECENT if access else ASKS_AGAIN) if line.when else not pod.ready
                # Of one that works, only its role tells whether it lacks it still.
                known = access is not None or not pod.ready
                if found and recent and known and not _allowed(found, access):
                    denied[found[3]] = None
                    said, name, user = said or line.text, name or pod.name, found[2]
        ref = workload.ref()
        if not denied:
            yield from _revoked(workload, access, configs)
            continue
        account = user.rpartition(":")[2]
        yield Finding(
            ref,
            f"CoreDNS ({ref.path}) may not read {listing(sorted(denied))}: {user} has no role that allows it",
            evidence=(
                Evidence(kubectl("logs", name, namespace=ref.namespace), shorten(said, 300)),
                Evidence(
                    kubectl("auth", "can-i", "list", "endpointslices.discovery.k8s.io", f"--as={user}", "-A"), "no"
                ),
            ),
            next=_restored(f"{ref.namespace}:{account}"),
            touches=(dns.reference,),
            severity=Severity.CRITICAL if dns.down else Severity.ERROR,
        )


def _revoked(workload: Workload, access: Access | None, configs: ConfigMaps | None) -> Iterator[Finding]:
    """What its roles do not allow, before it has asked: what it reads already goes on until its watch ends."""
    account = f"{workload.namespace}:{workload.pod_spec.service_account_name}"
    name, key = corefile_map(workload)
    config = configs.get(name, workload.namespace) if configs and name else None
    blocks = parse_corefile(config.data.get(key, "")).blocks if config else ()
    plugins = [d for b in blocks for d in b.all("kubernetes")]
    if access is None or not plugins or account.endswith(":") or any(d.option(o) for d in plugins for o in _OWN_WAY):
        return
    if not any(_BOOTSTRAPPING in r.labels for r in access.cluster_roles.items):
        return  # the API server has made no roles of its own: it does not decide by RBAC
    lacks = [r for r, group in _READS if access.allows(account, "list", r, group) is False]
    if lacks == ["endpointslices"] and access.allows(account, "list", "endpoints"):
        return  # as CoreDNS before 1.8.4 wants it
    if not lacks:
        return
    ref, user = workload.ref(), f"system:serviceaccount:{account}"
    yield Finding(
        ref,
        f"CoreDNS ({ref.path}) may not read {listing(lacks)}: no role of {user} allows it, and new names are not found",
        evidence=(
            Evidence(kubectl("auth", "can-i", "list", lacks[0], f"--as={user}", "-A"), "no"),
            Evidence(kubectl("get", "clusterrolebinding", "system:coredns", "-o", "wide"), _binding(access, account)),
        ),
        next=_restored(account),
        severity=Severity.ERROR,
    )


def _binding(access: Access, account: str) -> str:
    """What there is of the binding that kubeadm makes."""
    found = next((b for b in access.cluster_bindings.items if b.name == "system:coredns"), None)
    if found is None:
        return 'clusterrolebindings "system:coredns" not found'
    names = listing([f"{s.namespace}/{s.name}" if s.namespace else s.name for s in found.subjects], 3)
    return f"ROLE ClusterRole/{found.role_ref.name}, subjects {names or 'none'}, wanted {account.replace(':', '/')}"


def _restored(account: str) -> tuple[str, ...]:
    return (
        kubectl("get", "clusterrole,clusterrolebinding", "system:coredns", "-o", "yaml"),
        kubectl(
            *("create", "clusterrolebinding", "system:coredns", "--clusterrole=system:coredns"),
            f"--serviceaccount={account}",
        ),
    )


def _allowed(found: re.Match[str], access: Access | None) -> bool:
    """Whether it is allowed by now: an API server that has just started refuses for a moment what its roles allow."""
    account = found[2].removeprefix("system:serviceaccount:")
    return bool(access and access.allows(account, "list", found[3], found[4] or ""))

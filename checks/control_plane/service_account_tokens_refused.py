"""The API server takes tokens of another issuer or audience only than those that the pods have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from kdiag.check import CLUSTER, Evidence, Finding, Layer, Severity, check, kubectl, listing, shorten
from kdiag.facts import (
    ASKS_AGAIN,
    Cluster,
    ContainerLog,
    Flag,
    Kubelets,
    LogLine,
    Logs,
    Manifest,
    Manifests,
    Pods,
    SystemLeases,
    api_server_since,
    manifest_repair,
    static_pod,
)

_REFUSED = re.compile(r'\bfailed to (?:list|watch) [^:]{1,80}: Unauthorized|"Failed to watch" err="Unauthorized"')
#: An API server that has just started may not know its service accounts yet.
_BACK = timedelta(seconds=5)


@check(
    title="Tokens of pods are refused",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    explains=(
        "control_plane/component_exits",
        "network/cluster_dns_unavailable",
        "network/coredns_cannot_reach_api",
        "network/kube_proxy_cannot_reach_api",
    ),
    tags=("access", "apiserver", "flags", "static-pods"),
    namespaces=("kube-system",),
)
def service_account_tokens_refused(
    manifests: Manifests,
    logs: Logs,
    cluster: Cluster,
    pods: Pods,
    leases: SystemLeases | None,
    kubelets: Kubelets | None,
) -> Iterator[Finding]:
    """A pod keeps its token for up to an hour. Another issuer than kubeadm's is fine where nobody is refused."""
    since = api_server_since(pods, leases, cluster.taken)
    refused = [(log, line) for log in logs.items if (line := _lately(log, since, cluster))]
    if not refused:
        return
    for node, found in manifests:
        manifest = found.of("kube-apiserver")
        setup = kubelets.get(node) if kubelets else None
        domain = (setup.setting("cluster-domain", "clusterDomain") if setup else "") or "cluster.local"
        usual = f"https://kubernetes.default.svc.{domain}"
        flag = _other(manifest, usual) if manifest else None
        if manifest is None or flag is None:
            continue
        log, line = refused[0]
        who = listing(sorted({f"{g.namespace}/{g.pod}" for g, _ in refused}), 3)
        pod = static_pod("kube-apiserver", node)
        yield Finding(
            pod,
            f"{pod.name} refuses the tokens of pods: {manifest.where(flag.line)} --{flag.name}={flag.value}, "
            f"and theirs are of {usual}",
            evidence=(
                manifest.quote(node, flag.line),
                Evidence(kubectl("logs", log.pod, "--tail=5", namespace=log.namespace), shorten(line.text, 260)),
                Evidence(kubectl("get", "pods", "-A", "-o", "wide"), f"401 Unauthorized: {who}"),
            ),
            next=(
                *manifest_repair(
                    node,
                    manifest,
                    flag.line,
                    f"--{flag.name}={usual}; to change it for good, name the new one first and the old one in a "
                    "second flag",
                ),
                "delete the pods that were made in the meantime: they have tokens of the other kind",
            ),
            touches=(pod, CLUSTER),
            key=flag.name,
        )


def _lately(log: ContainerLog, since: datetime | None, cluster: Cluster) -> LogLine | None:
    """The newest line that says that it is refused, where it has been for some time."""
    said = [
        line
        for line in log.lines
        if line.when and (since is None or line.when > since + _BACK) and _REFUSED.search(line.text)
    ]
    if log.previous or log.namespace != "kube-system" or len(said) < 2 or cluster.age(said[-1].when) > ASKS_AGAIN:
        return None
    return said[-1]


def _other(manifest: Manifest, usual: str) -> Flag | None:
    """The flag by which it takes tokens of others only; of several issuers each is taken."""
    issuers = [f for f in manifest.flags if f.name == "service-account-issuer"]
    if issuers and all(f.value != usual for f in issuers):
        return issuers[0]
    audiences = manifest.flag("api-audiences")
    return audiences if audiences and usual not in audiences.value.split(",") else None

"""A kubeconfig of the control plane leads to a place where no API server listens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from kdiag.check import API_SERVER_FAILS, Evidence, Finding, Layer, Ref, Severity, check, present, whole
from kdiag.facts import (
    Manifests,
    NodeManifests,
    ServerURL,
    server_urls,
    stands_still,
    started_anew,
    static_pod,
)

_FILES = {
    "/etc/kubernetes/scheduler.conf": "kube-scheduler",
    "/etc/kubernetes/controller-manager.conf": "kube-controller-manager",
    "/etc/kubernetes/admin.conf": "",
    "/etc/kubernetes/super-admin.conf": "",
}


@check(
    title="Kubeconfig leads to no API server",
    severity=Severity.CRITICAL,
    layer=Layer.CONTROLLERS,
    explains=(
        *API_SERVER_FAILS,
        "control_plane/client_server_wrong",
    ),
    tags=("kubeconfig", "scheduler", "access"),
)
def kubeconfig_server_wrong(manifests: Manifests) -> Iterator[Finding]:
    """Against the API server's own flags on that node, and against what the other kubeconfigs agree on."""
    votes: Counter[tuple[str, str, int]] = Counter()
    for _, found in manifests:
        for server, _ in found.servers.values():
            votes.update((e.scheme, e.host, e.port) for e in server_urls(server, default=443) if not e.fault)
    for node, found in manifests:
        for path, (server, line) in sorted(found.servers.items()):
            part = _FILES.get(path)
            if part is None or (part and not _reads(found, part, path)):
                continue
            one = next(iter(server_urls(server, default=443)), ServerURL(server, fault="it is empty"))
            right = _right(votes, one)
            why = one.fault or _why(one, found, votes, right)
            if not why:
                continue
            subject = static_pod(part, node) if part else Ref("Node", node)
            who = f"{subject.name} reaches no API server" if part else f"kubectl on {node} reaches no API server"
            own = _own(one, found)
            alone = sum(1 for _, other in manifests if part in other.meant) <= 1
            yield Finding(
                subject,
                f"{who}: {path}:{line} says {server}: {why}",
                evidence=present(
                    Evidence(f"grep -n server: {path}", f"{line}: server: {server}", node),
                    Evidence("grep -n server: /etc/kubernetes/*.conf", f"the others say {right}", node)
                    if right and not own
                    else None,
                ),
                next=tuple(_next(node, path, line, own or right, part)),
                touches=stands_still(manifests, part) if part else (),
                key=path,
                severity=(None if alone else Severity.ERROR) if part else Severity.WARNING,
            )


def _reads(found: NodeManifests, part: str, path: str) -> bool:
    manifest = found.of(part)
    return manifest is None or manifest.value("kubeconfig", path) == path


def _right(votes: Counter[tuple[str, str, int]], one: ServerURL) -> str:
    agreed = [(n, key) for key, n in votes.items() if n >= 2 and key != (one.scheme, one.host, one.port)]
    if agreed:
        scheme, host, port = max(agreed)[1]
        return f"{scheme}://{host}:{port}"
    return ""


def _own(one: ServerURL, found: NodeManifests) -> str:
    """The same place with the port on which this node's API server listens, for one that means that server."""
    api = found.of("kube-apiserver")
    if not api or one.fault or not (one.loopback or one.host in found.addresses) or _proxied(found):
        return ""
    host = f"[{one.host}]" if ":" in one.host else one.host
    return f"https://{host}:{api.value('secure-port', '6443')}"


def _why(one: ServerURL, found: NodeManifests, votes: Counter[tuple[str, str, int]], right: str) -> str:
    if one.scheme == "http":
        return "the API server serves https"
    if votes[(one.scheme, one.host, one.port)] >= 2:
        return ""
    api = found.of("kube-apiserver")
    if one.loopback or one.host in found.addresses:
        given = whole(api.value("secure-port", "6443")) if api else None
        if given not in (None, one.port) and not _proxied(found):
            return f"the API server of this node listens on {given}"
        return ""
    if right and one.literal and found.addresses:
        meant = server_urls(right)[0]
        if meant.host in found.addresses or meant.port == one.port:
            return "nobody else looks for it there"
    return ""


def _proxied(found: NodeManifests) -> bool:
    """Whether another static pod, a load balancer of the node, may listen there."""
    return any(not m.component for m in found.files)


def _next(node: str, path: str, line: int, right: str, part: str) -> Iterator[str]:
    yield f"ssh -t {node} sudoedit {path}    # line {line}: server: {right or 'https://ADDRESS:6443'}"
    if part:
        yield started_anew(node, part)
    else:
        yield f"ssh {node} sudo kubectl --kubeconfig {path} get --raw /readyz"

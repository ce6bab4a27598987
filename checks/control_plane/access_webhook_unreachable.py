"""An API server gets no answer from the webhook that it asks about each request."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kdiag.check import API_SERVER_FAILS, CLUSTER, Evidence, Finding, Layer, Ref, Severity, check, present, shorten
from kdiag.facts import (
    Cluster,
    Containers,
    HostContainer,
    HostLog,
    LogLine,
    Manifest,
    Manifests,
    NodeManifests,
    current,
    current_log,
    plain,
    said_lately,
    static_pod,
)

#: Seconds: what it asked before is over; it asks with each request.
_LATELY = 90
_LEAST = 2
#: Seconds after which a server that has started answers.
_BEGINS = 15
_SILENT = re.compile(r"did not finish within|timed out|deadline exceeded", re.IGNORECASE)
_STORE = re.compile(r"etcd|:2379\b")


@dataclass(frozen=True)
class _Kind:
    """What an API server asks a webhook for, what it says where it gets no answer, and which flags name the webhook."""

    name: str
    said: re.Pattern[str]
    flags: tuple[str, ...]
    effect: str


_KINDS = (
    _Kind(
        "authorization",
        re.compile(r"Failed to make webhook authorizer request: (.*)"),
        ("authorization-config", "authorization-webhook-config-file"),
        "whom it does not let in by other means is refused, or gets an error",
    ),
    _Kind(
        "token",
        re.compile(r"Failed to make webhook authenticator request: (.*)"),
        ("authentication-token-webhook-config-file",),
        "tokens that it does not know by other means are refused",
    ),
    _Kind(
        "audit",
        re.compile(r"[Ee]rror in audit plugin 'webhook' affecting \d+ audit events: (.*)"),
        ("audit-webhook-config-file",),
        "audit events are lost",
    ),
)
_URL = re.compile(r"(?:Post|Get) \\*\"(https?://[^\"\\?]+)[^\"]*\\*\": (?:dial tcp \S+ )?(.*)")


@check(
    title="API server's access webhook does not answer",
    severity=Severity.ERROR,
    layer=Layer.APISERVER,
    explains=API_SERVER_FAILS,
    explains_here=("control_plane/manifest_differs_between_nodes",),
    tags=("apiserver", "access", "webhook"),
)
def access_webhook_unreachable(
    containers: Containers, cluster: Cluster, manifests: Manifests | None
) -> Iterator[Finding]:
    """Those of admission are objects of the cluster; these three are named by the API server's own flags."""
    servers = [node for node, seen in containers if seen.of("kube-apiserver")]
    for node, seen in containers:
        live = current(seen, "kube-apiserver")
        if live is None:
            continue
        log = current_log(seen, "kube-apiserver")
        found = manifests.get(node) if manifests else None
        manifest = found.of("kube-apiserver") if found else None
        for kind in _KINDS:
            told = said_lately(log, kind.said, cluster, _LATELY)
            if log and len(told) >= _LEAST:
                yield _finding(node, kind, log, *told[-1], manifest, alone=len(servers) == 1)
            elif kind.name == "audit" and found and manifest and len(servers) == 1:
                yield from _hangs(node, kind, live, log, found, manifest, cluster)


def _hangs(
    node: str,
    kind: _Kind,
    live: HostContainer,
    log: HostLog | None,
    found: NodeManifests,
    manifest: Manifest,
    cluster: Cluster,
) -> Iterator[Finding]:
    """It tries for minutes before it says a word, and holds each request back as long: the API never answers."""
    flag, mode = manifest.flag(kind.flags[0]), manifest.value("audit-webhook-mode")
    began = live.started or live.created
    up = live.running and began is not None and cluster.age(began) > _BEGINS
    if flag is None or not mode.startswith("blocking") or not up or not _SILENT.search(cluster.dead):
        return
    if said_lately(log, _STORE, cluster, _LATELY):
        return  # it may as well wait for etcd
    server, _ = found.servers.get(flag.value, ("", 0))
    pod = static_pod("kube-apiserver", node)
    yield Finding(
        pod,
        f"{pod.name} holds each request back until its audit webhook{f' {server}' if server else ''} answers, and it "
        f"does not ({manifest.where(flag.line)} --{flag.name}, --audit-webhook-mode={mode})",
        evidence=(
            manifest.quote(node, flag.line),
            Evidence("kubectl get --raw /livez", cluster.dead),
        ),
        next=present(
            f"ssh {node} curl -sk -m 5 {server}    # does anything listen there?" if server else None,
            f"ssh -t {node} sudoedit {manifest.path}    # --audit-webhook-mode=batch: it then waits for nobody",
            f"ssh {node} sudo grep -n server: {flag.value}    # is that where the webhook is?",
        ),
        touches=(pod, Ref("Node", node), CLUSTER),
        key=kind.name,
        severity=Severity.CRITICAL,
    )


def _finding(
    node: str,
    kind: _Kind,
    log: HostLog,
    line: LogLine,
    said: re.Match[str],
    manifest: Manifest | None,
    *,
    alone: bool,
) -> Finding:
    pod = static_pod("kube-apiserver", node)
    url = _URL.search(said[1])
    place, why = (url[1], url[2]) if url else ("", said[1])
    flag = next((f for name in kind.flags if manifest and (f := manifest.flag(name))), None)
    harmless = kind.name == "audit" and not (manifest and manifest.value("audit-webhook-mode").startswith("blocking"))
    effect = "each request waits for it, or fails" if kind.name == "audit" and not harmless else kind.effect
    named = f" ({manifest.where(flag.line)} --{flag.name})" if manifest and flag else ""
    return Finding(
        pod,
        shorten(
            f"{pod.name} gets no answer from its {kind.name} webhook {place}{named}: {why}".replace("  ", " "), 220
        ),
        evidence=present(
            manifest.quote(node, flag.line) if manifest and flag else None,
            Evidence(f"sudo tail -n 20 {log.path}", shorten(plain(line.text), 300), node),
            Evidence("", effect, node),
        ),
        next=present(
            f"ssh {node} curl -sk -m 5 {place}    # does anything listen there?" if place else None,
            f"ssh {node} sudo grep -n server: {flag.value}    # or the kubeconfig that it names"
            if flag
            else f"ssh {node} sudo grep -n webhook /etc/kubernetes/manifests/kube-apiserver.yaml",
            f"ssh -t {node} sudoedit /etc/kubernetes/manifests/kube-apiserver.yaml    # line {flag.line}: without it, "
            "as on the other nodes"
            if flag
            else f"ssh {node} sudo crictl ps -a --name kube-apiserver",
        ),
        touches=present(pod, Ref("Node", node), CLUSTER if alone and not harmless else None),
        key=kind.name,
        severity=Severity.WARNING if harmless else Severity.CRITICAL if alone else Severity.ERROR,
    )

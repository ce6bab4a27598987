"""An API server gets no answer from the OIDC issuer whose tokens it is to take, so nobody can log in by it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, present, shorten
from kdiag.facts import Cluster, Containers, Manifests, current_log, plain, said_lately, static_pod

#: Seconds: it asks again each ten seconds, and waits up to thirty for an answer.
_LATELY = 90
_SAID = re.compile(r"oidc authenticator: initializing plugin: (.*)")
_URL = re.compile(r"Get \\*\"(https?://[^\"\\?]+?)(?:/\.well-known/[^\"\\]*)?\\*\": (?:dial tcp \S+ )?(.*)")
_FLAGS = ("oidc-issuer-url", "authentication-config")


@check(
    title="OIDC issuer does not answer the API server",
    severity=Severity.WARNING,
    layer=Layer.APISERVER,
    tags=("apiserver", "access", "oidc"),
)
def oidc_issuer_unreachable(containers: Containers, cluster: Cluster, manifests: Manifests | None) -> Iterator[Finding]:
    """The API server works all the same: certificates and service accounts need no issuer."""
    for node, seen in containers:
        log = current_log(seen, "kube-apiserver")
        told = said_lately(log, _SAID, cluster, _LATELY)
        if log is None or not told:
            continue
        line, said = told[-1]
        url = _URL.search(said[1])
        issuer, why = (url[1], url[2]) if url else ("", said[1])
        pod = static_pod("kube-apiserver", node)
        found = manifests.get(node) if manifests else None
        manifest = found.of("kube-apiserver") if found else None
        flag = next((f for name in _FLAGS if manifest and (f := manifest.flag(name))), None)
        named = f" ({manifest.where(flag.line)} --{flag.name})" if manifest and flag else ""
        yield Finding(
            pod,
            shorten(
                f"nobody can log in by OIDC: {pod.name} gets no answer from its issuer {issuer}{named}: {why}", 220
            ),
            evidence=present(
                manifest.quote(node, flag.line) if manifest and flag else None,
                Evidence(f"sudo tail -n 20 {log.path}", shorten(plain(line.text), 300), node),
            ),
            next=present(
                f"ssh {node} curl -sk -m 5 {issuer}/.well-known/openid-configuration" if issuer else None,
                f"ssh {node} sudo grep -n oidc /etc/kubernetes/manifests/kube-apiserver.yaml    # the right URL, and "
                "--oidc-ca-file where its CA is your own",
                "until then: kubectl with a client certificate, such as that of /etc/kubernetes/admin.conf",
            ),
            key="oidc",
        )

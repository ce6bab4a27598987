"""A control-plane component lacks a flag without which it does not start or cannot be reached."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import COMPONENT_FAILS, Evidence, Finding, Layer, Severity, check
from kdiag.facts import (
    Cluster,
    Containers,
    Manifest,
    Manifests,
    Pods,
    component_standing,
    manifest_repair,
    manifest_severity,
    stands_still,
    static_pod,
)

_PKI = "/etc/kubernetes/pki"
# The flag that needs another one, and why. An empty name stands for the component itself.
_NEEDS = {
    "kube-apiserver": (
        ("", "etcd-servers", "", "it has no store"),
        ("", "service-account-issuer", "", "it is required"),
        ("", "service-account-signing-key-file", f"{_PKI}/sa.key", "it is required"),
        ("tls-cert-file", "tls-private-key-file", f"{_PKI}/apiserver.key", "a certificate needs its key"),
        ("tls-private-key-file", "tls-cert-file", f"{_PKI}/apiserver.crt", "a key needs its certificate"),
        ("etcd-certfile", "etcd-keyfile", f"{_PKI}/apiserver-etcd-client.key", "a certificate needs its key"),
        ("etcd-keyfile", "etcd-certfile", f"{_PKI}/apiserver-etcd-client.crt", "a key needs its certificate"),
    ),
    "kube-controller-manager": (
        ("cluster-signing-cert-file", "cluster-signing-key-file", f"{_PKI}/ca.key", "a certificate needs its key"),
    ),
    "etcd": (
        ("cert-file", "key-file", f"{_PKI}/etcd/server.key", "a certificate needs its key"),
        ("key-file", "cert-file", f"{_PKI}/etcd/server.crt", "a key needs its certificate"),
        ("peer-cert-file", "peer-key-file", f"{_PKI}/etcd/peer.key", "a certificate needs its key"),
        ("peer-key-file", "peer-cert-file", f"{_PKI}/etcd/peer.crt", "a key needs its certificate"),
    ),
}


@check(
    title="Control-plane component lacks a flag",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    explains=(*COMPONENT_FAILS, "control_plane/manifest_differs_between_nodes"),
    tags=("static-pods", "manifests", "flags", "scheduler", "apiserver", "etcd"),
)
def manifest_flag_missing(
    manifests: Manifests, cluster: Cluster, containers: Containers | None, pods: Pods | None
) -> Iterator[Finding]:
    """A line that was deleted or commented out. A component that was started so and stays up is not complained of."""
    for node, found in manifests:
        etcd = found.of("etcd")
        for manifest in found.running:
            part = manifest.component
            now = component_standing(manifest, node, containers, pods, cluster)
            if now.proven or not manifest.flags or manifest.flag("config-file"):
                continue
            for name, value, why in _lacks(manifest, etcd):
                subject = static_pod(part, node)
                comment = _commented(manifest, name)
                line = comment or manifest.line("spec", "containers", manifest.index, "command")
                out = f"; line {comment} is commented out" if comment else ""
                yield Finding(
                    subject,
                    f"{subject.name} cannot work: {manifest.path} has no --{name}: {why}{out}",
                    evidence=(
                        Evidence(
                            f"grep -n -- --{name} {manifest.path}", manifest.text(comment) or "no such line", node
                        ),
                    ),
                    next=manifest_repair(node, manifest, line, f"add --{name}={value}" if value else f"add --{name}"),
                    touches=stands_still(manifests, part),
                    key=name,
                    severity=manifest_severity(manifests, part, now),
                )


def _lacks(manifest: Manifest, etcd: Manifest | None) -> Iterator[tuple[str, str, str]]:
    part = manifest.component
    have = {f.name.replace("_", "-") for f in manifest.flags}
    for given, needed, value, why in _NEEDS.get(part, ()):
        if (not given or given in have) and needed not in have:
            yield needed, value, why
    if part in ("kube-scheduler", "kube-controller-manager") and not {"kubeconfig", "master", "config"} & have:
        conf = "/etc/kubernetes/" + part.removeprefix("kube-") + ".conf"
        yield "kubeconfig", conf, "it does not know its API server"
    if part == "kube-apiserver" and manifest.value("etcd-servers").startswith("https://"):
        guarded = etcd is not None and etcd.value("client-cert-auth") in ("true", "True", "1")
        if guarded and not {"etcd-certfile", "etcd-keyfile"} & have:
            yield "etcd-certfile", f"{_PKI}/apiserver-etcd-client.crt", "etcd asks for a client certificate"
        if etcd is not None and "etcd-cafile" not in have and etcd.value("cert-file"):
            yield "etcd-cafile", f"{_PKI}/etcd/ca.crt", "it does not trust etcd's certificate"
    secure = "https://" in manifest.value("listen-client-urls")
    if part == "etcd" and secure and not {"cert-file", "key-file", "auto-tls"} & have:
        yield "cert-file", f"{_PKI}/etcd/server.crt", "it listens on https and has no certificate"


def _commented(manifest: Manifest, name: str) -> int:
    pattern = re.compile(rf"\s*#.*--{re.escape(name)}\b")
    return next((at for at, line in enumerate(manifest.lines, 1) if pattern.match(line)), 0)

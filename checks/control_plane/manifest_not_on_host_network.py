"""A control-plane pod has a network of its own instead of its node's, so nobody finds it and it finds nobody."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import COMPONENT_FAILS, Evidence, Finding, Layer, Severity, check
from kdiag.facts import Manifest, Manifests, manifest_repair, stands_still, static_pod

_EFFECT = {
    "etcd": "it cannot listen on the node's addresses",
    "kube-apiserver": "nobody reaches it at the node's address, and 127.0.0.1 is not where etcd is",
}
_PROBED = "its probes ask the node's 127.0.0.1 and kill it, and without the pod network it cannot start"


@check(
    title="Control-plane pod is not on its node's network",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    explains=(
        *COMPONENT_FAILS,
        "control_plane/etcd_flags_inconsistent",
        "control_plane/kubeconfig_server_wrong",
        "control_plane/manifest_differs_between_nodes",
        "control_plane/manifest_probe_wrong",
        "control_plane/secure_port_changed",
        "worker_node/kubelet_server_wrong",
    ),
    tags=("static-pods", "manifests", "network", "apiserver", "etcd"),
)
def manifest_not_on_host_network(manifests: Manifests) -> Iterator[Finding]:
    """By hostNetwork alone: no flag of a component can make up for it. A host port could, and is let pass."""
    for node, found in manifests:
        for manifest in found.running:
            part = manifest.component
            if manifest.spec is None or manifest.spec.host_network or _has_host_port(manifest):
                continue
            given = manifest.line("spec", "hostNetwork")
            line = given if "hostNetwork" in manifest.text(given) else manifest.line("spec")
            state = "is false" if line == given else "is missing"
            subject = static_pod(part, node)
            vital = part in _EFFECT
            yield Finding(
                subject,
                f"{subject.name} {'cannot work' if vital else 'is killed again and again'}: {manifest.where(line)} "
                f"hostNetwork {state}, meant is true: {_EFFECT.get(part, _PROBED)}",
                evidence=(
                    manifest.quote(node, line),
                    Evidence(f"sudo grep -n hostNetwork {manifest.path}", manifest.text(given) or "no such line", node)
                    if state == "is missing"
                    else Evidence("", "the pod gets an address of the pod network", node),
                ),
                next=manifest_repair(node, manifest, line, "hostNetwork: true"),
                touches=stands_still(manifests, part),
                severity=None if vital else Severity.ERROR,
            )


def _has_host_port(manifest: Manifest) -> bool:
    return any(p.host_port for c in (manifest.spec.containers if manifest.spec else ()) for p in c.ports)

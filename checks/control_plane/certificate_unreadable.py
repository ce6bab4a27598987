"""A file that must hold a certificate or a key holds none."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import CLUSTER, COMPONENT_FAILS, Evidence, Finding, Layer, Ref, Severity, check, present
from kdiag.facts import Certificates, Cluster, Containers, Manifests, certificate_uses, current, static_pod

_STEADY = 90


@check(
    title="Certificate or key cannot be read",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=(
        *COMPONENT_FAILS,
        "worker_node/kubelet_unauthorized",
    ),
    tags=("certificates", "static-pods"),
)
def certificate_unreadable(
    certificates: Certificates, cluster: Cluster, manifests: Manifests | None, containers: Containers | None
) -> Iterator[Finding]:
    """While the program still runs with what it read before, it is a warning: its next start fails."""
    lone = sum(pki.control_plane for _, pki in certificates) == 1
    for node, pki in certificates:
        told: set[str] = set()
        for use in certificate_uses(pki, manifests.get(node) if manifests else None):
            config = pki.kubeconfigs.get(use.path)
            for path, why in (
                (use.path, pki.broken.get(use.path, "")),
                (use.key_path, pki.broken_keys.get(use.key_path, "")),
                (use.path, config.fault if config else ""),
            ):
                if not why or path in told:
                    continue
                told.add(path)
                info = pki.files.get(path)
                size = f" ({info.size} bytes)" if info and not info.link else ""
                live = current(containers.get(node), use.component) if containers else None
                began = (live.started or live.created) if live and live.running else None
                runs = began is not None and cluster.age(began) > _STEADY
                breaks = f"{use.component} runs on with the old one and will not start again" if runs else use.breaks
                part = (
                    use.component if use.component.startswith(("kube-", "etcd")) and use.component != "kubectl" else ""
                )
                severity = Severity.CRITICAL if use.dead and lone else Severity.ERROR
                yield Finding(
                    Ref("Node", node),
                    f"{path} on {node} is of no use: {why}{size}; {breaks}",
                    evidence=(
                        Evidence(
                            f"sudo openssl {'pkey' if path == use.key_path != use.path else 'x509'} -noout -in {path}",
                            why,
                            node,
                        ),
                    ),
                    next=(
                        f"ssh {node} sudo ls -la {path}",
                        f"ssh {node} sudo kubeadm certs check-expiration    # then write it anew: see the page",
                    ),
                    touches=present(
                        static_pod(part, node) if part else None,
                        static_pod("kube-apiserver", node) if use.dead else None,
                        CLUSTER if use.dead and lone and not runs else None,
                    ),
                    key=path,
                    severity=Severity.WARNING if runs else severity,
                )

"""Certificates of the control plane expire within weeks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, listing, ssh
from kdiag.facts import Certificate, Certificates, Cluster, Manifests, certificate_uses

_SOON = timedelta(days=30)


@check(
    title="Certificates of the control plane expire soon",
    severity=Severity.WARNING,
    layer=Layer.HOST,
    tags=("certificates",),
)
def certificate_expires_soon(
    certificates: Certificates, cluster: Cluster, manifests: Manifests | None
) -> Iterator[Finding]:
    """kubeadm renews them with an upgrade only. The kubelet renews its own: late is when most of its time is over."""
    for node, pki in certificates:
        now = pki.clock or cluster.taken
        found: list[tuple[str, str, Certificate]] = []
        for use in certificate_uses(pki, manifests.get(node) if manifests else None):
            cert = use.certificate
            if cert is None or not now <= cert.not_after:
                continue
            life = cert.not_after - cert.not_before
            # The kubelet asks for a new one when 70 to 90 % of the time is over.
            limit = life * 0.08 if use.component == "kubelet" else min(_SOON, life / 5)
            if cert.not_after - now < limit:
                found.append((use.role, use.path, cert))
        if not found:
            continue
        found.sort(key=lambda f: (f[2].not_after, f[1]))
        role, _, first = found[0]
        what = role if len(found) == 1 else f"{len(found)} certificates ({listing([f[0] for f in found], 2)})"
        yield Finding(
            Ref("Node", node),
            f"{what} on {node} will expire from {first.not_after:%Y-%m-%d} on"
            if len(found) > 1
            else f"{what} on {node} will expire on {first.not_after:%Y-%m-%d}",
            evidence=tuple(
                Evidence(
                    "sudo kubeadm certs check-expiration"
                    if path.endswith(".conf")
                    else f"sudo openssl x509 -noout -enddate -in {path}",
                    f"{path}: {cert.not_after:%b %d %H:%M:%S %Y} GMT",
                    node,
                )
                for _, path, cert in found[:4]
            ),
            next=(
                (
                    ssh(node, "sudo journalctl -u kubelet --no-pager -g 'certificate|rotat' -n 20"),
                    "kubectl get csr    # Pending ones wait for approval",
                )
                if all(f[1].startswith("/var/lib/kubelet") for f in found)
                else (
                    f"ssh {node} sudo kubeadm certs renew all",
                    f"restart the control plane's pods on {node} one after the other: see the page",
                )
            ),
        )

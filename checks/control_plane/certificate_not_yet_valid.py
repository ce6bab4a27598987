"""A certificate is not valid yet by its node's clock, which usually means that a clock is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from kdiag.check import CLUSTER, ETCD_FAILS, Evidence, Finding, Layer, Ref, Severity, check, duration, listing, present
from kdiag.facts import Certificates, Cluster, Manifests, certificate_uses, static_pod

_SLACK = timedelta(seconds=30)
_APART = timedelta(seconds=120)


@check(
    title="Certificate is not valid yet",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=(
        *ETCD_FAILS,
        "worker_node/kubelet_unauthorized",
    ),
    tags=("certificates", "clock"),
)
def certificate_not_yet_valid(
    certificates: Certificates, cluster: Cluster, manifests: Manifests | None
) -> Iterator[Finding]:
    """Judged by the node's own clock: its programs know no other."""
    for node, pki in certificates:
        now = pki.clock or cluster.taken
        uses = certificate_uses(pki, manifests.get(node) if manifests else None)
        early = [u for u in uses if u.certificate and u.certificate.not_before > now + _SLACK]
        if not early:
            continue
        early.sort(key=lambda u: (not u.dead, u.path))
        worst = early[0]
        begins = worst.certificate.not_before if worst.certificate else now
        apart = cluster.taken - pki.clock if pki.clock else timedelta(0)
        if apart > _APART:
            why = f"its clock is {duration(apart)} behind"
        elif len(early) > 1:
            why = "its clock is behind, or theirs was ahead when they were made"
        else:
            why = "it was made with a clock that was ahead"
        roles = listing([u.role for u in early], 2)
        parts = [
            p
            for p in (worst.component, "kube-apiserver" if worst.dead else "")
            if p.startswith(("kube-a", "kube-c", "kube-s", "etcd"))
        ]
        lone = sum(p.control_plane for _, p in certificates) == 1
        yield Finding(
            Ref("Node", node),
            f"{roles} on {node}: not valid before {begins:%Y-%m-%d %H:%M:%S} UTC; {why}",
            evidence=(
                Evidence(
                    f"sudo openssl x509 -noout -startdate -in {worst.path}",
                    f"notBefore={begins:%b %d %H:%M:%S %Y} GMT",
                    node,
                ),
                Evidence("date -u", f"{now:%Y-%m-%d %H:%M:%S} UTC", node),
            ),
            next=(
                f"ssh {node} timedatectl    # is the clock right, and synchronized?",
                f"ssh {node} sudo systemctl restart chrony    # or chronyd, systemd-timesyncd: what the node has",
            ),
            touches=present(
                *(static_pod(p, node) for p in dict.fromkeys(parts)),
                CLUSTER if worst.dead and lone else None,
            ),
            severity=Severity.CRITICAL if worst.dead and lone else Severity.ERROR,
        )

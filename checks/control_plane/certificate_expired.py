"""Certificates of the control plane have expired, and whoever checks them refuses their owners."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from kdiag.check import (
    CLUSTER,
    COMPONENT_FAILS,
    Evidence,
    Finding,
    Layer,
    Ref,
    Severity,
    check,
    duration,
    listing,
    plural,
)
from kdiag.facts import Certificates, Cluster, Manifests, Pki, certificate_uses, several, static_pod

_APART = timedelta(minutes=5)
_CA = {
    "ca.crt": ("the cluster's CA", "every certificate that it signed is refused", True),
    "etcd/ca.crt": ("etcd's CA", "kube-apiserver and etcd refuse each other", True),
    "front-proxy-ca.crt": ("the front proxy's CA", "aggregated APIs (metrics) refuse kube-apiserver", False),
}


@dataclass(frozen=True, slots=True)
class _Expired:
    node: str
    role: str
    path: str
    ended: datetime
    breaks: str
    dead: bool
    component: str
    now: datetime


@check(
    title="Certificates of the control plane have expired",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=(
        *COMPONENT_FAILS,
        "control_plane/api_service_unavailable",
        "worker_node/kubelet_client_certificate_expired",
        "worker_node/kubelet_unauthorized",
    ),
    tags=("certificates", "apiserver", "etcd"),
)
def certificate_expired(certificates: Certificates, cluster: Cluster, manifests: Manifests | None) -> Iterator[Finding]:
    """Many that expire at once are one cause. The kubelet's own certificate is another check's."""
    found = [e for node, pki in certificates for e in _expired(node, pki, cluster.taken, manifests)]
    if not found:
        return
    found.sort(key=lambda e: (not e.dead, bool(e.component)))  # a CA first; else as listed, the worst first
    masters = sum(1 for _, pki in certificates if pki.control_plane)
    nodes = sorted({e.node for e in found})
    worst = found[0]
    where = nodes[0] if len(nodes) == 1 else listing(nodes)
    everywhere = len(nodes) >= masters
    apart = worst.now - cluster.taken
    ahead = f"; its clock is {duration(apart)} ahead" if apart > _APART and worst.ended > cluster.taken else ""
    if len(found) == 1:
        message = f"{worst.role} on {where} expired on {worst.ended:%Y-%m-%d}: {worst.breaks}{ahead}"
    else:
        roles = listing(dict.fromkeys(e.role for e in found), 3)
        message = f"{len(found)} certificates on {where} have expired ({roles}): {worst.breaks}{ahead}"
    yield Finding(
        Ref("Node", nodes[0]) if len(nodes) == 1 else CLUSTER,
        message,
        evidence=tuple(
            Evidence(_command(e.path), f"notAfter={e.ended:%b %d %H:%M:%S %Y} GMT", e.node) for e in found[:5]
        )
        + ((Evidence("", f"and {plural(len(found) - 5, 'more certificate')}", nodes[0]),) if len(found) > 5 else ()),
        next=tuple(_next(found, nodes)),
        touches=tuple(_touches(found, everywhere=everywhere)),
        severity=_severity(found, everywhere=everywhere),
        since=min(e.ended for e in found).isoformat(),
    )


def _expired(node: str, pki: Pki, taken: datetime, manifests: Manifests | None) -> Iterator[_Expired]:
    now = pki.clock or taken  # the clock by which the node's own programs judge
    mine = manifests.get(node) if manifests else None
    if not pki.control_plane:
        return
    for use in certificate_uses(pki, mine):
        cert = use.certificate
        if cert and use.component != "kubelet" and cert.not_after < now:
            lone = use.role == "etcd's peer certificate" and manifests is not None and not several(manifests, "etcd")
            breaks = "etcd has no other member now and works; one cannot join" if lone else use.breaks
            yield _Expired(node, use.role, use.path, cert.not_after, breaks, use.dead, use.component, now)
    for name, (role, breaks, dead) in _CA.items():
        path = f"{pki.folder}/{name}"
        if (cert := pki.authority(path)) and cert.not_after < now:
            yield _Expired(node, role, path, cert.not_after, breaks, dead, "", now)


def _severity(found: list[_Expired], *, everywhere: bool) -> Severity:
    if any(e.dead for e in found):
        return Severity.CRITICAL if everywhere else Severity.ERROR
    if all(e.path.endswith("super-admin.conf") or "and works" in e.breaks for e in found):
        return Severity.WARNING
    return Severity.ERROR


def _command(path: str) -> str:
    if path.endswith(".conf"):
        return f"sudo awk '/client-certificate-data/ {{print $2}}' {path} | base64 -d | openssl x509 -noout -enddate"
    return f"sudo openssl x509 -noout -enddate -in {path}"


def _touches(found: list[_Expired], *, everywhere: bool) -> Iterator[Ref]:
    for e in found:
        yield Ref("Node", e.node)
        parts = [e.component] if e.component.startswith(("kube-", "etcd")) else []
        if e.dead:
            # A dead API server takes those down that live by it.
            parts += ["kube-apiserver"]
        for part in dict.fromkeys(parts):
            yield static_pod(part, e.node)
        if e.component in ("kube-controller-manager", "kube-scheduler"):
            yield Ref("Lease", e.component, "kube-system")
        elif e.dead and everywhere:
            yield CLUSTER


def _next(found: list[_Expired], nodes: list[str]) -> Iterator[str]:
    authorities = [e for e in found if not e.component]
    for node in nodes:
        if any(e.node == node for e in authorities):
            yield f"ssh {node} sudo kubeadm certs check-expiration    # renew does not renew a CA: see the page"
            continue
        yield f"ssh {node} sudo kubeadm certs renew all"
        yield (
            f"ssh {node} sudo sh -c \"'mkdir -p /root/held; mv /etc/kubernetes/manifests/*.yaml /root/held/; sleep 25; "
            "mv /root/held/*.yaml /etc/kubernetes/manifests/'\"    # restarts the control plane's pods"
        )
    if any(e.path.endswith("/admin.conf") for e in found):
        yield f"ssh {nodes[0]} sudo cat /etc/kubernetes/admin.conf > ~/.kube/config    # when that is yours"

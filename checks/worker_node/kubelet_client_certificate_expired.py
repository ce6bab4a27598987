"""The certificate with which a kubelet shows who it is has expired."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check
from kdiag.facts import Certificates, Cluster, certificate_uses


@check(
    title="Kubelet's client certificate has expired",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=(
        "application/pod_not_ready",
        "worker_node/kubelet_crash_loops",
        "worker_node/kubelet_not_registered",
        "worker_node/kubelet_not_running",
        "worker_node/kubelet_unauthorized",
        "worker_node/node_heartbeat_stale",
        "worker_node/node_not_ready",
    ),
    tags=("certificates", "kubelet"),
)
def kubelet_client_certificate_expired(certificates: Certificates, cluster: Cluster) -> Iterator[Finding]:
    """The kubelet renews it while it runs and the API server answers; a node that was off for long is late."""
    for node, pki in certificates:
        now = pki.clock or cluster.taken
        for use in certificate_uses(pki, None):
            cert = use.certificate
            if use.component != "kubelet" or cert is None or cert.not_after >= now:
                continue
            embedded = use.path.endswith(".conf")
            newer = pki.get("/var/lib/kubelet/pki/kubelet-client-current.pem") if embedded else None
            stale = newer is not None and newer.not_after > now
            where = f"inside {use.path}" if embedded else use.path
            extra = "; the renewed one in /var/lib/kubelet/pki is not used" if stale else ""
            yield Finding(
                Ref("Node", node),
                f"the kubelet on {node} is refused: its client certificate expired on {cert.not_after:%Y-%m-%d} "
                f"({where}){extra}",
                evidence=(
                    Evidence(
                        "sudo openssl x509 -noout -subject -enddate -in /var/lib/kubelet/pki/kubelet-client-current.pem"
                        if not embedded
                        else f"sudo awk '/client-certificate-data/ {{print $2}}' {use.path} | base64 -d "
                        "| openssl x509 -noout -enddate",
                        f"notAfter={cert.not_after:%b %d %H:%M:%S %Y} GMT",
                        node,
                    ),
                ),
                next=_next(node, use.path, stale=stale, master=pki.control_plane),
                since=cert.not_after.isoformat(),
            )


def _next(node: str, path: str, *, stale: bool, master: bool) -> tuple[str, ...]:
    if stale:
        return (
            f"ssh -t {node} sudoedit {path}    # client-certificate and client-key: kubelet-client-current.pem",
            f"ssh {node} sudo systemctl restart kubelet",
        )
    if master:
        return (
            f"ssh {node} sudo mv /etc/kubernetes/kubelet.conf /root/kubelet.conf.old",
            f"ssh {node} sudo kubeadm init phase kubeconfig kubelet && ssh {node} sudo systemctl restart kubelet",
        )
    return (
        "kubeadm token create --ttl 1h --print-join-command    # on a control-plane node",
        f"make /etc/kubernetes/bootstrap-kubelet.conf with that token on {node} and restart the kubelet: see the page",
    )

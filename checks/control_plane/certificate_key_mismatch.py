"""A certificate and the private key beside it do not belong together."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import CLUSTER, Evidence, Finding, Layer, Ref, Severity, check
from kdiag.facts import Certificates, Manifests, Pki, certificate_uses, static_pod

_PKI = "/etc/kubernetes/pki"
_CA = {
    f"{_PKI}/ca": "the controller manager cannot sign certificates, and kubeadm cannot renew",
    f"{_PKI}/etcd/ca": "kubeadm cannot renew etcd's certificates",
    f"{_PKI}/front-proxy-ca": "kubeadm cannot renew the front proxy's certificate",
}


@check(
    title="Certificate and private key do not match",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=(
        "control_plane/api_server_cannot_reach_etcd",
        "control_plane/api_server_unhealthy",
        "control_plane/api_server_unreachable",
        "control_plane/component_exits",
        "control_plane/etcd_not_running",
        "control_plane/leader_election_lost",
        "control_plane/static_pod_failing",
        "control_plane/static_pod_restarting",
        "worker_node/node_heartbeat_stale",
        "worker_node/node_not_ready",
    ),
    tags=("certificates", "apiserver", "etcd"),
)
def certificate_key_mismatch(certificates: Certificates, manifests: Manifests | None) -> Iterator[Finding]:
    """The public half of the key is compared with that of the certificate; no private key is read."""
    alone = sum(pki.control_plane for _, pki in certificates) == 1
    for node, pki in certificates:
        for use in certificate_uses(pki, manifests.get(node) if manifests else None):
            cert, key = use.certificate, pki.keys.get(use.key_path)
            if cert is None or not key or key == cert.key:
                continue
            part = use.component if use.component.startswith(("kube-", "etcd")) else ""
            dead = use.dead or part == "etcd"
            starts = f"{use.component} does not start with the two" if dead else use.breaks
            yield Finding(
                Ref("Node", node),
                f"{use.key_path} is not the key of {use.path} on {node}: {starts}",
                evidence=tuple(_evidence(node, use.path, use.key_path, cert.key, key)),
                next=(
                    f"ssh {node} sudo ls -la --time-style=full-iso {use.path} {use.key_path}    # which is newer?",
                    *_renew(node, use.path),
                ),
                touches=(
                    *([static_pod(part, node)] if part else []),
                    *([static_pod("kube-apiserver", node)] if dead else []),
                    *([CLUSTER] if dead and alone else []),
                ),
                key=use.path,
                severity=(Severity.CRITICAL if alone else Severity.ERROR) if dead else Severity.ERROR,
            )
        yield from _others(node, pki)


def _others(node: str, pki: Pki) -> Iterator[Finding]:
    for stem, breaks in _CA.items():
        cert, key = pki.authority(f"{stem}.crt"), pki.keys.get(f"{stem}.key")
        if cert and key and key != cert.key:
            yield Finding(
                Ref("Node", node),
                f"{stem}.key is not the key of {stem}.crt on {node}: {breaks}",
                evidence=tuple(_evidence(node, f"{stem}.crt", f"{stem}.key", cert.key, key)),
                next=(f"ssh {node} sudo ls -la --time-style=full-iso {stem}.crt {stem}.key    # which is newer?",),
                key=stem,
                severity=Severity.ERROR,
            )
    key, public = pki.keys.get(f"{_PKI}/sa.key"), pki.public_keys.get(f"{_PKI}/sa.pub")
    if key and public and key not in public:
        yield Finding(
            Ref("Node", node),
            f"{_PKI}/sa.pub on {node} is not the public half of sa.key: new service account tokens are refused",
            evidence=(
                Evidence(f"sudo openssl pkey -in {_PKI}/sa.key -pubout | sha256sum", f"key {key[:12]}…", node),
                Evidence(f"cat {_PKI}/sa.pub", "another public key", node),
            ),
            next=(
                f"ssh {node} sudo cp {_PKI}/sa.pub {_PKI}/sa.pub.bak",
                f"ssh {node} sudo openssl pkey -in {_PKI}/sa.key -pubout -out {_PKI}/sa.pub",
            ),
            touches=(static_pod("kube-apiserver", node),),
            key="sa",
            severity=Severity.ERROR,
        )


def _evidence(node: str, path: str, key_path: str, own: str, other: str) -> Iterator[Evidence]:
    yield Evidence(
        f"sudo openssl x509 -noout -pubkey -in {path} | openssl pkey -pubin -outform DER | sha256sum",
        f"{own[:12]}…",
        node,
    )
    yield Evidence(
        f"sudo openssl pkey -in {key_path} -pubout -outform DER | sha256sum", f"{other[:12]}…: another key", node
    )


def _renew(node: str, path: str) -> Iterator[str]:
    names = {
        "apiserver": "apiserver",
        "apiserver-etcd-client": "apiserver-etcd-client",
        "apiserver-kubelet-client": "apiserver-kubelet-client",
        "front-proxy-client": "front-proxy-client",
        "etcd/server": "etcd-server",
        "etcd/peer": "etcd-peer",
    }
    name = names.get(path.removeprefix(_PKI + "/").removesuffix(".crt"))
    if name:
        yield f"ssh {node} sudo kubeadm certs renew {name}    # writes a new pair; it needs the CA's key"
    else:
        yield f"ssh {node} sudo kubeadm certs check-expiration"

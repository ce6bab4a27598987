"""A control-plane node trusts another CA than the other nodes, with which it must share it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from kdiag.check import ETCD_FAILS, Evidence, Finding, Layer, Ref, Severity, check, listing
from kdiag.facts import PKI, Certificates, Manifests, started_anew, static_pod

_TRUSTS = (
    ("kube-apiserver", "client-ca-file", "it refuses the kubelets and components that the CA of the others has signed"),
    ("etcd", "peer-trusted-ca-file", "it and the other members refuse each other"),
)


@check(
    title="CAs of the control-plane nodes differ",
    severity=Severity.ERROR,
    layer=Layer.HOST,
    explains=(
        *ETCD_FAILS,
        "control_plane/certificate_wrong_ca",
        "control_plane/etcd_member_down",
        "worker_node/kubelet_unauthorized",
    ),
    tags=("certificates", "apiserver", "etcd"),
)
def ca_differs(certificates: Certificates, manifests: Manifests) -> Iterator[Finding]:
    """Each node is right in itself; kubeadm copies the CAs to every node that joins the control plane.

    Compared are public keys: a CA that was renewed with its old key is the same, and a file with several is left out.
    """
    for part, name, effect in _TRUSTS:
        held: dict[str, tuple[str, str]] = {}
        for node, pki in certificates:
            found = manifests.get(node)
            manifest = found.of(part) if found else None
            flag = manifest.flag(name) if manifest else None
            path = manifest.on_host(flag.value)[1] if manifest and flag else ""
            one = pki.authority(path) if path else None
            if one and one.key:
                held[node] = (one.key, path)
        votes = Counter(key for key, _ in held.values())
        right = max(votes, key=lambda key: (votes[key], key == next(iter(held.values()))[0]), default="")
        others = sorted(node for node, (key, _) in held.items() if key == right)
        for node, (key, path) in held.items():
            if key != right:
                yield _finding(part, node, others, key, path, effect)


def _finding(part: str, node: str, others: list[str], key: str, path: str, effect: str) -> Finding:
    good, stem = others[0], path.removesuffix(".crt")
    shown = f"sudo openssl x509 -noout -pubkey -in {path} | sha256sum"
    return Finding(
        static_pod(part, node),
        f"{part}-{node} has another CA than {listing(others)} ({path}): {effect}",
        evidence=(Evidence(shown, f"{key[:12]}…", node), Evidence(shown, "another key", good)),
        next=(
            f"ssh {node} sudo cp -a {PKI} /root/pki.before",
            f"for e in crt key; do ssh {good} sudo cat {stem}.$e | ssh {node} sudo tee {stem}.$e >/dev/null; done",
            f"ssh {node} sudo kubeadm certs renew all    # what the other CA has signed there",
            started_anew(node, part),
        ),
        touches=(Ref("Node", node),),
        key=path,
    )

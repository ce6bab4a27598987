"""A control-plane node has another CA or token key than the other nodes, which must share them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kdiag.check import CLUSTER, ETCD_FAILS, Evidence, Finding, Layer, Ref, Severity, check, listing
from kdiag.facts import (
    PKI,
    Certificates,
    Containers,
    Manifest,
    Manifests,
    NodeManifests,
    Pki,
    current,
    static_pod,
    token_keys,
)


@dataclass(frozen=True, kw_only=True)
class _Held:
    """What one node has: ``shows`` goes out to the other nodes, which must find it in what they ``take``."""

    path: str
    shows: str
    takes: frozenset[str]


@check(
    title="Control-plane nodes do not share their keys",
    severity=Severity.ERROR,
    layer=Layer.HOST,
    explains=(
        *ETCD_FAILS,
        "control_plane/certificate_wrong_ca",
        "control_plane/etcd_member_down",
        "network/coredns_cannot_reach_api",
        "network/kube_proxy_cannot_reach_api",
        "worker_node/kubelet_unauthorized",
    ),
    tags=("certificates", "apiserver", "etcd", "access"),
)
def shared_key_differs(
    certificates: Certificates, manifests: Manifests, containers: Containers | None
) -> Iterator[Finding]:
    """Each node is right in itself; kubeadm copies these files to every node that joins the control plane.

    Compared are public keys: a CA that was renewed with its old key is the same. A file with several keys, as it is
    while they are being exchanged, takes any of them.
    """
    tokens: dict[str, _Held] = {}
    clients: dict[str, _Held] = {}
    peers: dict[str, _Held] = {}
    for node, pki in certificates:
        found = manifests.get(node)
        if found is None:
            continue
        for held, one in (
            (tokens, _tokens(pki, found)),
            (clients, _authority(pki, found.of("kube-apiserver"), "client-ca-file")),
            (peers, _authority(pki, found.of("etcd"), "peer-trusted-ca-file")),
        ):
            if one:
                held[node] = one
    for node, others in _odd(tokens):
        yield _token_key(node, others, tokens[node], certificates, containers)
    for part, held in (("kube-apiserver", clients), ("etcd", peers)):
        for node, others in _odd(held):
            yield _other_ca(part, node, others, held[node])


def _tokens(pki: Pki, found: NodeManifests) -> _Held | None:
    """The key that signs the tokens of pods, and those by which this API server knows one."""
    api = found.of("kube-apiserver")
    flag = api.flag("service-account-signing-key-file") if api else None
    files = token_keys(api)
    known = [pki.public_halves(path) for path in files]
    if api is None or flag is None or not files or not all(known):
        return None
    path, takes = api.on_host(flag.value)[1], frozenset[str]().union(*known)
    key = pki.keys.get(path)
    return _Held(path=path, shows=key, takes=takes) if key and key in takes else None  # else its own check says so


def _authority(pki: Pki, manifest: Manifest | None, name: str) -> _Held | None:
    flag = manifest.flag(name) if manifest else None
    path = manifest.on_host(flag.value)[1] if manifest and flag else ""
    one = pki.authority(path) if path else None
    return _Held(path=path, shows=one.key, takes=frozenset([one.key])) if one and one.key else None


def _odd(held: Mapping[str, _Held]) -> Iterator[tuple[str, list[str]]]:
    """The nodes that do not get on with most others, and those others; of two nodes the second."""
    apart = {
        node: [
            n
            for n, other in held.items()
            if n != node and not (mine.shows in other.takes and other.shows in mine.takes)
        ]
        for node, mine in held.items()
    }
    if not any(apart.values()):
        return
    right = min(held, key=lambda n: (len(apart[n]), n))
    for node in sorted(apart[right]):
        yield node, sorted(apart[node])


def _token_key(
    node: str, others: list[str], held: _Held, certificates: Certificates, containers: Containers | None
) -> Finding:
    pki = certificates.get(node)
    info = pki.files.get(held.path) if pki else None
    live = current(containers.get(node), "kube-apiserver") if containers else None
    began = (live.started or live.created) if live and live.running else None
    later = bool(info and info.changed and began and info.changed > began)
    good = others[0]
    return Finding(
        static_pod("kube-apiserver", node),
        f"kube-apiserver-{node} has another token key than {listing(others)} ({held.path}): "
        + (
            "from its next start on they refuse each other's tokens of pods"
            if later
            else "it refuses the tokens of pods that the others issue, and they refuse its own"
        ),
        evidence=(
            *(
                Evidence(_digest(held.path), shown, n)
                for n, shown in ((node, f"{held.shows[:12]}…"), (good, "another key"))
            ),
        ),
        next=(
            f"for f in sa.key sa.pub; do ssh {good} sudo cat {PKI}/$f | ssh {node} sudo tee {PKI}/$f >/dev/null; done"
            "    # those of the pods that run well",
            *(_restart(node, part) for part in ("kube-apiserver", "kube-controller-manager")),
            "delete pods that were started in the meantime, if their tokens are refused after that",
        ),
        touches=() if later else (Ref("Node", node), CLUSTER),
        key="token-key",
        severity=Severity.WARNING if later else Severity.ERROR,
    )


def _other_ca(part: str, node: str, others: list[str], held: _Held) -> Finding:
    effect = (
        "it refuses the kubelets and components whose certificates are of the others' CA"
        if part == "kube-apiserver"
        else "it and the other members refuse each other"
    )
    good = others[0]
    return Finding(
        static_pod(part, node),
        f"{part}-{node} has another CA than {listing(others)} ({held.path}): {effect}",
        evidence=(
            Evidence(_certificate(held.path), f"{held.shows[:12]}…", node),
            Evidence(_certificate(held.path), "another key", good),
        ),
        next=(
            f"ssh {node} sudo cp -a {PKI} /root/pki.before",
            f"for e in crt key; do ssh {good} sudo cat {held.path.removesuffix('.crt')}.$e"
            f" | ssh {node} sudo tee {held.path.removesuffix('.crt')}.$e >/dev/null; done",
            f"ssh {node} sudo kubeadm certs renew all    # what the other CA has signed there",
            *(_restart(node, p) for p in dict.fromkeys((part, "kube-apiserver"))),
        ),
        touches=(Ref("Node", node),),
        key=held.path,
    )


def _digest(path: str) -> str:
    return f"sudo openssl pkey -in {path} -pubout -outform DER | sha256sum"


def _certificate(path: str) -> str:
    return f"sudo openssl x509 -noout -pubkey -in {path} | openssl pkey -pubin -outform DER | sha256sum"


def _restart(node: str, part: str) -> str:
    return f"ssh {node} 'sudo crictl ps -q --name {part} | xargs -r sudo crictl stop'    # it starts anew at once"

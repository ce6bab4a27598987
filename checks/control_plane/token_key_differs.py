"""An API server has another key for the tokens of pods than those of the other nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, listing
from kdiag.facts import (
    PKI,
    Certificates,
    Containers,
    Manifests,
    NodeManifests,
    Pki,
    current,
    started_anew,
    static_pod,
    token_keys,
)


@dataclass(frozen=True, kw_only=True)
class _Keys:
    """The key that signs the tokens of pods on one node, and those by which its API server knows one."""

    path: str
    signs: str
    knows: frozenset[str]


@check(
    title="Token keys differ between the API servers",
    severity=Severity.ERROR,
    layer=Layer.HOST,
    explains=("network/coredns_cannot_reach_api", "network/kube_proxy_cannot_reach_api"),
    tags=("certificates", "apiserver", "access"),
)
def token_key_differs(
    certificates: Certificates, manifests: Manifests, containers: Containers | None
) -> Iterator[Finding]:
    """Each node is right in itself; kubeadm copies the pair to every node that joins the control plane.

    Compared are public keys. An API server that knows several, while they are being exchanged, takes any of them.
    """
    held = {node: keys for node, pki in certificates if (found := manifests.get(node)) and (keys := _keys(pki, found))}
    apart = {
        node: sorted(n for n, other in held.items() if not (mine.signs in other.knows and other.signs in mine.knows))
        for node, mine in held.items()
    }
    for node in _odd(apart):
        keys, others = held[node], apart[node]
        later = _later(keys.path, node, certificates, containers)
        good = others[0]
        yield Finding(
            static_pod("kube-apiserver", node),
            f"kube-apiserver-{node} has another token key than {listing(others)} ({keys.path}): "
            + (
                "from its next start on they refuse each other's tokens of pods"
                if later
                else "it refuses the tokens of pods that the others issue, and they refuse its own"
            ),
            evidence=(
                Evidence(f"sudo openssl pkey -in {keys.path} -pubout | sha256sum", f"{keys.signs[:12]}…", node),
                Evidence(f"sudo openssl pkey -in {keys.path} -pubout | sha256sum", "another key", good),
            ),
            next=(
                f"for f in sa.key sa.pub; do ssh {good} sudo cat {PKI}/$f | ssh {node} sudo tee {PKI}/$f >/dev/null; "
                "done    # those of the nodes that agree",
                *(started_anew(node, part) for part in ("kube-apiserver", "kube-controller-manager")),
                "delete pods that were started in the meantime, if their tokens are refused after that",
            ),
            touches=() if later else (Ref("Node", node),),
            severity=Severity.WARNING if later else Severity.ERROR,
        )


def _keys(pki: Pki, found: NodeManifests) -> _Keys | None:
    api = found.of("kube-apiserver")
    flag = api.flag("service-account-signing-key-file") if api else None
    files = token_keys(api)
    known = [pki.public_halves(path) for path in files]
    if api is None or flag is None or not files or not all(known):
        return None
    path, knows = api.on_host(flag.value)[1], frozenset[str]().union(*known)
    key = pki.keys.get(path)
    # A node that does not know its own is certificate_key_mismatch.
    return _Keys(path=path, signs=key, knows=knows) if key and key in knows else None


def _odd(apart: Mapping[str, list[str]]) -> list[str]:
    """The nodes that do not get on with the one that gets on with most; of two nodes the second."""
    right = min(apart, key=lambda node: (len(apart[node]), node), default="")
    return apart[right] if right else []


def _later(path: str, node: str, certificates: Certificates, containers: Containers | None) -> bool:
    """Whether the API server still runs with what was there before: it reads the keys when it starts."""
    pki, live = certificates.get(node), current(containers.get(node), "kube-apiserver") if containers else None
    info = pki.files.get(path) if pki else None
    began = (live.started or live.created) if live and live.running else None
    return bool(info and info.changed and began and info.changed > began)

"""A flag of a control-plane component names a file that is not there for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kdiag.check import COMPONENT_FAILS, Evidence, Finding, Layer, Severity, check, nearest
from kdiag.facts import (
    PKI,
    Certificates,
    Cluster,
    Containers,
    FileInfo,
    Manifest,
    Manifests,
    NodeManifests,
    Pki,
    Pods,
    Use,
    certificate_uses,
    component_standing,
    manifest_repair,
    manifest_severity,
    misplaced,
    stands_still,
    static_pod,
)

#: The file that kubeadm gives a flag, below its folder.
_USUAL: Mapping[str, Mapping[str, str]] = {
    "kube-apiserver": {
        "client-ca-file": "ca.crt",
        "tls-cert-file": "apiserver.crt",
        "tls-private-key-file": "apiserver.key",
        "etcd-cafile": "etcd/ca.crt",
        "etcd-certfile": "apiserver-etcd-client.crt",
        "etcd-keyfile": "apiserver-etcd-client.key",
        "kubelet-client-certificate": "apiserver-kubelet-client.crt",
        "kubelet-client-key": "apiserver-kubelet-client.key",
        "proxy-client-cert-file": "front-proxy-client.crt",
        "proxy-client-key-file": "front-proxy-client.key",
        "requestheader-client-ca-file": "front-proxy-ca.crt",
        "service-account-key-file": "sa.pub",
        "service-account-signing-key-file": "sa.key",
    },
    "kube-controller-manager": {
        "client-ca-file": "ca.crt",
        "root-ca-file": "ca.crt",
        "cluster-signing-cert-file": "ca.crt",
        "cluster-signing-key-file": "ca.key",
        "requestheader-client-ca-file": "front-proxy-ca.crt",
        "service-account-private-key-file": "sa.key",
    },
    "etcd": {
        "cert-file": "etcd/server.crt",
        "key-file": "etcd/server.key",
        "trusted-ca-file": "etcd/ca.crt",
        "peer-cert-file": "etcd/peer.crt",
        "peer-key-file": "etcd/peer.key",
        "peer-trusted-ca-file": "etcd/ca.crt",
    },
}
_EMPTY = "which is empty"


@check(
    title="Control-plane flag names a missing file",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    explains=(*COMPONENT_FAILS, "control_plane/manifest_differs_between_nodes"),
    tags=("static-pods", "manifests", "flags", "scheduler", "apiserver", "etcd"),
)
def manifest_file_missing(
    manifests: Manifests,
    cluster: Cluster,
    containers: Containers | None,
    pods: Pods | None,
    certificates: Certificates | None,
) -> Iterator[Finding]:
    """Through volumeMounts and hostPath volumes: what no mount covers is as missing as what does not exist."""
    for node, found in manifests:
        empty = _told_elsewhere(certificates.get(node) if certificates else None, found)
        for manifest in found.running:
            now = component_standing(manifest, node, containers, pods, cluster)
            wrong_volumes = {name for name, _ in misplaced(manifest, found)}
            told: dict[str, list[tuple[Use, str]]] = {}
            for use in manifest.uses:
                why = _why(use, found, proven=now.proven)
                if why and use.host in empty and why == _EMPTY:
                    continue
                if why and use.volume not in wrong_volumes and use.inside not in _uncovered(manifest, found):
                    told.setdefault(use.inside, []).append((use, why))
            for inside, uses in told.items():
                use, why = uses[0]
                subject = static_pod(manifest.component, node)
                flags = ", ".join(f"--{u.flag.name}" for u, _ in uses[:3])
                meant = _meant(use, found, manifest)
                starts = "runs, and its next start will fail" if now.runs else "cannot start"
                yield Finding(
                    subject,
                    f"{subject.name} {starts}: {manifest.where(use.flag.line)} {flags} names {inside}, {why}"
                    + (f"; there is {meant}" if meant else ""),
                    evidence=(
                        manifest.quote(node, use.flag.line),
                        Evidence(f"ls -la {use.host or inside}", _listed(found.state(use.host or inside)), node),
                    ),
                    next=manifest_repair(
                        node, manifest, use.flag.line, f"name {meant}" if meant else f"correct {flags}"
                    ),
                    touches=stands_still(manifests, manifest.component),
                    key=inside,
                    severity=manifest_severity(manifests, manifest.component, now),
                )


def _told_elsewhere(pki: Pki | None, found: NodeManifests) -> set[str]:
    """Certificates and keys that hold nothing: certificate_unreadable says that."""
    uses = certificate_uses(pki, found) if pki else ()
    broken = {**pki.broken, **pki.broken_keys} if pki else {}
    return {path for use in uses for path in (use.path, use.key_path) if path in broken}


def _uncovered(manifest: Manifest, found: NodeManifests) -> set[str]:
    """What a misspelt mountPath keeps away: manifest_volume_wrong says that."""
    return {path for _, paths in misplaced(manifest, found) for path in paths}


def _why(use: Use, found: NodeManifests, *, proven: bool) -> str:
    if not use.volume:
        # The image might hold it. A file that the node has, or that lies where only the node has files, was meant.
        kept = use.inside.startswith(("/etc/kubernetes/", "/var/lib/")) or bool(found.state(use.inside))
        if proven or not kept:
            return ""
        return "which does not exist" if found.state(use.inside) is False else "and no volume of the pod shows it"
    if not use.host:
        return ""
    state = found.state(use.host)
    where = "which does not exist" if use.host == use.inside else f"which is {use.host} on {{node}} and does not exist"
    if state is False:
        return where.replace("{node}", "the node")
    if isinstance(state, FileInfo):
        if state.kind == "d":
            return "which is a folder"
        if state.kind == "f" and state.size == 0:
            return _EMPTY
    return ""


def _meant(use: Use, found: NodeManifests, manifest: Manifest) -> str:
    """A file that is there and that was probably meant."""
    folder, _, name = (use.host or use.inside).rpartition("/")
    files = [p for p, i in found.tree.items() if i.kind == "f" and i.size and p != use.inside]
    unseen = not use.volume and bool(found.state(use.inside))
    if unseen:  # it is spelt right, and the pod is shown others
        files = [p for p in files if manifest.on_host(p)[1] == p]
    there = [p.rpartition("/")[2] for p in files if p.rpartition("/")[0] == folder]
    extension = name.rpartition(".")[2]
    near = nearest(name, [n for n in there if n.rpartition(".")[2] == extension])
    if near and not unseen:
        return f"{folder}/{near}"
    own = f"/etc/kubernetes/{manifest.component.removeprefix('kube-')}.conf"
    if use.flag.name.endswith("kubeconfig") and own != use.inside and found.state(own) and found.state(use.inside):
        return own  # what the flag names is there, and is another component's
    same = [p for p in files if p.rpartition("/")[2] == name]
    if len(same) == 1:
        return same[0]
    usual = f"{PKI}/{_USUAL.get(manifest.component, {}).get(use.flag.name, '')}"
    return usual if usual in files and manifest.on_host(usual)[1] == usual else ""


def _listed(state: FileInfo | bool | None) -> str:
    if isinstance(state, FileInfo):
        return f"{state.noun}, {state.size} bytes, mode {state.mode}"
    return "No such file or directory" if state is False else "not known"

"""A certificate and the private key beside it do not belong together."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import CLUSTER, Evidence, Finding, Layer, Ref, Severity, check, present
from kdiag.facts import (
    Certificate,
    Certificates,
    CertificateUse,
    Cluster,
    Containers,
    Flag,
    Manifest,
    Manifests,
    NodeManifests,
    Pki,
    certificate_uses,
    current,
    manifest_repair,
    static_pod,
    token_keys,
)

_CA = {
    "ca": "the controller manager cannot sign certificates, and kubeadm cannot renew",
    "etcd/ca": "kubeadm cannot renew etcd's certificates",
    "front-proxy-ca": "kubeadm cannot renew the front proxy's certificate",
}
#: Seconds after which a program that runs has not ended at start.
_STEADY = 90


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
def certificate_key_mismatch(
    certificates: Certificates, cluster: Cluster, manifests: Manifests | None, containers: Containers | None
) -> Iterator[Finding]:
    """The public half of the key is compared with that of the certificate; no private key is read."""
    alone = sum(pki.control_plane for _, pki in certificates) == 1
    for node, pki in certificates:
        found = manifests.get(node) if manifests else None
        for use in certificate_uses(pki, found):
            cert, key = use.certificate, pki.keys.get(use.key_path)
            if cert is None or not key or key == cert.key:
                continue
            part = use.component if use.component.startswith(("kube-", "etcd")) else ""
            dead = use.dead or part == "etcd"
            runs = dead and _runs(use.component, node, containers, cluster)
            later = runs and part != "etcd"
            starts = _breaks(use, runs) if dead else use.breaks
            manifest = found.of(use.component) if found else None
            flag, meant = _misnamed(use, cert, key, pki, manifest)
            place = f"{manifest.where(flag.line)} --{flag.name}: " if manifest and flag else ""
            yield Finding(
                Ref("Node", node),
                f"{place}{use.key_path} is not the key of {use.path} on {node}, meant is {meant}: {starts}"
                if place
                else f"{use.key_path} is not the key of {use.path} on {node}: {starts}",
                evidence=present(
                    manifest.quote(node, flag.line) if manifest and flag else None,
                    *_evidence(node, use.path, use.key_path, cert.key, key),
                ),
                next=manifest_repair(node, manifest, flag.line, f"--{flag.name}={meant}")
                if manifest and flag
                else (
                    f"ssh {node} sudo ls -la --time-style=full-iso {use.path} {use.key_path}    # which is newer?",
                    *_renew(node, use.path, pki.folder),
                ),
                touches=present(
                    static_pod(part, node) if part else None,
                    static_pod("kube-apiserver", node) if dead else None,
                    CLUSTER if dead and alone and not later else None,
                ),
                key=use.path,
                severity=Severity.WARNING if later else Severity.CRITICAL if dead and alone else Severity.ERROR,
                later=later,
            )
        yield from _others(node, pki)
        if found is not None:
            yield from _signing(node, pki, found)
            yield from _tokens(node, pki, found)


def _runs(component: str, node: str, containers: Containers | None, cluster: Cluster) -> bool:
    live = current(containers.get(node), component) if containers else None
    began = (live.started or live.created) if live and live.running else None
    return began is not None and cluster.age(began) > _STEADY


def _breaks(use: CertificateUse, runs: bool) -> str:
    """etcd reads the two for each connection; the others keep what they have read, and go on with that."""
    if not runs:
        return f"{use.component} does not start with the two"
    if use.component == "etcd":
        return "etcd refuses each new connection, and will not start again"
    return f"{use.component} runs on with the old pair and will not start again"


def _misnamed(
    use: CertificateUse, cert: Certificate, key: str, pki: Pki, manifest: Manifest | None
) -> tuple[Flag | None, str]:
    """The flag that names another file than kubeadm's, where kubeadm's would go with the other of the two."""
    if manifest is None or not use.usual:
        return None, ""
    usual_key, usual = f"{use.usual}.key", pki.get(f"{use.usual}.crt")
    if use.key_path != usual_key and pki.keys.get(usual_key) == cert.key:
        return manifest.flag(use.key_flag), usual_key
    if use.path != f"{use.usual}.crt" and usual is not None and usual.key == key:
        return manifest.flag(use.flag), f"{use.usual}.crt"
    return None, ""


def _signing(node: str, pki: Pki, found: NodeManifests) -> Iterator[Finding]:
    """The CA with which the controller manager signs: the certificate and the key that its flags name."""
    manifest = found.of("kube-controller-manager")
    flag = manifest.flag("cluster-signing-cert-file") if manifest else None
    if manifest is None or flag is None:
        return
    path, key_path = (manifest.on_host(manifest.value(f"cluster-signing-{n}-file"))[1] for n in ("cert", "key"))
    cert, key = pki.authority(path), pki.keys.get(key_path)
    if cert is None or not key or key == cert.key or path == key_path.removesuffix(".key") + ".crt":
        return
    own = manifest.flag("cluster-signing-key-file")
    usual = f"{pki.folder}/ca.key"
    misnamed = own is not None and key_path != usual and pki.keys.get(usual) == cert.key
    said = f"--{flag.name}={path}; {key_path} is not its key"
    if own and misnamed:
        flag, said = own, f"--{own.name}={key_path} is not the key of {path}, meant is {usual}"
    yield Finding(
        static_pod("kube-controller-manager", node),
        f"kube-controller-manager-{node} cannot sign certificates: {manifest.where(flag.line)} {said}",
        evidence=(manifest.quote(node, flag.line), *_evidence(node, path, key_path, cert.key, key)),
        next=manifest_repair(
            node,
            manifest,
            flag.line,
            f"--{flag.name}={usual}" if misnamed else "name the certificate and the key of one CA",
        ),
        key="cluster-signing",
        severity=Severity.ERROR,
    )


def _tokens(node: str, pki: Pki, found: NodeManifests) -> Iterator[Finding]:
    """The key that signs the tokens of pods, and those by which the API server knows such a token."""
    api = found.of("kube-apiserver")
    files = token_keys(api)
    known = [pki.public_halves(path) for path in files]
    if api is None or not files or not all(known):
        return
    trusted = frozenset[str]().union(*known)
    asked = api.flag("service-account-key-file")
    said = False
    for part, name, effect, severity in (
        (
            "kube-apiserver",
            "service-account-signing-key-file",
            "knows no token of a pod that is signed from now on",
            Severity.CRITICAL,
        ),
        (
            "kube-controller-manager",
            "service-account-private-key-file",
            "signs tokens of Secrets that kube-apiserver refuses",
            Severity.ERROR,
        ),
    ):
        manifest = found.of(part)
        flag = manifest.flag(name) if manifest else None
        path = manifest.on_host(flag.value)[1] if manifest and flag else ""
        key = pki.keys.get(path)
        usual = files == (f"{pki.folder}/sa.pub",)
        if manifest is None or flag is None or asked is None or not key or key in trusted:
            continue
        if usual and path == f"{pki.folder}/sa.key":
            continue  # the pair itself is broken: said above
        if said and path == f"{pki.folder}/sa.key":
            continue  # the same flag is to blame
        said = True
        other = not usual and path == f"{pki.folder}/sa.key"
        holder, line = (api, asked) if other else (manifest, flag)
        meant = f"{pki.folder}/sa.pub" if other else f"{pki.folder}/sa.key"
        yield Finding(
            static_pod(holder.component, node),
            f"{holder.component}-{node} {effect}: {holder.where(line.line)} --{line.name}={line.value} is not of the "
            f"same key as {path if other else files[0]}; meant is {meant}",
            evidence=(
                holder.quote(node, line.line),
                Evidence(
                    f"sudo openssl pkey -in {path} -pubout | sha256sum", f"its public half is not {files[0]}", node
                ),
            ),
            next=(
                *manifest_repair(node, holder, line.line, f"--{line.name}={meant}"),
                "delete pods that were started in the meantime, if their tokens are refused after that",
            ),
            touches=(static_pod("kube-apiserver", node),),
            key=name,
            severity=severity,
        )


def _others(node: str, pki: Pki) -> Iterator[Finding]:
    for name, breaks in _CA.items():
        stem = f"{pki.folder}/{name}"
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
    key, public = pki.keys.get(f"{pki.folder}/sa.key"), pki.public_keys.get(f"{pki.folder}/sa.pub")
    if key and public and key not in public:
        yield Finding(
            Ref("Node", node),
            f"{pki.folder}/sa.pub on {node} is not the public half of sa.key: new service account tokens are refused",
            evidence=(
                Evidence(f"sudo openssl pkey -in {pki.folder}/sa.key -pubout | sha256sum", f"key {key[:12]}…", node),
                Evidence(f"cat {pki.folder}/sa.pub", "another public key", node),
            ),
            next=(
                f"ssh {node} sudo cp {pki.folder}/sa.pub {pki.folder}/sa.pub.bak",
                f"ssh {node} sudo openssl pkey -in {pki.folder}/sa.key -pubout -out {pki.folder}/sa.pub",
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


def _renew(node: str, path: str, folder: str) -> Iterator[str]:
    names = {
        "apiserver": "apiserver",
        "apiserver-etcd-client": "apiserver-etcd-client",
        "apiserver-kubelet-client": "apiserver-kubelet-client",
        "front-proxy-client": "front-proxy-client",
        "etcd/server": "etcd-server",
        "etcd/peer": "etcd-peer",
    }
    name = names.get(path.removeprefix(f"{folder}/").removesuffix(".crt"))
    if name:
        yield f"ssh {node} sudo kubeadm certs renew {name}    # writes a new pair; it needs the CA's key"
    else:
        yield f"ssh {node} sudo kubeadm certs check-expiration"

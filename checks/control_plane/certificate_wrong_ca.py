"""A certificate was not signed by the CA that its checker trusts."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import CLUSTER, ETCD_FAILS, Evidence, Finding, Layer, Ref, Severity, check, listing, present
from kdiag.facts import (
    PKI,
    Certificate,
    Certificates,
    CertificateUse,
    Flag,
    Manifests,
    NodeManifests,
    Pki,
    certificate_uses,
    manifest_repair,
    static_pod,
)

_API = "kube-apiserver's serving certificate"


@check(
    title="Certificate is from a CA that its checker does not trust",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=(
        *ETCD_FAILS,
        "worker_node/kubelet_not_registered",
        "worker_node/kubelet_unauthorized",
    ),
    tags=("certificates", "apiserver", "etcd"),
)
def certificate_wrong_ca(certificates: Certificates, manifests: Manifests | None) -> Iterator[Finding]:
    """By the signature, not by the name: after a CA was made anew both names are the same."""
    masters = [(node, pki) for node, pki in certificates if pki.control_plane]
    for node, pki in masters:
        found = manifests.get(node) if manifests else None
        by_flag: dict[Flag, list[CertificateUse]] = {}
        for use in certificate_uses(pki, found):
            cert = use.certificate
            if cert is None or cert.self_signed or pki.counts.get(use.path, 1) > 1:
                continue  # a chain may lead to the CA
            if pki.apart(use.path, use.key_path):
                continue  # neither is in use: certificate_key_mismatch names the two
            told = [(place, authority, cert.signed_by(authority)) for place, authority in use.authorities]
            refused = [(place, authority) for place, authority, by in told if by is False]
            if not refused or any(by is None for *_, by in told):
                continue
            if use.role == _API and len(refused) < len(told):
                for place, authority in refused:
                    yield _config(node, place, authority, cert)
                continue
            if flag := _misled(use, refused, pki, found):
                by_flag.setdefault(flag, []).append(use)
                continue
            yield _finding(node, pki, use, cert, refused, found, alone=len(masters) == 1)
        for flag, uses in by_flag.items():
            yield _flag(node, flag, uses, found, alone=len(masters) == 1)
        yield from _root(node, pki, found)
        yield from _signers(node, pki, found)
    yield from _workers(certificates, masters)
    yield from _kubelets(certificates, masters, manifests)


def _misled(
    use: CertificateUse, refused: list[tuple[str, Certificate]], pki: Pki, found: NodeManifests | None
) -> Flag | None:
    """The flag by which the checker trusts another CA than kubeadm's, where that one signed the certificate."""
    manifest = found.of(use.checker) if found else None
    flag = manifest.flag(use.trust) if manifest and use.trust else None
    usual = pki.authority(use.trust_default)
    wrong = flag is not None and refused[0][0] != use.trust_default
    right = use.certificate is not None and usual is not None and use.certificate.signed_by(usual)
    return flag if wrong and right else None


def _flag(node: str, flag: Flag, uses: list[CertificateUse], found: NodeManifests | None, *, alone: bool) -> Finding:
    """One flag, and all whom its CA keeps out."""
    use = uses[0]
    manifest = found.of(use.checker) if found else None
    where = manifest.where(flag.line) if manifest else use.checker
    dead = any(u.dead for u in uses)
    parts = [use.checker, *(u.component for u in uses if u.component not in ("kubectl", "kubelet"))]
    others = list(dict.fromkeys(_who(u) for u in uses if u.component != use.checker))
    whom = use.breaks if len(uses) == 1 else f"{use.checker} refuses {listing(others, 4)}"
    leases = [p for p in parts if p in ("kube-scheduler", "kube-controller-manager")]
    return Finding(
        static_pod(use.checker, node),
        f"{use.checker}-{node} trusts the wrong CA: {where} --{flag.name}={flag.value}, "
        f"meant is {use.trust_default}: {whom}",
        evidence=present(
            manifest.quote(node, flag.line) if manifest else None,
            Evidence(f"sudo openssl verify -CAfile {flag.value} {use.path}", f"{use.trust_default} signed it", node)
            if not use.path.endswith(".conf")
            else Evidence(f"grep client-certificate {use.path}", f"{use.trust_default} signed it", node),
        ),
        next=manifest_repair(node, manifest, flag.line, f"--{flag.name}={use.trust_default}") if manifest else (),
        touches=present(
            Ref("Node", node),
            *(static_pod(p, node) for p in dict.fromkeys(parts)),
            *(Ref("Lease", p, "kube-system") for p in leases),
            CLUSTER if dead and alone else None,
        ),
        key=flag.name,
        severity=(Severity.CRITICAL if alone else Severity.ERROR) if dead else Severity.ERROR,
    )


def _who(use: CertificateUse) -> str:
    if use.component == "kubectl":
        return use.where.rpartition("/")[2]
    return {"kubelet": "the kubelets"}.get(use.component, use.component)


def _root(node: str, pki: Pki, found: NodeManifests | None) -> Iterator[Finding]:
    """The CA that the controller manager hands to all pods, for them to know the API server by."""
    manifest = found.of("kube-controller-manager") if found else None
    flag = manifest.flag("root-ca-file") if manifest else None
    api = pki.get(f"{pki.folder}/apiserver.crt")
    if manifest is None or flag is None or api is None or api.more:
        return
    authority = pki.authority(manifest.on_host(flag.value)[1])
    usual = pki.authority(f"{pki.folder}/ca.crt")
    if authority is None or usual is None or not api.signed_by(usual) or api.signed_by(authority) is not False:
        return
    yield Finding(
        static_pod("kube-controller-manager", node),
        f"kube-controller-manager-{node} gives pods the wrong CA: {manifest.where(flag.line)} "
        f"--root-ca-file={flag.value} did not sign kube-apiserver's certificate, meant is {usual.place}: "
        "they refuse to talk to it",
        evidence=(
            manifest.quote(node, flag.line),
            Evidence("kubectl get configmap kube-root-ca.crt -o yaml", f"in each namespace: CA {authority.subject}"),
        ),
        next=(
            *manifest_repair(node, manifest, flag.line, f"--root-ca-file={usual.place}"),
            "restart what was started in the meantime: a pod reads the CA when it begins",
        ),
        key="root-ca-file",
        severity=Severity.ERROR,
    )


def _signers(node: str, pki: Pki, found: NodeManifests | None) -> Iterator[Finding]:
    """The CA with which the controller manager signs what kubelets show: one that the API server must know."""
    manager, api = (found.of(f"kube-{p}") if found else None for p in ("controller-manager", "apiserver"))
    trust = api.flag("client-ca-file") if api else None
    if manager is None or api is None or trust is None:
        return
    known = api.on_host(trust.value)[1]
    trusted = pki.bundles.get(known, ())
    # The one of kubelets alone goes before the one of all.
    flag = manager.flag("cluster-signing-kubelet-client-cert-file") or manager.flag("cluster-signing-cert-file")
    signer = pki.authority(manager.on_host(flag.value)[1]) if flag else None
    usual = pki.authority(f"{pki.folder}/ca.crt")
    if flag is None or signer is None or usual is None or len(trusted) != pki.counts.get(known):
        return
    # Where the API server does not know kubeadm's CA either, its own flag is wrong: said above.
    if usual.key not in {c.key for c in trusted} or any(c.key == signer.key or signer.signed_by(c) for c in trusted):
        return
    yield Finding(
        static_pod("kube-controller-manager", node),
        f"kube-controller-manager-{node} signs with a CA that kube-apiserver does not trust: "
        f"{manager.where(flag.line)} --{flag.name}={flag.value}, meant is {usual.place}: kubelets that join, or renew "
        "their certificate, are refused",
        evidence=(
            manager.quote(node, flag.line),
            api.quote(node, trust.line),
            Evidence(f"sudo openssl x509 -noout -serial -in {signer.place}", f"serial {signer.serial}", node),
            Evidence(f"sudo openssl x509 -noout -serial -in {known}", f"serial {trusted[0].serial}", node),
        ),
        next=(
            *manifest_repair(node, manager, flag.line, f"--{flag.name}={usual.place}"),
            f"ssh {node} sudo grep -n cluster-signing {manager.path}    # the key must be of the same CA",
        ),
        key=flag.name,
        severity=Severity.ERROR,
    )


def _kubelets(
    certificates: Certificates, masters: list[tuple[str, Pki]], manifests: Manifests | None
) -> Iterator[Finding]:
    """Whether each kubelet knows the API server when that asks for a log."""
    shown = [
        u.certificate
        for node, pki in masters
        for u in certificate_uses(pki, manifests.get(node) if manifests else None)
        if u.flag == "kubelet-client-certificate" and u.certificate
    ]
    usual = [a for _, pki in masters if (a := pki.authority(f"{pki.folder}/ca.crt"))]
    right = all(any(c.signed_by(a) for a in usual) for c in shown)
    for node, pki in certificates:
        path, file, line = pki.kubelet_client_ca
        held = pki.bundles.get(path, ())
        if not held or not shown or not right or any(pki.trusts(path, c) is not False for c in shown):
            continue
        meant = f", meant is {PKI}/ca.crt" if path != f"{PKI}/ca.crt" else ""
        yield Finding(
            Ref("Node", node),
            f"the kubelet on {node} does not know kube-apiserver: {file}:{line} clientCAFile {path} did not "
            f"sign its certificate{meant}: kubectl logs and exec are refused there",
            evidence=(
                Evidence(f"sudo openssl x509 -noout -subject -serial -in {path}", f"subject {held[0].subject}", node),
                Evidence(f"sudo sed -n {line}p {file}", f"clientCAFile: {path}", node),
            ),
            next=(
                f"ssh -t {node} sudoedit {file}    # line {line}: clientCAFile: {PKI}/ca.crt",
                f"ssh {node} sudo systemctl restart kubelet",
            ),
            key="clientCAFile",
            severity=Severity.ERROR,
        )


def _finding(
    node: str,
    pki: Pki,
    use: CertificateUse,
    cert: Certificate,
    refused: list[tuple[str, Certificate]],
    found: NodeManifests | None,
    *,
    alone: bool,
) -> Finding:
    places = listing([place for place, _ in refused], 2)
    signer = next((a for a in pki.authorities if cert.signed_by(a)), None)
    by = f"{signer.place} signed it" if signer else f'a CA "{cert.issuer}" signed it that is not on the node'
    component = use.component if use.component not in ("kubectl", "kubelet") else ""
    parts = [p for p in (component, "kube-apiserver" if use.dead else "", use.checker if use.dead else "") if p]
    flag = f" (--{use.flag})" if use.flag and use.where else ""
    manifest = found.of(use.component) if found else None
    other = manifest.flag(use.flag) if manifest and _another(use, refused, pki) else None
    named = manifest and other and f"{manifest.where(other.line)} --{other.name}={use.path}, meant is {use.usual}.crt"
    return Finding(
        Ref("Node", node),
        f"{use.role} on {node} is the wrong one: {named}: {use.breaks}"
        if named
        else f"{use.role} on {node} is not signed by {places}: {use.breaks}",
        evidence=present(
            manifest.quote(node, other.line) if manifest and other else None,
            Evidence(f"sudo openssl verify -CAfile {refused[0][0]} {use.path}", f"{by}{flag}", node)
            if not refused[0][0].endswith(".conf")
            else Evidence(f"sudo openssl x509 -noout -issuer -in {use.path}", f"{by}{flag}", node),
            Evidence("", f"{refused[0][0]} holds CA {refused[0][1].subject}, serial {refused[0][1].serial}", node),
        ),
        next=manifest_repair(node, manifest, other.line, f"--{other.name}={use.usual}.crt")
        if manifest and other
        else tuple(_next(node, use, signer, pki.folder)),
        touches=present(
            *(static_pod(p, node) for p in dict.fromkeys(parts)),
            Ref("Lease", component, "kube-system")
            if component in ("kube-scheduler", "kube-controller-manager")
            else None,
            CLUSTER if use.dead and alone and use.component in ("etcd", "kube-apiserver") else None,
        ),
        key=use.path,
        severity=(Severity.CRITICAL if alone else Severity.ERROR) if use.dead else Severity.ERROR,
    )


def _another(use: CertificateUse, refused: list[tuple[str, Certificate]], pki: Pki) -> bool:
    """Whether the flag names another certificate than kubeadm's, and that one would do."""
    usual = pki.get(f"{use.usual}.crt") if use.usual and use.path != f"{use.usual}.crt" else None
    return usual is not None and all(usual.signed_by(authority) for _, authority in refused)


def _config(node: str, place: str, authority: Certificate, cert: Certificate) -> Finding:
    name = place.rpartition("/")[2]
    component = {"controller-manager.conf": "kube-controller-manager", "scheduler.conf": "kube-scheduler"}.get(name, "")
    who = component or ("the kubelet" if name == "kubelet.conf" else "kubectl")
    return Finding(
        Ref("Node", node),
        f"{place} on {node} holds a CA that did not sign apiserver.crt: {who} cannot talk to kube-apiserver",
        evidence=(
            Evidence(
                _authority(place),
                f"serial {authority.serial}, CA {authority.subject}",
                node,
            ),
            Evidence(f"sudo openssl x509 -noout -issuer -in {cert.place}", f"issuer {cert.issuer}", node),
        ),
        next=(
            f"ssh {node} sudo mv {place} {place}.bak",
            f"ssh {node} sudo kubeadm init phase kubeconfig {name.removesuffix('.conf')}",
        ),
        touches=(static_pod(component, node), Ref("Lease", component, "kube-system")) if component else (),
        key=place,
        severity=Severity.ERROR,
    )


def _workers(certificates: Certificates, masters: list[tuple[str, Pki]]) -> Iterator[Finding]:
    """What a worker's kubelet trusts, and what the control plane trusts of it."""
    serving = [
        c
        for _, pki in masters
        if (c := pki.get(f"{pki.folder}/apiserver.crt"))
        and not c.self_signed
        and not pki.apart(f"{pki.folder}/apiserver.crt", f"{pki.folder}/apiserver.key")
    ]
    trusted = [a for _, pki in masters if (a := pki.authority(f"{pki.folder}/ca.crt"))]
    if not masters or len(serving) != len(masters) or len(trusted) != len(masters):
        return
    for node, pki in certificates:
        config = pki.kubeconfigs.get("/etc/kubernetes/kubelet.conf")
        if pki.control_plane or config is None:
            continue
        authority = config.authority or pki.authority(config.authority_path)
        client = config.client or pki.get(config.client_path)
        # Where it is the cluster's own CA that did not sign, the certificate is the wrong one: said above.
        own_ca = authority is not None and authority.key in {a.key for a in trusted}
        blind = authority is not None and not own_ca and all(c.signed_by(authority) is False for c in serving)
        if authority and blind:
            what = f"/etc/kubernetes/kubelet.conf on {node} holds a CA that did not sign kube-apiserver's certificate"
            shown = Evidence(
                _authority(config.path),
                f"serial {authority.serial}; the cluster's is {trusted[0].serial}",
                node,
            )
        elif client and all(client.signed_by(a) is False for a in trusted):
            what = f"the kubelet's client certificate on {node} is not signed by the cluster's CA"
            shown = Evidence(
                f"sudo openssl x509 -noout -issuer -in {config.client_path or config.path}",
                f"issuer {client.issuer}; its signature is not by {trusted[0].place} of {masters[0][0]}",
                node,
            )
        else:
            continue
        own = pki.authority(f"{PKI}/ca.crt")
        embed = client is not None and own is not None and own.key in {a.key for a in trusted}
        yield Finding(
            Ref("Node", node),
            f"{what}: the kubelet is cut off",
            evidence=(shown,),
            next=(
                f"ssh {node} sudo cp -p {config.path} {config.path}.before    # its own certificate is well",
                f"ssh {node} sudo kubectl --kubeconfig {config.path} config set-cluster NAME --embed-certs "
                f"--certificate-authority={PKI}/ca.crt    # NAME: sudo kubectl --kubeconfig … config get-clusters",
                f"ssh {node} sudo systemctl restart kubelet",
            )
            if embed and blind
            else (
                f"ssh {masters[0][0]} sudo kubeadm token create --print-join-command",
                f"ssh {node} sudo kubeadm reset    # then run the join command there; it takes the node's pods down",
            ),
            key="kubelet",
            severity=Severity.ERROR,
        )


def _authority(place: str) -> str:
    return f"sudo awk '/certificate-authority-data/ {{print $2}}' {place} | base64 -d | openssl x509 -noout -serial"


def _next(node: str, use: CertificateUse, signer: Certificate | None, folder: str) -> Iterator[str]:
    if signer and use.trust and all(file != use.trust_default for file, _ in use.authorities):
        yield f"ssh -t {node} sudoedit /etc/kubernetes/manifests/{use.checker}.yaml    # --{use.trust}={signer.place}"
        yield f"ssh {node} sudo crictl ps -a --name {use.checker}    # the kubelet restarts it within 20 s"
        return
    if use.where.startswith("/etc/kubernetes/manifests"):
        file = use.where.partition(":")[0]
        yield f"ssh {node} sudo grep -n -e ca-file -e cafile -e {use.flag} {file}    # the right files?"
    name = {
        "apiserver.crt": "apiserver",
        "apiserver-etcd-client.crt": "apiserver-etcd-client",
        "apiserver-kubelet-client.crt": "apiserver-kubelet-client",
        "front-proxy-client.crt": "front-proxy-client",
        "etcd/server.crt": "etcd-server",
        "etcd/peer.crt": "etcd-peer",
    }.get(use.path.removeprefix(f"{folder}/"), "")
    if name:
        stem = use.path.removesuffix(".crt")
        there = "" if folder == PKI else f" --cert-dir {folder}"
        yield f"ssh {node} sudo mkdir -p /root/old-pki && ssh {node} sudo mv {stem}.crt {stem}.key /root/old-pki/"
        yield f"ssh {node} sudo kubeadm init phase certs {name}{there}    # signs a new one with the CA that is there"
    elif use.path.endswith(".conf"):
        stem = use.path.rpartition("/")[2].removesuffix(".conf")
        yield f"ssh {node} sudo mv {use.path} {use.path}.bak"
        yield f"ssh {node} sudo kubeadm init phase kubeconfig {stem}"
    else:
        yield f"ssh {node} sudo kubeadm certs check-expiration"

"""The certificates and keys of a node: what they say, who signed them, and who uses them for what."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

from kdiag.facts.base import NodeCommand, NodeFollow
from kdiag.facts.filelist import LISTED, FileInfo, listed
from kdiag.facts.hosts import Answer, HostFact, answer, safe_path
from kdiag.facts.manifests import Manifests, NodeManifests
from kdiag.facts.nodefiles import PUBLIC_PARTS, READ_CLOCK, READ_KUBELET_CONFIG, settings, show_certificates
from kdiag.facts.staticpods import Manifest
from kdiag.model.text import clean_line, shorten

PKI = "/etc/kubernetes/pki"
KUBELET_PKI = "/var/lib/kubelet/pki"
_CONFIGS = ("admin", "super-admin", "controller-manager", "scheduler", "kubelet")
_MOST = 60
_MOST_OF_ONE = 8
_NOTHING_IN_IT = re.compile(r"(?:could not|unable to) (?:read|load|find)", re.IGNORECASE)
_LOCKED = re.compile(r"permission denied|pass ?phrase|password", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One certificate. ``key`` is the digest of its public key."""

    place: str
    subject: str = ""
    organizations: tuple[str, ...] = ()
    issuer: str = ""
    serial: str = ""
    not_before: datetime
    not_after: datetime
    names: tuple[str, ...] = ()
    ca: bool = False
    key: str = ""
    client: bool = True
    server: bool = True
    self_signed: bool = False
    more: bool = False  # others follow it in the same file
    pem: str = ""

    def signed_by(self, authority: Certificate) -> bool | None:
        """Whether the other's key really signed this; None when it cannot be told."""
        return _signed(self.pem, authority.pem)


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeconfigParts:
    """What of a kubeconfig is public. Where it has several servers or users, what is ambiguous is left out."""

    path: str
    server: str = ""
    server_name: str = ""
    unverified: bool = False
    authority: Certificate | None = None
    authority_path: str = ""
    client: Certificate | None = None
    client_path: str = ""
    client_key_path: str = ""
    fault: str = ""

    @property
    def host(self) -> str:
        """The name that the server's certificate must have; empty where that is not asked for."""
        if self.unverified or self.server_name:
            return "" if self.unverified else self.server_name
        found = re.match(r"https?://(\[[0-9A-Fa-f:.]+\]|[^/:]+)", self.server)
        return found[1].strip("[]") if found else ""


@dataclass(frozen=True, kw_only=True)
class Pki:
    """The certificates, keys and kubeconfigs of one node.

    ``broken`` holds the files that are there and hold no certificate (or key), and why; ``missing`` those that are
    named and not there. What could not be read is in neither.
    """

    files: Mapping[str, FileInfo] = field(default_factory=dict)
    certificates: Mapping[str, Certificate] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()
    keys: Mapping[str, str] = field(default_factory=dict)
    broken_keys: Mapping[str, str] = field(default_factory=dict)
    public_keys: Mapping[str, frozenset[str]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    bundles: Mapping[str, tuple[Certificate, ...]] = field(default_factory=dict)
    kubeconfigs: Mapping[str, KubeconfigParts] = field(default_factory=dict)
    kubelet_client_ca: tuple[str, str, int] = ("", "", 0)  # clientCAFile of the kubelet, and the file and line of it
    clock: datetime | None = None
    folder: str = PKI  # where a control plane keeps its certificates (kubeadm's certificatesDir)

    @property
    def control_plane(self) -> bool:
        """Whether this node holds the certificates of a control plane."""
        return _holds(self.files, self.folder)

    def get(self, path: str) -> Certificate | None:
        """The (first) certificate of a file."""
        return self.certificates.get(path)

    def apart(self, path: str, key_path: str) -> bool:
        """Whether the key beside a certificate is that of another: nobody serves with the two, or comes by them."""
        cert, key = self.get(path), self.keys.get(key_path)
        return bool(cert and key and key != cert.key)

    def trusts(self, path: str, certificate: Certificate) -> bool | None:
        """Whether a CA file, which may hold several, has the one that signed this; None when it cannot be told."""
        told = [certificate.signed_by(one) for one in self.bundles.get(path, ())]
        if not told or len(told) != self.counts.get(path):
            return None
        return True if any(told) else None if None in told else False

    def authority(self, path: str) -> Certificate | None:
        """The only certificate of a CA file; None for a bundle, of which any member may have signed."""
        return self.certificates.get(path) if self.counts.get(path) == 1 else None

    def public_halves(self, path: str) -> frozenset[str]:
        """The digests of the public keys that a file holds: as such, in its certificate or of its private key."""
        if path in self.public_keys:
            return self.public_keys[path]
        one = self.certificates.get(path)
        key = one.key if one else self.keys.get(path, "")
        return frozenset([key]) if key else frozenset()

    @cached_property
    def authorities(self) -> tuple[Certificate, ...]:
        """Every CA found on the node."""
        found = [c for c in self.certificates.values() if c.ca]
        return tuple(found)


class Certificates(HostFact[Pki]):
    """The certificates of the nodes, with the public halves of their keys. No private key is ever read."""

    sources = (
        *(s for s in Manifests.sources if isinstance(s, NodeCommand) and s.key in ("manifest-files", "manifests")),
        NodeCommand(
            "pki-kubelet", ("find", f"{KUBELET_PKI}/", "-maxdepth", "1", "-printf", LISTED), sudo=True, answers=(0, 1)
        ),
        NodeCommand(
            "pki-kubeconfigs",
            ("grep", "-H", "-o", "-E", PUBLIC_PARTS, *(f"/etc/kubernetes/{name}.conf" for name in _CONFIGS)),
            sudo=True,
            answers=(0, 1, 2),
        ),
        READ_CLOCK,
        READ_KUBELET_CONFIG,
        NodeFollow("kubelet-config-folder"),
        NodeFollow("pki-clock"),  # of older recordings
        NodeFollow("pki-certificate"),
        NodeFollow("pki-key"),
        NodeFollow("pki-public"),
        NodeFollow("pki-count"),  # of older recordings
    )
    beside = frozenset({"clock", "kubelet-config", "kubelet-config-folder"})

    @staticmethod
    def follow(node: str, answers: tuple[Answer, ...]) -> Iterable[NodeCommand]:
        """Print each certificate; of each key the public half."""
        manifests = Manifests.parse(node, answers)
        files = _files(manifests, answers)
        certificates, keys = _paths(manifests, files, _raw_configs(answers))
        authority = _client_ca(answers)[0]
        if safe_path(authority) and authority not in certificates:
            certificates.append(authority)
        for path in certificates:
            yield show_certificates("pki-certificate", path)
        for path in keys:
            yield NodeCommand(
                "pki-key",
                ("openssl", "pkey", "-in", path, "-pubout"),
                sudo=True,
                limit=16384,
                name=path,
                answers=(0, 1),
            )
        public = f"{_folder(manifests, files)}/sa.pub"
        if public in files and safe_path(public):
            yield NodeCommand("pki-public", ("cat", public), sudo=True, limit=16384, name=public)

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> Pki:
        """All of it, of the text of the certificates."""
        listed = answer(answers, "pki-kubelet")
        if "unrecognized" in listed or "invalid option" in listed:
            raise ValueError("find there knows no -printf")
        certificates: dict[str, Certificate] = {}
        broken: dict[str, str] = {}
        missing: set[str] = set()
        for one in answers:
            if one.key != "pki-certificate":
                continue
            found = parse_pem(one.text, one.name)
            if isinstance(found, Certificate):
                certificates[one.name] = found
            elif "No such file or directory" in one.text:
                missing.add(one.name)
            elif (
                not one.error
                and (found or not one.text.strip() or _NOTHING_IN_IT.search(one.text))
                and not _LOCKED.search(one.text)
            ):
                broken[one.name] = found or "it holds no certificate"
        keys: dict[str, str] = {}
        broken_keys: dict[str, str] = {}
        for one in answers:
            if one.key == "pki-key":
                digests = _public_digests(one.text)
                if digests:
                    keys[one.name] = next(iter(digests))
                elif "No such file or directory" in one.text:
                    missing.add(one.name)
                elif not one.error and _NOTHING_IN_IT.search(one.text) and not _LOCKED.search(one.text):
                    broken_keys[one.name] = "it holds no private key"
        counts = {
            m[1]: int(m[2]) for m in re.finditer(r"^(/[^\n:]+):(\d{1,6})$", answer(answers, "pki-count"), re.MULTILINE)
        }
        counts |= {
            a.name: a.text.count("-----BEGIN ")
            for a in answers
            if a.key == "pki-certificate" and a.text.startswith(f"{a.name}:")
        }
        manifests = Manifests.parse(node, answers)
        files = _files(manifests, answers)
        stamp = (answer(answers, "pki-clock") or answer(answers, "clock")).strip().partition(".")[0]
        return Pki(
            files=files,
            folder=_folder(manifests, files),
            certificates=certificates,
            broken=broken,
            missing=frozenset(missing),
            keys=keys,
            broken_keys=broken_keys,
            public_keys={
                a.name: d for a in answers if a.key == "pki-public" and not a.error and (d := _public_digests(a.text))
            },
            counts=counts,
            bundles={a.name: _bundle(a) for a in answers if a.key == "pki-certificate" and a.name in counts},
            kubeconfigs=_kubeconfigs(answers),
            kubelet_client_ca=_client_ca(answers),
            clock=datetime.fromtimestamp(int(stamp), UTC) if re.fullmatch(r"\d{9,11}", stamp) else None,
        )


def _bundle(one: Answer) -> tuple[Certificate, ...]:
    """The first certificates of a file."""
    blocks = re.findall(r"-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----", one.text)[:_MOST_OF_ONE]
    found = (parse_pem(block, one.name) for block in blocks)
    return tuple(c for c in found if isinstance(c, Certificate))


def token_keys(manifest: Manifest | None) -> tuple[str, ...]:
    """The node's files by which the API server knows service account tokens; empty where one cannot be told."""
    named = [f.value for f in manifest.flags if f.name == "service-account-key-file"] if manifest else []
    found = tuple(manifest.on_host(path)[1] for path in named) if manifest else ()
    return found if all(found) else ()


def _client_ca(answers: tuple[Answer, ...]) -> tuple[str, str, int]:
    found = ("", "", 0)
    over = answer(answers, "kubelet-config-folder")
    for path, number, line in settings(answer(answers, "kubelet-config"), over, r"^\s+clientCAFile:"):
        found = line.partition(":")[2].partition(" #")[0].strip().strip("\"'"), path, number
    return found


def parse_pem(text: str, place: str) -> Certificate | str:
    """The first certificate of a text, or why there is none; empty when the text does not even claim to hold one."""
    found = re.search(r"-----BEGIN (?:TRUSTED )?CERTIFICATE-----[\s\S]*?-----END (?:TRUSTED )?CERTIFICATE-----", text)
    if not found:
        return "its certificate is cut short" if "BEGIN CERTIFICATE" in text else ""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cert = x509.load_pem_x509_certificate(found[0].encode())
            names: list[str] = []
            ca = False
            client = server = True
            for extension in cert.extensions:
                value = extension.value
                if isinstance(value, x509.SubjectAlternativeName):
                    names += [str(n.value) for n in value if isinstance(n, x509.DNSName | x509.IPAddress)]
                elif isinstance(value, x509.BasicConstraints):
                    ca = value.ca
                elif isinstance(value, x509.ExtendedKeyUsage):
                    oids = {o.dotted_string for o in value}
                    client = bool(oids & {"1.3.6.1.5.5.7.3.2", "2.5.29.37.0"})
                    server = bool(oids & {"1.3.6.1.5.5.7.3.1", "2.5.29.37.0"})
            return Certificate(
                place=place,
                subject=_attribute(cert.subject, x509.NameOID.COMMON_NAME) or cert.subject.rfc4514_string(),
                organizations=tuple(
                    str(a.value) for a in cert.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
                ),
                issuer=_attribute(cert.issuer, x509.NameOID.COMMON_NAME) or cert.issuer.rfc4514_string(),
                serial=f"{cert.serial_number:x}",
                not_before=cert.not_valid_before_utc,
                not_after=cert.not_valid_after_utc,
                names=tuple(clean_line(n) for n in names[:100]),
                ca=ca,
                key=hashlib.sha256(
                    cert.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
                ).hexdigest(),
                client=client,
                server=server,
                self_signed=cert.subject == cert.issuer,
                more=text.count("-----BEGIN CERTIFICATE-----") > 1,
                pem=found[0],
            )
    except Exception as exc:  # whatever a file may hold, it is no certificate
        return f"its certificate cannot be parsed: {shorten(clean_line(str(exc)), 100) or type(exc).__name__}"


def _attribute(name: object, oid: object) -> str:
    found = name.get_attributes_for_oid(oid)  # type: ignore[attr-defined]
    return clean_line(str(found[0].value)) if found else ""


def _signed(pem: str, authority: str) -> bool | None:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            child = x509.load_pem_x509_certificate(pem.encode())
            parent = x509.load_pem_x509_certificate(authority.encode())
            child.verify_directly_issued_by(parent)
    except InvalidSignature:
        return False
    except ValueError as exc:
        return False if "issuer" in str(exc).lower() else None
    except Exception:  # an algorithm that is not known here
        return None
    return True


def _public_digests(text: str) -> frozenset[str]:
    found: set[str] = set()
    for block in re.findall(r"-----BEGIN PUBLIC KEY-----\n([\s\S]*?)-----END PUBLIC KEY-----", text):
        try:
            found.add(hashlib.sha256(base64.b64decode(block)).hexdigest())
        except (binascii.Error, ValueError):
            continue
    return frozenset(found)


def _files(manifests: NodeManifests, answers: tuple[Answer, ...]) -> dict[str, FileInfo]:
    return {**manifests.tree, **{info.path: info for info in listed(answer(answers, "pki-kubelet"))}}


def _holds(files: Mapping[str, FileInfo], folder: str) -> bool:
    return f"{folder}/apiserver.crt" in files or f"{folder}/etcd/server.crt" in files


def _folder(manifests: NodeManifests, files: Mapping[str, FileInfo]) -> str:
    """kubeadm's folder of certificates; where it holds none, the one that most files of kube-apiserver are in."""
    api = manifests.of("kube-apiserver")
    if _holds(files, PKI) or api is None:
        return PKI
    named = Counter(u.host.rpartition("/")[0] for u in api.uses if u.host.endswith((".crt", ".key", ".pub")))
    folder = max(named, key=lambda one: named[one], default=PKI)
    return folder if _holds(files, folder) else PKI


def _raw_configs(answers: tuple[Answer, ...]) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    for line in answer(answers, "pki-kubeconfigs").splitlines():
        if match := re.match(r"(/[^:\s]+\.conf):([a-z-]+)\"?: *\"?(\S+)$", line):
            found.setdefault(match[1], {}).setdefault(match[2], []).append(match[3])
    return found


def _kubeconfigs(answers: tuple[Answer, ...]) -> dict[str, KubeconfigParts]:
    found: dict[str, KubeconfigParts] = {}
    for path, values in _raw_configs(answers).items():

        def one(name: str, values: Mapping[str, list[str]] = values) -> str:
            all_values = set(values.get(name, ()))
            return next(iter(all_values)) if len(all_values) == 1 else ""

        authority = _decoded(one("certificate-authority-data"), path)
        client = _decoded(one("client-certificate-data"), path)
        fault = ""
        if isinstance(client, str) and client:
            fault = f"its client-certificate-data is no certificate: {client}"
        elif isinstance(authority, str) and authority:
            fault = f"its certificate-authority-data is no certificate: {authority}"
        found[path] = KubeconfigParts(
            path=path,
            server=one("server"),
            server_name=one("tls-server-name"),
            unverified=one("insecure-skip-tls-verify") == "true",
            authority=authority if isinstance(authority, Certificate) and not authority.more else None,
            authority_path=one("certificate-authority"),
            client=client if isinstance(client, Certificate) else None,
            client_path=one("client-certificate"),
            client_key_path=one("client-key"),
            fault=fault,
        )
    return found


def _decoded(data: str, place: str) -> Certificate | str:
    if not data:
        return ""
    try:
        text = base64.b64decode(data, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return "it is no base64"
    found = parse_pem(text, place)
    return found or "it holds no PEM block"


def _paths(
    manifests: NodeManifests, files: Mapping[str, FileInfo], configs: Mapping[str, Mapping[str, list[str]]]
) -> tuple[list[str], list[str]]:
    """The certificates to print, and the keys of which to print the public half."""
    certificates: dict[str, None] = {}
    keys: dict[str, None] = {}
    folders = (f"{_folder(manifests, files)}/", f"{KUBELET_PKI}/")
    for path, info in sorted(files.items()):
        if info.kind != "f" or not path.startswith(folders):
            continue
        if re.search(r"\.(?:crt|cert|cer)$|-current\.pem$", path):
            certificates[path] = None
        if re.search(r"\.key$|-current\.pem$", path):
            keys[path] = None
    for manifest in manifests.running:
        for use in manifest.uses:
            name = use.flag.name
            if use.host and re.search(r"key-file$|-key$|keyfile$", name):
                if not name.startswith("service-account-key"):
                    keys[use.host] = None
            elif use.host and re.search(r"cert|ca-?file$", name) and "sni" not in name:
                certificates[use.host] = None
    for values in configs.values():
        for path in (*values.get("client-certificate", ()), *values.get("certificate-authority", ())):
            certificates[path] = None
        for path in values.get("client-key", ()):
            keys[path] = None
    return [p for p in certificates if safe_path(p)][:_MOST], [p for p in keys if safe_path(p)][:_MOST]


# Who uses what


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateUse:
    """One certificate in its place: who shows it, who checks it against which CA, and what fails without it."""

    component: str
    role: str
    path: str
    key_path: str = ""
    flag: str = ""
    key_flag: str = ""
    usual: str = ""  # where kubeadm keeps the two, without .crt and .key
    where: str = ""
    checker: str = ""
    trust: str = ""  # the checker's flag that names the CA
    trust_default: str = ""  # the file that kubeadm gives for it
    authorities: tuple[tuple[str, Certificate], ...] = ()
    certificate: Certificate | None = None
    server: bool = False
    breaks: str = ""
    dead: bool = False


@dataclass(frozen=True, slots=True)
class _Place:
    component: str
    cert: str
    key: str
    default: str  # where kubeadm keeps the two, in its folder and without .crt and .key
    trust: tuple[str, str, str]  # the component that checks it, by which flag, kubeadm's file
    role: str
    breaks: str
    dead: bool
    server: bool = False


_PLACES = (
    _Place(
        "etcd",
        "cert-file",
        "key-file",
        "etcd/server",
        ("kube-apiserver", "etcd-cafile", "etcd/ca.crt"),
        "etcd's serving certificate",
        "kube-apiserver cannot connect to etcd",
        dead=True,
        server=True,
    ),
    _Place(
        "kube-apiserver",
        "etcd-certfile",
        "etcd-keyfile",
        "apiserver-etcd-client",
        ("etcd", "trusted-ca-file", "etcd/ca.crt"),
        "kube-apiserver's client certificate for etcd",
        "etcd refuses kube-apiserver",
        dead=True,
    ),
    _Place(
        "kube-apiserver",
        "tls-cert-file",
        "tls-private-key-file",
        "apiserver",
        ("", "", ""),
        "kube-apiserver's serving certificate",
        "kubelets, controllers and kubectl refuse to talk to kube-apiserver",
        dead=True,
        server=True,
    ),
    _Place(
        "etcd",
        "peer-cert-file",
        "peer-key-file",
        "etcd/peer",
        ("etcd", "peer-trusted-ca-file", "etcd/ca.crt"),
        "etcd's peer certificate",
        "etcd members cannot talk to each other",
        dead=False,
    ),
    _Place(
        "kube-apiserver",
        "kubelet-client-certificate",
        "kubelet-client-key",
        "apiserver-kubelet-client",
        ("kube-apiserver", "client-ca-file", "ca.crt"),
        "kube-apiserver's client certificate for kubelets",
        "kubelets refuse kubectl logs, exec and port-forward",
        dead=False,
    ),
    _Place(
        "kube-apiserver",
        "proxy-client-cert-file",
        "proxy-client-key-file",
        "front-proxy-client",
        ("kube-apiserver", "requestheader-client-ca-file", "front-proxy-ca.crt"),
        "kube-apiserver's certificate for aggregated APIs",
        "aggregated APIs (metrics) refuse kube-apiserver",
        dead=False,
    ),
)
_CONFIG_USES = {
    "controller-manager": ("kube-controller-manager", "kube-apiserver refuses kube-controller-manager", True),
    "scheduler": ("kube-scheduler", "kube-apiserver refuses kube-scheduler", True),
    "admin": ("kubectl", "kubectl with admin.conf is refused", False),
    "super-admin": ("kubectl", "kubectl with super-admin.conf is refused", False),
    "kubelet": ("kubelet", "kube-apiserver refuses the kubelet", False),
}


def certificate_uses(pki: Pki, manifests: NodeManifests | None) -> tuple[CertificateUse, ...]:
    """What each certificate of a node is for: by the flags of the manifests, else by the places that kubeadm gives."""
    return tuple(_uses(pki, manifests))


def _uses(pki: Pki, manifests: NodeManifests | None) -> Iterator[CertificateUse]:
    for place in _PLACES:
        manifest = manifests.of(place.component) if manifests else None
        path, key, where = _named(place, manifest, pki)
        if not path:
            continue
        trusted: list[tuple[str, Certificate]] = []
        usual = f"{pki.folder}/{place.trust[2]}" if place.trust[2] else ""
        if place.trust[0]:
            checker = manifests.of(place.trust[0]) if manifests else None
            file = _file(checker, place.trust[1], usual)
            if file and (authority := pki.authority(file)):
                trusted.append((file, authority))
        else:
            trusted += [(c.path, a) for c in pki.kubeconfigs.values() if (a := _authority_of(c, pki))]
        yield CertificateUse(
            component=place.component,
            role=place.role,
            path=path,
            key_path=key,
            flag=place.cert,
            key_flag=place.key,
            usual=f"{pki.folder}/{place.default}",
            where=where,
            checker=place.trust[0],
            trust=place.trust[1],
            trust_default=usual,
            authorities=tuple(trusted),
            certificate=pki.get(path),
            server=place.server,
            breaks=place.breaks,
            dead=place.dead,
        )
    api = manifests.of("kube-apiserver") if manifests else None
    clients = _file(api, "client-ca-file", f"{pki.folder}/ca.crt")
    for path, config in sorted(pki.kubeconfigs.items()):
        name = path.rpartition("/")[2].removesuffix(".conf")
        if name not in _CONFIG_USES:
            continue
        component, breaks, dead = _CONFIG_USES[name]
        file = config.client_path or path
        # A worker's own copy of the CA is not the one that the API server checks with.
        authority = pki.authority(clients) if clients and pki.control_plane else None
        yield CertificateUse(
            component=component,
            role=f"the client certificate of {path}" if not config.client_path else "the kubelet's client certificate",
            path=file,
            key_path=config.client_key_path,
            where=path,
            checker="kube-apiserver",
            trust="client-ca-file",
            trust_default=f"{pki.folder}/ca.crt",
            authorities=((clients, authority),) if authority else (),
            certificate=config.client or pki.get(config.client_path),
            breaks=breaks,
            dead=dead,
        )


def _authority_of(config: KubeconfigParts, pki: Pki) -> Certificate | None:
    return config.authority or (pki.authority(config.authority_path) if config.authority_path else None)


def _named(place: _Place, manifest: Manifest | None, pki: Pki) -> tuple[str, str, str]:
    """The files of a use on the node, and where that is said."""
    if manifest is None or manifest.shell:
        usual = f"{pki.folder}/{place.default}"
        there = f"{usual}.crt" in pki.files or f"{usual}.crt" in pki.missing
        return (f"{usual}.crt", f"{usual}.key", "") if there else ("", "", "")
    flag = manifest.flag(place.cert)
    if flag is None:
        return "", "", ""
    return (
        manifest.on_host(flag.value)[1],
        manifest.on_host(manifest.value(place.key))[1] if manifest.value(place.key) else "",
        manifest.where(flag.line),
    )


def _file(manifest: Manifest | None, flag: str, default: str) -> str:
    if manifest is None or manifest.shell:
        return default
    value = manifest.value(flag)
    return manifest.on_host(value)[1] if value else ""

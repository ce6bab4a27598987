"""Whether a host key is the expected one: known_hosts as OpenSSH reads it, certificates of hosts included.

One line that cannot be read costs that line and no other. Nothing is ever added: an unknown key is refused, with the
command that a person would use to look at it and take it.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path

from kdiag.collect.fields import one_line, read_file
from kdiag.errors import ConfigError

_CERTIFICATE = "-cert-v01@openssh.com"
_HOST_CERTIFICATE = 2
_FOREVER = 2**64 - 1
# How many strings stand for the public key in a certificate, after the nonce.
_KEY_FIELDS = {
    "ssh-ed25519": 1,
    "ssh-rsa": 2,
    "ecdsa-sha2-nistp256": 2,
    "ecdsa-sha2-nistp384": 2,
    "ecdsa-sha2-nistp521": 2,
}
# What a CA may have signed with; "ssh-rsa" would be SHA-1.
_CA_SIGNATURES = frozenset({"rsa-sha2-256", "rsa-sha2-512"} | set(_KEY_FIELDS) - {"ssh-rsa"})


class Trust(Enum):
    """What known_hosts says of a key."""

    TRUSTED = "trusted"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer, and where it is not TRUSTED why and what to do; both are one line."""

    trust: Trust
    reason: str = ""
    fix: str = ""
    # The line that decided, as FILE:LINE.
    where: str = ""


@dataclass(frozen=True, slots=True)
class _Line:
    path: Path
    number: int
    # "", "@cert-authority" or "@revoked".
    marker: str
    patterns: tuple[str, ...]
    kind: str
    blob: bytes

    @property
    def where(self) -> str:
        return f"{self.path}:{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What kdiag needs of an OpenSSH certificate."""

    kind: str
    # The key that it is about, as it would stand without the certificate.
    key: bytes
    role: int
    key_id: str
    principals: tuple[str, ...]
    valid_after: int
    valid_before: int
    critical: bytes
    authority: bytes
    signature_kind: str
    blob: bytes


class KnownHosts:
    """The lines of a user's and the system's files. Immutable, so that threads may share it."""

    def __init__(self, lines: Sequence[_Line], files: Sequence[Path], notes: Sequence[str] = ()) -> None:
        self.notes = tuple(notes)
        self._files = tuple(files)
        self._exact: dict[str, list[_Line]] = {}
        self._others: list[_Line] = []
        for line in lines:
            if all(re.fullmatch(r"[^|*?!]+", pattern) for pattern in line.patterns):
                for pattern in line.patterns:
                    self._exact.setdefault(pattern.lower(), []).append(line)
            else:
                self._others.append(line)

    def _about(self, name: str) -> list[_Line]:
        found = self._exact.get(name, []) + [line for line in self._others if _matches(name, line.patterns)]
        return sorted(found, key=lambda line: (self._rank(line.path), line.number))

    def _rank(self, path: Path) -> int:
        return self._files.index(path) if path in self._files else len(self._files)

    def key_types(self, host: str, port: int, alias: str = "") -> list[str]:
        """The kinds of key that are known for a host, a CA's as certificates: what to ask the server for first."""
        kinds: dict[str, None] = {}
        lines = [line for name in _names(host, port, alias) for line in self._about(name)]
        if any(line.marker == "@cert-authority" for line in lines):
            kinds.update(dict.fromkeys(f"{kind}{_CERTIFICATE}" for kind in _KEY_FIELDS))
        kinds.update(dict.fromkeys(line.kind for line in lines if not line.marker))
        return list(kinds)

    def check(self, host: str, port: int, key: bytes, *, alias: str = "", now: datetime | None = None) -> Verdict:
        """What to think of ``key``, the blob that the server showed: a plain key or a certificate."""
        names = _names(host, port, alias)
        lines = self._about(names[0])
        # A CA, or what is revoked, is so whatever the port is.
        anywhere = [*lines, *(line for name in names[1:] for line in self._about(name))]
        why_not = ""
        if _kind(key).endswith(_CERTIFICATE):
            try:
                certificate = read_certificate(key)
            except ValueError as exc:
                return self._unknown(names, key, f"its host certificate cannot be read ({one_line(str(exc), 80)})")
            if revoked := _with_blob(anywhere, certificate.authority, "@revoked"):
                return _revoked(names[0], revoked)
            key = certificate.key
            why_not = "its host certificate is of a CA that is not trusted for it"
            if anchor := _with_blob(anywhere, certificate.authority, "@cert-authority"):
                # The principals are names without a port.
                why_not = _objection(certificate, (alias or host).lower(), now or datetime.now(UTC))
                if not why_not and not _with_blob(anywhere, key, "@revoked"):
                    return Verdict(trust=Trust.TRUSTED, where=anchor.where)
                why_not = f"{why_not} (CA: {anchor.where})"
        if revoked := _with_blob(anywhere, key, "@revoked"):
            return _revoked(names[0], revoked)
        if found := _with_blob(lines, key, ""):
            return Verdict(trust=Trust.TRUSTED, where=found.where)
        # A key of another kind would be a new key and no change: that is what OpenSSH holds too.
        kind = _kind(key)
        if other := next((line for line in lines if not line.marker and line.kind == kind), None):
            return self._changed(names[0], key, other)
        if found := _with_blob(anywhere, key, ""):
            return Verdict(trust=Trust.TRUSTED, where=found.where)
        return self._unknown(names, key, why_not, [line for line in lines if not line.marker])

    def _changed(self, name: str, key: bytes, line: _Line) -> Verdict:
        return Verdict(
            trust=Trust.CHANGED,
            reason=f"the host key of {name} has changed: it shows {describe(key)}, "
            f"{line.where} has {describe(line.blob)}",
            fix=f"if the host was set up anew: ssh-keygen -R '{name}' -f {line.path}",
            where=line.where,
        )

    def _unknown(self, names: Sequence[str], key: bytes, why: str, known: Sequence[_Line] = ()) -> Verdict:
        file = self._files[0] if self._files else Path("~/.ssh/known_hosts")
        bare, port = _parts(names[0])
        scan = f"ssh-keyscan {'-p ' + port + ' ' if port else ''}{bare} >> {file}"
        kinds = ", ".join(dict.fromkeys(line.kind for line in known))
        reason = f"the host key of {names[0]} is not known: {describe(key)}"
        if why:
            reason = f"{reason}; {why}"
        elif kinds:
            reason = f"{reason}; {known[0].where} has {kinds}"
        elif not self._files:
            reason = f"{reason}; no known_hosts file is configured"
        return Verdict(trust=Trust.UNKNOWN, reason=reason, fix=f"compare the fingerprint, then: {scan}")


def load(files: Iterable[Path]) -> KnownHosts:
    """Read these files in their order; one that does not exist holds nothing, one that cannot be read is noted."""
    lines: list[_Line] = []
    notes: list[str] = []
    paths = list(files)
    for path in paths:
        if not path.exists():
            continue
        try:
            text = read_file(path, "known hosts file").decode("utf-8", "replace")
        except ConfigError as exc:
            notes.append(str(exc))
            continue
        for number, raw in enumerate(text.split("\n"), 1):
            try:
                line = _read_line(path, number, raw)
            except ValueError as exc:
                notes.append(f"{one_line(str(path))}:{number}: {exc}; the line is passed over")
                continue
            if line is not None:
                lines.append(line)
    return KnownHosts(lines, paths, notes)


def _read_line(path: Path, number: int, raw: str) -> _Line | None:
    fields = raw.strip().split(None, 4)
    if not fields or fields[0].startswith("#"):
        return None
    marker = ""
    if fields[0].startswith("@"):
        marker = fields.pop(0)
        if marker not in ("@cert-authority", "@revoked"):
            raise ValueError(f"the marker {one_line(marker, 40)} is not known")
    if len(fields) < 3:
        raise ValueError("it has no host, kind and key")
    try:
        blob = base64.b64decode(fields[2], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("its key is not base64") from None
    kind = _kind(blob)
    if kind != fields[1]:
        raise ValueError(f"its key is not of the kind {one_line(fields[1], 60)}")
    return _Line(path, number, marker, tuple(p for p in fields[0].split(",") if p), kind, blob)


def _names(host: str, port: int, alias: str) -> list[str]:
    """What to look for, the best first: with a port that is not 22, also the bare name, as OpenSSH does."""
    if alias:
        return [alias.lower()]
    return [host.lower()] if port == 22 else [f"[{host.lower()}]:{port}", host.lower()]


def _parts(name: str) -> tuple[str, str]:
    match = re.fullmatch(r"\[(.*)\]:([0-9]+)", name)
    return (match[1], match[2]) if match else (name, "")


def _matches(name: str, patterns: Sequence[str]) -> bool:
    found = False
    for pattern in patterns:
        wanted = pattern.removeprefix("!")
        if wanted.startswith("|"):
            hit = _is_hash_of(name, wanted)
        else:
            hit = fnmatchcase(name, wanted.lower().replace("[", "[[]"))
        if hit and pattern.startswith("!"):
            return False
        found = found or hit
    return found


def _is_hash_of(name: str, pattern: str) -> bool:
    try:
        _, version, salt, digest = pattern.split("|")
        if version != "1":
            return False
        mac = hmac.digest(base64.b64decode(salt), name.encode(), "sha1")
        return hmac.compare_digest(mac, base64.b64decode(digest))
    except ValueError:
        return False


def _with_blob(lines: Iterable[_Line], blob: bytes, marker: str) -> _Line | None:
    return next((line for line in lines if line.marker == marker and line.blob == blob), None)


def _revoked(name: str, line: _Line) -> Verdict:
    return Verdict(
        trust=Trust.REVOKED,
        reason=f"the host key of {name} is revoked by {line.where}: {describe(line.blob)}",
        fix=f"do not log in there; the host needs a new key (the line is {line.where})",
        where=line.where,
    )


def describe(key: bytes) -> str:
    """A key as ssh shows it: its kind and fingerprint."""
    return f"{one_line(_kind(key), 60) or 'no key'} {fingerprint(key)}"


def fingerprint(key: bytes) -> str:
    """``SHA256:…``, as ssh-keygen -l writes it; of a certificate, that of its key."""
    if _kind(key).endswith(_CERTIFICATE):
        with contextlib.suppress(ValueError):
            key = read_certificate(key).key
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode("ascii").rstrip("=")


# Certificates of hosts


class _Wire:
    """Reads the fields of SSH's binary format; ValueError where there is less than announced."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def take(self, count: int) -> bytes:
        part = self._data[self.position : self.position + count]
        if len(part) != count:
            raise ValueError("it is cut short")
        self.position += count
        return part

    def string(self) -> bytes:
        return self.take(int(struct.unpack(">I", self.take(4))[0]))

    def number(self, code: str) -> int:
        return int(struct.unpack(f">{code}", self.take(struct.calcsize(f">{code}")))[0])

    def strings(self) -> Iterable[bytes]:
        while self.position < len(self._data):
            yield self.string()


def _kind(blob: bytes) -> str:
    try:
        return _Wire(blob).string().decode("ascii")
    except ValueError:
        return ""


def packed(value: bytes) -> bytes:
    """A string as SSH writes it: its length, then itself."""
    return struct.pack(">I", len(value)) + value


def read_certificate(blob: bytes) -> Certificate:
    """Take an OpenSSH certificate apart (PROTOCOL.certkeys); ValueError where it is none."""
    wire = _Wire(blob)
    kind = wire.string().decode("ascii")
    plain = kind.removesuffix(_CERTIFICATE)
    if plain == kind or plain not in _KEY_FIELDS:
        raise ValueError(f"a certificate of the kind {one_line(kind, 60)} is not known")
    wire.string()  # the nonce
    key = b"".join(packed(part) for part in [plain.encode(), *(wire.string() for _ in range(_KEY_FIELDS[plain]))])
    wire.number("Q")  # the serial number
    role = wire.number("I")
    key_id = wire.string().decode("utf-8", "replace")
    principals = tuple(name.decode("utf-8", "replace") for name in _Wire(wire.string()).strings())
    valid_after, valid_before = wire.number("Q"), wire.number("Q")
    critical = wire.string()
    wire.string()  # extensions
    wire.string()  # reserved
    authority = wire.string()
    signature = wire.string()
    if wire.position != len(blob):
        raise ValueError("something follows its signature")
    return Certificate(
        kind=kind,
        key=key,
        role=role,
        key_id=key_id,
        principals=principals,
        valid_after=valid_after,
        valid_before=valid_before,
        critical=critical,
        authority=authority,
        signature_kind=_kind(signature),
        blob=blob,
    )


def _objection(certificate: Certificate, host: str, now: datetime) -> str:
    """Why a certificate of a trusted CA does not hold for this host now; empty when it does."""
    moment = now.timestamp()
    if certificate.role != _HOST_CERTIFICATE:
        return "its host certificate is one for users"
    if certificate.critical:
        return "its host certificate has critical options, which are not understood"
    if moment < certificate.valid_after:
        return f"its host certificate is not valid before {_date(certificate.valid_after)}"
    if certificate.valid_before != _FOREVER and moment >= certificate.valid_before:
        return f"its host certificate has expired on {_date(certificate.valid_before)}"
    if not certificate.principals:
        return "its host certificate names no host"
    if not any(fnmatchcase(host, name.lower().replace("[", "[[]")) for name in certificate.principals):
        names = one_line(", ".join(certificate.principals), 100)
        return f"its host certificate is for {names} and not for {host}"
    if certificate.signature_kind not in _CA_SIGNATURES:
        return f"its host certificate is signed with {one_line(certificate.signature_kind, 40)}, which is not taken"
    return "" if _is_signed(certificate) else "the signature of its host certificate is wrong"


def _date(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return "a day beyond the calendar"


def _is_signed(certificate: Certificate) -> bool:
    """Whether the CA's key made the certificate's signature."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import SSHCertificate, load_ssh_public_identity

    line = b"%s %s" % (certificate.kind.encode("ascii"), base64.b64encode(certificate.blob))
    try:
        identity = load_ssh_public_identity(line)
        if not isinstance(identity, SSHCertificate):
            return False
        identity.verify_cert_signature()
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True

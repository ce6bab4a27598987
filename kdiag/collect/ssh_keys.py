"""The keys to log in to nodes with, from files and from an agent, and the known hosts: each read once for a run.

A private key is never sent, logged or kept longer than the run; a passphrase is asked for once, and only where somebody
is there to ask.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import socket
import stat
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from kdiag.collect import known_hosts
from kdiag.collect.fields import one_line, read_file
from kdiag.collect.known_hosts import KnownHosts, packed
from kdiag.collect.paths import home_of
from kdiag.collect.ssh_config import HostEntry
from kdiag.errors import ConfigError

#: How the kinds of certificates end.
CERTIFICATE = "-cert-v01@openssh.com"
_RSA_FLAGS = {"rsa-sha2-256": 2, "rsa-sha2-512": 4}
_KEY_KINDS = frozenset(
    {
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    }
)
_AGENT_SECONDS = 30.0
_AGENT_LIMIT = 1 << 20

Ask = Callable[[str], str | None]


class _KeyProblem(Exception):
    """Why a key cannot be used; one line."""


class _Key(Protocol):
    """A private key, wherever it is."""

    def sign(self, data: bytes, algorithm: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class _Blob:
    """The shape in which paramiko wants to be told the public half."""

    key_type: str
    key_blob: bytes


class Signer:
    """One key to try: the part of paramiko's PKey that a login needs, for keys in memory and in an agent alike."""

    def __init__(self, key: _Key, blob: bytes, label: str) -> None:
        self.label = label
        self.kind = _kind(blob)
        self.public_blob = _Blob(self.kind, blob)
        self.problem = ""
        self._key = key

    def get_name(self) -> str:
        """The kind of the key, as the protocol calls it."""
        return self.kind

    def asbytes(self) -> bytes:
        """The public half, or the certificate of it."""
        return self.public_blob.key_blob

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> bytes:
        """The signature, or one that no server takes where the key cannot be used: ``problem`` says why then."""
        wanted = (algorithm or self.kind).removesuffix(CERTIFICATE)
        try:
            return self._key.sign(data, wanted)
        except _KeyProblem as exc:
            # Raised here, it would take the whole connection down and with it the keys not tried yet.
            self.problem = str(exc)
            return packed(wanted.encode("ascii")) + packed(b"\0")


@dataclass(frozen=True, slots=True)
class _OwnKey:
    """A private key that was read from a file."""

    private: Any

    def sign(self, data: bytes, algorithm: str) -> bytes:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        name = packed(algorithm.encode("ascii"))
        if isinstance(self.private, rsa.RSAPrivateKey):
            digest: hashes.HashAlgorithm = hashes.SHA256() if algorithm == "rsa-sha2-256" else hashes.SHA512()
            return name + packed(self.private.sign(data, padding.PKCS1v15(), digest))
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            size = self.private.curve.key_size
            digest = hashes.SHA256() if size <= 256 else hashes.SHA384() if size <= 384 else hashes.SHA512()
            r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(digest)))
            return name + packed(_mpint(r) + _mpint(s))
        return name + packed(self.private.sign(data))


@dataclass(frozen=True, slots=True)
class _AgentKey:
    """A private key that an agent keeps."""

    agent: _Agent
    blob: bytes
    comment: str

    def sign(self, data: bytes, algorithm: str) -> bytes:
        answer = self.agent.ask(
            13, packed(self.blob) + packed(data) + struct.pack(">I", _RSA_FLAGS.get(algorithm, 0)), 14
        )
        return _unpacked(answer)[0]


class _Agent:
    """An ssh-agent behind a socket; each question has a connection of its own."""

    def __init__(self, path: str) -> None:
        self.path = path

    def keys(self) -> list[_AgentKey]:
        """What it holds; _KeyProblem when it does not answer."""
        answer = self.ask(11, b"", 12)
        if len(answer) < 4:
            raise _KeyProblem(f"the agent at {one_line(self.path, 80)} answers in no known way")
        parts = _unpacked(answer[4:])
        return [
            _AgentKey(self, blob, comment.decode("utf-8", "replace"))
            for blob, comment in zip(parts[::2], parts[1::2], strict=False)
        ]

    def ask(self, kind: int, body: bytes, expected: int) -> bytes:
        """The body of its answer, which must be of the kind expected."""
        what = f"the agent at {one_line(self.path, 80)}"
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.settimeout(_AGENT_SECONDS)
                sock.connect(self.path)
                sock.sendall(packed(bytes([kind]) + body))
                size = struct.unpack(">I", _exactly(sock, 4))[0]
                if not 0 < size <= _AGENT_LIMIT:
                    raise _KeyProblem(f"{what} answers in no known way")
                answer = _exactly(sock, size)
        except TimeoutError:
            raise _KeyProblem(f"{what} does not answer") from None
        except (OSError, EOFError) as exc:
            raise _KeyProblem(f"{what} cannot be asked ({one_line(str(exc), 80)})") from exc
        if answer[0] != expected:
            raise _KeyProblem(f"{what} refuses")
        return answer[1:]


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        chunk = sock.recv(count - len(data))
        if not chunk:
            raise EOFError("it hung up")
        data += chunk
    return bytes(data)


def _unpacked(data: bytes) -> list[bytes]:
    parts: list[bytes] = []
    while len(data) >= 4:
        size = struct.unpack(">I", data[:4])[0]
        parts.append(data[4 : 4 + size])
        data = data[4 + size :]
    return parts or [b""]


def _mpint(number: int) -> bytes:
    return packed(number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _kind(blob: bytes) -> str:
    return _unpacked(blob)[0].decode("ascii", "replace")


@dataclass(slots=True)
class _Identity:
    """One identity file, read once for all nodes."""

    path: Path
    data: bytes = b""
    # The public key, where it is known without a passphrase.
    public: bytes = b""
    problem: str = ""
    missing: bool = False
    key: _OwnKey | None = None
    asked: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class Access:
    """What all connections of a run share: key files, agents and known hosts, each read once.

    ``ask`` is given a prompt and returns a passphrase, or None; without it, a key that needs one is not used.
    """

    def __init__(self, environ: Mapping[str, str], ask: Ask | None = None) -> None:
        self._environ = dict(environ)
        self._ask = ask
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        self._identities: dict[Path, _Identity] = {}
        self._agents: dict[str, list[_AgentKey] | str] = {}
        self._known: dict[tuple[Path, ...], KnownHosts] = {}

    def known_hosts(self, entry: HostEntry) -> KnownHosts:
        """The lines that may vouch for this host."""
        files = (*entry.user_known_hosts_files, *entry.global_known_hosts_files)
        with self._lock:
            if files not in self._known:
                self._known[files] = known_hosts.load(files)
            return self._known[files]

    def unlock(self, entries: Iterable[HostEntry]) -> None:
        """Ask for the passphrases that these hosts will need now, before any deadline runs."""
        for entry in entries:
            for _ in self.signers(entry, []):
                pass

    def signers(self, entry: HostEntry, problems: list[str]) -> Iterator[Signer]:
        """The keys to try, in OpenSSH's order; why others cannot be is added to ``problems``.

        A certificate comes before its plain key. Keys of the agent come first, those named in the configuration
        before the others; a file is decrypted only when all that came before was refused.
        """
        held = self._held(entry, problems)
        identities = [self._identity(path) for path in entry.identity_files]
        certificates = self._certificates(entry, problems)
        named = [i.public for i in identities if i.public]
        by_blob = {key.blob: key for key in held if _kind(key.blob) in _KEY_KINDS}
        own = [blob for blob in named if blob in by_blob]
        given = [key for key in held if _kind(key.blob).endswith(CERTIFICATE)]
        rest = [blob for blob in by_blob if blob not in own]
        if entry.identities_only:
            given = [key for key in given if _certified(key.blob) in named]
            rest = [blob for blob in rest if any(_certified(certificate) == blob for _, certificate in certificates)]
        for key in given:
            if _kind(key.blob).removesuffix(CERTIFICATE) in _KEY_KINDS:
                yield Signer(key, key.blob, f"certificate {one_line(key.comment, 60)} of the agent")
        for blob in dict.fromkeys([*own, *rest]):
            label = f"{_short(blob)} {one_line(by_blob[blob].comment, 60)} of the agent"
            yield from _with_certificates(by_blob[blob], blob, label, certificates)
        for identity in identities:
            if identity.public and identity.public in by_blob:
                continue
            try:
                key_file, public = self._opened(identity, named=entry.identities_named)
            except _KeyProblem as exc:
                if str(exc):
                    problems.append(str(exc))
                continue
            yield from _with_certificates(key_file, public, f"{_short(public)} {_tidy(identity.path)}", certificates)

    def _held(self, entry: HostEntry, problems: list[str]) -> list[_AgentKey]:
        path = entry.identity_agent or self._environ.get("SSH_AUTH_SOCK", "")
        if not path or path == "none":
            return []
        with self._lock:
            if path not in self._agents:
                try:
                    self._agents[path] = _Agent(path).keys()
                except _KeyProblem as exc:
                    self._agents[path] = str(exc)
            found = self._agents[path]
        if isinstance(found, str):
            problems.append(found)
            return []
        return found

    def _certificates(self, entry: HostEntry, problems: list[str]) -> list[tuple[str, bytes]]:
        found: dict[bytes, str] = {}
        beside = [path.with_name(f"{path.name}-cert.pub") for path in entry.identity_files]
        for path in (*entry.certificate_files, *beside):
            try:
                blob = _public_line(read_file(path, "certificate")) if path.exists() else b""
            except (ConfigError, OSError) as exc:
                problems.append(one_line(str(exc)))
                continue
            if _kind(blob).endswith(CERTIFICATE):
                found.setdefault(blob, _tidy(path))
            elif path in entry.certificate_files:
                problems.append(
                    f"{_tidy(path)} is no certificate" if path.exists() else f"{_tidy(path)} does not exist"
                )
        return [(name, blob) for blob, name in found.items()]

    def _identity(self, path: Path) -> _Identity:
        with self._lock:
            if path not in self._identities:
                self._identities[path] = _read_identity(path)
            return self._identities[path]

    def _opened(self, identity: _Identity, *, named: bool) -> tuple[_OwnKey, bytes]:
        """The private key and its public half; _KeyProblem, without a text where it is not worth one."""
        if identity.missing and not named:
            raise _KeyProblem
        if identity.problem:
            raise _KeyProblem(identity.problem)
        with identity.lock:
            if identity.key is None:
                self._decrypt(identity)
            if identity.key is None:
                raise _KeyProblem(identity.problem)
            return identity.key, identity.public

    def _decrypt(self, identity: _Identity) -> None:
        name = _tidy(identity.path)
        try:
            private = _private_key(identity.data, None)
            if private is None:
                private = self._asked_for(identity)
        except ValueError as exc:
            identity.problem = f"key {name} cannot be read: {one_line(str(exc), 80)}"
            return
        if private is None:
            hint = "the passphrase is wrong" if identity.asked else "it needs its passphrase"
            identity.problem = f"key {name} is not usable: {hint}; try: ssh-add {name}"
            return
        identity.public = _public_of(private)
        identity.key = _OwnKey(private)

    def _asked_for(self, identity: _Identity) -> Any:
        if self._ask is None:
            return None
        with self._asking:
            answer = self._ask(f"Passphrase for {_tidy(identity.path)}: ")
        if not answer:
            return None
        identity.asked = True
        try:
            return _private_key(identity.data, answer.encode())
        except ValueError:
            return None


def _with_certificates(
    key: _Key, blob: bytes, label: str, certificates: Sequence[tuple[str, bytes]]
) -> Iterator[Signer]:
    for name, certificate in certificates:
        if _certified(certificate) == blob:
            yield Signer(key, certificate, f"certificate {name}")
    yield Signer(key, blob, label)


def _certified(certificate: bytes) -> bytes:
    """The public key in a certificate; empty where it cannot be read."""
    try:
        return known_hosts.read_certificate(certificate).key
    except ValueError:
        return b""


def _short(blob: bytes) -> str:
    kind = _kind(blob)
    return f"{kind.removeprefix('ssh-').partition('-sha2')[0].partition('@')[0]} key"


def _tidy(path: Path) -> str:
    home = str(home_of(os.environ))
    text = str(path)
    return one_line("~" + text[len(home) :] if text.startswith(home + "/") else text, 100)


def _read_identity(path: Path) -> _Identity:
    name = _tidy(path)
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        # The key itself may be in the agent alone.
        beside = path.with_name(f"{path.name}.pub")
        public = b""
        with contextlib.suppress(ConfigError, OSError):
            public = _public_line(read_file(beside, "public key"))
        return _Identity(path, public=public, problem=f"key {name} does not exist", missing=True)
    except OSError as exc:
        return _Identity(path, problem=f"key {name} cannot be read ({one_line(exc.strerror or '', 60)})")
    try:
        data = read_file(path, "key")
    except ConfigError as exc:
        return _Identity(path, problem=str(exc))
    if public := _public_line(data):
        return _Identity(
            path, public=public, problem=f"{name} is a public key, and the agent does not hold its other half"
        )
    if found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) & 0o077:
        mode = f"{stat.S_IMODE(found.st_mode):04o}"
        return _Identity(
            path, problem=f"key {name} is open to others (mode {mode}) and not used; run: chmod 600 {name}"
        )
    return _Identity(path, data=data, public=_public_half(path, data))


def _public_line(data: bytes) -> bytes:
    """The blob of a file that holds a public key or a certificate; empty when it does not."""
    fields = data[:65536].split(None, 2)
    if len(fields) < 2 or not re.match(rb"(?:ssh|ecdsa|sk)-[a-z0-9@.-]+$", fields[0]):
        return b""
    try:
        blob = base64.b64decode(fields[1], validate=True)
    except (binascii.Error, ValueError):
        return b""
    return blob if _kind(blob).encode("ascii", "replace") == fields[0] else b""


def _public_half(path: Path, data: bytes) -> bytes:
    """The public key of a private one that may be encrypted: OpenSSH's format tells it, or the file beside it does."""
    match = re.search(rb"-----BEGIN OPENSSH PRIVATE KEY-----(.*?)-----END", data, re.DOTALL)
    if match:
        with contextlib.suppress(binascii.Error, ValueError, struct.error, IndexError):
            raw = base64.b64decode(b"".join(match[1].split()))
            magic = b"openssh-key-v1\0"
            if raw.startswith(magic):
                rest = raw[len(magic) :]
                for _ in range(3):  # the cipher, and how its key is made
                    rest = rest[4 + struct.unpack(">I", rest[:4])[0] :]
                return _unpacked(rest[4:])[0]
    beside = path.with_name(f"{path.name}.pub")
    with contextlib.suppress(ConfigError, OSError):
        if beside.exists():
            return _public_line(read_file(beside, "public key"))
    return b""


def _private_key(data: bytes, passphrase: bytes | None) -> Any:
    """The key in a file of OpenSSH's or of a PEM format; None where a passphrase is needed; ValueError else."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

    load = load_ssh_private_key if b"BEGIN OPENSSH PRIVATE KEY" in data else load_pem_private_key
    try:
        key = load(data, passphrase)
    except TypeError:
        if passphrase is None:
            return None
        raise ValueError("it has no passphrase") from None
    except UnsupportedAlgorithm as exc:
        raise ValueError(f"its kind is not supported ({one_line(str(exc), 60)})") from exc
    except ValueError as exc:
        raise ValueError("it is no private key in OpenSSH's or PEM format") from exc
    if not isinstance(key, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("it is neither ed25519, ecdsa nor rsa")
    return key


def _public_of(private: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    line: bytes = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return base64.b64decode(line.split()[1])

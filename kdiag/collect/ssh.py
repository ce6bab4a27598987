"""A shell on a node, over SSH or right here, that is fed one script and gives back what it printed.

Host keys are strict always, keys are the only login, no terminal is asked for and no agent is forwarded. No call
outlasts its deadline: a watchdog shuts the socket down. A connection that drops is an error and never an empty answer.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import logging
import os
import re
import secrets
import selectors
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kdiag.collect import known_hosts
from kdiag.collect.credentials import in_seconds, one_line, read_file

# The dialling and its reasons are those of the API's client: one deadline over all addresses, one wording.
from kdiag.collect.http import WATCHDOG, Deadline, Guard, dialled, os_reason
from kdiag.collect.known_hosts import KnownHosts, Trust
from kdiag.collect.paths import home_of
from kdiag.collect.ssh_config import HostEntry
from kdiag.errors import AccessDenied, BadAnswer, CollectError, ConfigError, Unreachable, Untrusted
from kdiag.model.text import listing

if TYPE_CHECKING:
    import paramiko

ENVIRONMENT = (
    "LC_ALL=C",
    "TZ=UTC",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/",
)
_ARGUMENT = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_CERTIFICATE = "-cert-v01@openssh.com"
_RSA = ("rsa-sha2-512", "rsa-sha2-256")
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
# What paramiko would still take and OpenSSH no longer offers.
_WEAK = {
    "ciphers": ["3des-cbc", "aes128-cbc", "aes192-cbc", "aes256-cbc"],
    "macs": ["hmac-md5", "hmac-md5-96", "hmac-sha1-96"],
}
_AGENT_SECONDS = 30.0
_AGENT_LIMIT = 1 << 20
_SAID_LIMIT = 4096
# What a login may print before our script speaks, and how much of it is passed over.
_NOISE_LIMIT = 64 << 20
_CHUNK = 1 << 16
_LOADING = threading.Lock()
_NO_LOGIN = re.compile(
    r"account is (?:currently )?not available|nologin|may not log ?in|account .*(?:disabled|expired)", re.I
)

Ask = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Output:
    """What a script printed. ``status`` is None where it was cut: nobody waited for its end then."""

    stdout: bytes
    status: int | None
    cut: bool = False


class CutShort(BadAnswer):
    """The script had begun to answer and did not come to its end; ``stdout`` is what there was."""

    def __init__(self, message: str, stdout: bytes) -> None:
        super().__init__(message)
        self.stdout = stdout


class Shell(Protocol):
    """A place to run a script in."""

    def run(self, script: bytes, *, argument: str, deadline: Deadline, limit: int) -> Output:
        """Run a POSIX shell script with one argument; keep at most ``limit`` bytes of what it prints."""

    def close(self) -> None:
        """Let go of it."""


class LocalShell:
    """A shell on this very host."""

    def run(self, script: bytes, *, argument: str, deadline: Deadline, limit: int) -> Output:
        """As ``Shell.run``; what is still running when the time is up is killed, with all that it started."""
        _check_argument(argument)
        try:
            process = subprocess.Popen(  # noqa: S603
                ["/usr/bin/env", "-i", *ENVIRONMENT, "sh", "-s", "--", argument],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
        except OSError as exc:
            raise BadAnswer(f"no shell can be started here: {one_line(str(exc), 120)}") from exc
        try:
            return _conversed(process, script, deadline, limit)
        finally:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            process.wait()

    def close(self) -> None:
        """Nothing is held."""


def _conversed(process: subprocess.Popen[bytes], script: bytes, deadline: Deadline, limit: int) -> Output:
    if process.stdin is None or process.stdout is None:
        raise BadAnswer("the local shell has no pipes")
    received = bytearray()
    left = memoryview(script)
    os.set_blocking(process.stdin.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdin, selectors.EVENT_WRITE)
        selector.register(process.stdout, selectors.EVENT_READ)
        while process.stdout in {key.fileobj for key in selector.get_map().values()}:
            ready = selector.select(deadline.remaining())
            if not deadline.remaining():
                raise _late("the script", deadline, received)
            for key, _ in ready:
                if key.fileobj is process.stdout:
                    chunk = os.read(key.fd, _CHUNK)
                    received += chunk
                    if not chunk:
                        selector.unregister(process.stdout)
                    continue
                with contextlib.suppress(BrokenPipeError, BlockingIOError):
                    left = left[os.write(key.fd, left[:_CHUNK]) :]
                    if left:
                        continue
                selector.unregister(process.stdin)
                process.stdin.close()
            if len(received) > limit:
                return Output(bytes(received[:limit]), None, cut=True)
    try:
        status = process.wait(deadline.remaining())
    except subprocess.TimeoutExpired:
        raise _late("the script", deadline, received) from None
    if status < 0:
        raise CutShort(f"the script was killed by signal {-status}", bytes(received))
    return Output(bytes(received), status)


def _late(what: str, deadline: Deadline, received: bytes | bytearray) -> CutShort:
    seconds = in_seconds(deadline.seconds)
    return CutShort(f"{what} did not finish within {seconds} ({len(received):,} bytes received)", bytes(received))


def _check_argument(argument: str) -> None:
    # It passes through a login shell that may be any shell.
    if not _ARGUMENT.fullmatch(argument):
        raise CollectError(f"kdiag does not send the argument {one_line(argument, 80)} to a shell")


# Keys


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


class _Signer:
    """One key to try: the part of paramiko's PKey that a login needs, for keys in memory and in an agent alike."""

    def __init__(self, key: _Key, blob: bytes, label: str) -> None:
        self.label = label
        self.kind = _kind(blob)
        self.public_blob = _Blob(self.kind, blob)
        self.problem = ""
        self._key = key

    def get_name(self) -> str:
        return self.kind

    def asbytes(self) -> bytes:
        return self.public_blob.key_blob

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> bytes:
        wanted = (algorithm or self.kind).removesuffix(_CERTIFICATE)
        try:
            return self._key.sign(data, wanted)
        except _KeyProblem as exc:
            # Raised here, it would take the whole connection down and with it the keys not tried yet.
            self.problem = str(exc)
            return _packed(wanted.encode("ascii")) + _packed(b"\0")


@dataclass(frozen=True, slots=True)
class _OwnKey:
    """A private key that was read from a file."""

    private: Any

    def sign(self, data: bytes, algorithm: str) -> bytes:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        name = _packed(algorithm.encode("ascii"))
        if isinstance(self.private, rsa.RSAPrivateKey):
            digest: hashes.HashAlgorithm = hashes.SHA256() if algorithm == "rsa-sha2-256" else hashes.SHA512()
            return name + _packed(self.private.sign(data, padding.PKCS1v15(), digest))
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            size = self.private.curve.key_size
            digest = hashes.SHA256() if size <= 256 else hashes.SHA384() if size <= 384 else hashes.SHA512()
            r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(digest)))
            return name + _packed(_mpint(r) + _mpint(s))
        return name + _packed(self.private.sign(data))


@dataclass(frozen=True, slots=True)
class _AgentKey:
    """A private key that an agent keeps."""

    agent: _Agent
    blob: bytes
    comment: str

    def sign(self, data: bytes, algorithm: str) -> bytes:
        answer = self.agent.ask(
            13, _packed(self.blob) + _packed(data) + struct.pack(">I", _RSA_FLAGS.get(algorithm, 0)), 14
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
                sock.sendall(_packed(bytes([kind]) + body))
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


def _packed(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def _unpacked(data: bytes) -> list[bytes]:
    parts: list[bytes] = []
    while len(data) >= 4:
        size = struct.unpack(">I", data[:4])[0]
        parts.append(data[4 : 4 + size])
        data = data[4 + size :]
    return parts or [b""]


def _mpint(number: int) -> bytes:
    return _packed(number.to_bytes(number.bit_length() // 8 + 1, "big"))


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

    def signers(self, entry: HostEntry, problems: list[str]) -> Iterator[_Signer]:
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
        given = [key for key in held if _kind(key.blob).endswith(_CERTIFICATE)]
        rest = [blob for blob in by_blob if blob not in own]
        if entry.identities_only:
            given = [key for key in given if _certified(key.blob) in named]
            rest = [blob for blob in rest if any(_certified(certificate) == blob for _, certificate in certificates)]
        for key in given:
            if _kind(key.blob).removesuffix(_CERTIFICATE) in _KEY_KINDS:
                yield _Signer(key, key.blob, f"certificate {one_line(key.comment, 60)} of the agent")
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
            if _kind(blob).endswith(_CERTIFICATE):
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
) -> Iterator[_Signer]:
    for name, certificate in certificates:
        if _certified(certificate) == blob:
            yield _Signer(key, certificate, f"certificate {name}")
    yield _Signer(key, blob, label)


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


# The connection


class _Wire:
    """What paramiko reads from and writes to: a socket or a channel, with the first bytes kept for an error's sake."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._quick = getattr(socket, "TCP_QUICKACK", None) if isinstance(sock, socket.socket) else None
        self.head = b""

    def recv(self, count: int) -> bytes:
        data: bytes = self._sock.recv(count)
        if len(self.head) < 256:
            self.head += data[:256]
        if self._quick is not None:
            # The kernel forgets it; without, each round of the login waits 40 ms for a delayed ACK.
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.IPPROTO_TCP, self._quick, 1)
        return data

    def send(self, data: bytes) -> int:
        return int(self._sock.send(data))

    def settimeout(self, seconds: float | None) -> None:
        self._sock.settimeout(seconds)

    def close(self) -> None:
        self._sock.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


@cache
def _transport_class() -> Any:
    """paramiko's Transport, imported when first needed, that remembers what its errors leave out."""
    # paramiko can do without invoke, which takes longer to import than all the rest of it.
    with _LOADING:
        missing = "invoke" not in sys.modules and sys.modules.setdefault("invoke", None) is None  # type: ignore[arg-type]
        try:
            import paramiko
            from paramiko.packet import Packetizer
        finally:
            if missing:
                del sys.modules["invoke"]

    log = logging.getLogger("paramiko")
    log.addHandler(logging.NullHandler())
    log.propagate = False
    log.setLevel(logging.CRITICAL + 1)

    class Packets(Packetizer):
        """Without the timer, whose thread would outlive a failed handshake: the watchdog bounds it."""

        def start_handshake(self, timeout: float) -> None:
            pass

    class Transport(paramiko.Transport):
        def __init__(self, wire: _Wire) -> None:
            self.wanted: tuple[str, ...] = ()
            self.shown = b""
            self.offered: dict[str, list[str]] = {}
            self.goodbye = ""
            super().__init__(wire, disabled_algorithms=_WEAK, packetizer_class=Packets)  # type: ignore[call-arg, arg-type, unused-ignore]

        @property
        def preferred_keys(self) -> tuple[str, ...]:
            return self.wanted

        def _verify_key(self, host_key: bytes, sig: bytes) -> None:
            super()._verify_key(host_key, sig)  # type: ignore[misc, unused-ignore]
            self.shown = host_key

        def _really_parse_kex_init(self, m: Any, ignore_first_byte: bool = False) -> Any:
            parsed = super()._really_parse_kex_init(m, ignore_first_byte)  # type: ignore[misc, unused-ignore]
            self.offered = {name: list(value) for name, value in parsed.items() if isinstance(value, list)}
            return parsed

        def _parse_disconnect(self, m: Any) -> None:
            m.get_int()
            self.goodbye = one_line(m.get_string().decode("utf-8", "replace"), 120)

    return Transport


def _host_key_order(known: Sequence[str]) -> tuple[str, ...]:
    """What to ask the server for: first what it can be known by, certificates only where a CA is trusted for it."""
    usual = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"]
    order: dict[str, None] = {}
    for kind in [*known, *usual]:
        plain = kind.removesuffix(_CERTIFICATE)
        if plain in usual:
            names = _RSA if plain == "ssh-rsa" else (plain,)
            order.update(dict.fromkeys(name + kind[len(plain) :] for name in names))
    return tuple(order)


@dataclass(slots=True)
class _Stage:
    """How far a connection came, for its error."""

    place: str
    doing: str = "connecting"
    wire: _Wire | None = None
    transport: Any = None


class SshShell:
    """A node over SSH. ``route`` is the node's entry, after those of the hosts to jump through.

    Nothing is opened before it is needed, and one connection serves all runs. One thread at a time may use it.
    """

    def __init__(self, route: Sequence[HostEntry], access: Access) -> None:
        self._route = tuple(route)
        self._access = access
        self._sock: socket.socket | None = None
        self._transports: list[Any] = []

    @property
    def entry(self) -> HostEntry:
        """The node's own entry."""
        return self._route[-1]

    def close(self) -> None:
        """Hang up."""
        for transport in reversed(self._transports):
            with contextlib.suppress(Exception):
                transport.close()
        self._transports.clear()
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def connect(self, deadline: Deadline) -> None:
        """Open the connection and log in, hop by hop; does nothing when that is done."""
        with WATCHDOG.guard(deadline) as guard:
            self._connected(guard)

    def run(self, script: bytes, *, argument: str, deadline: Deadline, limit: int) -> Output:
        """Run a script in ``sh`` there, whatever the login shell is, and return what it printed.

        What the login prints before the script speaks is passed over, as is all of stderr.
        """
        _check_argument(argument)
        with WATCHDOG.guard(deadline) as guard:
            transport = self._connected(guard)
            stage = _Stage(f"{self.entry.user}@{self.entry.endpoint}", "running the script", None, transport)
            try:
                return _Session(transport, stage).run(script, argument, guard, limit)
            except CollectError:
                raise
            except Exception as exc:
                raise _explained(exc, guard, stage) from exc
            finally:
                if guard.fired or not transport.is_active():
                    # Whatever comes next must not meet a socket that was shut.
                    self._hang_up(guard)

    def _hang_up(self, guard: Guard) -> None:
        WATCHDOG.remove(guard)
        self.close()

    def _connected(self, guard: Guard) -> Any:
        if self._transports and self._transports[-1].is_active():
            if self._sock is not None:
                guard.watch(self._sock)
            return self._transports[-1]
        self.close()
        try:
            for number, hop in enumerate(self._route):
                self._enter(number, hop, guard)
        except BaseException:
            self._hang_up(guard)
            raise
        return self._transports[-1]

    def _enter(self, number: int, hop: HostEntry, guard: Guard) -> None:
        """Connect to one host of the route and log in."""
        last = number == len(self._route) - 1
        place = hop.endpoint if last else f"jump host {hop.alias} ({hop.endpoint})"
        stage = _Stage(place)
        if hop.proxy_command:
            raise ConfigError(f"{hop.proxy_command}: kdiag does not run a ProxyCommand; ProxyJump does the same")
        try:
            known = self._access.known_hosts(hop)
            sock = self._dial(number, hop, guard, stage)
            stage.doing = "shaking hands"
            stage.wire = _Wire(sock)
            stage.transport = transport = _transport_class()(stage.wire)
            self._transports.append(transport)
            seconds = guard.deadline.remaining() + 5
            transport.banner_timeout = transport.handshake_timeout = seconds
            transport.auth_timeout = transport.channel_timeout = transport.clear_to_send_timeout = seconds
            transport.wanted = _host_key_order(known.key_types(hop.hostname, hop.port, hop.host_key_alias))
            transport.start_client()
            self._check_host_key(transport, hop, known, place)
            stage.doing = "logging in"
            self._log_in(transport, hop, stage, guard)
        except CollectError:
            raise
        except Exception as exc:
            raise _explained(exc, guard, stage) from exc

    def _dial(self, number: int, hop: HostEntry, guard: Guard, stage: _Stage) -> Any:
        if number == 0:
            self._sock = dialled(hop.hostname, hop.port, guard.deadline)
            guard.watch(self._sock)
            return self._sock
        import paramiko

        before = self._route[number - 1]
        via = f"jump host {before.alias} ({before.endpoint})"
        try:
            return self._transports[-1].open_channel("direct-tcpip", (hop.hostname, hop.port), ("127.0.0.1", 0))
        except paramiko.ChannelException as exc:
            if exc.code == 1:
                raise AccessDenied(
                    f"{via} does not forward to {stage.place} (AllowTcpForwarding, PermitOpen?)"
                ) from exc
            said = one_line(exc.text or "", 100)
            raise Unreachable(f"{via} cannot connect to {stage.place}{': ' + said if said else ''}") from exc

    @staticmethod
    def _check_host_key(transport: Any, hop: HostEntry, known: KnownHosts, place: str) -> None:
        verdict = known.check(hop.hostname, hop.port, transport.shown, alias=hop.host_key_alias)
        if verdict.trust is not Trust.TRUSTED:
            raise Untrusted(f"{place}: {verdict.reason}; {verdict.fix}")

    def _log_in(self, transport: Any, hop: HostEntry, stage: _Stage, guard: Guard) -> None:
        import paramiko

        tried: list[str] = []
        problems: list[str] = []
        methods: list[str] = []
        sha1_only = False
        who = f"{hop.user}@{stage.place}" if not stage.place.startswith("jump") else f"{stage.place}, user {hop.user}"
        for signer in self._access.signers(hop, problems):
            if "rsa" in signer.kind and not transport.server_extensions and not methods:
                # What the server takes of RSA comes with the first answer; paramiko ends the connection over it.
                methods = self._methods(transport, hop)
                if transport.is_authenticated():
                    return
            if "rsa" in signer.kind and _refuses_rsa(transport):
                problems.append(f"{signer.label}: the server takes RSA keys with SHA-1 only, or not at all")
                sha1_only = True
                continue
            try:
                more = transport.auth_publickey(hop.user, signer)
            except paramiko.BadAuthenticationType as exc:
                methods = exc.allowed_types
                break
            except (paramiko.SSHException, EOFError, OSError) as exc:
                if guard.fired or (not isinstance(exc, paramiko.AuthenticationException) and not transport.goodbye):
                    raise
                tried.append(signer.label)
                if signer.problem:
                    problems.append(signer.problem)
                elif "rsa" in signer.kind and not transport.server_extensions:
                    problems.append("the server is old: it may want SHA-1 with RSA keys; use an ed25519 key")
                if not transport.is_active():
                    why = transport.goodbye or "it hung up"
                    raise AccessDenied(f"{who}: {why}{_attempts(tried, problems)}") from exc
                continue
            if more:
                wanted = one_line(", ".join(more), 80)
                raise AccessDenied(
                    f"{who}: the key is taken, and the server demands {wanted} as well; kdiag has keys only"
                )
            return
        methods = methods or self._methods(transport, hop)
        if transport.is_authenticated():
            return
        takes = one_line(", ".join(methods), 100)
        if methods and "publickey" not in methods:
            raise AccessDenied(f"{who}: the server takes no keys but {takes}, which kdiag does not use")
        if not tried and not sha1_only and not problems:
            raise AccessDenied(f"{who}: there is no key to log in with; see IdentityFile and ssh-add -l")
        offer = f"; the server takes {takes}" if methods else ""
        raise AccessDenied(f"{who}: login refused{_attempts(tried, problems)}{offer}")

    @staticmethod
    def _methods(transport: Any, hop: HostEntry) -> list[str]:
        """How the server lets people in; it says so when it refuses no login at all."""
        import paramiko

        try:
            transport.auth_none(hop.user)
        except paramiko.BadAuthenticationType as exc:
            return list(exc.allowed_types)
        except (paramiko.SSHException, EOFError, OSError):
            return []
        return []


def _attempts(tried: Sequence[str], problems: Sequence[str]) -> str:
    text = f"; tried {listing(tried, 4)}" if tried else ""
    return text + "".join(f"; {problem}" for problem in dict.fromkeys(problems))


def _refuses_rsa(transport: Any) -> bool:
    said = transport.server_extensions.get("server-sig-algs", b"")
    taken = bytes(said).decode("ascii", "replace").split(",") if said else []
    return bool(taken) and not set(_RSA) & set(taken)


class _Session:
    """One script in one channel."""

    def __init__(self, transport: Any, stage: _Stage) -> None:
        self._transport = transport
        self._stage = stage
        # Unguessable, and never in the arguments of a process: what a login prints cannot be taken for it.
        self._token = secrets.token_hex(16).encode("ascii")
        self._marker = b"kdiag:" + self._token + b"\n"
        self._noise = bytearray()
        self._skipped = 0
        self._errors = bytearray()
        self._received = bytearray()
        self._begun = False

    def run(self, script: bytes, argument: str, guard: Guard, limit: int) -> Output:
        channel = self._opened()
        try:
            try:
                channel.exec_command(" ".join(["exec", "env", "-i", *ENVIRONMENT, "sh", "-s", "--", argument]))
            except self._ssh_error as exc:
                if guard.fired or not self._transport.is_active():
                    raise
                raise AccessDenied(f"{self._stage.place}: the server refuses to run a command") from exc
            drain = threading.Thread(target=self._drain, args=(channel,), name="kdiag-stderr", daemon=True)
            drain.start()
            # A shell that runs something else entirely may not read it.
            with contextlib.suppress(OSError):
                channel.sendall(b"exec 2>/dev/null; printf 'kdiag:%s\\n' " + self._token + b"\n" + script + b"\n")
                channel.shutdown_write()
            while chunk := channel.recv(_CHUNK):
                self._take(chunk)
                if len(self._received) > limit:
                    return Output(bytes(self._received[:limit]), None, cut=True)
            status = channel.recv_exit_status()
            if guard.fired or status == -1:
                raise self._dropped(guard)
            if not self._begun:
                # The reason may stand on stderr, and still be on its way to us.
                drain.join(guard.deadline.remaining())
                raise self._not_a_shell(status)
            return Output(bytes(self._received), status)
        finally:
            channel.close()

    @property
    def _ssh_error(self) -> type[Exception]:
        import paramiko

        return paramiko.SSHException

    def _opened(self) -> paramiko.Channel:
        import paramiko

        try:
            channel: paramiko.Channel = self._transport.open_session()
        except paramiko.ChannelException as exc:
            said = one_line(exc.text or "", 80)
            raise AccessDenied(
                f"{self._stage.place}: the server opens no session{f' ({said})' if said else ''}; see MaxSessions there"
            ) from exc
        return channel

    def _drain(self, channel: paramiko.Channel) -> None:
        """Take all of stderr, so that the other end is never kept waiting; remember how it begins."""
        with contextlib.suppress(Exception):
            while chunk := channel.recv_stderr(_CHUNK):
                if len(self._errors) < _SAID_LIMIT:
                    self._errors += chunk[:_SAID_LIMIT]

    def _take(self, chunk: bytes) -> None:
        if self._begun:
            self._received += chunk
            return
        self._noise += chunk
        place = self._noise.find(self._marker)
        if place >= 0:
            self._begun = True
            self._received += self._noise[place + len(self._marker) :]
            return
        # The beginning is kept for an error, the end for a marker that came in two parts.
        surplus = len(self._noise) - _SAID_LIMIT - len(self._marker)
        if surplus > 0:
            del self._noise[_SAID_LIMIT : _SAID_LIMIT + surplus]
            self._skipped += surplus
        if self._skipped > _NOISE_LIMIT:
            raise BadAnswer(f"{self._stage.place}: the login prints without end: {self._said()}")

    def _said(self) -> str:
        for text in (self._noise, self._errors):
            lines = bytes(text[:_SAID_LIMIT]).decode("utf-8", "replace").split("\n")
            if line := next((line for line in lines if line.strip()), ""):
                return f"it says “{one_line(line, 120)}”"
        return "it says nothing"

    def _dropped(self, guard: Guard) -> CollectError:
        place, received = self._stage.place, self._received
        if guard.fired:
            if self._begun:
                return _late(place, guard.deadline, received)
            return Unreachable(f"{place}: logged in, and no shell answered within {in_seconds(guard.deadline.seconds)}")
        if self._begun:
            return CutShort(f"{place}: the connection was dropped ({len(received):,} bytes received)", bytes(received))
        why = self._transport.goodbye or "the connection was dropped before a shell answered"
        return BadAnswer(f"{place}: {why}")

    def _not_a_shell(self, status: int) -> CollectError:
        said = self._said()
        if _NO_LOGIN.search(said):
            return AccessDenied(f"{self._stage.place}: the account may not log in: {said}")
        return BadAnswer(
            f"{self._stage.place}: something else than our script ran there (a forced command?): {said} "
            f"(exit code {status})"
        )


def _explained(exc: Exception, guard: Guard, stage: _Stage) -> CollectError:
    """One of kdiag's errors for one of Python's or paramiko's."""
    import paramiko

    place, transport = stage.place, stage.transport
    if guard.fired or not guard.deadline.remaining() or isinstance(exc, TimeoutError):
        limit = in_seconds(guard.deadline.seconds)
        match stage.doing:
            case "connecting":
                return Unreachable(f"{place}: no connection within {limit}")
            case "shaking hands" if stage.wire is None or not stage.wire.head:
                return Unreachable(f"{place}: it takes the connection and says nothing within {limit}")
            case doing:
                return Unreachable(f"{place}: {doing} did not finish within {limit}")
    if stage.doing == "connecting":
        if isinstance(exc, OSError | UnicodeError):
            return Unreachable(f"{place}: {os_reason(exc)}")
        return Unreachable(f"{place}: the connection to the jump host before it was lost")
    if stage.doing == "shaking hands":
        return _explained_handshake(exc, stage)
    goodbye = transport.goodbye if transport is not None else ""
    if goodbye:
        return BadAnswer(f"{place}: the server hung up: {goodbye}")
    if isinstance(exc, EOFError | OSError) or (transport is not None and not transport.is_active()):
        return BadAnswer(f"{place}: the connection was dropped while {stage.doing}")
    if isinstance(exc, paramiko.SSHException):
        return BadAnswer(f"{place}: {stage.doing} failed: {one_line(str(exc), 120)}")
    return BadAnswer(f"{place}: {stage.doing} failed: {type(exc).__name__} {one_line(str(exc), 100)}")


def _explained_handshake(exc: Exception, stage: _Stage) -> CollectError:
    import paramiko

    place, transport = stage.place, stage.transport
    head = stage.wire.head if stage.wire is not None else b""
    said = one_line(head.split(b"\n")[0].decode("utf-8", "replace"), 80)
    if isinstance(exc, paramiko.ssh_exception.IncompatiblePeer):
        offered: dict[str, list[str]] = transport.offered
        for words, field_name, what in (
            ("host key", "server_key_algo_list", "host keys"),
            ("kex", "kex_algo_list", "key exchanges"),
            ("cipher", "server_encrypt_algo_list", "ciphers"),
            ("mac", "server_mac_algo_list", "MACs"),
        ):
            if words in str(exc) and offered.get(field_name):
                names = one_line(listing(offered[field_name], 4), 160)
                return BadAnswer(f"{place}: the server is too old: all it has for {what} is weak or unknown ({names})")
        return BadAnswer(f"{place}: the server is too old: {one_line(str(exc), 100)}")
    if transport is not None and transport.goodbye:
        return BadAnswer(f"{place}: the server hung up: {transport.goodbye}")
    if not head:
        return BadAnswer(
            f"{place}: the connection was closed before anything was said (is it an SSH port? MaxStartups?)"
        )
    if not re.search(rb"(?:^|\n)SSH-", head):
        return BadAnswer(f"{place}: no SSH server answers there; it says “{said}”")
    if isinstance(exc, EOFError | OSError):
        return BadAnswer(f"{place}: the connection was closed during the SSH handshake ({said})")
    return BadAnswer(f"{place}: the SSH handshake failed: {one_line(str(exc), 120) or type(exc).__name__} ({said})")

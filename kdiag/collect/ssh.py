"""A shell on a node, over SSH.

Host keys are strict always, keys are the only login, no terminal is asked for and no agent is forwarded. No call
outlasts its deadline: a watchdog shuts the socket down. A connection that drops is an error and never an empty answer.
"""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
import socket
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

# The dialling and its reasons are those of the API's client: one deadline over all addresses, one wording.
from kdiag.collect.deadline import Deadline
from kdiag.collect.fields import in_seconds, one_line
from kdiag.collect.http import WATCHDOG, Guard, dialled, os_reason
from kdiag.collect.known_hosts import KnownHosts, Trust
from kdiag.collect.shell import CHUNK, ENVIRONMENT, CutShort, Output, check_argument, late
from kdiag.collect.ssh_config import HostEntry
from kdiag.collect.ssh_keys import CERTIFICATE, Access
from kdiag.errors import AccessDenied, BadAnswer, CollectError, ConfigError, Unreachable, Untrusted
from kdiag.model.text import listing

if TYPE_CHECKING:
    import paramiko

#: Seconds. A host that is up takes a connection at once, however busy it is: one that is switched off costs no more
#: than this, where ConnectTimeout says nothing else.
CONNECT_SECONDS = 8
_RSA = ("rsa-sha2-512", "rsa-sha2-256")
# What paramiko would still take and OpenSSH no longer offers.
_WEAK = {
    "ciphers": ["3des-cbc", "aes128-cbc", "aes192-cbc", "aes256-cbc"],
    "macs": ["hmac-md5", "hmac-md5-96", "hmac-sha1-96"],
}
_SAID_LIMIT = 4096
# What a login may print before our script speaks, and how much of it is passed over.
_NOISE_LIMIT = 64 << 20
_LOADING = threading.Lock()
_NO_LOGIN = re.compile(
    r"account is (?:currently )?not available|nologin|may not log ?in|account .*(?:disabled|expired)", re.I
)


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
        plain = kind.removesuffix(CERTIFICATE)
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
        check_argument(argument)
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
            seconds = hop.connect_seconds or CONNECT_SECONDS
            try:
                self._sock = dialled(hop.hostname, hop.port, guard.deadline.within(seconds))
            except TimeoutError as exc:
                limit = in_seconds(min(seconds, guard.deadline.seconds))
                raise Unreachable(f"{stage.place}: no connection within {limit}") from exc
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
            while chunk := channel.recv(CHUNK):
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
            while chunk := channel.recv_stderr(CHUNK):
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
                return late(place, guard.deadline, received)
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

"""GET, in time, from one API server: the only way in which kdiag speaks HTTP.

Three promises. Nothing but a GET and the three self-reviews ever leaves (``refuse_writes``, called where a request line
is written). No request outlasts its deadline, whatever the other end does or leaves undone: a watchdog shuts the socket
down. Every failure is one of kdiag's own errors, in one line.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import http.client
import io
import ipaddress
import json
import os
import re
import select
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from kdiag import __version__
from kdiag.collect.deadline import Deadline
from kdiag.collect.fields import in_seconds, one_line
from kdiag.collect.kubeconfig import Target
from kdiag.errors import AccessDenied, BadAnswer, CollectError, ConfigError, Unreachable, Untrusted

REVIEWS = frozenset(
    {
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
        "/apis/authentication.k8s.io/v1/selfsubjectreviews",
    }
)
# GETs that run something, or reach an application instead of the API server.
_CONNECTING = frozenset({"exec", "attach", "portforward", "proxy"})
# What of a kubelet may be read through the API server; run, exec, attach and portForward are not among it.
_KUBELET_READS = frozenset({"configz", "healthz", "metrics", "pods", "stats"})

REQUEST_SECONDS = 30.0
BODY_LIMIT = 64 << 20
TRIES = 3
# How long a server that hung up is listened to for the reason.
_VERDICT_SECONDS = 1.0
_BUFFER = 1 << 16
_SLICE = 1 << 20
_MIB = 1 << 20


class Guard:
    """One socket that is shut down when its time is up, even while another thread waits in a read of it."""

    def __init__(self, watchdog: Watchdog, deadline: Deadline) -> None:
        self.deadline = deadline
        self.fired = False
        self._watchdog = watchdog
        self._sock: socket.socket | None = None

    def watch(self, sock: socket.socket) -> None:
        """Watch this socket from now on, instead of an earlier one."""
        with self._watchdog.lock:
            self._sock = sock
            if self.fired:
                self.shut()

    def fire(self) -> None:
        """The time is up. Called with the watchdog's lock held, so that the socket cannot be closed meanwhile."""
        self.fired = True
        self.shut()

    def shut(self) -> None:
        """Wake whoever reads from or writes to the socket."""
        if self._sock is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket.shutdown: it would turn the reader's next read into one of raw bytes.
                socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._watchdog.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watchdog.remove(self)


class Watchdog:
    """One daemon thread for all guards: a time-out of a socket counts from its last byte, and a dribble never ends."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._changed = threading.Condition(self.lock)
        self._guards: set[Guard] = set()
        self._wakes: float | None = None
        self._thread: threading.Thread | None = None

    def guard(self, deadline: Deadline) -> Guard:
        """A guard, to be used as a context manager; it watches nothing until it is given a socket."""
        return Guard(self, deadline)

    def add(self, guard: Guard) -> None:
        """Let the guard fire when its time comes."""
        with self.lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="kdiag-watchdog", daemon=True)
                self._thread.start()
            self._guards.add(guard)
            if self._wakes is None or guard.deadline.at < self._wakes:
                self._changed.notify()

    def remove(self, guard: Guard) -> None:
        """Let the guard rest; its socket may be closed after this."""
        with self.lock:
            self._guards.discard(guard)

    def _run(self) -> None:
        with self.lock:
            while True:
                now = time.monotonic()
                for guard in [each for each in self._guards if each.deadline.at <= now]:
                    self._guards.discard(guard)
                    guard.fire()
                self._wakes = min((guard.deadline.at for guard in self._guards), default=None)
                self._changed.wait(None if self._wakes is None else max(0.0, self._wakes - now))


WATCHDOG = Watchdog()


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What the API server answered; any status but a redirect."""

    status: int
    # Names in lower case; one that came several times is joined with commas.
    headers: Mapping[str, str]
    # Valid until the next request of the same thread on the same client: the memory is used again, and a late reader
    # gets a ValueError rather than another answer.
    body: memoryview
    # The server's clock when it answered.
    date: datetime | None


def refuse_writes(method: str, path: str) -> None:
    """Raise unless the request can only read: a GET of the API itself, or a POST of one of the three self-reviews.

    ``path`` starts at the API server's own root. A GET of a connecting subresource (exec, attach, portforward, proxy)
    is refused as well, for it runs something; of a kubelet, its read-only pages may be asked for.
    """
    plain = path.partition("?")[0]
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path or "#" in path:
        raise CollectError(f"kdiag does not send {one_line(method, 20)} {one_line(path, 100)}: it is not a path")
    if method == "POST" and path in REVIEWS:
        return
    if method != "GET":
        raise CollectError(f"kdiag does not send {one_line(method, 20)} {one_line(path, 100)}: it only reads")
    segments = unquote(plain).strip("/").split("/")
    if len(segments) > 1 and any(segment in ("", ".", "..") for segment in segments):
        raise CollectError(f"kdiag does not send GET {one_line(path, 100)}: the path has an empty or dotted segment")
    match _below_version(segments):
        case ["nodes", _, "proxy", kubelet, *_] if kubelet in _KUBELET_READS:
            return
        case ["namespaces", _, _, _, subresource, *_] | [_, _, subresource, *_]:
            if subresource in _CONNECTING:
                raise CollectError(f"kdiag does not send GET {one_line(path, 100)}: {subresource} does more than read")


def _below_version(segments: list[str]) -> list[str]:
    """The segments from the resource on, without /api/v1 or /apis/GROUP/VERSION."""
    match segments:
        case ["api", _, *rest] | ["apis", _, _, *rest]:
            return rest
        case _:
            return []


def server_clock(headers: Mapping[str, str]) -> datetime | None:
    """The Date header in UTC; None when there is none or it is no date."""
    try:
        moment = parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


class _Answer(http.client.HTTPResponse):
    """With a larger buffer: a TLS record of 16 KiB is taken in one read, and small chunks are served from memory."""

    def __init__(
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        self.fp.close()
        self.fp = io.BufferedReader(sock.makefile("rb", buffering=0), _BUFFER)


class _Connection(http.client.HTTPConnection):
    """A connection that is opened by hand and writes no request line that ``refuse_writes`` has not seen."""

    # Never connect by itself: that would be outside of any deadline.
    auto_open = 0
    response_class = _Answer

    def __init__(self, target: Target, prefix: str) -> None:
        super().__init__(target.host, target.port)
        self.default_port = 443 if target.tls else 80
        self.used = False
        self._prefix = prefix

    def putrequest(self, method: str, url: str, skip_host: bool = False, skip_accept_encoding: bool = False) -> None:
        """Begin a request; ``url`` is the path on the API server."""
        refuse_writes(method, url)
        super().putrequest(method, f"{self._prefix}{url}", skip_host, skip_accept_encoding)

    @property
    def stale(self) -> bool:
        """Whether something came, or the end did, while nothing was asked."""
        sock = self.sock
        if sock is None:
            return True
        try:
            return bool(select.select([sock], [], [], 0)[0])
        except (OSError, ValueError):
            return True


@dataclass(slots=True, eq=False)
class _Lane:
    """What one thread has of its own: a connection and the memory that answers are read into."""

    connection: _Connection | None = None
    buffer: bytearray = field(default_factory=lambda: bytearray(_BUFFER))
    view: memoryview | None = None

    def empty(self, size: int) -> None:
        """Make the buffer free to be written and at least this large; who still looks at an answer keeps it."""
        try:
            if self.view is not None:
                self.view.release()
            # Only a buffer that nobody looks at can change its size.
            self.buffer.append(0)
            self.buffer.pop()
        except BufferError:
            self.buffer = bytearray(_BUFFER)
        self.view = None
        if len(self.buffer) < size:
            self.buffer = bytearray(size)

    def grow(self, limit: int) -> None:
        """Double the buffer, keeping what is in it, up to ``limit``."""
        larger = bytearray(min(2 * len(self.buffer), max(limit, len(self.buffer) + 1)))
        larger[: len(self.buffer)] = self.buffer
        self.buffer = larger

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


@dataclass(slots=True)
class _Progress:
    """How far a request came, for its error."""

    what: str
    stage: str = "connecting"
    received: int = 0


class Client:
    """A keep-alive client of one API server, one connection a thread. ``deadline`` bounds everything it ever does."""

    def __init__(self, target: Target, *, deadline: Deadline) -> None:
        self._target = target
        self._deadline = deadline
        self._endpoint = f"[{target.host}]:{target.port}" if ":" in target.host else f"{target.host}:{target.port}"
        self._lanes: list[_Lane] = []
        self._local = threading.local()
        self._lock = threading.Lock()
        self._context: tuple[tuple[bytes, bytes] | None, ssl.SSLContext] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections of all threads; none of them may be in a request."""
        with self._lock:
            for lane in self._lanes:
                lane.close()

    def release(self) -> None:
        """Let go of this thread's connection and memory: it will not ask again soon."""
        lane: _Lane | None = getattr(self._local, "lane", None)
        if lane is not None:
            lane.close()
            del self._local.lane
            with self._lock:
                self._lanes.remove(lane)

    def get(
        self,
        path_with_query: str,
        *,
        accept: str = "application/json",
        limit_bytes: int = BODY_LIMIT,
        timeout: float = REQUEST_SECONDS,
    ) -> Response:
        """The answer to a GET, whatever its status; ``timeout`` is for all of it, waits and second tries included."""
        return self._request("GET", path_with_query, None, accept=accept, limit=limit_bytes, timeout=timeout)

    def post_review(
        self, path: str, body: Mapping[str, object], *, limit_bytes: int = BODY_LIMIT, timeout: float = REQUEST_SECONDS
    ) -> Response:
        """Ask the API server what we may do or who we are; nothing is stored by it."""
        data = json.dumps(body).encode()
        return self._request("POST", path, data, accept="application/json", limit=limit_bytes, timeout=timeout)

    def _request(
        self, method: str, path: str, body: bytes | None, *, accept: str, limit: int, timeout: float
    ) -> Response:
        refuse_writes(method, path)
        what = f"{method} {one_line(path.partition('?')[0], 120)} from {self._endpoint}"
        deadline = self._deadline.within(timeout)
        tries, renewed = 1, False
        while True:
            answer = self._exchange(what, method, path, body, accept, limit, deadline)
            if answer.status == 401 and not renewed and self._target.credentials.forget():
                renewed = True
                continue
            wait = _retry_after(answer)
            if wait is None or tries == TRIES or wait >= deadline.remaining():
                return answer
            time.sleep(wait)
            tries += 1

    def _exchange(
        self, what: str, method: str, path: str, body: bytes | None, accept: str, limit: int, deadline: Deadline
    ) -> Response:
        """One request and its answer; again only when a kept connection turns out to have been closed meanwhile."""
        if not deadline.remaining():
            raise Unreachable(f"{what} was not asked: the time is up")
        headers = self._headers(method, accept, deadline)
        lane = self._lane()
        while True:
            progress = _Progress(what)
            guard = WATCHDOG.guard(deadline)
            kept = lane.connection is not None and not lane.connection.stale
            response: http.client.HTTPResponse | None = None
            try:
                with guard:
                    connection = self._connection(lane, guard)
                    progress.stage = "asking"
                    response = _send(connection, method, path, body, headers)
                    progress.stage = "reading"
                    answer = _read(response, lane, limit, guard, progress)
                self._refuse_nonsense(answer, accept, what)
            except (OSError, http.client.HTTPException, ValueError) as exc:
                lane.close()
                if kept and progress.stage == "asking" and not guard.fired and _is_hang_up(exc):
                    continue
                if not kept and progress.stage == "asking" and not guard.fired and _is_hang_up(exc):
                    exc = self._last_words(lane, deadline) or exc
                raise self._explained(exc, guard, progress) from exc
            except BadAnswer as exc:
                lane.close()
                raise self._explained(TimeoutError(), guard, progress) if guard.fired else exc from None
            except BaseException:
                lane.close()
                raise
            finally:
                if response is not None:
                    response.close()
            if response.will_close:
                lane.close()
            return answer

    def _last_words(self, lane: _Lane, deadline: Deadline) -> ssl.SSLError | None:
        """Why a TLS server hangs up at the first question, if it says so to somebody who asks nothing.

        In TLS 1.3 it refuses a client certificate after the handshake; its alert is lost when our request crosses it.
        """
        if not self._target.tls:
            return None
        try:
            with WATCHDOG.guard(deadline.within(_VERDICT_SECONDS)) as guard:
                connection = self._connection(lane, guard)
                if connection.sock is not None:
                    connection.sock.recv(1)
        except ssl.SSLError as exc:
            return None if _is_hang_up(exc) else exc
        except (OSError, CollectError):
            return None
        finally:
            lane.close()
        return None

    def _refuse_nonsense(self, answer: Response, accept: str, what: str) -> None:
        """Answers that are HTTP and come from something else than an API server."""
        kind = answer.headers.get("content-type", "")
        if answer.status < 200:
            raise BadAnswer(f"{what}: answered {answer.status}, which was not asked for")
        if 300 <= answer.status < 400:
            # What stands behind the path is for the browser of a login page: it may be the login itself.
            place = one_line(re.split(r"[?#]", answer.headers.get("location", ""))[0], 120) or "nowhere"
            raise BadAnswer(f"{what}: answered {answer.status}, a redirect to {place}; is the server URL right?")
        if answer.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise BadAnswer(f"{what}: answered in an encoding that was not asked for")
        if answer.status == 200 and "json" in accept and kind.lower().startswith("text/html"):
            raise BadAnswer(f"{what}: answered with a web page instead of JSON; is a login page or proxy in between?")
        if (
            answer.status == 400
            and not self._target.tls
            and bytes(answer.body[:80]).startswith(b"Client sent an HTTP r")
        ):
            raise BadAnswer(f"{what}: the port speaks TLS; write https:// in the server URL")

    def _headers(self, method: str, accept: str, deadline: Deadline) -> list[tuple[str, bytes]]:
        # As kubectl: a credential does not leave in the clear.
        login = self._target.credentials.headers(deadline) if self._target.tls else {}
        pairs = [
            ("User-Agent", f"kdiag/{__version__}".encode()),
            ("Accept", accept.encode("latin-1")),
            ("Accept-Encoding", b"identity"),
            *((name, value.encode()) for name, value in login.items()),
            *((name, value.encode()) for name, values in self._target.impersonate.items() for value in values),
        ]
        if method == "POST":
            pairs.append(("Content-Type", b"application/json"))
        if self._target.proxy_url and not self._target.tls:
            pairs.extend((name, value.encode()) for name, value in _proxy_login(self._target.proxy_url).items())
        return pairs

    def _lane(self) -> _Lane:
        lane: _Lane | None = getattr(self._local, "lane", None)
        if lane is None:
            lane = self._local.lane = _Lane()
            with self._lock:
                self._lanes.append(lane)
        return lane

    # Connecting

    def _connection(self, lane: _Lane, guard: Guard) -> _Connection:
        if lane.connection is not None and not lane.connection.stale and lane.connection.sock is not None:
            lane.connection.sock.settimeout(max(0.001, guard.deadline.remaining()))
            guard.watch(lane.connection.sock)
            return lane.connection
        lane.close()
        target = self._target
        context = self._tls(guard.deadline) if target.tls else None
        absolute = f"http://{self._endpoint}" if target.proxy_url and not target.tls else ""
        connection = _Connection(target, f"{absolute}{target.base_path}")
        connection.sock = self._dial(guard)
        lane.connection = connection
        if context is not None:
            name = target.tls_server_name or target.host
            # Wrapping moves the descriptor to another object: the watchdog must know it before anything waits.
            wrapped = context.wrap_socket(
                connection.sock, server_hostname=name, do_handshake_on_connect=False, suppress_ragged_eofs=False
            )
            connection.sock = wrapped
            guard.watch(wrapped)
            wrapped.do_handshake()
        return connection

    def _dial(self, guard: Guard) -> socket.socket:
        """A connected socket, through the proxy if there is one."""
        target = self._target
        if not target.proxy_url:
            sock = dialled(target.host, target.port, guard.deadline)
            guard.watch(sock)
            return sock
        proxy = urlsplit(target.proxy_url)
        name, port = proxy.hostname or "", proxy.port or 80
        try:
            sock = dialled(name, port, guard.deadline)
        except TimeoutError:
            raise
        except OSError as exc:
            raise Unreachable(f"proxy {name}:{port} for {self._endpoint}: {os_reason(exc)}") from exc
        guard.watch(sock)
        if target.tls:
            try:
                _tunnel(sock, self._endpoint, f"{name}:{port}", _proxy_login(target.proxy_url))
            except BaseException:
                sock.close()
                raise
        return sock

    def _tls(self, deadline: Deadline) -> ssl.SSLContext:
        """The TLS settings, made anew only when the client certificate has changed."""
        pair = self._target.credentials.certificate(deadline)
        with self._lock:
            if self._context is None or self._context[0] != pair:
                self._context = (pair, tls_context(self._target, pair))
            return self._context[1]

    # Errors

    def _explained(self, exc: Exception, guard: Guard, progress: _Progress) -> CollectError:
        """One of kdiag's errors for one of Python's."""
        what, endpoint = progress.what, self._endpoint
        if isinstance(exc, http.client.IncompleteRead):
            progress.received += len(exc.partial)
        if guard.fired or not guard.deadline.remaining() or isinstance(exc, TimeoutError):
            limit = in_seconds(guard.deadline.seconds)
            if progress.stage == "connecting":
                return Unreachable(f"{endpoint}: no connection within {limit}")
            return Unreachable(f"{what} did not finish within {limit} ({progress.received:,} bytes received)")
        if isinstance(exc, ssl.SSLError):
            error = self._explained_tls(exc, progress)
            if error is not None:
                return error
        if progress.stage == "connecting" and not isinstance(
            exc, ssl.SSLError | ConnectionResetError | BrokenPipeError
        ):
            return Unreachable(f"{endpoint}: {os_reason(exc)}")
        if progress.stage == "connecting":
            return BadAnswer(f"{endpoint}: the connection was closed during the TLS handshake")
        if isinstance(exc, http.client.RemoteDisconnected) or (progress.stage == "asking" and _is_hang_up(exc)):
            return BadAnswer(f"{what}: the connection was closed without an answer")
        if isinstance(exc, http.client.IncompleteRead) or _is_hang_up(exc):
            return BadAnswer(f"{what}: the answer was cut short ({progress.received:,} bytes received)")
        if isinstance(exc, OSError):
            return Unreachable(f"{what}: {os_reason(exc)}")
        said = one_line(str(exc), 80)
        return BadAnswer(f"{what}: the answer is not HTTP ({said or type(exc).__name__})")

    def _explained_tls(self, exc: ssl.SSLError, progress: _Progress) -> CollectError | None:
        """What a TLS error means; None when the connection was merely closed."""
        endpoint = self._endpoint
        if isinstance(exc, ssl.SSLCertVerificationError):
            name = self._target.tls_server_name or self._target.host
            return Untrusted(f"{endpoint}: {_certificate_reason(exc, name)}")
        if _is_hang_up(exc):
            return None
        reason = (exc.reason or "").upper()
        for alert, meaning in _REFUSED_CERTIFICATE.items():
            if alert in reason:
                return AccessDenied(f"{endpoint}: {meaning}")
        if any(sign in reason for sign in _NO_TLS):
            return BadAnswer(f"{endpoint}: the port does not speak TLS; is https:// right in the server URL?")
        said = one_line((exc.reason or str(exc)).replace("_", " ").lower(), 80)
        when = f" ({progress.received:,} bytes received)" if progress.stage == "reading" else ""
        return BadAnswer(f"{endpoint}: TLS failed: {said}{when}")


# What OpenSSL calls an alert of the server that is about our certificate.
_REFUSED_CERTIFICATE = {
    "CERTIFICATE_REQUIRED": "the server demands a client certificate, and the kubeconfig gives none",
    "ALERT_CERTIFICATE_EXPIRED": "the server refused the client certificate: it has expired",
    "ALERT_CERTIFICATE_REVOKED": "the server refused the client certificate: it was revoked",
    "ALERT_UNKNOWN_CA": "the server refused the client certificate: it is of a CA that the server does not know",
    "ALERT_BAD_CERTIFICATE": "the server refused the client certificate as bad (expired, or of another CA?)",
    "ALERT_CERTIFICATE_UNKNOWN": "the server refused the client certificate",
    "ALERT_UNSUPPORTED_CERTIFICATE": "the server refused the client certificate: it may not be used for this",
    "ALERT_ACCESS_DENIED": "the server refused the TLS connection: access denied",
    "ALERT_HANDSHAKE_FAILURE": "the server refused the TLS handshake; does it demand a client certificate?",
}
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")


def _certificate_reason(exc: ssl.SSLCertVerificationError, name: str) -> str:
    match exc.verify_code:
        case 10:
            return "a certificate of the server has expired (kubeadm: kubeadm certs check-expiration)"
        case 9:
            return "a certificate of the server is not valid yet; is the clock here or there wrong?"
        case 62 | 64:
            return f"the certificate of the server is not for {one_line(name, 80)}; see tls-server-name"
        case 18 | 19 | 20 | 21:
            return "the certificate of the server is not signed by the expected CA; is this the right cluster?"
        case _:
            return f"the certificate of the server cannot be verified: {one_line(exc.verify_message, 100)}"


def _is_hang_up(exc: Exception) -> bool:
    """Whether the other end just went away."""
    if isinstance(exc, ssl.SSLError) and exc.reason == "UNEXPECTED_EOF_WHILE_READING":
        return True  # what Python has a class of its own for since 3.11.4
    return isinstance(exc, ConnectionError | ssl.SSLEOFError | ssl.SSLZeroReturnError)


def os_reason(exc: Exception) -> str:
    """Why nothing answered."""
    if isinstance(exc, socket.gaierror):
        return f"the name cannot be resolved ({one_line(exc.strerror or str(exc), 80)})"
    if isinstance(exc, ConnectionRefusedError):
        return "connection refused; does anything listen there?"
    number = exc.errno if isinstance(exc, OSError) else None
    if number in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN):
        return f"there is no route to it ({os.strerror(number)})"
    if isinstance(exc, TimeoutError):
        return "it does not answer"
    return one_line(exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc), 100)


def _retry_after(answer: Response) -> float | None:
    """The seconds that the server asks us to wait before the next try; None when it does not."""
    if answer.status not in (429, 503):
        return None
    text = answer.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,6}", text):
        return float(text)
    moment = server_clock({"date": text}) if text else None
    if moment is None:
        return None
    return max(0.0, (moment - (answer.date or datetime.now(UTC))).total_seconds())


def dialled(host: str, port: int, deadline: Deadline) -> socket.socket:
    """A connection to the first address of the host that takes one."""
    addresses = _resolved(host, port, deadline)
    failure: OSError = OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))
    for left, (family, kind, protocol, _, address) in zip(range(len(addresses), 0, -1), addresses, strict=True):
        if not deadline.remaining():
            raise TimeoutError
        sock = None
        try:
            sock = socket.socket(family, kind, protocol)
            # Each address gets its share, so that a dead first one does not cost the second one its chance.
            sock.settimeout(max(0.001, deadline.remaining() / left))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(max(0.001, deadline.remaining()))
        except OSError as exc:
            failure = exc
            if sock is not None:
                sock.close()
        else:
            return sock
    raise failure


_Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int] | tuple[str, int, int, int]]


def _resolved(host: str, port: int, deadline: Deadline) -> list[_Address]:
    """The addresses of a host. The resolver knows no deadline, so it waits on a thread that nobody waits for."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return _lookup(host, port)
    answer: list[list[_Address] | OSError | UnicodeError] = []

    def ask() -> None:
        try:
            answer.append(_lookup(host, port))
        except (OSError, UnicodeError) as exc:
            answer.append(exc)

    thread = threading.Thread(target=ask, name="kdiag-resolver", daemon=True)
    thread.start()
    thread.join(deadline.remaining())
    match answer:
        case []:
            raise TimeoutError
        case [Exception() as error]:
            raise error
        case [found, *_]:
            return found if isinstance(found, list) else []
        case _:
            return []


def _lookup(host: str, port: int) -> list[_Address]:
    return [
        (family, kind, protocol, name, address)
        for family, kind, protocol, name, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        if not isinstance(address[0], int)
    ]


def _proxy_login(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}


def _tunnel(sock: socket.socket, endpoint: str, proxy: str, headers: Mapping[str, str]) -> None:
    """Have the proxy connect us; what is said from then on is for the server alone."""
    lines = [f"CONNECT {endpoint} HTTP/1.1", f"Host: {endpoint}", f"User-Agent: kdiag/{__version__}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
    response = http.client.HTTPResponse(sock, method="CONNECT")
    try:
        response.begin()
    except TimeoutError:
        raise
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise BadAnswer(f"proxy {proxy} did not answer in HTTP when asked for {endpoint}") from exc
    finally:
        response.close()
    if response.status == 407:
        raise AccessDenied(f"proxy {proxy} demands a login (407); write it into proxy-url as http://USER:PASSWORD@…")
    if response.status != 200:
        said = one_line(f"{response.status} {response.reason}", 80)
        raise Unreachable(f"proxy {proxy} did not connect to {endpoint}: {said}")


def tls_context(target: Target, pair: tuple[bytes, bytes] | None) -> ssl.SSLContext:
    """TLS as Go's client does it: the given CA alone, any of its certificates as an anchor, no names from the CN."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Some builds of Python pass over an end that nobody signed, and what is cut short then looks whole.
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(["http/1.1"])
    if target.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif target.ca_data is not None:
        context.load_verify_locations(cadata=target.ca_data.decode("ascii", "replace"))
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    else:
        context.load_default_certs()
    if pair is not None:
        _load_certificate(context, pair)
    return context


def _load_certificate(context: ssl.SSLContext, pair: tuple[bytes, bytes]) -> None:
    """OpenSSL takes a certificate from files only: they are ours alone, and gone a moment later."""

    def no_password() -> str:
        raise ConfigError("the client key is encrypted; kdiag cannot ask for its password")

    try:
        with tempfile.TemporaryDirectory(prefix="kdiag-") as folder:
            paths = [Path(folder) / name for name in ("certificate.pem", "key.pem")]
            for path, data in zip(paths, pair, strict=True):
                with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(data)
            context.load_cert_chain(paths[0], paths[1], password=no_password)
    except ssl.SSLError as exc:
        if "KEY_VALUES_MISMATCH" in (exc.reason or ""):
            raise ConfigError("the client key does not belong to the client certificate") from None
        raise ConfigError("the client certificate or its key cannot be read as PEM; were they cut short?") from None
    except OSError as exc:
        raise ConfigError(f"no temporary file for the client certificate: {one_line(str(exc), 120)}") from exc


def _send(
    connection: _Connection, method: str, path: str, body: bytes | None, headers: list[tuple[str, bytes]]
) -> http.client.HTTPResponse:
    """Send the request and wait for the head of its answer."""
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in headers:
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    try:
        connection.endheaders(body)
    except OSError as exc:
        if not _is_hang_up(exc):
            raise
        # The server may have said why before it hung up: a TLS alert, or an answer to the head alone.
        try:
            return connection.getresponse()
        except OSError as other:
            raise (exc if _is_hang_up(other) else other) from None
    return connection.getresponse()


def _read(response: http.client.HTTPResponse, lane: _Lane, limit: int, guard: Guard, progress: _Progress) -> Response:
    """The whole answer, read into the lane's own memory."""
    headers: dict[str, str] = {}
    for name, value in response.getheaders():
        lower = name.lower()
        headers[lower] = f"{headers[lower]}, {value}" if lower in headers else value
    length = response.length
    if length is None and "content-length" in headers and not response.chunked:
        raise BadAnswer(f"{progress.what}: Content-Length {one_line(headers['content-length'], 40)} is no length")
    if length is not None and length > limit:
        raise _too_large(progress, limit)
    lane.empty(length or 0)
    filled = 0
    while length is None or filled < length:
        if filled > limit:
            raise _too_large(progress, limit)
        if filled == len(lane.buffer):
            lane.grow(limit + 1)
        ends = min(len(lane.buffer), filled + _SLICE)
        count = response.readinto(memoryview(lane.buffer)[filled : ends if length is None else min(ends, length)])
        filled += count
        progress.received = filled
        if guard.fired:
            raise TimeoutError
        if not count:
            break
    if length is not None and filled < length:
        raise http.client.IncompleteRead(b"", length - filled)
    lane.view = memoryview(lane.buffer)[:filled].toreadonly()
    return Response(status=response.status, headers=headers, body=lane.view, date=server_clock(headers))


def _too_large(progress: _Progress, limit: int) -> BadAnswer:
    return BadAnswer(f"{progress.what}: the answer is larger than {limit / _MIB:.3g} MiB")

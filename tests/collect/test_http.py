"""Real sockets, and every way in which a server can fail to answer."""

from __future__ import annotations

import base64
import contextlib
import datetime
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from kdiag import __version__
from kdiag.collect.deadline import Deadline
from kdiag.collect.http import REVIEWS, Client, refuse_writes, server_clock
from kdiag.collect.kubeconfig import Overrides, Target, load
from kdiag.errors import AccessDenied, BadAnswer, CollectError, ConfigError, KdiagError, Unreachable, Untrusted

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
EMPTY = OK + b"Content-Length: 2\r\n\r\n{}"
NOW = datetime.datetime.now(datetime.UTC)

# What a server does with the request that has just been read from the connection; true to wait for another.
Reply = Callable[[socket.socket, bytes], object]


def says(*parts: bytes) -> Reply:
    def reply(connection: socket.socket, request: bytes) -> bool:
        for part in parts:
            connection.sendall(part)
        return True

    return reply


def hangs_up_after(*parts: bytes) -> Reply:
    def reply(connection: socket.socket, request: bytes) -> bool:
        says(*parts)(connection, request)
        return False

    return reply


def resets(connection: socket.socket, request: bytes) -> bool:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    return False


def dribbles(head: bytes) -> Reply:
    def reply(connection: socket.socket, request: bytes) -> bool:
        connection.sendall(head)
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(b"1")
                time.sleep(0.02)
        return False

    return reply


@dataclass
class Server:
    """Answers the n-th request with the n-th reply, and every later one with the last."""

    replies: list[Reply]
    context: ssl.SSLContext | None = None
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    threads: list[threading.Thread] = field(default_factory=list)
    open: list[socket.socket] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def start(self) -> None:
        self._spawn(self._accept)

    def _spawn(self, function: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self.open.append(connection)
            self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), contextlib.ExitStack() as stack:
            stack.callback(connection.close)
            if self.context is not None:
                connection = self.context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=True)
                stack.callback(connection.close)
                self.open.append(connection)
            while request := self._request(connection):
                self.requests.append(request)
                if not self.replies[min(len(self.requests), len(self.replies)) - 1](connection, request):
                    return

    @staticmethod
    def _request(connection: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = connection.recv(65536)
            if not chunk:
                return b""
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                while len(body) < int(line.partition(b":")[2]):
                    body += connection.recv(65536)
        return head + b"\r\n\r\n" + body

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.open:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(5)


@pytest.fixture
def servers() -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start(*replies: Reply, context: ssl.SSLContext | None = None) -> Server:
        server = Server(list(replies) or [says(EMPTY)], context)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    return tls_with(authority.issue_cert("127.0.0.1"))


def tls_with(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def target_of(
    folder: Path,
    server: str,
    *,
    authority: trustme.CA | None = None,
    user: dict[str, Any] | None = None,
    cluster: dict[str, Any] | None = None,
    **flags: Any,
) -> Target:
    entry: dict[str, Any] = {"server": server, **(cluster or {})}
    if authority is not None:
        entry["certificate-authority-data"] = encoded(authority.cert_pem.bytes())
    path = folder / "kubeconfig"
    content = {
        "clusters": [{"name": "c", "cluster": entry}],
        "users": [{"name": "u", "user": user or {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return load(Overrides(kubeconfig=str(path), **flags), {}, home=folder)


def plain(folder: Path, server: Server, **options: Any) -> Client:
    return Client(target_of(folder, f"http://127.0.0.1:{server.port}", **options), deadline=Deadline(10))


def secure(folder: Path, server: Server, authority: trustme.CA | None, **options: Any) -> Client:
    target = target_of(folder, f"https://127.0.0.1:{server.port}", authority=authority, **options)
    return Client(target, deadline=Deadline(10))


def failure(client: Client, kind: type[KdiagError], **options: Any) -> str:
    with client, pytest.raises(kind) as caught:
        client.get("/api/v1/pods", **options)
    text = str(caught.value)
    assert type(caught.value) is kind
    assert text.isprintable()
    assert len(text) < 300
    return text


# Answers


def test_reads_an_answer_by_its_length(servers: Any, tmp_path: Path) -> None:
    date = "Sun, 22 Nov 2026 09:00:00 GMT"
    head = f"Date: {date}\r\nX-Twice: a\r\nx-twice: b\r\nContent-Length: 5\r\n\r\n".encode()
    server = servers(says(OK + head + b"hello"))
    with plain(tmp_path, server) as client:
        answer = client.get("/api/v1/pods?limit=1&continue=x%3D")
    assert (answer.status, bytes(answer.body)) == (200, b"hello")
    assert (answer.headers["content-type"], answer.headers["x-twice"]) == ("application/json", "a, b")
    assert answer.date == datetime.datetime(2026, 11, 22, 9, tzinfo=datetime.UTC)
    assert server.requests[0].startswith(b"GET /api/v1/pods?limit=1&continue=x%3D HTTP/1.1\r\n")


def test_reads_a_chunked_answer_and_one_that_ends_with_the_connection(
    servers: Any, tmp_path: Path, authority: trustme.CA, tls: ssl.SSLContext
) -> None:
    chunked = OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nTrailer: t\r\n\r\n"
    server = servers(says(chunked), hangs_up_after(OK + b"\r\nto the end"), says(EMPTY))
    with plain(tmp_path, server) as client:
        assert bytes(client.get("/a").body) == b"abcdefg"
        assert bytes(client.get("/b").body) == b"to the end"
        assert bytes(client.get("/c").body) == b"{}"
    assert server.connections == 2


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_reads_large_answers_over_tls_into_the_same_memory(
    servers: Any, tmp_path: Path, authority: trustme.CA, tls: ssl.SSLContext, framing: str
) -> None:
    body = bytes(range(256)) * 20_000
    if framing == "length":
        answer = b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    else:
        pieces = [body[at : at + 70_001] for at in range(0, len(body), 70_001)]
        answer = b"Transfer-Encoding: chunked\r\n\r\n"
        answer += b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    server = servers(says(OK + answer), says(OK + answer), says(EMPTY), context=tls)
    with secure(tmp_path, server, authority) as client:
        first = client.get("/a").body
        assert first == body
        # Another answer does not show up in one that is still held.
        held = first[:3]
        second = client.get("/b").body
        assert second == body
        assert bytes(held) == b"\0\1\2"
        with pytest.raises(ValueError, match="released"):
            first[0]
        third = client.get("/c").body
        assert bytes(third) == b"{}"
    assert server.connections == 1


def test_threads_have_a_connection_each(servers: Any, tmp_path: Path) -> None:
    server = servers(says(EMPTY))
    barrier = threading.Barrier(3)

    def ask(client: Client) -> None:
        client.get("/a")
        barrier.wait(5)
        client.get("/b")

    with plain(tmp_path, server) as client:
        threads = [threading.Thread(target=ask, args=(client,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (server.connections, len(server.requests)) == (3, 6)


@pytest.mark.parametrize("status", [201, 400, 403, 404, 410, 500, 504])
def test_hands_over_every_status_with_its_body(servers: Any, tmp_path: Path, status: int) -> None:
    server = servers(says(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nno" % status))
    with plain(tmp_path, server) as client:
        answer = client.get("/x")
    assert (answer.status, bytes(answer.body)) == (status, b"no")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sun, 22 Nov 2026 09:00:00 GMT", datetime.datetime(2026, 11, 22, 9, tzinfo=datetime.UTC)),
        ("Sun, 22 Nov 2026 09:00:00 +0200", datetime.datetime(2026, 11, 22, 7, tzinfo=datetime.UTC)),
        ("yesterday", None),
        ("", None),
        ("Sun, 99 Nov 99999999 09:00:00 GMT", None),
    ],
)
def test_reads_the_clock_of_the_server(text: str, expected: datetime.datetime | None) -> None:
    assert server_clock({"date": text}) == expected
    assert server_clock({}) is None


# What is sent


def test_every_request_carries_who_we_are(
    servers: Any, tmp_path: Path, authority: trustme.CA, tls: ssl.SSLContext
) -> None:
    server = servers(says(EMPTY), context=tls)
    user = {"token": "t0ken", "as": "bücher", "as-groups": ["g", "h"], "as-user-extra": {"a/b": ["c"]}}
    with secure(tmp_path, server, authority, user=user) as client:
        client.get("/a", accept="text/plain")
        client.get("/b")
        client.post_review("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"kind": "X"})
    for request in server.requests:
        head = request.partition(b"\r\n\r\n")[0].split(b"\r\n")
        for line in (
            f"Host: 127.0.0.1:{server.port}".encode(),
            b"Authorization: Bearer t0ken",
            b"Impersonate-User: b\xc3\xbccher",
            b"Impersonate-Group: g",
            b"Impersonate-Group: h",
            b"Impersonate-Extra-a%2Fb: c",
            f"User-Agent: kdiag/{__version__}".encode(),
            b"Accept-Encoding: identity",
        ):
            assert head.count(line) == 1, line
    assert b"Accept: text/plain\r\n" in server.requests[0]
    assert server.requests[2].endswith(b'\r\n\r\n{"kind": "X"}')
    assert b"Content-Type: application/json\r\n" in server.requests[2]


def test_sends_no_credential_in_the_clear(servers: Any, tmp_path: Path) -> None:
    server = servers()
    with plain(tmp_path, server, user={"token": "t0ken"}) as client:
        client.get("/a")
    assert b"t0ken" not in server.requests[0]


def test_asks_below_the_path_of_the_server_url(servers: Any, tmp_path: Path) -> None:
    server = servers()
    target = target_of(tmp_path, f"http://127.0.0.1:{server.port}/k8s/clusters/c-1/")
    with Client(target, deadline=Deadline(5)) as client:
        client.get("/api/v1/pods")
    assert server.requests[0].startswith(b"GET /k8s/clusters/c-1/api/v1/pods HTTP/1.1\r\n")


READS = [
    "/",
    "/version",
    "/livez?verbose",
    "/api/v1/pods?limit=500",
    "/api/v1/namespaces/exec/pods/attach/log",
    "/api/v1/nodes/n/proxy/configz",
    "/apis/apps/v1/namespaces/proxy/deployments/exec",
    "/apis/metrics.k8s.io/v1beta1/nodes",
]
CONNECTS = [
    "/api/v1/namespaces/n/pods/p/exec?command=id",
    "/api/v1/namespaces/n/pods/p/%65xec",
    "/api/v1/namespaces/n/pods/p%2Fexec",
    "/api/v1/namespaces/n/pods/p/attach",
    "/api/v1/namespaces/n/pods/p/portforward",
    "/api/v1/namespaces/n/services/s/proxy/delete-all",
    "/api/v1/nodes/n/proxy",
    "/api/v1/nodes/n/proxy/run/ns/pod/c?cmd=id",
    "/api/v1/nodes/n/proxy/exec/ns/pod/c",
    "/api/v1/nodes/n/x/../proxy/run",
    "/api/v1/nodes/n//proxy/run",
    "/api/v1/pods HTTP/1.1\r\nX: y",
    "/a b",
    "/ü",
    "api/v1/pods",
    "http://elsewhere/",
    "/x#y",
    "",
]


@pytest.mark.parametrize("path", READS)
def test_lets_a_read_through(path: str) -> None:
    refuse_writes("GET", path)


@pytest.mark.parametrize("path", CONNECTS)
def test_refuses_a_get_that_does_more_than_read(path: str, servers: Any, tmp_path: Path) -> None:
    with pytest.raises(CollectError, match="kdiag does not send"):
        refuse_writes("GET", path)
    server = servers()
    with plain(tmp_path, server) as client, pytest.raises(CollectError, match="kdiag does not send"):
        client.get(path)
    assert server.connections == 0


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "CONNECT", "get", "GET\r\n"])
def test_refuses_every_other_method(method: str) -> None:
    for path in ["/api/v1/pods", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews/x", *READS]:
        with pytest.raises(CollectError, match="it only reads"):
            refuse_writes(method, path)


def test_posts_the_three_reviews_and_nothing_else(servers: Any, tmp_path: Path) -> None:
    assert len(REVIEWS) == 3
    server = servers()
    with plain(tmp_path, server) as client:
        for path in sorted(REVIEWS):
            client.post_review(path, {})
            for near in (f"{path}/", f"{path}?dryRun=All", f"/x/..{path}", path.upper(), "/api/v1/namespaces"):
                with pytest.raises(CollectError, match="kdiag does not send"):
                    client.post_review(near, {})
    assert [request.split(b" ")[0] for request in server.requests] == [b"POST"] * 3


def test_the_connection_itself_writes_no_other_request(servers: Any, tmp_path: Path) -> None:
    with plain(tmp_path, servers()) as client:
        client.get("/a")
        connection = client._lanes[0].connection
        assert connection is not None
        for method in ("DELETE", "PATCH", "POST"):
            with pytest.raises(CollectError, match="it only reads"):
                connection.putrequest(method, "/api/v1/pods")


# Time


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX: ",
        OK + b"Content-Length: 100000\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nfff\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n",
        OK + b"\r\n",
    ],
)
@pytest.mark.parametrize("encrypted", [False, True])
def test_ends_a_dribbling_answer_at_its_deadline(
    servers: Any, tmp_path: Path, authority: trustme.CA, tls: ssl.SSLContext, head: bytes, encrypted: bool
) -> None:
    server = servers(dribbles(head), context=tls if encrypted else None)
    client = secure(tmp_path, server, authority) if encrypted else plain(tmp_path, server)
    text = failure(client, Unreachable, timeout=0.3)
    assert f"GET /api/v1/pods from 127.0.0.1:{server.port} did not finish within 0.3 s (" in text


def test_counts_what_came_before_the_deadline(servers: Any, tmp_path: Path) -> None:
    def half(connection: socket.socket, request: bytes) -> bool:
        connection.sendall(OK + b"Content-Length: 100000\r\n\r\n" + b"x" * 50_000)
        return True

    text = failure(plain(tmp_path, servers(half)), Unreachable, timeout=2)
    assert "(50,000 bytes received)" in text


def test_ends_a_silent_server_and_a_silent_handshake(servers: Any, tmp_path: Path, authority: trustme.CA) -> None:
    silent = servers(says())
    assert "(0 bytes received)" in failure(plain(tmp_path, silent), Unreachable, timeout=0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = target_of(tmp_path, f"https://127.0.0.1:{listener.getsockname()[1]}", authority=authority)
        text = failure(Client(target, deadline=Deadline(0.2)), Unreachable)
    assert "no connection within 0.2 s" in text


def test_ends_a_handshake_that_dribbles(tmp_path: Path, authority: trustme.CA) -> None:
    def dribble(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"\x16\x03\x03\x40\x00")
            while True:
                connection.sendall(b"\x02")
                time.sleep(0.02)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=dribble, args=(listener,), daemon=True)
        thread.start()
        target = target_of(tmp_path, f"https://127.0.0.1:{listener.getsockname()[1]}", authority=authority)
        with Client(target, deadline=Deadline(0.3)) as client, pytest.raises((Unreachable, BadAnswer)):
            client.get("/x")
        thread.join(5)


def test_asks_nothing_when_the_time_of_the_run_is_up(servers: Any, tmp_path: Path) -> None:
    server = servers()
    target = target_of(tmp_path, f"http://127.0.0.1:{server.port}")
    assert "the time is up" in failure(Client(target, deadline=Deadline(0)), Unreachable)
    assert server.connections == 0


def test_the_next_request_of_the_client_is_well_after_one_that_timed_out(servers: Any, tmp_path: Path) -> None:
    server = servers(dribbles(OK + b"Content-Length: 100000\r\n\r\n"), says(EMPTY))
    with plain(tmp_path, server) as client:
        with pytest.raises(Unreachable):
            client.get("/a", timeout=0.2)
        assert bytes(client.get("/b").body) == b"{}"


def test_a_hung_request_does_not_keep_the_interpreter(servers: Any, tmp_path: Path) -> None:
    server = servers(says())
    target_of(tmp_path, f"http://127.0.0.1:{server.port}")
    program = f"""
import threading
from pathlib import Path
from kdiag.collect.deadline import Deadline
from kdiag.collect.http import Client
from kdiag.collect.kubeconfig import Overrides, load
target = load(Overrides(kubeconfig={str(tmp_path / "kubeconfig")!r}), {{}}, home=Path("/"))
client = Client(target, deadline=Deadline(600))
threading.Thread(target=client.get, args=("/x",), kwargs={{"timeout": 600}}, daemon=True).start()
while not client._lanes:
    pass
"""
    # 20 s is far from 600 and far from what a busy machine needs to start Python.
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20, cwd=Path(__file__).parents[2])


# Second tries


def test_asks_again_when_a_kept_connection_was_closed_meanwhile(
    servers: Any, tmp_path: Path, authority: trustme.CA, tls: ssl.SSLContext
) -> None:
    server = servers(hangs_up_after(EMPTY), says(EMPTY), context=tls)
    with secure(tmp_path, server, authority) as client:
        client.get("/a")
        assert bytes(client.get("/b").body) == b"{}"
    assert server.connections == 2


def test_asks_again_once_when_a_kept_connection_dies_at_the_question(servers: Any, tmp_path: Path) -> None:
    server = servers(says(EMPTY), hangs_up_after(), hangs_up_after())
    with plain(tmp_path, server) as client:
        client.get("/a")
        with pytest.raises(BadAnswer, match="closed without an answer"):
            client.get("/b")
    assert (len(server.requests), server.connections) == (3, 2)


@pytest.mark.parametrize("reply", [hangs_up_after(), resets])
def test_does_not_ask_again_on_a_fresh_connection(servers: Any, tmp_path: Path, reply: Reply) -> None:
    server = servers(reply)
    assert "the connection was closed without an answer" in failure(plain(tmp_path, server), BadAnswer)
    assert len(server.requests) == 1


def busy(status: int, after: str) -> Reply:
    return says(f"HTTP/1.1 {status} Busy\r\nRetry-After: {after}\r\nContent-Length: 0\r\n\r\n".encode())


@pytest.mark.parametrize("status", [429, 503])
def test_waits_as_long_as_a_busy_server_asks(servers: Any, tmp_path: Path, status: int) -> None:
    server = servers(busy(status, "0"), busy(status, "Thu, 01 Jan 1970 00:00:00 GMT"), says(EMPTY))
    with plain(tmp_path, server) as client:
        assert client.get("/x").status == 200
    assert len(server.requests) == 3


def test_gives_up_on_a_busy_server_after_three_tries(servers: Any, tmp_path: Path) -> None:
    server = servers(busy(429, "0"))
    with plain(tmp_path, server) as client:
        assert client.get("/x").status == 429
    assert len(server.requests) == 3


@pytest.mark.parametrize("after", ["3600", "99999999999", "soon", "-1", "", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_does_not_wait_beyond_its_deadline(servers: Any, tmp_path: Path, after: str) -> None:
    server = servers(busy(503, after))
    with plain(tmp_path, server) as client:
        assert client.get("/x").status == 503
    assert len(server.requests) == 1


def test_asks_the_plugin_again_when_its_token_is_refused(
    servers: Any, tmp_path: Path, authority: trustme.CA, tls: ssl.SSLContext
) -> None:
    program = tmp_path / "login"
    program.write_text(
        '#!/bin/sh\necho x >> "$0.runs"\n'
        'echo "{\\"apiVersion\\":\\"client.authentication.k8s.io/v1\\",\\"kind\\":\\"ExecCredential\\",'
        '\\"status\\":{\\"token\\":\\"t$(wc -l < "$0.runs" | tr -d " ")\\"}}"\n'
    )
    program.chmod(0o700)
    section = {"command": "./login", "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never"}
    refused = says(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
    server = servers(refused, says(EMPTY), refused, context=tls)
    with secure(tmp_path, server, authority, user={"exec": section}) as client:
        assert client.get("/a").status == 200
        assert client.get("/b").status == 401
    tokens = [request.partition(b"Bearer ")[2].split(b"\r\n")[0] for request in server.requests]
    assert tokens == [b"t1", b"t2", b"t2", b"t3"]


# Nothing answers


def test_says_that_the_connection_was_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for scheme in ("http", "https"):
        client = Client(target_of(tmp_path, f"{scheme}://127.0.0.1:{port}"), deadline=Deadline(5))
        assert failure(client, Unreachable).startswith(f"127.0.0.1:{port}: connection refused")


def test_says_that_the_name_cannot_be_resolved(tmp_path: Path) -> None:
    client = Client(target_of(tmp_path, "https://kdiag.invalid"), deadline=Deadline(10))
    text = failure(client, Unreachable)
    assert text.startswith("kdiag.invalid:443: ")


def test_says_that_there_is_no_route(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(sock: socket.socket, address: object) -> None:
        raise OSError(113, "No route to host")

    monkeypatch.setattr(socket.socket, "connect", connect)
    client = Client(target_of(tmp_path, "https://10.255.255.1"), deadline=Deadline(5))
    assert "there is no route to it (No route to host)" in failure(client, Unreachable)


def test_ends_a_resolver_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def hang(*arguments: object, **options: object) -> list[Any]:
        over.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    client = Client(target_of(tmp_path, "https://slow.example"), deadline=Deadline(0.2))
    assert "no connection within 0.2 s" in failure(client, Unreachable)
    over.set()


def test_tries_the_next_address_of_a_name(servers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = servers()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", each) for each in (closed, ("127.0.0.1", server.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: addresses)
    with Client(target_of(tmp_path, f"http://api.example:{server.port}"), deadline=Deadline(5)) as client:
        assert client.get("/x").status == 200


# Broken answers


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (hangs_up_after(OK + b"Content-Length: 10\r\n\r\nabc"), "the answer was cut short (3 bytes received)"),
        (hangs_up_after(OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"), "cut short (3 bytes received)"),
        (hangs_up_after(OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\na"), "cut short"),
        (hangs_up_after(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc"), "cut short"),
        (hangs_up_after(OK + b"Content-Length: many\r\n\r\nabc"), "Content-Length many is no length"),
        (hangs_up_after(OK + b"Content-Length: -5\r\n\r\nabc"), "Content-Length -5 is no length"),
        (says(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "the answer is not HTTP (SSH-2.0-OpenSSH_9.2"),
        (hangs_up_after(b"\x00\x1b[2J\xff\n\n"), "the answer is not HTTP"),
        (says(b"HTTP/1.1 99999 X\r\n\r\n"), "the answer is not HTTP"),
        (says(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000 + b"\r\n"), "the answer is not HTTP (got more than 100"),
        (says(b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000 + b"\r\n\r\n"), "the answer is not HTTP"),
        (says(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"), "answered 101"),
        (
            says(b"HTTP/1.1 302 Found\r\nLocation: https://login/\x1b[2Jx\r\nContent-Length: 0\r\n\r\n"),
            "answered 302, a redirect to https://login/",
        ),
        (
            says(b"HTTP/1.1 302 Found\r\nLocation: /login?code=hunter2#x\r\nContent-Length: 0\r\n\r\n"),
            "answered 302, a redirect to /login; is the server URL right?",
        ),
        (says(b"HTTP/1.1 304 Same\r\n\r\n"), "answered 304, a redirect to nowhere"),
        (says(OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"), "encoding that was not asked for"),
        (says(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"), "web page instead"),
        (
            hangs_up_after(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"),
            "the port speaks TLS; write https://",
        ),
    ],
)
def test_names_an_answer_that_is_none(servers: Any, tmp_path: Path, reply: Reply, expected: str) -> None:
    assert expected in failure(plain(tmp_path, servers(reply)), BadAnswer)


def test_counts_the_bytes_of_a_reset_answer(servers: Any, tmp_path: Path) -> None:
    def reply(connection: socket.socket, request: bytes) -> bool:
        connection.sendall(OK + b"Content-Length: 100000\r\n\r\n" + b"x" * 1000)
        time.sleep(0.1)
        return resets(connection, request)

    text = failure(plain(tmp_path, servers(reply)), BadAnswer)
    assert "the answer was cut short (" in text


def test_a_tls_answer_cut_short_is_seen_even_without_a_length(
    servers: Any, tmp_path: Path, authority: trustme.CA, tls: ssl.SSLContext
) -> None:
    # No close_notify: the end may have been made by anyone on the way.
    server = servers(hangs_up_after(OK + b"\r\nhalf"), context=tls)
    assert "cut short" in failure(secure(tmp_path, server, authority), BadAnswer)


@pytest.mark.parametrize(
    "answer",
    [
        b"Content-Length: 3000000\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n" + (b"fffff\r\n" + b"x" * 0xFFFFF + b"\r\n") * 4,
        b"\r\n" + b"x" * 3_000_000,
    ],
)
def test_refuses_an_answer_that_is_too_large(servers: Any, tmp_path: Path, answer: bytes) -> None:
    text = failure(plain(tmp_path, servers(says(OK + answer))), BadAnswer, limit_bytes=2 << 20)
    assert "the answer is larger than 2 MiB" in text


@pytest.mark.parametrize("framing", [b"Content-Length: 70000\r\n\r\n", b"\r\n"])
def test_takes_an_answer_of_exactly_the_limit(servers: Any, tmp_path: Path, framing: bytes) -> None:
    server = servers(hangs_up_after(OK + framing + b"x" * 70_000))
    with plain(tmp_path, server) as client:
        assert len(client.get("/x", limit_bytes=70_000).body) == 70_000
        with pytest.raises(BadAnswer, match="larger than"):
            client.get("/x", limit_bytes=69_999)


# TLS


def test_trusts_the_named_authority_alone(servers: Any, tmp_path: Path, tls: ssl.SSLContext) -> None:
    server = servers(context=tls)
    for other in (trustme.CA(), None):
        assert "not signed by the expected CA" in failure(secure(tmp_path, server, other), Untrusted)


def test_trusts_an_intermediate_as_go_does(servers: Any, tmp_path: Path) -> None:
    intermediate = trustme.CA().create_child_ca()
    server = servers(context=tls_with(intermediate.issue_cert("127.0.0.1")))
    with secure(tmp_path, server, intermediate) as client:
        assert client.get("/x").status == 200


def test_says_that_the_certificate_of_the_server_has_expired(
    servers: Any, tmp_path: Path, authority: trustme.CA
) -> None:
    past = NOW - datetime.timedelta(days=1)
    old = authority.issue_cert("127.0.0.1", not_before=past - datetime.timedelta(days=9), not_after=past)
    text = failure(secure(tmp_path, servers(context=tls_with(old)), authority), Untrusted)
    assert "a certificate of the server has expired" in text


def test_hints_at_the_clock_when_a_certificate_is_not_valid_yet(
    servers: Any, tmp_path: Path, authority: trustme.CA
) -> None:
    future = authority.issue_cert("127.0.0.1", not_before=NOW + datetime.timedelta(days=1))
    text = failure(secure(tmp_path, servers(context=tls_with(future)), authority), Untrusted)
    assert "not valid yet; is the clock" in text


def test_says_for_which_name_the_certificate_is_not(servers: Any, tmp_path: Path, authority: trustme.CA) -> None:
    server = servers(context=tls_with(authority.issue_cert("api.example", common_name="127.0.0.1")))
    text = failure(secure(tmp_path, server, authority), Untrusted)
    assert "is not for 127.0.0.1; see tls-server-name" in text
    with secure(tmp_path, server, authority, cluster={"tls-server-name": "api.example"}) as client:
        assert client.get("/x").status == 200
    text = failure(secure(tmp_path, server, authority, tls_server_name="b.example"), Untrusted)
    assert "is not for b.example" in text


def test_insecure_trusts_any_certificate(servers: Any, tmp_path: Path) -> None:
    server = servers(context=tls_with(trustme.CA().issue_cert("other.example")))
    with secure(tmp_path, server, None, insecure_skip_tls_verify=True) as client:
        assert client.get("/x").status == 200


def login(pair: trustme.LeafCert, key: bytes | None = None) -> dict[str, str]:
    chain = b"".join(each.bytes() for each in pair.cert_chain_pems)
    return {
        "client-certificate-data": encoded(chain),
        "client-key-data": encoded(key or pair.private_key_pem.bytes()),
    }


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def demanding(request: pytest.FixtureRequest, authority: trustme.CA, tls: ssl.SSLContext) -> ssl.SSLContext:
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.maximum_version = request.param
    authority.configure_trust(tls)
    return tls


def test_shows_its_client_certificate_and_leaves_no_file_behind(
    servers: Any, tmp_path: Path, authority: trustme.CA, demanding: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    server = servers(context=demanding)
    with secure(tmp_path, server, authority, user=login(authority.issue_cert("me"))) as client:
        assert client.get("/x").status == 200
    assert list(folder.iterdir()) == []


def test_says_that_the_server_demands_a_client_certificate(
    servers: Any, tmp_path: Path, authority: trustme.CA, demanding: ssl.SSLContext
) -> None:
    text = failure(secure(tmp_path, servers(context=demanding), authority), AccessDenied)
    assert "client certificate" in text


def test_says_that_the_server_refused_the_client_certificate(
    servers: Any, tmp_path: Path, authority: trustme.CA, demanding: ssl.SSLContext
) -> None:
    server = servers(context=demanding)
    stranger = login(trustme.CA().issue_cert("me"))
    assert "a CA that the server does not know" in failure(
        secure(tmp_path, server, authority, user=stranger), AccessDenied
    )
    past = NOW - datetime.timedelta(days=1)
    old = login(authority.issue_cert("me", not_before=past - datetime.timedelta(days=9), not_after=past))
    assert "it has expired" in failure(secure(tmp_path, server, authority, user=old), AccessDenied)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda user: user | {"client-key-data": encoded(trustme.CA().private_key_pem.bytes())}, "does not belong"),
        (
            lambda user: user | {"client-key-data": encoded(base64.b64decode(user["client-key-data"])[:100])},
            "cut short",
        ),
        (
            lambda user: (
                user | {"client-certificate-data": encoded(base64.b64decode(user["client-certificate-data"])[:99])}
            ),
            "cut short",
        ),
    ],
)
def test_says_what_is_wrong_with_the_own_certificate(
    servers: Any,
    tmp_path: Path,
    authority: trustme.CA,
    tls: ssl.SSLContext,
    spoil: Callable[[dict[str, str]], dict[str, str]],
    expected: str,
) -> None:
    client = secure(tmp_path, servers(context=tls), authority, user=spoil(login(authority.issue_cert("me"))))
    assert expected in failure(client, ConfigError)


def test_never_prompts_for_the_password_of_a_key(
    servers: Any, tmp_path: Path, authority: trustme.CA, tls: ssl.SSLContext
) -> None:
    from cryptography.hazmat.primitives import serialization as pem

    pair = authority.issue_cert("me")
    key = pem.load_pem_private_key(pair.private_key_pem.bytes(), None).private_bytes(
        pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.BestAvailableEncryption(b"x")
    )
    client = secure(tmp_path, servers(context=tls), authority, user=login(pair, key))
    assert "the client key is encrypted" in failure(client, ConfigError)


def test_says_that_a_port_does_not_speak_tls(servers: Any, tmp_path: Path, authority: trustme.CA) -> None:
    def plain_http(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=plain_http, args=(listener,), daemon=True)
        thread.start()
        target = target_of(tmp_path, f"https://127.0.0.1:{listener.getsockname()[1]}", authority=authority)
        text = failure(Client(target, deadline=Deadline(5)), BadAnswer)
        thread.join(5)
    assert "the port does not speak TLS" in text


@pytest.mark.parametrize("reset", [False, True])
def test_says_that_the_handshake_was_broken_off(tmp_path: Path, authority: trustme.CA, reset: bool) -> None:
    def hang_up(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            if reset:
                resets(connection, b"")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=hang_up, args=(listener,), daemon=True)
        thread.start()
        target = target_of(tmp_path, f"https://127.0.0.1:{listener.getsockname()[1]}", authority=authority)
        text = failure(Client(target, deadline=Deadline(5)), BadAnswer)
        thread.join(5)
    assert "closed during the TLS handshake" in text


# Proxies


def proxying(port: int) -> Reply:
    """Connects to this port, whatever was asked for."""

    def reply(connection: socket.socket, request: bytes) -> bool:
        with socket.create_connection(("127.0.0.1", port)) as other:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")

            def back() -> None:
                with contextlib.suppress(OSError):
                    while data := other.recv(65536):
                        connection.sendall(data)

            thread = threading.Thread(target=back, daemon=True)
            thread.start()
            while data := connection.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_RDWR)
            thread.join(5)
        return False

    return reply


def test_goes_through_a_proxy_with_tls_up_to_the_server(servers: Any, tmp_path: Path, authority: trustme.CA) -> None:
    server = servers(context=tls_with(authority.issue_cert("api.example")))
    proxy = servers(proxying(server.port))
    cluster = {"proxy-url": f"http://me:p%40ss@127.0.0.1:{proxy.port}"}
    target = target_of(tmp_path, "https://api.example:6443", authority=authority, user={"token": "t"}, cluster=cluster)
    with Client(target, deadline=Deadline(5)) as client:
        assert client.get("/x").status == 200
    asked = proxy.requests[0]
    assert asked.startswith(b"CONNECT api.example:6443 HTTP/1.1\r\nHost: api.example:6443\r\n")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"me:p@ss") in asked
    assert b"Bearer" not in asked
    assert b"Proxy-Authorization" not in server.requests[0]
    assert b"Host: api.example:6443\r\n" in server.requests[0]


def test_asks_a_proxy_for_the_whole_url_without_tls(servers: Any, tmp_path: Path) -> None:
    proxy = servers()
    cluster = {"proxy-url": f"http://127.0.0.1:{proxy.port}"}
    with Client(target_of(tmp_path, "http://api.example:8080/base", cluster=cluster), deadline=Deadline(5)) as client:
        client.get("/x")
    assert proxy.requests[0].startswith(b"GET http://api.example:8080/base/x HTTP/1.1\r\nHost: api.example:8080\r\n")


@pytest.mark.parametrize(
    ("reply", "kind", "expected"),
    [
        (says(b"HTTP/1.1 407 Who\r\n\r\n"), AccessDenied, "demands a login (407)"),
        (says(b"HTTP/1.1 502 Bad\x1b[2J\r\n\r\n"), Unreachable, "did not connect to api.example:443: 502 Bad"),
        (says(b"SSH-2.0-x\r\n\r\n"), BadAnswer, "did not answer in HTTP"),
        (hangs_up_after(), BadAnswer, "did not answer in HTTP"),
        (dribbles(b"HTTP/1.1 200 OK\r\nX: "), Unreachable, "no connection within 0.3 s"),
    ],
)
def test_names_a_proxy_that_does_not_connect(
    servers: Any, tmp_path: Path, reply: Reply, kind: type[KdiagError], expected: str
) -> None:
    cluster = {"proxy-url": f"http://127.0.0.1:{servers(reply).port}"}
    client = Client(target_of(tmp_path, "https://api.example", cluster=cluster), deadline=Deadline(5))
    assert expected in failure(client, kind, timeout=0.3)


def test_names_a_proxy_that_is_not_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    cluster = {"proxy-url": f"http://127.0.0.1:{port}"}
    client = Client(target_of(tmp_path, "https://api.example", cluster=cluster), deadline=Deadline(5))
    assert f"proxy 127.0.0.1:{port} for api.example:443: connection refused" in failure(client, Unreachable)

"""A real sshd on 127.0.0.1 with keys made for the test."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kdiag.collect.deadline import Deadline
from kdiag.collect.ssh import SshShell
from kdiag.collect.ssh_config import load
from kdiag.collect.ssh_keys import Access
from kdiag.errors import KdiagError

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
TOOLS = SSHD is not None and all(shutil.which(tool) for tool in ("ssh-keygen", "ssh-agent", "ssh-add"))
needs_sshd = pytest.mark.skipif(not TOOLS, reason="openssh-server and openssh-client are not installed")
USER = getpass.getuser()
LONG = 60.0


def keygen(*arguments: str | Path) -> None:
    subprocess.run(["ssh-keygen", "-q", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with keys of every kind that kdiag takes; each test copies what it needs."""
    if not TOOLS:
        pytest.skip("openssh-server and openssh-client are not installed")
    folder = tmp_path_factory.mktemp("keys")
    for name, options in {
        "ed25519": ["-t", "ed25519"],
        "other": ["-t", "ed25519"],
        "third": ["-t", "ed25519"],
        "ecdsa": ["-t", "ecdsa"],
        "ecdsa384": ["-t", "ecdsa", "-b", "384"],
        "rsa": ["-t", "rsa", "-b", "2048"],
        "ecdsa_pem": ["-t", "ecdsa", "-m", "PEM"],
        "rsa_pem": ["-t", "rsa", "-b", "2048", "-m", "PEM"],
        "rsa_pkcs8": ["-t", "rsa", "-b", "2048", "-m", "PKCS8"],
        "host": ["-t", "ed25519"],
        "host_rsa": ["-t", "rsa", "-b", "2048"],
        "host_other": ["-t", "ed25519"],
        "ca": ["-t", "ed25519"],
    }.items():
        keygen(*options, "-N", "", "-C", name, "-f", folder / name)
    for name, options in {"locked": ["-t", "ed25519"], "locked_pem": ["-t", "rsa", "-b", "2048", "-m", "PEM"]}.items():
        keygen(*options, "-N", "open sesame", "-C", name, "-f", folder / name)
    return folder


@dataclass
class Place:
    """A home of its own: daemons, the client's configuration and its keys."""

    home: Path
    keys: Path
    daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)
    environ: dict[str, str] = field(default_factory=dict)

    def key(self, name: str) -> Path:
        target = self.home / name
        if not target.exists():
            shutil.copy(self.keys / name, target)
            shutil.copy(self.keys / f"{name}.pub", f"{target}.pub")
            target.chmod(0o600)
        return target

    def public(self, name: str) -> str:
        return " ".join((self.keys / f"{name}.pub").read_text().split()[:2])

    def serve(self, *options: str, host: str = "host", accepts: tuple[str, ...] = ("ed25519",)) -> int:
        """Start an sshd; the port it listens on."""
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        # Another test may take a free port before sshd does.
        return next(port for _ in range(10) if (port := self._serve(free_port(), options, host, accepts)))

    def _serve(self, port: int, options: tuple[str, ...], host: str, accepts: tuple[str, ...]) -> int:
        authorized = self.home / f"authorized-{port}"
        authorized.write_text("".join(self.public(name) + "\n" for name in accepts))
        config = self.home / f"sshd-{port}"
        usual = [
            f"ListenAddress 127.0.0.1:{port}",
            f"HostKey {self.key(host)}",
            "PidFile none",
            "UsePAM no",
            "StrictModes no",
            "PermitRootLogin prohibit-password",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PrintMotd no",
        ]
        # The first value holds, as in the client's configuration.
        config.write_text("\n".join([*options, *usual, f"AuthorizedKeysFile {authorized}", ""]))
        process = subprocess.Popen([str(SSHD), "-D", "-e", "-f", str(config)], stderr=subprocess.PIPE)
        self.daemons.append(process)
        assert process.stderr is not None
        said = b""
        while b"Server listening" not in said:
            line = process.stderr.readline()
            if not line:
                assert b"Address already in use" in said, said.decode()
                return 0
            said += line
        # Nobody may wait for a pipe that is full.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        return port

    def known(self, port: int, name: str = "host", *, marker: str = "") -> None:
        line = f"{marker} [127.0.0.1]:{port} {self.public(name)}".strip()
        with (self.home / "known_hosts").open("a") as file:
            file.write(line + "\n")

    def config(self, text: str) -> None:
        (self.home / "config").write_text(text)

    def node(self, port: int, *lines: str, key: str = "ed25519") -> None:
        """A host called ``node``, and whatever stands in front of it."""
        own = [] if any("IdentityFile" in line for line in lines) else [f"IdentityFile {self.key(key)}"]
        body = [f"HostName 127.0.0.1\nPort {port}", *own, f"UserKnownHostsFile {self.home}/known_hosts", *lines]
        self.config("Host node\n" + "\n".join(body) + "\n")

    def shell(self, ask: Callable[[str], str | None] | None = None, name: str = "node") -> SshShell:
        environ = {"HOME": str(self.home), **self.environ}
        config = load(self.home / "config", environ)
        return SshShell(config.route(config.lookup(name)), Access(environ, ask))

    def run(self, script: bytes = b"echo fine", ask: Callable[[str], str | None] | None = None) -> bytes:
        shell = self.shell(ask)
        try:
            output = shell.run(script, argument="argument", deadline=Deadline(LONG), limit=1 << 24)
        finally:
            shell.close()
        assert output.status == 0
        return output.stdout

    def fails(self, error: type[KdiagError], *texts: str, seconds: float = LONG) -> str:
        """The one line with which it fails."""
        shell = self.shell()
        try:
            with pytest.raises(error) as caught:
                shell.run(b"echo fine", argument="argument", deadline=Deadline(seconds), limit=1 << 20)
        finally:
            shell.close()
        said = str(caught.value)
        assert type(caught.value) is error
        assert said.isprintable()
        for text in texts:
            assert text in said
        return said

    def agent(self, *names: str) -> str:
        """An ssh-agent that holds these keys; its socket."""
        path = f"{self.home}/agent-{len(self.daemons)}"
        self.daemons.append(
            subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )
        wait_for(lambda: Path(path).exists())
        for name in names:
            subprocess.run(
                ["ssh-add", "-q", str(self.key(name))],
                check=True,
                env={**os.environ, "SSH_AUTH_SOCK": path},
                stdin=subprocess.DEVNULL,
            )
        return path


def wait_for(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def place(tmp_path: Path, keys: Path) -> Iterator[Place]:
    found = Place(tmp_path, keys)
    yield found
    for process in found.daemons:
        process.kill()
    for process in found.daemons:
        process.wait()
        if process.stderr is not None:
            with contextlib.suppress(OSError, ValueError):
                process.stderr.close()

"""A program that knows the credential: the exec plugin of a kubeconfig.

It is the one thing of a kubeconfig that runs on this machine. It gets no terminal, ten seconds and one MiB.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kdiag.collect.fields import Fields, in_seconds, one_line
from kdiag.errors import AccessDenied, ConfigError
from kdiag.model.jsontext import read_json
from kdiag.model.redact import RUN

OUTPUT_LIMIT = 1 << 20
_LONGEST_WORD = 32
_EXEC_API = "client.authentication.k8s.io"
_EXEC_VERSIONS = (f"{_EXEC_API}/v1", f"{_EXEC_API}/v1beta1")
#: What a header may hold; anything else in a token would be a second header, or a file that is no token.
TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Ticket:
    """What a plugin or provider answered."""

    token: str = ""
    certificate: tuple[bytes, bytes] | None = None
    expires: datetime | None = None

    def has_expired(self) -> bool:
        """Whether its time is over."""
        return self.expires is not None and self.expires <= datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """An exec section of a kubeconfig, checked."""

    name: str
    folder: Path
    command: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    api_version: str
    interactive_mode: str
    install_hint: str
    provide_cluster: bool

    @classmethod
    def of(cls, user: Fields) -> Plugin | None:
        """The plugin of a user; None where there is none. Raises ConfigError for one that cannot be run."""
        section = user.section("exec")
        if section is None:
            return None
        command, version = section.text("command"), section.text("apiVersion")
        if not command:
            raise ConfigError(f"{section.where}: command is missing")
        if version not in _EXEC_VERSIONS:
            said = one_line(version, 60) or "empty"
            raise ConfigError(f"{section.where}: apiVersion must be {_EXEC_VERSIONS[0]} or v1beta1, not {said}")
        mode = section.text("interactiveMode")
        if not mode and version == _EXEC_VERSIONS[0]:
            raise ConfigError(f"{section.where}: interactiveMode is missing (Never, IfAvailable or Always)")
        if mode not in ("", "Never", "IfAvailable", "Always"):
            raise ConfigError(
                f"{section.where}: interactiveMode must be Never, IfAvailable or Always, not {one_line(mode, 60)}"
            )
        environment = {}
        for pair in section.sections("env"):
            environment[pair.text("name")] = pair.text("value")
        if any(not key or "=" in key or "\0" in key + value for key, value in environment.items()):
            raise ConfigError(f"{section.where}: env has an entry that is no environment variable")
        return cls(
            name=f"{user.where}: exec plugin {one_line(command, 80)}",
            folder=user.folder,
            command=command,
            arguments=section.texts("args"),
            environment=environment,
            api_version=version,
            interactive_mode=mode or "IfAvailable",
            install_hint=section.text("installHint"),
            provide_cluster=section.flag("provideClusterInfo"),
        )

    def ask(self, environ: Mapping[str, str], cluster: Mapping[str, object] | None, seconds: float) -> Ticket:
        """Run it. ``cluster`` is what it is told where it asks for that. Raises AccessDenied and ConfigError."""
        if self.interactive_mode == "Always":
            raise AccessDenied(f"{self.name} wants a terminal (interactiveMode: Always), and kdiag gives it none")
        environment = {**environ, **self.environment, "KUBERNETES_EXEC_INFO": self._exec_info(cluster)}
        try:
            output = self._output(self._program(environ), environment, seconds)
        except TimeoutError:
            raise AccessDenied(
                f"{self.name} did not answer within {in_seconds(seconds)}; does it wait for input?"
            ) from None
        except OverflowError:
            raise AccessDenied(
                f"{self.name} wrote more than {OUTPUT_LIMIT >> 20} MiB instead of a credential"
            ) from None
        return _read_ticket(output, self.api_version, self.name)

    def _output(self, command: str, environment: Mapping[str, str], seconds: float) -> bytes:
        try:
            # A session of its own: no terminal to prompt on, and one process group to end.
            process = subprocess.Popen(  # noqa: S603 - the user's own kubeconfig names it, and no shell reads it
                [command, *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
            raise ConfigError(f"{self.name} cannot be run: {one_line(reason)}") from exc
        try:
            output, complaint = _communicate(process, time.monotonic() + seconds)
        finally:
            _end(process)
        if process.returncode:
            said = one_line(RUN.text(complaint.decode("utf-8", "replace"))) or "it said nothing"
            raise AccessDenied(f"{self.name} failed ({_exit_text(process.returncode)}): {said}")
        return output

    def _program(self, environ: Mapping[str, str]) -> str:
        command = self.command
        if os.sep in command:
            command = str(self.folder / command)
        found = shutil.which(command, path=environ.get("PATH", os.defpath))
        if found is not None and os.path.isabs(found):
            return found
        if os.sep in command and os.path.exists(command):
            raise ConfigError(f"{self.name} cannot be run: it is not an executable file")
        hint = f"; {one_line(self.install_hint)}" if self.install_hint.strip() else "; is it on the PATH?"
        raise ConfigError(f"{self.name} is not installed{hint}")

    def _exec_info(self, cluster: Mapping[str, object] | None) -> str:
        spec: dict[str, object] = {"interactive": False}
        if self.provide_cluster:
            spec["cluster"] = dict(cluster or {})
        return json.dumps({"apiVersion": self.api_version, "kind": "ExecCredential", "spec": spec}, default=str)


def _communicate(process: subprocess.Popen[bytes], ends: float) -> tuple[bytes, bytes]:
    """What the program wrote; TimeoutError when it does not end in time, OverflowError when it does not stop writing.

    A helper that it leaves running may hold the pipes open: what came until the program itself ended counts.
    """
    written = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for pipe in written:
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            if time.monotonic() >= ends:
                raise TimeoutError
            over = process.poll() is not None
            ready = selector.select(0 if over else max(0.0, min(0.05, ends - time.monotonic())))
            if over and not ready:
                break
            for key, _ in ready:
                chunk = os.read(key.fd, 1 << 16)
                if not chunk:
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stdout:
                    written[process.stdout] += chunk
                elif len(written[process.stderr]) < OUTPUT_LIMIT:
                    written[process.stderr] += chunk
            if len(written[process.stdout]) > OUTPUT_LIMIT:
                raise OverflowError
    try:
        process.wait(max(0.0, ends - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    return bytes(written[process.stdout]), bytes(written[process.stderr])


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing of it behind that has not ended by itself."""
    if process.poll() is None:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _exit_text(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def _read_ticket(output: bytes, version: str, name: str) -> Ticket:
    try:
        answer = read_json(output)
    except ValueError:
        raise AccessDenied(f"{name} wrote no credential but: {_described(output)}") from None
    if not isinstance(answer, dict) or answer.get("kind") != "ExecCredential":
        raise AccessDenied(f"{name} wrote JSON that is not an ExecCredential")
    if answer.get("apiVersion") != version:
        said = one_line(str(answer.get("apiVersion")), 60)
        raise ConfigError(f"{name} answered in apiVersion {said}, and the kubeconfig asks for {version}")
    try:
        status = Fields(answer, name, Path()).section("status") or Fields({}, name, Path())
        token = status.text("token").strip()
        certificate, key = status.text("clientCertificateData").encode(), status.text("clientKeyData").encode()
        stamp = status.text("expirationTimestamp")
    except ConfigError as exc:
        raise AccessDenied(str(exc)) from None
    if bool(certificate) != bool(key):
        raise AccessDenied(f"{name} returned a client certificate without its key, or a key alone")
    if not token and not certificate:
        raise AccessDenied(f"{name} returned neither a token nor a client certificate")
    if token and not TOKEN.fullmatch(token):
        raise AccessDenied(f"{name} returned a token with blanks or unprintable characters in it")
    ticket = Ticket(
        token=token,
        certificate=(certificate, key) if certificate else None,
        expires=_read_time(stamp, name) if stamp else None,
    )
    if ticket.has_expired():
        raise AccessDenied(f"{name} returned a credential that expired at {one_line(stamp, 40)}; log in again")
    return ticket


def _described(output: bytes) -> str:
    """What was written in the place of a credential: its words only where they are a sentence. One may be a token."""
    text = output[:400].decode("utf-8", "replace")
    if not text.strip():
        return "nothing"
    words = text.split()
    if len(words) > 2 and all(len(word) < _LONGEST_WORD for word in words) and not text.lstrip().startswith(("{", "[")):
        return one_line(RUN.text(text), 80)
    return f"{len(output)} bytes that are no JSON"


def _read_time(stamp: str, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        raise AccessDenied(f"{name} returned an expirationTimestamp that is no time: {one_line(stamp, 40)}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

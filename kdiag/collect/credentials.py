"""Who kdiag is to the API server: a token, a password, a client certificate, or a program that knows.

A program (an exec plugin) is the one thing of a kubeconfig that runs on this machine. It gets no terminal, ten seconds
and one MiB; what it says is kept in memory until it expires and written nowhere.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import importlib
import json
import os
import re
import selectors
import shutil
import signal
import ssl
import stat
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from kdiag.errors import AccessDenied, CollectError, ConfigError, KdiagError
from kdiag.model.jsontext import read_json
from kdiag.model.text import clean, shorten

if TYPE_CHECKING:
    from kdiag.collect.http import Deadline

FILE_LIMIT = 16 << 20
OUTPUT_LIMIT = 1 << 20
EXEC_SECONDS = 10.0
# How long a failed plugin is not asked again: every list of a run would otherwise wait for it anew.
FAILURE_SECONDS = 60.0
_PIPE_SECONDS = 5.0
_EXEC_API = "client.authentication.k8s.io"
_EXEC_VERSIONS = (f"{_EXEC_API}/v1", f"{_EXEC_API}/v1beta1")
# What a header may hold; anything else in a token would be a second header, or a file that is no token.
_TOKEN = re.compile(r"[\x21-\x7e]+")


def one_line(text: str, width: int = 200) -> str:
    """Text of unknown origin, fit for the middle of an error line."""
    return shorten(clean(" ".join(text.split())), width)


def in_seconds(seconds: float) -> str:
    """A time limit, for people."""
    return f"{max(0.1, round(seconds, 1)):g} s" if seconds < 10 else f"{seconds:.0f} s"


def read_file(path: Path, what: str) -> bytes:
    """The whole of a small file that a configuration names.

    A pipe is read too (``--kubeconfig <(...)``), and one that nobody writes to does not hang.
    """
    try:
        # Opening a pipe without a writer waits for one, unless asked not to.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            data = _read_descriptor(descriptor)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise ConfigError(f"{what} {one_line(str(path))} does not exist") from None
    except IsADirectoryError:
        raise ConfigError(f"{what} {one_line(str(path))} is a directory, not a file") from None
    except TimeoutError:
        raise ConfigError(f"{what} {one_line(str(path))} is a pipe that nothing was written to") from None
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise ConfigError(f"{what} {one_line(str(path))} cannot be read: {one_line(reason)}") from exc
    if len(data) > FILE_LIMIT:
        raise ConfigError(f"{what} {one_line(str(path))} is larger than {FILE_LIMIT >> 20} MiB; is it the right file?")
    return data


def _read_descriptor(descriptor: int) -> bytes:
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError
    data = bytearray()
    ends = time.monotonic() + _PIPE_SECONDS
    with selectors.DefaultSelector() as selector:
        if stat.S_ISFIFO(mode):
            selector.register(descriptor, selectors.EVENT_READ)
        while len(data) <= FILE_LIMIT:
            if selector.get_map() and not selector.select(max(0.0, ends - time.monotonic())):
                raise TimeoutError
            chunk = os.read(descriptor, 1 << 20)
            if not chunk:
                break
            data += chunk
    return bytes(data)


class Fields:
    """One mapping of a configuration file: each field is read as the type that it must have, or is a ConfigError.

    Absent and null are the same, as they are to kubectl. Relative paths start at ``folder``.
    """

    def __init__(self, values: Mapping[Any, object], where: str, folder: Path) -> None:
        self.values = values
        self.where = where
        self.folder = folder

    def __repr__(self) -> str:
        return f"<{self.where}>"

    def _wrong(self, key: str, wanted: str, value: object) -> ConfigError:
        return ConfigError(f"{self.where}: {key} must be {wanted}, not {kind_of(value)}")

    def text(self, key: str) -> str:
        """A string; "" when it is not there."""
        value = self.values.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._wrong(key, "text", value)
        return value

    def flag(self, key: str) -> bool:
        """True or false; false when it is not there."""
        value = self.values.get(key)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false", value)
        return value

    def items(self, key: str) -> Sequence[object]:
        """A list of anything; empty when it is not there."""
        value = self.values.get(key)
        if value is None:
            return ()
        if not isinstance(value, list | tuple):
            raise self._wrong(key, "a list", value)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        found = []
        for item in self.items(key):
            if not isinstance(item, str):
                raise self._wrong(key, "a list of texts", item)
            found.append(item)
        return tuple(found)

    def section(self, key: str) -> Fields | None:
        """A mapping below this one; None when it is not there."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self._wrong(key, "a mapping", value)
        return Fields(value, f"{self.where}, {key}", self.folder)

    def sections(self, key: str) -> tuple[Fields, ...]:
        """A list of mappings; a null in it is an empty one."""
        found = []
        for number, item in enumerate(self.items(key), start=1):
            if item is not None and not isinstance(item, Mapping):
                raise self._wrong(f"item {number} of {key}", "a mapping", item)
            found.append(Fields(item or {}, f"{self.where}, {key}[{number - 1}]", self.folder))
        return tuple(found)

    def path(self, key: str) -> Path | None:
        """A file that this one names."""
        value = self.text(key)
        return self.folder / value if value else None

    def data(self, key: str) -> bytes | None:
        """Base64, decoded."""
        value = self.text(key)
        if not value:
            return None
        try:
            return base64.b64decode("".join(value.split()), validate=True)
        except (binascii.Error, ValueError):
            raise ConfigError(f"{self.where}: {key} is not whole base64; was the file cut short?") from None


def kind_of(value: object) -> str:
    """What a value of a YAML file is called in an error."""
    match value:
        case None:
            return "nothing"
        case bool():
            return f"{str(value).lower()} (put quotes around it if it is text)"
        case int() | float():
            return f"the number {one_line(str(value), 40)} (put quotes around it if it is text)"
        case str():
            return "text"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "a mapping"
        case _:
            return type(value).__name__


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plugin:
    """An exec section of a kubeconfig, checked."""

    command: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    api_version: str
    interactive_mode: str
    install_hint: str
    provide_cluster: bool


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class _Ticket:
    """What a plugin or provider answered."""

    token: str = ""
    certificate: tuple[bytes, bytes] | None = None
    expires: datetime | None = None

    def has_expired(self) -> bool:
        return self.expires is not None and self.expires <= datetime.now(UTC)


class Credentials:
    """The credential of one user of a kubeconfig, ready to be sent; safe to share between threads.

    ``cluster`` is what a plugin with ``provideClusterInfo`` is told. The order is kubectl's: a token, a password or a
    client certificate makes a plugin unnecessary, and it is not run.
    """

    def __init__(
        self,
        user: Fields,
        *,
        environ: Mapping[str, str],
        cluster: Mapping[str, object] | None = None,
        exec_seconds: float = EXEC_SECONDS,
    ) -> None:
        self._user = user
        self._environ = environ
        self._cluster = cluster
        self._exec_seconds = exec_seconds
        self._lock = threading.Lock()
        self._ticket: _Ticket | None = None
        self._failure: tuple[float, CollectError | ConfigError] | None = None

        self._token = user.text("token")
        self._token_file = user.path("tokenFile")
        self._name = user.text("username")
        self._password = user.text("password")
        self._certificate = user.path("client-certificate")
        self._certificate_data = user.data("client-certificate-data")
        self._key = user.path("client-key")
        self._key_data = user.data("client-key-data")
        self._plugin = _plugin(user)
        self._provider = user.section("auth-provider")
        self._check()
        # The provider's own copy: it renews tokens in place, and a refresh token may be good for one use only.
        self._provider_entry = _deep_copy(self._provider.values) if self._provider else None

    def __repr__(self) -> str:
        return f"<Credentials of {self._user.where}: {self.method}>"

    @property
    def method(self) -> str:
        """How this user proves who they are, for people; "none" is an anonymous one."""
        if self._token or self._token_file:
            return "token"
        if self._name or self._password:
            return "password"
        if self._has_certificate:
            return "client certificate"
        if self._plugin:
            return f"exec plugin {one_line(self._plugin.command, 60)}"
        return "auth-provider" if self._provider else "none"

    @property
    def _has_certificate(self) -> bool:
        return self._certificate is not None or self._certificate_data is not None

    @property
    def _asks(self) -> bool:
        """Whether something else has to be asked for the credential."""
        return self.method.startswith(("exec", "auth-provider"))

    def _check(self) -> None:
        where = self._user.where
        if (self._token or self._token_file) and (self._name or self._password):
            raise ConfigError(f"{where} has a token and a user name with password; only one of them can be used")
        if self._plugin and self._provider:
            raise ConfigError(f"{where} has exec and auth-provider; only one of them can be used")
        for path, data, field in (
            (self._certificate, self._certificate_data, "client-certificate"),
            (self._key, self._key_data, "client-key"),
        ):
            if path is not None and data is not None:
                raise ConfigError(f"{where} has both {field} and {field}-data; leave one of them")
        if self._has_certificate:
            if self._key is None and self._key_data is None:
                raise ConfigError(f"{where} has a client-certificate without a client-key")
            self._own_certificate()
        if self._token_file is not None and not self._token:
            read_file(self._token_file, f"{where}: tokenFile")

    def headers(self, deadline: Deadline) -> dict[str, str]:
        """The Authorization header, or none for an anonymous user or one with a certificate; may run the plugin."""
        if self._token_file is not None:
            return self._bearer(self._read_token())
        if self._token:
            return self._bearer(self._token)
        if self._name or self._password:
            pair = base64.b64encode(f"{self._name}:{self._password}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}
        if not self._asks:
            return {}
        ticket = self._asked(deadline)
        return self._bearer(ticket.token) if ticket.token else {}

    def certificate(self, deadline: Deadline) -> tuple[bytes, bytes] | None:
        """The client certificate and its key as PEM; files are read anew each time, for they get rotated."""
        if self._has_certificate:
            return self._own_certificate()
        return self._asked(deadline).certificate if self._asks and self._plugin else None

    def expired(self, now: datetime) -> datetime | None:
        """When the user's own client certificate ended, where that was before ``now``: for after a refusal."""
        if not self._has_certificate:
            return None
        from cryptography import x509

        try:
            end = x509.load_pem_x509_certificate(self._own_certificate()[0]).not_valid_after_utc
        except (ConfigError, ValueError):
            return None
        return end if end < now else None

    def forget(self) -> bool:
        """Drop a credential that the server has refused; true when asking again could give a newer one."""
        with self._lock:
            had, self._ticket = self._ticket, None
        return had is not None

    def _own_certificate(self) -> tuple[bytes, bytes]:
        where = self._user.where
        certificate = self._certificate_data or b""
        if self._certificate is not None:
            certificate = read_file(self._certificate, f"{where}: client-certificate")
        key = self._key_data or b""
        if self._key is not None:
            key = read_file(self._key, f"{where}: client-key")
        if b"-----BEGIN CERTIFICATE-----" not in certificate:
            raise ConfigError(f"{where}: client-certificate holds no PEM certificate")
        if b"PRIVATE KEY-----" not in key:
            raise ConfigError(f"{where}: client-key holds no PEM private key")
        return certificate, key

    def _read_token(self) -> str:
        """The token file as it is now, for it is rotated; the static token stands in while the file is missing."""
        if self._token_file is None:
            return self._token
        try:
            token = read_file(self._token_file, f"{self._user.where}: tokenFile").decode("ascii", "replace").strip()
        except ConfigError:
            if self._token:
                return self._token
            raise
        if not token:
            raise ConfigError(f"{self._user.where}: tokenFile {one_line(str(self._token_file))} is empty")
        return token

    def _bearer(self, token: str) -> dict[str, str]:
        if not _TOKEN.fullmatch(token.strip()):
            raise ConfigError(f"{self._user.where}: the token has blanks or unprintable characters in it")
        return {"Authorization": f"Bearer {token.strip()}"}

    def _asked(self, deadline: Deadline) -> _Ticket:
        """What the plugin or provider says; asked once for all threads, and again when it has expired."""
        if not self._lock.acquire(timeout=deadline.remaining()):
            raise AccessDenied(f"{self._user.where}: {self.method} did not answer in time")
        try:
            if self._ticket is not None and not self._ticket.has_expired():
                return self._ticket
            if self._failure is not None and time.monotonic() < self._failure[0]:
                raise self._failure[1]
            try:
                self._ticket = self._run_plugin(deadline) if self._plugin else self._ask_provider(deadline)
            except (CollectError, ConfigError) as exc:
                self._failure = (time.monotonic() + FAILURE_SECONDS, exc)
                raise
            return self._ticket
        finally:
            self._lock.release()

    # Exec plugins

    def _run_plugin(self, deadline: Deadline) -> _Ticket:
        plugin = self._plugin
        if plugin is None:
            return _Ticket()
        name = f"{self._user.where}: exec plugin {one_line(plugin.command, 80)}"
        if plugin.interactive_mode == "Always":
            raise AccessDenied(f"{name} wants a terminal (interactiveMode: Always), and kdiag gives it none")
        seconds = min(self._exec_seconds, deadline.remaining())
        try:
            output = self._output_of(plugin, name, seconds)
        except TimeoutError:
            raise AccessDenied(f"{name} did not answer within {in_seconds(seconds)}; does it wait for input?") from None
        except OverflowError:
            raise AccessDenied(f"{name} wrote more than {OUTPUT_LIMIT >> 20} MiB instead of a credential") from None
        return _read_ticket(output, plugin.api_version, name)

    def _output_of(self, plugin: _Plugin, name: str, seconds: float) -> bytes:
        environment = {**self._environ, **plugin.environment, "KUBERNETES_EXEC_INFO": self._exec_info(plugin)}
        command = self._find(plugin, name)
        try:
            # A session of its own: no terminal to prompt on, and one process group to end.
            process = subprocess.Popen(  # noqa: S603 - the user's own kubeconfig names it, and no shell reads it
                [command, *plugin.arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
            raise ConfigError(f"{name} cannot be run: {one_line(reason)}") from exc
        try:
            output, complaint = _communicate(process, time.monotonic() + seconds)
        finally:
            _end(process)
        if process.returncode:
            said = one_line(complaint.decode("utf-8", "replace")) or "it said nothing"
            raise AccessDenied(f"{name} failed ({_exit_text(process.returncode)}): {said}")
        return output

    def _find(self, plugin: _Plugin, name: str) -> str:
        command = plugin.command
        if os.sep in command:
            command = str(self._user.folder / command)
        found = shutil.which(command, path=self._environ.get("PATH", os.defpath))
        if found is not None and os.path.isabs(found):
            return found
        if os.sep in command and os.path.exists(command):
            raise ConfigError(f"{name} cannot be run: it is not an executable file")
        hint = f"; {one_line(plugin.install_hint)}" if plugin.install_hint.strip() else "; is it on the PATH?"
        raise ConfigError(f"{name} is not installed{hint}")

    def _exec_info(self, plugin: _Plugin) -> str:
        spec: dict[str, object] = {"interactive": False}
        if plugin.provide_cluster:
            spec["cluster"] = dict(self._cluster or {})
        return json.dumps({"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}, default=str)

    # Legacy auth providers

    def _ask_provider(self, deadline: Deadline) -> _Ticket:
        """Let the official client log in, on a thread that may hang alone: it sets no time limit of its own."""
        provider = one_line(self._provider.text("name"), 40) if self._provider else ""
        name = f"{self._user.where}: auth-provider {provider}"
        answer: list[str | BaseException] = []

        def ask() -> None:
            try:
                answer.append(self._provider_token())
            # Anything may come out of six libraries and an identity provider; it is told in one line below.
            except BaseException as exc:
                answer.append(exc)

        thread = threading.Thread(target=ask, name="kdiag-auth-provider", daemon=True)
        thread.start()
        seconds = min(self._exec_seconds, deadline.remaining())
        thread.join(seconds)
        match answer:
            case []:
                raise AccessDenied(f"{name} did not answer within {in_seconds(seconds)}")
            case [str(token)] if token:
                return _Ticket(token=token)
            case [str()]:
                raise AccessDenied(f"{name} gave no token; log in again, or use an exec plugin instead")
            case [KdiagError() as error]:
                raise error
            case [error]:
                reason = one_line(f"{type(error).__name__}: {error}")
                raise AccessDenied(f"{name} failed: {reason}") from (error if isinstance(error, Exception) else None)
            case _:
                raise AccessDenied(f"{name} answered twice")

    def _provider_token(self) -> str:
        entry = self._provider_entry
        if not isinstance(entry, dict):
            return ""
        settings = entry.get("config")
        if isinstance(settings, dict) and entry.get("name") == "oidc":
            _trust_system_authorities(settings)
        configuration = SimpleNamespace(api_key={})
        importlib.import_module("kubernetes.config").load_kube_config_from_dict(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "kdiag",
                "contexts": [{"name": "kdiag", "context": {"cluster": "kdiag", "user": "kdiag"}}],
                "clusters": [{"name": "kdiag", "cluster": {"server": "https://127.0.0.1"}}],
                "users": [{"name": "kdiag", "user": {"auth-provider": entry}}],
            },
            client_configuration=configuration,
            persist_config=False,
        )
        keys = configuration.api_key
        header = str(keys.get("BearerToken") or keys.get("authorization") or "")
        return header.removeprefix("Bearer ").strip()


def _deep_copy(value: object) -> object:
    """Plain dicts and lists, to be changed by someone else; an alias that contains itself is cut at a depth of 20."""

    def copy(item: object, depth: int) -> object:
        if depth > 20:
            return None
        if isinstance(item, Mapping):
            return {str(key): copy(below, depth + 1) for key, below in item.items()}
        if isinstance(item, list | tuple):
            return [copy(below, depth + 1) for below in item]
        return item

    return copy(value, 0)


def _trust_system_authorities(settings: dict[str, object]) -> None:
    """Name the system's CA bundle where none is named: the client would otherwise not verify the issuer at all."""
    if settings.get("idp-certificate-authority") or settings.get("idp-certificate-authority-data"):
        return
    paths = ssl.get_default_verify_paths()
    bundle = paths.cafile or str(importlib.import_module("certifi").where())
    settings["idp-certificate-authority"] = bundle


def _plugin(user: Fields) -> _Plugin | None:
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
    return _Plugin(
        command=command,
        arguments=section.texts("args"),
        environment=environment,
        api_version=version,
        interactive_mode=mode or "IfAvailable",
        install_hint=section.text("installHint"),
        provide_cluster=section.flag("provideClusterInfo"),
    )


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


def _read_ticket(output: bytes, version: str, name: str) -> _Ticket:
    try:
        answer = read_json(output)
    except ValueError:
        said = one_line(output[:400].decode("utf-8", "replace"), 80) or "nothing"
        raise AccessDenied(f"{name} wrote no credential but: {said}") from None
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
    if token and not _TOKEN.fullmatch(token):
        raise AccessDenied(f"{name} returned a token with blanks or unprintable characters in it")
    ticket = _Ticket(
        token=token,
        certificate=(certificate, key) if certificate else None,
        expires=_read_time(stamp, name) if stamp else None,
    )
    if ticket.has_expired():
        raise AccessDenied(f"{name} returned a credential that expired at {one_line(stamp, 40)}; log in again")
    return ticket


def _read_time(stamp: str, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        raise AccessDenied(f"{name} returned an expirationTimestamp that is no time: {one_line(stamp, 40)}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

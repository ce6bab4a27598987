"""Who kdiag is to the API server: a token, a password, a client certificate, or a program that knows.

What a program says is kept in memory until it expires and written nowhere.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from kdiag.collect.authprovider import Provider
from kdiag.collect.execplugin import TOKEN, Plugin, Ticket
from kdiag.collect.fields import Fields, one_line, read_file
from kdiag.errors import AccessDenied, CollectError, ConfigError

if TYPE_CHECKING:
    from kdiag.collect.deadline import Deadline

EXEC_SECONDS = 10.0
# How long a failed plugin is not asked again: every list of a run would otherwise wait for it anew.
FAILURE_SECONDS = 60.0


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
        self._ticket: Ticket | None = None
        self._failure: tuple[float, CollectError | ConfigError] | None = None

        self._token = user.text("token")
        self._token_file = user.path("tokenFile")
        self._name = user.text("username")
        self._password = user.text("password")
        self._certificate = user.path("client-certificate")
        self._certificate_data = user.data("client-certificate-data")
        self._key = user.path("client-key")
        self._key_data = user.data("client-key-data")
        self._plugin = Plugin.of(user)
        provider = user.section("auth-provider")
        self._provider = Provider(provider, user.where) if provider else None
        self._check()

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
        if not TOKEN.fullmatch(token.strip()):
            raise ConfigError(f"{self._user.where}: the token has blanks or unprintable characters in it")
        return {"Authorization": f"Bearer {token.strip()}"}

    def _asked(self, deadline: Deadline) -> Ticket:
        """What the plugin or provider says; asked once for all threads, and again when it has expired."""
        if not self._lock.acquire(timeout=deadline.remaining()):
            raise AccessDenied(f"{self._user.where}: {self.method} did not answer in time")
        try:
            if self._ticket is not None and not self._ticket.has_expired():
                return self._ticket
            if self._failure is not None and time.monotonic() < self._failure[0]:
                raise self._failure[1]
            try:
                seconds = min(self._exec_seconds, deadline.remaining())
                if self._plugin:
                    self._ticket = self._plugin.ask(self._environ, self._cluster, seconds)
                else:
                    self._ticket = self._provider.ask(seconds) if self._provider else Ticket()
            except (CollectError, ConfigError) as exc:
                self._failure = (time.monotonic() + FAILURE_SECONDS, exc)
                raise
            return self._ticket
        finally:
            self._lock.release()

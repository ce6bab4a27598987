"""Servers as flags and kubeconfigs name them: by a URL, which may be none."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from kdiag.facts.manifests import Manifests


@dataclass(frozen=True, slots=True)
class ServerURL:
    """One URL of a flag; ``fault`` says why it is none."""

    text: str
    scheme: str = ""
    host: str = ""
    port: int = 0
    fault: str = ""

    @property
    def loopback(self) -> bool:
        """Whether it leads to the machine itself."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    @property
    def anywhere(self) -> bool:
        """Whether it stands for all addresses of the machine."""
        return self.host in ("0.0.0.0", "::", "")  # noqa: S104

    @property
    def literal(self) -> bool:
        """Whether the host is an address and not a name."""
        return bool(re.fullmatch(r"\d+(\.\d+){3}|[0-9a-fA-F]*:[0-9a-fA-F:.]*", self.host))


_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>\[[^\]]*\]|[^:/?#\s]*)(?::(?P<port>[^/?#]*))?(?P<rest>.*)"
)


def server_urls(value: str, *, default: int = 0) -> tuple[ServerURL, ...]:
    """The URLs of a flag: scheme, host and port; ``default`` is the port of a URL that names none."""
    return tuple(_server_url(word.strip(), default) for word in value.split(",") if word.strip())


def agreed_server(manifests: Manifests | None) -> ServerURL | None:
    """Where at least two kubeconfigs of the nodes lead, and more than anywhere else."""
    votes: Counter[ServerURL] = Counter()
    for _, found in manifests or ():
        for server, _ in found.servers.values():
            votes.update(e for e in server_urls(server, default=443) if not e.fault and not e.loopback)
    most = votes.most_common(1)
    return most[0][0] if most and most[0][1] >= 2 else None


def _server_url(text: str, default: int) -> ServerURL:
    match = _URL.fullmatch(text)
    if not match:
        return ServerURL(text, fault="it is no URL such as https://127.0.0.1:2379")
    scheme, host, port = match["scheme"].lower(), match["host"].strip("[]"), match["port"]
    if scheme not in ("http", "https", "unix", "unixs"):
        return ServerURL(text, scheme, host, fault=f"{match['scheme']} is no scheme for it")
    if scheme.startswith("unix"):
        return ServerURL(text, scheme, host)
    if port is None and not default:
        return ServerURL(text, scheme, host, fault="it names no port")
    if port is not None and not (re.fullmatch(r"\d{1,6}", port) and 0 < int(port) < 65536):
        return ServerURL(text, scheme, host, fault=f'"{port}" is no port')
    number = int(port) if port else default
    if re.fullmatch(r"[\d.]+", host) and not re.fullmatch(
        r"(25[0-5]|2[0-4]\d|1?\d?\d)(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}", host
    ):
        return ServerURL(text, scheme, host, number, fault=f"{host} is no address")
    return ServerURL(text, scheme, host, number)

"""The way to an API server: the URL that a kubeconfig names, and the proxy in between."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import SplitResult, unquote, urlsplit

from kdiag.collect.fields import Fields, one_line, quoted
from kdiag.errors import ConfigError


def server_url(server: str, where: str, *, secure: bool) -> SplitResult:
    """The URL of the API server; one without a scheme is completed as client-go does it."""
    if not server:
        raise ConfigError(f"{where} has no server; it must name one, as in https://10.0.0.1:6443")
    wrong = f"{where}: server {quoted(_without_password(server))} is not a URL such as https://10.0.0.1:6443"
    if any(char.isspace() or not char.isprintable() for char in server):
        raise ConfigError(f"{wrong}: there is a blank or unprintable character in it")
    try:
        url = urlsplit(server)
        if "://" not in server:
            url = urlsplit(f"{'https' if secure else 'http'}://{server}")
            if url.path not in ("", "/"):
                raise ConfigError(f"{wrong}: the https:// is missing")
        host, _ = endpoint(url)
    except ValueError as exc:
        raise ConfigError(f"{wrong}: {one_line(str(exc), 80)}") from None
    if url.scheme not in ("http", "https"):
        raise ConfigError(f"{wrong}: only https and http can be spoken")
    if not host:
        raise ConfigError(f"{wrong}: it names no host")
    if url.username is not None or url.password is not None:
        raise ConfigError(f"{wrong}: a user name belongs into the user entry, not into the URL")
    if not url.path.isascii():
        raise ConfigError(f"{wrong}: its path must be ASCII")
    return url._replace(query="", fragment="")


def server_name(cluster: Fields) -> str:
    """The name that the server's certificate must bear, where it is not that of the URL; "" where it is."""
    name = cluster.text("tls-server-name")
    try:
        fits = not name or _address(name) is not None or bool(name.isprintable() and name.encode("idna"))
    except UnicodeError:
        fits = False
    if not fits or " " in name:
        raise ConfigError(f"{cluster.where}: tls-server-name {quoted(name)} is no name that a certificate can bear")
    return name


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://…@{tail}" if at else url


def endpoint(url: SplitResult) -> tuple[str, int]:
    """The host and the port that a URL leads to. Raises ValueError where it leads nowhere."""
    host = (url.hostname or "").replace("%25", "%", 1)  # the zone of an address, as a URL writes it
    try:
        port = url.port
    except ValueError:
        said = url.netloc.rpartition("@")[2].rpartition("]")[2].partition(":")[2]
        raise ValueError(f"port {said} is none: it is a number up to 65535") from None
    if port == 0:
        raise ValueError("port 0 is none")
    if host and ":" not in host:
        try:
            # Each of its parts has 1 to 63 characters; the resolver would say so in Python's words.
            encoded = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise ValueError("the host is no name: a part of it is empty or too long") from None
        host = host if host.isascii() else encoded
    return host, port or (443 if url.scheme == "https" else 80)


def proxy_url(cluster: Fields, url: SplitResult, host: str, port: int, environ: Mapping[str, str]) -> str:
    """The proxy to go through, or ""; one that cannot be spoken to is an error rather than passed over."""
    where, proxy = f"{cluster.where}: proxy-url", cluster.text("proxy-url")
    if not proxy:
        where, proxy = _proxy_of_environment(url.scheme, environ)
        if not proxy or _is_excepted(host, port, environ):
            return ""
    shown = quoted(_without_password(proxy))
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        name, _ = endpoint(parts)
    except ValueError as exc:
        raise ConfigError(f"{where} {shown} is not a URL: {one_line(str(exc), 80)}") from None
    if parts.scheme != "http":
        raise ConfigError(
            f"{where} {shown} is not supported: only http:// proxies are, not {one_line(parts.scheme, 20)}"
        )
    if not name or any(char.isspace() or not char.isprintable() for char in unquote(proxy)):
        raise ConfigError(f"{where} {shown} is not a URL such as http://proxy.example:3128")
    return parts.geturl()


def _proxy_of_environment(scheme: str, environ: Mapping[str, str]) -> tuple[str, str]:
    upper = f"{scheme}_proxy".upper()
    # A CGI request could set HTTP_PROXY by a header named Proxy.
    if upper == "HTTP_PROXY" and environ.get("REQUEST_METHOD"):
        return upper, ""
    for name in (upper, upper.lower()):
        if environ.get(name):
            return name, environ[name]
    return upper, ""


def _is_excepted(host: str, port: int, environ: Mapping[str, str]) -> bool:
    """Whether NO_PROXY covers the host, by Go's rules: names with their subdomains, addresses, networks, ``*``."""
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    for entry in (environ.get("NO_PROXY") or environ.get("no_proxy") or "").split(","):
        rule = entry.strip().lower()
        if rule == "*":
            return True
        if not rule:
            continue
        if "/" in rule:
            try:
                if address is not None and address in ipaddress.ip_network(rule, strict=False):
                    return True
            except (ValueError, TypeError):
                pass
            continue
        name, colon, wanted = rule.rpartition(":")
        if colon and wanted.isdecimal() and (_address(rule) is None):
            if int(wanted) != port:
                continue
            rule = name
        rule = rule.strip("[]")
        if address is not None:
            if _address(rule) == address:
                return True
            continue
        suffix = rule.removeprefix("*") if rule.startswith("*.") else rule
        if host == suffix or host.endswith(suffix if suffix.startswith(".") else f".{suffix}"):
            return True
    return False


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None

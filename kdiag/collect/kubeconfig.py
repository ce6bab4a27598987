"""Which cluster, as whom: the configuration, read as kubectl reads it.

The rules are client-go's. Of several files in KUBECONFIG the first to name a context, cluster or user wins, wholly, and
so does the first to set current-context; missing and empty files are passed over; a relative path starts at the file
that holds it. Without any kubeconfig, a pod's service account is used. Nothing is ever written.
"""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kdiag.collect.credentials import Credentials
from kdiag.collect.endpoint import endpoint, proxy_url, server_name, server_url
from kdiag.collect.fields import Fields, kind_of, one_line, quoted, read_file
from kdiag.collect.kubefile import parse
from kdiag.collect.paths import home_of
from kdiag.errors import ConfigError
from kdiag.model.text import listing, nearest

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_MISSING = "does not exist"
_EXEC_EXTENSION = "client.authentication.k8s.io/exec"
_HEADER_NAME = frozenset("!#$&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What the command line says; it goes before what a file says. The names are those of kubectl's flags."""

    kubeconfig: str = ""
    context: str = ""
    cluster: str = ""
    user: str = ""
    namespace: str = ""
    server: str = ""
    tls_server_name: str = ""
    insecure_skip_tls_verify: bool | None = None
    certificate_authority: str = ""
    client_certificate: str = ""
    client_key: str = ""
    token: str = field(default="", repr=False)
    as_user: str = ""
    as_groups: tuple[str, ...] = ()
    as_uid: str = ""
    as_user_extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One API server and who to be there."""

    context: str
    cluster: str
    user: str
    server: str
    host: str
    port: int
    # The path in front of /api, without a slash at its end: "" but for servers behind a proxy such as Rancher's.
    base_path: str
    namespace: str
    ca_data: bytes | None = field(repr=False)
    insecure: bool
    tls_server_name: str
    # "" for none; from the cluster's proxy-url, else from HTTPS_PROXY and NO_PROXY. May hold a password.
    proxy_url: str = field(repr=False)
    credentials: Credentials
    # Header to values: a group is a header of its own each.
    impersonate: Mapping[str, tuple[str, ...]]
    # The files that were read, for people.
    origin: str
    in_cluster: bool

    @property
    def tls(self) -> bool:
        """Whether the server is spoken to in TLS."""
        return self.server.startswith("https:")


@dataclass(slots=True)
class _Merged:
    """Several files as one."""

    contexts: dict[str, Fields]
    clusters: dict[str, Fields]
    users: dict[str, Fields]
    current: str = ""
    origin: str = ""


def load(
    overrides: Overrides,
    environ: Mapping[str, str],
    *,
    home: Path | None = None,
    service_account: Path = SERVICE_ACCOUNT,
) -> Target:
    """The API server that kubectl would talk to, given the same flags and environment."""
    paths, asked = _paths(overrides, environ, home)
    merged, empty = _read_all(paths, asked)
    if not merged.origin and not overrides.server:
        if overrides.context:
            raise ConfigError(
                f"context {quoted(overrides.context)} does not exist: {_nothing_found(paths, asked, empty)}"
            )
        token = service_account / "token"
        if environ.get("KUBERNETES_SERVICE_HOST") and environ.get("KUBERNETES_SERVICE_PORT") and token.is_file():
            return _in_cluster(overrides, environ, service_account)
        raise ConfigError(_nothing_found(paths, asked, empty))
    merged.origin = merged.origin or "the command line"
    return _resolve(merged, overrides, environ)


def names(
    overrides: Overrides, environ: Mapping[str, str], *, home: Path | None = None
) -> Mapping[str, tuple[str, ...]]:
    """The contexts, clusters and users that there are to choose from."""
    merged, _ = _read_all(*_paths(overrides, environ, home))
    return {
        "contexts": tuple(merged.contexts),
        "clusters": tuple(merged.clusters),
        "users": tuple(merged.users),
    }


def _paths(overrides: Overrides, environ: Mapping[str, str], home: Path | None) -> tuple[list[Path], str]:
    """The files to read in order, and who asked for them."""
    if overrides.kubeconfig:
        return [Path(overrides.kubeconfig)], "--kubeconfig"
    listed = environ.get("KUBECONFIG", "")
    if listed:
        names = dict.fromkeys(name for name in listed.split(os.pathsep) if name.strip())
        return [Path(name) for name in names], "KUBECONFIG"
    return [(home or home_of(environ)) / ".kube" / "config"], ""


def _nothing_found(paths: Sequence[Path], asked: str, empty: Sequence[Path]) -> str:
    names = _listed(paths)
    if not names:
        return f"no kubeconfig: {asked} names no file; give one with --kubeconfig FILE or KUBECONFIG"
    lack = "is empty" if empty else _lack(paths[0]) or _MISSING
    if not asked:  # the usual place
        return (
            f"no kubeconfig: {names} {lack} and KUBECONFIG is not set; "
            "give one with --kubeconfig FILE or KUBECONFIG, or put it at ~/.kube/config"
        )
    found = f"which {lack}"
    if len(paths) > 1:
        found = "and all that are there are empty" if empty else "and none of them exists"
    return f"no kubeconfig: {asked} names {names}, {found}; give another one with --kubeconfig FILE or KUBECONFIG"


def _listed(paths: Sequence[Path]) -> str:
    return listing([one_line(str(path)) for path in paths], 5)


def _read_all(paths: Sequence[Path], asked: str) -> tuple[_Merged, list[Path]]:
    """All files as one, and those that are empty. ``asked``: by what they were named, "" for the usual place."""
    named = asked == "--kubeconfig"
    merged = _Merged(contexts={}, clusters={}, users={})
    used, empty = [], []
    for path in paths:
        lack = "" if named else _lack(path)
        # HOME may be another's, in a pod for one: whoever has a service account there needs no file.
        if lack and (lack == _MISSING or not asked):
            continue
        try:
            data = read_file(path, "kubeconfig")
        except ConfigError as exc:
            # A dangling link is a missing file to kubectl as well.
            if not named and isinstance(exc.__context__, FileNotFoundError):
                continue
            raise
        document = parse(data, path)
        if document is None:
            if named:
                raise ConfigError(f"kubeconfig {one_line(str(path))} is empty")
            empty.append(path)
            continue
        used.append(path)
        _add(merged, document)
    merged.origin = _listed(used)
    return merged, empty


def _lack(path: Path) -> str:
    """Why nothing is seen at the path; "" where something is. Where a folder may not be entered, it may be there."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return _MISSING
    except OSError as exc:
        return f"cannot be read: {exc.strerror}"
    return ""


def _add(merged: _Merged, document: Fields) -> None:
    kind, version = document.text("kind"), document.text("apiVersion")
    if kind not in ("", "Config") or version not in ("", "v1"):
        said = one_line(f"{version} {kind}".strip(), 60)
        raise ConfigError(f"{document.where} is no kubeconfig: it is of kind {said}, not v1 Config")
    for into, plural, singular in (
        (merged.contexts, "contexts", "context"),
        (merged.clusters, "clusters", "cluster"),
        (merged.users, "users", "user"),
    ):
        seen = set()
        for entry in document.sections(plural):
            name = entry.text("name")
            if name in seen:
                raise ConfigError(f"{document.where}: two {plural} have the name {quoted(name)}")
            seen.add(name)
            below = entry.section(singular)
            values = below.values if below else {}
            into.setdefault(name, Fields(values, f"{singular} {quoted(name)} of {document.where}", document.folder))
    merged.current = merged.current or document.text("current-context")


def _in_cluster(overrides: Overrides, environ: Mapping[str, str], folder: Path) -> Target:
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ["KUBERNETES_SERVICE_PORT"]
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    cluster: dict[str, object] = {"server": server}
    if (folder / "ca.crt").exists():
        cluster["certificate-authority"] = "ca.crt"
    namespace = environ.get("POD_NAMESPACE", "")
    if not namespace and (folder / "namespace").is_file():
        namespace = read_file(folder / "namespace", "namespace file").decode("utf-8", "replace").strip()
    where = f"the service account in {one_line(str(folder))}"
    merged = _Merged(
        contexts={
            "in-cluster": Fields(
                {"cluster": "in-cluster", "user": "service account", "namespace": namespace}, where, folder
            )
        },
        clusters={"in-cluster": Fields(cluster, where, folder)},
        users={"service account": Fields({"tokenFile": "token"}, where, folder)},
        current="in-cluster",
        origin=f"in-cluster ({one_line(str(folder))})",
    )
    return _resolve(merged, overrides, environ, in_cluster=True)


def _resolve(merged: _Merged, overrides: Overrides, environ: Mapping[str, str], *, in_cluster: bool = False) -> Target:
    context_name, context = _context(merged, overrides)
    cluster_name, cluster = _cluster(merged, overrides, context_name, context)
    user_name, user = _user(merged, overrides, context_name, context)
    insecure = cluster.flag("insecure-skip-tls-verify")
    authority = _authority(cluster, insecure=insecure)
    secure = (
        insecure
        or authority is not None
        or bool(user.text("client-certificate") or user.text("client-certificate-data"))
    )
    url = server_url(cluster.text("server"), cluster.where, secure=secure)
    host, port = endpoint(url)
    proxy = proxy_url(cluster, url, host, port, environ)
    shown = {
        "server": url.geturl(),
        "tls-server-name": cluster.text("tls-server-name"),
        "insecure-skip-tls-verify": insecure,
        "certificate-authority-data": _base64(authority),
        "proxy-url": cluster.text("proxy-url"),
        "config": _exec_config(cluster),
    }
    return Target(
        context=context_name,
        cluster=cluster_name,
        user=user_name,
        server=url.geturl(),
        host=host,
        port=port,
        base_path=url.path.rstrip("/"),
        namespace=overrides.namespace or context.text("namespace") or "default",
        ca_data=authority,
        insecure=insecure,
        tls_server_name=server_name(cluster),
        proxy_url=proxy,
        credentials=Credentials(
            user,
            environ=environ,
            cluster={key: value for key, value in shown.items() if value not in ("", None, False)},
        ),
        impersonate=_impersonation(user),
        origin=merged.origin,
        in_cluster=in_cluster,
    )


def _choices(names: Mapping[str, Fields], wanted: str = "") -> str:
    """What there is instead, for the end of an error."""
    if not names:
        return "there is none"
    close = nearest(wanted, list(names)) if wanted else None
    meant = f"did you mean {quoted(close)}? " if close else ""
    return f"{meant}there is {listing([one_line(name, 80) or quoted('') for name in names], 8)}"


def _context(merged: _Merged, overrides: Overrides) -> tuple[str, Fields]:
    name = overrides.context or merged.current
    if name in merged.contexts and name:
        return name, merged.contexts[name]
    if overrides.context:
        raise ConfigError(
            f"context {quoted(name)} does not exist in {merged.origin}; {_choices(merged.contexts, name)}"
        )
    if name:
        raise ConfigError(
            f"current-context {quoted(name)} does not exist in {merged.origin}; "
            f"{_choices(merged.contexts, name)}; choose with --context"
        )
    if overrides.server or overrides.cluster:
        return "", Fields({}, "the command line", Path())
    raise ConfigError(
        f"no current-context is set in {merged.origin}; {_choices(merged.contexts)}; choose with --context"
    )


def _cluster(merged: _Merged, overrides: Overrides, context_name: str, context: Fields) -> tuple[str, Fields]:
    """The cluster entry with the flags over it."""
    name = overrides.cluster or context.text("cluster")
    entry = merged.clusters.get(name)
    if entry is None:
        if overrides.cluster:
            raise ConfigError(
                f"cluster {quoted(name)} does not exist in {merged.origin}; {_choices(merged.clusters, name)}"
            )
        if not overrides.server:
            raise ConfigError(_names_missing(merged, context_name, "cluster", name, merged.clusters))
        entry = Fields({}, "the command line", Path())
    values = dict(entry.values)
    # A server from the command line is another one: the name that its certificate should bear goes with it.
    if overrides.server or overrides.tls_server_name:
        values["tls-server-name"] = overrides.tls_server_name
    if overrides.server:
        values["server"] = overrides.server
    if overrides.insecure_skip_tls_verify is not None or overrides.certificate_authority:
        if overrides.insecure_skip_tls_verify or overrides.certificate_authority:
            values.pop("certificate-authority-data", None)
            values["certificate-authority"] = _absolute(overrides.certificate_authority)
        values["insecure-skip-tls-verify"] = bool(overrides.insecure_skip_tls_verify)
    return name, Fields(values, entry.where, entry.folder)


def _user(merged: _Merged, overrides: Overrides, context_name: str, context: Fields) -> tuple[str, Fields]:
    """The user entry with the flags over it; one without a name is anonymous."""
    name = overrides.user or context.text("user")
    entry = merged.users.get(name)
    if entry is None:
        if overrides.user:
            raise ConfigError(f"user {quoted(name)} does not exist in {merged.origin}; {_choices(merged.users, name)}")
        if name and not overrides.token and not overrides.client_certificate:
            raise ConfigError(_names_missing(merged, context_name, "user", name, merged.users))
        entry = Fields({}, "the command line", Path())
    values = dict(entry.values)
    if overrides.token:
        for key in ("tokenFile", "username", "password", "exec", "auth-provider"):
            values.pop(key, None)
        values["token"] = overrides.token
    for key, flag in (("client-certificate", overrides.client_certificate), ("client-key", overrides.client_key)):
        if flag:
            values.pop(f"{key}-data", None)
            values[key] = _absolute(flag)
    for key, text in (("as", overrides.as_user), ("as-uid", overrides.as_uid)):
        if text:
            values[key] = text
    if overrides.as_groups:
        values["as-groups"] = overrides.as_groups
    if overrides.as_user_extra:
        section = entry.section("as-user-extra")
        extra = dict(section.values) if section else {}
        given: dict[str, list[str]] = {}
        for key, text in overrides.as_user_extra:
            given.setdefault(key, []).append(text)
        values["as-user-extra"] = {**extra, **given}
    return name, Fields(values, entry.where, entry.folder)


def _names_missing(merged: _Merged, context: str, kind: str, name: str, there: Mapping[str, Fields]) -> str:
    if not name:
        return f"context {quoted(context)} of {merged.origin} names no {kind}; {_choices(there)}"
    return (
        f"context {quoted(context)} names {kind} {quoted(name)}, which does not exist in {merged.origin}; "
        f"{_choices(there, name)}"
    )


def _absolute(path: str) -> str:
    """A path of the command line starts here, not at the kubeconfig."""
    try:
        return os.path.abspath(path) if path else ""
    except FileNotFoundError:
        raise ConfigError(f"{one_line(path)} does not exist: the folder that kdiag was started in is gone") from None


def _authority(cluster: Fields, *, insecure: bool) -> bytes | None:
    """The CA certificates as PEM, or None for those of the system."""
    path, data = cluster.path("certificate-authority"), cluster.data("certificate-authority-data")
    if path is not None and data is not None:
        raise ConfigError(
            f"{cluster.where} has certificate-authority and certificate-authority-data; leave one of them"
        )
    if path is not None:
        data = read_file(path, f"{cluster.where}: certificate-authority")
    if data is None:
        return None
    if insecure:
        raise ConfigError(
            f"{cluster.where} has a certificate-authority and insecure-skip-tls-verify; leave one of them"
        )
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=data.decode("ascii", "replace"))
    except (ssl.SSLError, ValueError):
        raise ConfigError(f"{cluster.where}: certificate-authority holds no whole PEM certificate") from None
    return data


def _base64(data: bytes | None) -> str:
    return base64.b64encode(data).decode("ascii") if data else ""


def _exec_config(cluster: Fields) -> object:
    """What the cluster entry holds for its exec plugin, unread."""
    for extension in cluster.sections("extensions"):
        if extension.text("name") == _EXEC_EXTENSION:
            return extension.values.get("extension")
    return None


def _impersonation(user: Fields) -> dict[str, tuple[str, ...]]:
    """The Impersonate headers of ``as``, ``as-uid``, ``as-groups`` and ``as-user-extra``."""
    name, uid, groups = user.text("as"), user.text("as-uid"), user.texts("as-groups")
    extra = user.section("as-user-extra")
    if not name:
        if uid or groups or (extra and extra.values):
            raise ConfigError(f"{user.where}: a group, uid or extra to impersonate needs a user to go with it (--as)")
        return {}
    headers: dict[str, tuple[str, ...]] = {"Impersonate-User": (name,)}
    if uid:
        headers["Impersonate-Uid"] = (uid,)
    if groups:
        headers["Impersonate-Group"] = groups
    for key in extra.values if extra else ():
        if not isinstance(key, str):
            raise ConfigError(f"{user.where}: a key of as-user-extra must be text, not {kind_of(key)}")
        headers[f"Impersonate-Extra-{_escaped(key)}"] = extra.texts(key) if extra else ()
    for values in headers.values():
        if any(not char.isprintable() for value in values for char in value):
            raise ConfigError(f"{user.where}: there is an unprintable character in the name to impersonate")
    return headers


def _escaped(key: str) -> str:
    """A key as a header name: what a name may not hold is percent-encoded."""
    return "".join(
        chr(byte) if chr(byte) in _HEADER_NAME else f"%{byte:02X}" for byte in key.encode("utf-8", "surrogatepass")
    )

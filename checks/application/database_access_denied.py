"""A database refuses the user or password that a workload logs in with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kdiag.check import DEPENDENT_FAILS, Evidence, Finding, Layer, Ref, Severity, check, kubectl, present, shorten
from kdiag.facts import (
    Backends,
    Cluster,
    Complaint,
    Complaints,
    Container,
    Dependencies,
    Dependency,
    Owners,
    Pod,
    Service,
    Topic,
    edit_template,
)

_PASSWORD = re.compile(r"(?:pass(?:word|wd)?|pwd|secret|auth)$", re.IGNORECASE)
_USER = re.compile(r"(?:user(?:_?name)?|login)$", re.IGNORECASE)
_PLACE = re.compile(r"(?:host(?:_?name)?|addr(?:ess)?|server|endpoint|service|url|uri)$", re.IGNORECASE)
# Of each server image: the variable that holds a user's password, and the one that names the user (or its fixed name).
_LOGINS = (
    ("MYSQL_ROOT_PASSWORD", "root"),
    ("MARIADB_ROOT_PASSWORD", "root"),
    ("MYSQL_PASSWORD", "MYSQL_USER"),
    ("MARIADB_PASSWORD", "MARIADB_USER"),
    ("POSTGRES_PASSWORD", "POSTGRES_USER"),
    ("POSTGRESQL_PASSWORD", "POSTGRESQL_USERNAME"),
    ("MONGO_INITDB_ROOT_PASSWORD", "MONGO_INITDB_ROOT_USERNAME"),
    ("RABBITMQ_DEFAULT_PASS", "RABBITMQ_DEFAULT_USER"),
    ("REDIS_PASSWORD", ""),
    ("ELASTIC_PASSWORD", "elastic"),
    ("MSSQL_SA_PASSWORD", "sa"),
    ("SA_PASSWORD", "sa"),
)
_DEFAULT_USER = {"POSTGRES_USER": "postgres", "POSTGRESQL_USERNAME": "postgres", "RABBITMQ_DEFAULT_USER": "guest"}


@dataclass(frozen=True, slots=True)
class _Secret:
    """One side's credential: the variable, and what it is as far as it can be compared."""

    variable: str
    value: object
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """A client and the server that it logs in to, with what the two disagree on."""

    workload: Ref
    pod: Pod
    container: Container
    dependency: Dependency
    service: Service
    server: Ref
    server_pod: Pod
    login: tuple[_Secret | None, _Secret | None] = (None, None)
    fault: str = ""
    older: Ref | None = None


@check(
    title="Database refuses the login of a workload",
    severity=Severity.ERROR,
    layer=Layer.DEPENDENCY,
    explains=DEPENDENT_FAILS,
    tags=("access", "database", "config"),
)
def database_access_denied(
    complaints: Complaints, dependencies: Dependencies | None, backends: Backends | None, owners: Owners
) -> Iterator[Finding]:
    """The workload's own log or the server's says so; without a log, two settings that differ are a warning."""
    done: set[Ref] = set()
    for complaint, client in _refused(complaints, backends, owners):
        workload = owners.top(client)
        if workload in done:
            continue
        done.add(workload)
        yield _finding(complaint, client, workload, dependencies, backends, owners, complaints.cluster)
    if dependencies is None or backends is None:
        return
    for group in dependencies.pods.templates:
        pod = next((p for p in group if p.phase == "Running" and not p.terminating), None)
        if pod is None or pod.namespace == "kube-system" or owners.top(pod) in done:
            continue
        for dependency in dependencies.of(pod):
            pair = _pair(pod, dependency, dependencies, backends, owners)
            if pair is None or not pair.fault or _keeps_data(pair.server_pod):
                continue
            failing = any(not p.ready and any(s.restart_count for s in p.all_statuses) for p in group[:20])
            # A user that the server was not set up with may have been made since; nobody would run on without.
            if " not the " in pair.fault or failing or complaints.cluster.fresh(pod.created):
                done.add(pair.workload)
                yield _unproven(pair, failing=failing)
                break


def _refused(complaints: Complaints, backends: Backends | None, owners: Owners) -> Iterator[tuple[Complaint, Pod]]:
    """Who is refused: a client by its own log, or by the address that a server's log names."""
    by_address: dict[str, Pod] = {}
    for complaint in complaints.about(Topic.ACCESS_DENIED):
        if not complaint.by_server:
            yield complaint, complaint.pod
    for complaint in complaints.about(Topic.ACCESS_DENIED):
        if not complaint.by_server:
            continue
        if not by_address and backends:
            by_address = {p.ip: p for p in backends.pods.within(complaint.pod.namespace) if p.ip}
        client = by_address.get(complaint.said.names.get("client", ""))
        if client is None or client.terminating or owners.top(client) == complaint.workload:
            continue
        if client.created and complaint.when and complaint.when >= client.created:  # or another had the address then
            yield complaint, client


def _finding(
    complaint: Complaint,
    pod: Pod,
    workload: Ref,
    dependencies: Dependencies | None,
    backends: Backends | None,
    owners: Owners,
    cluster: Cluster,
) -> Finding:
    own = complaint.workload == workload
    by, user = complaint.said.phrase.by, complaint.said.names.get("user", "")
    dependency = dependencies.kind(pod, by) if dependencies else None
    pair = None
    if dependency and dependencies and backends:
        pair = _pair(pod, dependency, dependencies, backends, owners, user)
    names = pod.spec.container(complaint.container if own else (dependency.container if dependency else "")) or (
        pod.spec.containers[0] if pod.spec.containers else None
    )
    login = _login(names, dependency) if names else ""
    where = pair.service.name if pair else dependency.host if dependency else by
    reason = pair.fault if pair and pair.fault else f"wrong user or password{f' ({login})' if login else ''}"
    over = own and not (pair and pair.fault) and complaint.at_start(cluster)
    evidence = [
        Evidence(kubectl(*complaint.command, namespace=complaint.pod.namespace), shorten(complaint.said.text, 200))
    ]
    if names and login:
        command = kubectl("get", workload.kind.lower(), workload.name, "-o", "yaml", namespace=workload.namespace)
        evidence.append(Evidence(command, _shown(names, dependency)))
    if pair:
        command = kubectl(
            "get", pair.server.kind.lower(), pair.server.name, "-o", "yaml", namespace=pair.server.namespace
        )
        if shown := _server_shown(pair.server_pod):
            evidence.append(Evidence(command, shown))
    return Finding(
        workload,
        f"{workload} is refused by {where}{f' as {user}' if user else ''}: {reason}",
        evidence=tuple(evidence),
        next=tuple(_next(workload, names, dependency, pair)),
        touches=tuple(_touches(workload, names, dependency, pair)),
        key=f"{by} {user}".strip(),
        severity=Severity.WARNING if over else Severity.ERROR,
        since=complaint.since,
    )


def _yaml(ref: Ref) -> str:
    return kubectl("get", ref.kind.lower(), ref.name, "-o", "yaml", namespace=ref.namespace)


def _unproven(pair: _Pair, *, failing: bool) -> Finding:
    literal = [x for x in pair.login if x and isinstance(x.value, str)]
    shown = [f"{x.variable}={x.value}{'' if x.origin.startswith('env ') else f' ({x.origin})'}" for x in literal]
    source = pair.dependency.source
    config = source if source and any(x.origin.startswith(f"ConfigMap {source.name} ") for x in literal) else None
    steps = list(_next(pair.workload, pair.container, pair.dependency, pair))
    if config:
        place = f"{pair.workload.kind.lower()}/{pair.workload.name}"
        steps = [
            kubectl("edit", "configmap", config.name, namespace=config.namespace),
            kubectl("rollout", "restart", place, namespace=pair.workload.namespace),
        ]
    return Finding(
        pair.workload,
        f"{pair.workload} cannot log in to {pair.service.name}: {pair.fault}",
        evidence=(
            Evidence(_yaml(pair.workload), ", ".join(shown) or _shown(pair.container, pair.dependency)),
            Evidence(_yaml(pair.server), _server_shown(pair.server_pod)),
        ),
        next=tuple(steps),
        touches=present(*_touches(pair.workload, pair.container, pair.dependency, pair), config),
        key=pair.service.name,
        severity=Severity.ERROR if failing else Severity.WARNING,
    )


def _pair(
    pod: Pod,
    dependency: Dependency,
    dependencies: Dependencies,
    backends: Backends,
    owners: Owners,
    refused: str = "",
) -> _Pair | None:
    target = dependencies.resolve(dependency.host, pod.namespace)
    container = pod.spec.container(dependency.container)
    if target is None or target.service is None or container is None:
        return None
    server = backends.one_of(target.service)
    if server is None or owners.top(server) == owners.top(pod):
        return None
    login = _credentials_read(container, dependency, dependencies, pod)
    fault = _fault(login, server, owners.top(server), refused)
    older = _older(login, pod, server, owners, refused) if refused and not fault else None
    return _Pair(
        workload=owners.top(pod),
        pod=pod,
        container=container,
        dependency=dependency,
        service=target.service,
        server=owners.top(server),
        server_pod=server,
        login=login,
        fault=fault or (f"both read the same key of one Secret, and {older} has run for longer" if older else ""),
        older=older,
    )


def _fault(login: tuple[_Secret | None, _Secret | None], server_pod: Pod, server: Ref, refused: str) -> str:
    """What the two sides disagree on, where both can be compared; empty where they cannot."""
    user, password = login
    user_name = refused or (str(user.value) if user and isinstance(user.value, str) else "")
    known: list[tuple[str, _Secret]] = []
    for holder in server_pod.spec.containers:
        for variable, whose in _LOGINS:
            secret = _variable(holder, variable)
            if secret is None:
                continue
            named = _variable(holder, whose) if whose.isupper() else None
            if named is not None and not isinstance(named.value, str):
                return ""  # the user comes from a Secret: not to be compared
            name = str(named.value) if named else _DEFAULT_USER.get(whose, "" if whose.isupper() else whose)
            known.append((name, secret))
    if not known or not password:
        return ""
    mine = [secret for name, secret in known if name in ("", user_name)]
    if not mine:
        users = sorted({name for name, _ in known if name})
        return f"{server} has user {' and '.join(users)}, not {user_name}" if user_name and users else ""
    if len(mine) == 1 and _differ(password, mine[0]):
        return f"its {password.variable} is not the {mine[0].variable} of {server}"
    return ""


def _older(
    login: tuple[_Secret | None, _Secret | None], pod: Pod, server: Pod, owners: Owners, refused: str
) -> Ref | None:
    """Who still has the value from before, where both sides read one key of one Secret and still differ."""
    user, password = login
    if password is None or not isinstance(password.value, tuple) or _keeps_data(server):
        return None
    if pod.namespace != server.namespace or not pod.created or not server.created:
        return None
    for holder in server.spec.containers:
        for variable, whose in _LOGINS:
            secret = _variable(holder, variable)
            named = _variable(holder, whose) if whose.isupper() else None
            name = named.value if named else _DEFAULT_USER.get(whose, whose)
            if secret and secret.value == password.value and name in (refused, user.value if user else refused):
                return owners.top(server if server.created < pod.created else pod)
    return None


def _credentials_read(
    container: Container, dependency: Dependency, dependencies: Dependencies, pod: Pod
) -> tuple[_Secret | None, _Secret | None]:
    """The user and password with the values that ConfigMaps give them, by envFrom as well."""
    given = _credentials(container, dependency)
    stem = _PLACE.sub("", dependency.variable).lower()
    if not stem or stem == dependency.variable.lower():
        return given
    found: list[_Secret | None] = []
    for secret, word in zip(given, (_USER, _PASSWORD), strict=True):
        names = [secret.variable] if secret else list(dependencies.names(container, pod.namespace))
        name = next((n for n in names if word.search(n) and word.sub("", n).lower() == stem), "")
        setting = dependencies.setting(container, pod.namespace, name) if name else None
        found.append(_Secret(name, setting[0], setting[1]) if setting else secret)
    return found[0], found[1]


def _credentials(container: Container, dependency: Dependency) -> tuple[_Secret | None, _Secret | None]:
    """The user and password that stand beside the host: DB_User and DB_Password for DB_Host."""
    stem = _PLACE.sub("", dependency.variable).lower()
    if not stem or stem == dependency.variable.lower():
        return None, None
    user = password = None
    for env in container.env:
        if _USER.search(env.name) and _USER.sub("", env.name).lower() == stem:
            user = _variable(container, env.name)
        elif _PASSWORD.search(env.name) and _PASSWORD.sub("", env.name).lower() == stem:
            password = _variable(container, env.name)
    return user, password


def _variable(container: Container, name: str) -> _Secret | None:
    for env in container.env:
        if env.name != name:
            continue
        if env.value:
            return _Secret(name, env.value, f"env {name}")
        if env.value_from and (ref := env.value_from.secret_key_ref):
            return _Secret(name, ("Secret", ref.name, ref.key), f"Secret {ref.name} key {ref.key}")
        if env.value_from and (ref := env.value_from.config_map_key_ref):
            return _Secret(name, ("ConfigMap", ref.name, ref.key), f"ConfigMap {ref.name} key {ref.key}")
    return None


def _differ(one: _Secret, other: _Secret) -> bool:
    """Whether two credentials are known to differ: two literals; a reference's value is not read."""
    return isinstance(one.value, str) and isinstance(other.value, str) and one.value != other.value


def _keeps_data(pod: Pod) -> bool:
    """Whether the server may have been set up with other settings: its variables count only on an empty data folder."""
    return any(v.persistent_volume_claim or v.host_path or v.csi for v in pod.spec.volumes) or any(
        "initdb" in m.mount_path for c in pod.spec.containers for m in c.volume_mounts
    )


def _login(container: Container, dependency: Dependency | None) -> str:
    names = [s.variable for s in _both(container, dependency)]
    return ", ".join(names[:3])


def _both(container: Container, dependency: Dependency | None) -> list[_Secret]:
    if dependency:
        pair = [s for s in _credentials(container, dependency) if s]
        if pair:
            return pair
        if "@" in dependency.value:
            return [_Secret(dependency.variable, "", dependency.origin)]
    found = [_variable(container, e.name) for e in container.env if _PASSWORD.search(e.name)]
    return [s for s in found if s][:2]


def _shown(container: Container, dependency: Dependency | None) -> str:
    parts = []
    for secret in _both(container, dependency):
        literal = isinstance(secret.value, str) and secret.value
        parts.append(f"{secret.variable}={secret.value}" if literal else f"{secret.variable} from {secret.origin}")
    return ", ".join(parts) or "no user or password in its env"


def _server_shown(pod: Pod) -> str:
    parts = []
    for container in pod.spec.containers:
        for variable in dict.fromkeys(v for pair in _LOGINS for v in pair if v.isupper()):
            if secret := _variable(container, variable):
                literal = isinstance(secret.value, str)
                parts.append(f"{variable}={secret.value}" if literal else f"{variable} from {secret.origin}")
    return ", ".join(parts)


def _next(
    workload: Ref, container: Container | None, dependency: Dependency | None, pair: _Pair | None
) -> Iterator[str]:
    secrets = _both(container, dependency) if container else []
    namespace = workload.namespace
    if pair and pair.older:
        place = f"{pair.older.kind.lower()}/{pair.older.name}"
        again = kubectl("rollout", "restart", place, namespace=pair.older.namespace)
        yield kubectl("get", "pods", "--sort-by=.status.startTime", namespace=namespace) + "   # since when they run"
        yield again + ("   # what it has no volume for is lost" if pair.older == pair.server else "")
        return
    reference = next((s for s in secrets if not isinstance(s.value, str)), None)
    if reference and isinstance(reference.value, tuple):
        kind, name, key = reference.value
        if kind == "Secret":
            path = "jsonpath={.data." + key.replace(".", "\\.") + "}"
            yield kubectl("get", "secret", name, "-o", path, namespace=namespace) + " | base64 -d"
        yield kubectl("edit", kind.lower(), name, namespace=namespace)
        yield kubectl("rollout", "restart", f"{workload.kind.lower()}/{workload.name}", namespace=namespace)
        return
    yield edit_template(workload, ", ".join(s.variable for s in secrets))
    if pair and _keeps_data(pair.server_pod):
        yield f"{pair.server} keeps its data: its own users count, not its variables; change the user's password there"


def _touches(
    workload: Ref, container: Container | None, dependency: Dependency | None, pair: _Pair | None
) -> Iterator[Ref]:
    if pair:
        yield pair.service.ref()
    for secret in _both(container, dependency) if container else []:
        if isinstance(secret.value, tuple):
            yield Ref(str(secret.value[0]), str(secret.value[1]), workload.namespace)

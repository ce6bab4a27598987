"""A workload asks its database server for a database that the server does not have."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import DEPENDENT_FAILS, Evidence, Finding, Layer, Severity, check, kubectl, nearest, shorten
from kdiag.facts import Backends, Complaints, Dependencies, Pod, Topic, edit_template

_NAME = re.compile(r"(?:^|[_.-])(?:db|database|dbname|schema)(?:[_.-]?name)?$", re.IGNORECASE)
_MADE = ("MYSQL_DATABASE", "MARIADB_DATABASE", "POSTGRES_DB", "POSTGRESQL_DATABASE", "MONGO_INITDB_DATABASE")


@check(
    title="Database of that name does not exist",
    severity=Severity.ERROR,
    layer=Layer.DEPENDENCY,
    explains=DEPENDENT_FAILS,
    tags=("database", "config"),
)
def database_name_unknown(
    complaints: Complaints, dependencies: Dependencies | None, backends: Backends | None
) -> Iterator[Finding]:
    """Said by the client: a server also logs the names that its own health check asks for in vain."""
    for complaint in complaints.about(Topic.DATABASE_UNKNOWN):
        pod = complaint.pod
        container = pod.spec.container(complaint.container)
        if container is None or complaint.by_server:
            continue
        wanted = complaint.said.names.get("database", "")
        dependency = dependencies.kind(pod, complaint.said.phrase.by) if dependencies else None
        target = dependencies.resolve(dependency.host, pod.namespace) if dependencies and dependency else None
        server = backends.one_of(target.service) if backends and target and target.service else None
        made = _made(server) if server else ()
        variable = next((e.name for e in container.env if e.value and e.value == wanted), "")
        variable = variable or next((e.name for e in container.env if _NAME.search(e.name)), "")
        near = nearest(wanted, made) if wanted else None
        where = target.name if target else dependency.host if dependency else complaint.said.phrase.by
        evidence = [Evidence(kubectl(*complaint.command, namespace=pod.namespace), shorten(complaint.said.text, 200))]
        if made and server:
            command = kubectl("get", "pod", server.name, "-o", "yaml", namespace=server.namespace)
            evidence.append(Evidence(command, f"it was set up with database {' and '.join(made)}"))
        workload = complaint.workload
        yield Finding(
            workload,
            f"{workload} asks {where} for database {wanted or 'or service'}{f' ({variable})' if variable else ''}"
            f", which does not exist{f'; {near} does' if near else ''}",
            evidence=tuple(evidence),
            next=(
                edit_template(workload, variable),
                "or create the database on the server, where a migration or a restore was forgotten",
            ),
            touches=(target.service.ref(),) if target and target.service else (),
            key=wanted,
            severity=Severity.ERROR,
            since=complaint.since,
        )


def _made(pod: Pod) -> tuple[str, ...]:
    return tuple(e.value for c in pod.spec.containers for e in c.env if e.name in _MADE and e.value)

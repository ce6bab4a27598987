"""A client goes on using connections that something on the way has silently dropped while they were idle."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Gap, Layer, Severity, check, kubectl, shorten, whole
from kdiag.facts import Complaints, Dependencies, EndpointSlices, Resolved, Topic

#: A MySQL connection that was used less than this long ago did not die of idleness: milliseconds.
_IDLE = 60_000


@check(
    title="Idle connections are dropped on the way",
    severity=Severity.WARNING,
    layer=Layer.DEPENDENCY,
    tags=("network", "database"),
)
def idle_connection_dropped(
    complaints: Complaints, dependencies: Dependencies | None, slices: EndpointSlices | None
) -> Iterator[Finding | Gap]:
    """Only where what it is connected to seems well: a dead server times out in the same words."""
    for complaint in complaints.about(Topic.IDLE_DROPPED):
        limit = complaint.said.names.get("limit", "")
        seconds = whole(limit.replace(",", ""))
        if seconds is not None and seconds < _IDLE:
            continue
        by, pod, workload = complaint.said.phrase.by, complaint.pod, complaint.workload
        dependency = dependencies.kind(pod, by) if dependencies else None
        target = dependencies.resolve(dependency.host, pod.namespace) if dependencies and dependency else None
        if dependencies is None or slices is None:
            yield Gap("services", f"not seen: whether what {workload} talks to is alive is not known")
            continue
        if _dead(target, slices):
            continue
        where = dependency.host if dependency else "its server"
        yield Finding(
            workload,
            f"{workload} uses connections to {where} that were dropped while idle ({_what(by, limit)})",
            evidence=(
                Evidence(kubectl(*complaint.command, namespace=pod.namespace), shorten(complaint.said.text, 200)),
            ),
            next=tuple(_next(by)),
            touches=(target.service.ref(),) if target and target.service else (),
            key=by,
            severity=Severity.WARNING,
            since=complaint.since,
        )


def _dead(target: Resolved | None, slices: EndpointSlices | None) -> bool:
    service = target.service if target else None
    if service is None or service.external or slices is None:
        return False
    return not any(e.ready for e in slices.endpoints(service))


def _what(by: str, limit: str) -> str:
    if by == "lettuce":
        return f"lettuce: no answer within {limit}"
    if limit:
        return f"{by}: last packet {limit} ms ago"
    return f"{by}: connection found closed"


def _next(by: str) -> Iterator[str]:
    if by == "lettuce":
        yield "use a connection pool with min-idle and eviction runs shorter than the idle limit of the firewall or NAT"
        yield "or turn on TCP keep-alive in the client (SocketOptions.keepAlive with idle below that limit)"
    else:
        yield "set the pool's maxLifetime (or idle time) below the idle limit of the server and of what lies between"
        yield "or turn on TCP keep-alive in the driver (tcpKeepAlive=true), with a keep-alive time below that limit"

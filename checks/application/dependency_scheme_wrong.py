"""A client speaks TLS to a server that does not, or speaks without it to one that wants it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import DEPENDENT_FAILS, Evidence, Finding, Layer, Ref, Severity, check, kubectl, shorten
from kdiag.facts import Complaints, Dependencies, Dependency, LogLine, Pod

#: What clients say whose TLS is answered in plain text: Go, curl, Python, Node.js, Java, libpq.
_PLAIN_SERVER = re.compile(
    r"server gave HTTP response to HTTPS client|[Ww]rong[ _]version[ _]number|WRONG_VERSION_NUMBER"
    r"|Unsupported or unrecognized SSL message|(?<!error from )tls: first record does not look like a TLS handshake"
    r"|server does not support SSL, but SSL was required|SSL is not enabled on the server"
)
#: What comes back to those who speak plain text to a TLS port.
_TLS_SERVER = re.compile(
    r"Client sent an HTTP request to an HTTPS server|plain HTTP request was sent to HTTPS port"
    r"|malformed HTTP response \\?\"\\+x15\\+x03"
)
#: A server's own log tells of strangers, load balancers' probes among them.
_SERVER_SIDE = re.compile(r"TLS handshake error from|SSL_do_handshake\(\) failed|while SSL handshaking")
_URL = re.compile(r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9][A-Za-z0-9._-]{0,252})(?::(?P<port>\d{1,5}))?")


@check(
    title="Client and server do not agree on TLS",
    severity=Severity.ERROR,
    layer=Layer.DEPENDENCY,
    explains=(*DEPENDENT_FAILS, "application/dependency_unreachable"),
    tags=("tls", "service", "config"),
)
def dependency_scheme_wrong(complaints: Complaints, dependencies: Dependencies) -> Iterator[Finding]:
    """The client's log says so, and its settings say whom it asked: the URL in the line, or the only one it has."""
    seen: set[tuple[Ref, str]] = set()
    for log in complaints.logs.items:
        pod = complaints.pods.get(log.pod, log.namespace)
        if pod is None or pod.terminating or pod.namespace == "kube-system":
            continue
        for pattern, secure in ((_PLAIN_SERVER, True), (_TLS_SERVER, False)):
            lines = (x for x in complaints.recent(pod, log.container, pattern) if not _SERVER_SIDE.search(x.text))
            line = next(lines, None)
            asked = _asked(line, pod, log.container, dependencies, secure=secure) if line else None
            workload = complaints.owners.top(pod)
            if line is None or asked is None or (workload, asked[0]) in seen:
                continue
            seen.add((workload, asked[0]))
            yield _finding(pod, workload, log.container, line, *asked, secure=secure)


def _asked(
    line: LogLine, pod: Pod, container: str, dependencies: Dependencies, *, secure: bool
) -> tuple[str, Dependency | None] | None:
    """Whom it asked, and the setting that says so."""
    told = [d for d in dependencies.of(pod) if d.container == container]
    if match := _URL.search(line.text):
        host = match["host"].lower()
        by = next((d for d in told if d.host.lower() == host), None)
        inside = dependencies.resolve(host, pod.namespace)
        if by is None and not (inside and inside.service):
            return None
        return f"{host}:{match['port']}" if match["port"] else host, by
    scheme = "https://" if secure else "http://"
    urls = [d for d in told if scheme in d.value or (secure and "ssl" in d.value.lower())]
    one = urls[0] if len(urls) == 1 else told[0] if len(told) == 1 else None
    return (f"{one.host}:{one.port}" if one.port else one.host, one) if one else None


def _finding(
    pod: Pod, workload: Ref, container: str, line: LogLine, place: str, told: Dependency | None, *, secure: bool
) -> Finding:
    namespace = pod.namespace
    what = "with TLS, and it answers without" if secure else "without TLS, and it wants TLS"
    more = ("-c", container) if len(pod.spec.all_containers) > 1 else ()
    evidence = [
        Evidence(kubectl("logs", pod.name, *more, "--tail=60", namespace=namespace), shorten(line.text.strip(), 200))
    ]
    edit = (workload.kind.lower(), workload.name)
    if told:
        command = kubectl("get", workload.kind.lower(), workload.name, "-o", "yaml", namespace=namespace)
        evidence.append(Evidence(command, f"{told.origin}: {shorten(told.value, 100)}"))
        edit = (told.source.kind.lower(), told.source.name) if told.source else edit
    change = "without TLS (http, sslmode=disable)" if secure else "with TLS (https)"
    return Finding(
        workload,
        f"{workload} asks {place} {what}" + (f" ({told.origin})" if told else ""),
        evidence=tuple(evidence),
        next=(
            kubectl("edit", *edit, namespace=namespace) + f"   # {change}, or the port of the other kind",
            "or let the server speak what its clients expect",
        ),
        touches=(told.source,) if told and told.source else (),
        key=f"{container} {place}",
    )

"""Objects of a custom kind cannot be read, for the webhook that converts them between versions fails."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, present, shorten
from kdiag.facts import (
    Backends,
    Cluster,
    Containers,
    EndpointSlices,
    Events,
    HostLog,
    LogLine,
    Workloads,
    behind,
    current_log,
    idle,
    said_lately,
)

#: Seconds: what the API server said before is over; with objects there, it tries each second.
_LATELY = 90
_NOW = 20
_LEAST = 2
_DEFINITION = re.compile(r"cacher \((?P<crd>[a-z0-9.-]{1,253})\)")
_SAID = re.compile(
    r"conversion webhook for (?P<group>[a-z0-9.-]{1,253})/v\w{1,60}, Kind=(?P<kind>\w{1,63}) failed: "
    r"(?:Post \"https://(?:(?P<service>[a-z0-9-]{1,63})\.(?P<namespace>[a-z0-9-]{1,63})\.svc)?[^\"]{0,300}\": )?"
    r"(?P<why>.*)"
)


@check(
    title="Conversion webhook of a custom kind fails",
    severity=Severity.ERROR,
    layer=Layer.WEBHOOK,
    explains=("application/namespace_stuck_terminating", "application/object_stuck_terminating"),
    tags=("webhook", "crd", "apiserver"),
)
def conversion_webhook_fails(
    containers: Containers,
    cluster: Cluster,
    backends: Backends | None,
    slices: EndpointSlices | None,
    workloads: Workloads | None,
    events: Events | None,
) -> Iterator[Finding]:
    """The log of an API server tells it; definitions themselves are too large to be read at each look."""
    seen: set[tuple[str, str]] = set()
    for node, found in containers:
        log = current_log(found, "kube-apiserver")
        kinds: dict[tuple[str, str], list[tuple[LogLine, re.Match[str]]]] = {}
        for line, match in said_lately(log, _SAID, cluster, _LATELY):
            kinds.setdefault((match["group"], match["kind"]), []).append((line, match))
        for key, lines in kinds.items():
            if log is None or len(lines) < _LEAST or key in seen or cluster.age(lines[-1][0].when) > _NOW:
                continue  # nobody asks, or it answers by now
            seen.add(key)
            match = lines[-1][1]
            backend = Ref("Service", match["service"], match["namespace"]) if match["service"] else None
            service = backends.services.get(backend.name, backend.namespace) if backend and backends else None
            why = ""
            if backend and backends and service is None and backends.services.covers(backend.namespace):
                why = f"Service {backend.path} does not exist"
            elif backends and service and not any(p.ready for p in backends.of(service)):
                idled = idle(service, backends, cluster, slices, workloads, events)
                if idled is None and (backends.of(service) or cluster.age(service.created) < _LATELY):
                    continue  # it is starting
                off = [w for w in behind(service, workloads) if not w.desired] if workloads else []
                zero = f": {off[0].ref()} is scaled to zero" if off else ""
                why = f"Service {service.ref().path} has no ready endpoint{zero}"
            yield _finding(node, log, lines, backend, why)


def _finding(
    node: str, log: HostLog, lines: list[tuple[LogLine, re.Match[str]]], backend: Ref | None, why: str
) -> Finding:
    line, match = lines[-1]
    definition = next((m["crd"] for x, _ in reversed(lines) if (m := _DEFINITION.search(x.text))), "")
    group = match["group"]
    said = match["why"].removesuffix("; reinitializing...").strip()
    why = why or (f"Service {backend.path}: " if backend else "") + said
    look = (
        kubectl("get", "crd", definition, "-o", "jsonpath={.spec.conversion}")
        if definition
        else f"kubectl get crds -o name | grep {group}"
    )
    subject = Ref("CustomResourceDefinition", definition or group)
    return Finding(
        subject,
        f"{subject}: no {match['kind']} can be read, for its conversion webhook fails: {shorten(why, 140)}",
        evidence=(
            Evidence(
                f"sudo tail -n 20 {log.path}", shorten(line.text[line.text.find("conversion webhook") :], 300), node
            ),
        ),
        next=present(
            kubectl("get", "service,endpointslices,pods", namespace=backend.namespace) if backend else None,
            look + "   # are the Service's name and the caBundle right?",
            "bring the webhook's operator back, or, where nothing is to be converted: spec.conversion.strategy None",
        ),
        touches=(backend,) if backend else (),
        key=match["kind"],
    )

"""A workload's log says that the name of something that it needs does not resolve."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from kdiag.check import Evidence, Finding, Gap, Layer, Ref, Severity, Shared, check, kubectl, listing, shorten
from kdiag.facts import (
    BLANK,
    LINE_BREAK,
    NO_SERVER,
    PLACE_NAME,
    Backends,
    Cluster,
    Complaint,
    Complaints,
    Dependencies,
    Dependency,
    EndpointSlices,
    Pod,
    Resolved,
    Service,
    Topic,
    Workloads,
    behind,
    edit_template,
    idle,
)

#: Seconds after its start in which a pod behind a headless Service may have become ready a moment ago.
_FIRST_READY = 120.0


@check(
    title="Name of a dependency does not resolve",
    severity=Severity.ERROR,
    layer=Layer.DEPENDENCY,
    explains_here=(
        "application/container_crashes",
        "application/init_container_fails",
        "application/init_container_waits",
        "application/readiness_probe_fails",
        "application/liveness_probe_kills",
        "application/startup_probe_fails",
        "application/pod_not_ready",
        "application/workload_unavailable",
        "application/job_failed",
    ),
    explains=(),  # what it breaks in turn folds under its cause: a Service that nobody answers for can be both
    tags=("dns", "service", "network"),
)
def dependency_name_unresolved(
    complaints: Complaints,
    cluster: Cluster,
    dependencies: Dependencies | None,
    slices: EndpointSlices | None,
    backends: Backends | None,
    workloads: Workloads | None,
) -> Iterator[Finding | Gap]:
    """Of a workload that runs well, only a name that it was told of and that no Service has, or what goes on."""
    seen: set[tuple[Ref, str]] = set()
    for complaint in sorted(complaints.about(Topic.UNRESOLVED), key=lambda c: not c.said.host):
        pod, said = complaint.pod, complaint.said
        told = dependencies.told(pod, said.host) if dependencies and said.host else None
        template = workloads.template(complaint.workload) if workloads else None
        if dependencies and told and dependencies.outdated(told, pod, template):
            continue
        host = told.host if told else said.host  # without the search domains, which are tried in turn
        target = dependencies.asked(host, pod.namespace) if dependencies and host else None
        there = target is not None and target.service is not None
        # A headless name has no address while its pods are replaced; another has its own.
        service = target.service if target else None
        servers = backends.of(service) if backends and service and service.headless else ()
        goes_on = complaint.goes_on_past(servers, cluster, within=_FIRST_READY)
        if goes_on and not complaint.failing and dependencies is None:
            yield Gap("services", f"not seen: pods may just be replaced that {complaint.workload} asks for by name")
            continue
        if not complaint.failing and not goes_on and (there or target is None or told is None):
            continue
        bare = service if service and backends and _nameless(service, servers) else None
        if bare and backends and _starting(bare, servers, backends, cluster, slices, workloads):
            continue  # its name has an address as soon as one of its pods is ready
        workload = complaint.workload
        if said.phrase.by in (BLANK, LINE_BREAK):
            if (workload, host.split(".")[0]) not in seen:
                seen.add((workload, host.split(".")[0]))
                yield _ends_wrong(complaint, host, told)
            continue
        silent = said.phrase.by == NO_SERVER
        name = host or ("any name" if silent else "a host")
        # A line that names no host is mostly the second of two.
        if (workload, host.split(".")[0]) in seen or (not host and any(w == workload for w, _ in seen)):
            continue
        seen.add((workload, host.split(".")[0]))
        evidence = [Evidence(kubectl(*complaint.command, namespace=pod.namespace), shorten(said.text, 200))]
        if told:
            command = kubectl("get", workload.kind.lower(), workload.name, "-o", "yaml", namespace=pod.namespace)
            evidence.append(Evidence(command, f"{told.origin}: {shorten(told.value, 80)}"))
        if target:
            command = kubectl("get", "service", target.name, namespace=target.namespace)
            evidence.append(Evidence(command, "it exists" if there else f'services "{target.name}" not found'))
            if there and _pod_of(target, host) and slices:
                label = f"kubernetes.io/service-name={target.name}"
                command = kubectl("get", "endpointslices", "-l", label, "-o", "yaml", namespace=target.namespace)
                evidence.append(Evidence(command, f"hostnames: {listing(_hostnames(target, slices), 4) or 'none'}"))
        yield Finding(
            workload,
            f"{workload} cannot resolve {name}{f' ({told.origin})' if told else ''}"
            + (": no DNS server answers it" if silent else _why(target, host, slices, nobody=bare is not None)),
            evidence=tuple(evidence),
            next=tuple(_next(complaint, target, host or "NAME")),
            touches=tuple(_touches(target, host, pod.namespace)),
            key=name,
            # Nobody told it the name, and it runs well without: it lives with that.
            severity=Severity.ERROR if complaint.failing or told or target else Severity.WARNING,
            since=complaint.since,
            container=complaint.container,
            shared=_shared(host, target, _why(target, host, slices, nobody=bare is not None)),
        )


def _shared(host: str, target: Resolved | None, why: str) -> Shared | None:
    """What all clients say of one name that does not resolve; of a bare one, those of a namespace."""
    if not host:
        return None
    ref = Ref("Service", target.name, target.namespace) if target else Ref("Name", host)
    return Shared(ref, f"Name {host} does not resolve{why}", "ask for it")


def _touches(target: Resolved | None, host: str, namespace: str) -> Iterator[Ref]:
    if target:
        yield Ref("Service", target.name, target.namespace)
    elif stateful := re.fullmatch(r"[a-z0-9-]+-\d+\.([a-z0-9-]+)", host):
        yield Ref("Service", stateful[1], namespace)  # a pod's name below that of a Service which is not there


def _ends_wrong(complaint: Complaint, host: str, told: Dependency | None) -> Finding:
    """A setting that ends in a blank, or in a line break, as ``echo x | base64`` and a block of YAML make them."""
    blank = complaint.said.phrase.by == BLANK
    pod, workload = complaint.pod, complaint.workload
    container = pod.spec.container(complaint.container)
    keys = [
        (e.name, e.value_from.secret_key_ref)
        for e in (container.env if container else ())
        if e.value_from and e.value_from.secret_key_ref and PLACE_NAME.search(e.name)
    ]
    restart = kubectl("rollout", "restart", f"{workload.kind.lower()}/{workload.name}", namespace=workload.namespace)
    steps: tuple[str, ...]
    touches: tuple[Ref, ...] = ()
    plain = next((e.name for e in container.env if e.value != host == e.value.strip().lower()), "") if container else ""
    if plain:
        where, touches = f"env {plain}", ()
        steps = (edit_template(workload, plain),)
    elif told and told.source:
        where, touches = told.origin, (told.source,)
        change = kubectl("edit", "configmap", told.source.name, namespace=pod.namespace)
        steps = (f"{change}   # |- in place of |", restart)
    elif len(keys) == 1 and (ref := keys[0][1]):
        where = f"env {keys[0][0]}, key {ref.key} of Secret {ref.name}"
        touches = (Ref("Secret", ref.name, pod.namespace),)
        look = kubectl("get", "secret", ref.name, "-o", f"jsonpath={{.data.{ref.key}}}", namespace=pod.namespace)
        steps = (f"{look} | base64 -d | tail -c 1 | od -c   # \\n is too much: encode with printf %s", restart)
    else:
        where = "from what it reads"
        steps = (edit_template(workload), restart)
    return Finding(
        workload,
        f"{workload} asks for {host} with a {'blank' if blank else 'line break'} at the end of the name ({where})",
        evidence=(
            Evidence(
                kubectl(*complaint.command, namespace=pod.namespace),
                shorten(complaint.said.text, 200)
                + (
                    f": between {host} and the colon is a blank" if blank else " ⏎ : the error goes on in the next line"
                ),
            ),
        ),
        next=steps,
        touches=touches,
        key=host,
        severity=Severity.ERROR,
        since=complaint.since,
        container=complaint.container,
        own=True,
    )


def _nameless(service: Service, servers: Sequence[Pod]) -> bool:
    """Whether a name has no address as long as none of these pods is ready."""
    ready = any(p.ready and not p.terminating for p in servers)
    return service.headless and bool(service.spec.selector) and not service.publishes_unready and not ready


def _starting(
    service: Service,
    servers: Sequence[Pod],
    backends: Backends,
    cluster: Cluster,
    slices: EndpointSlices | None,
    workloads: Workloads | None,
) -> bool:
    """Whether the pods of a headless Service, or the first of them, are on their way."""
    if idle(service, backends, cluster, slices, workloads) is not None:
        return False
    return bool(servers) or bool(workloads and any(w.desired for w in behind(service, workloads)))


def _why(target: Resolved | None, host: str, slices: EndpointSlices | None, *, nobody: bool) -> str:
    if target is None:
        return ""
    if target.service is not None and nobody:
        return f": Service {target.service.name} is headless, and none of its pods is ready"
    if target.service is not None:
        if slices and (pod := _pod_of(target, host)) and pod not in (known := _hostnames(target, slices)):
            behind = {e.target_ref.name for e in slices.endpoints(target.service) if e.target_ref}
            if pod in behind:
                return f": Pod {target.namespace}/{pod} lacks hostname {pod} with subdomain {target.name}"
            return f": no pod of Service {target.name} has the hostname {pod}" + (
                f"; there is {listing(known, 3)}" if known else ""
            )
        return ": the Service is there, its DNS does not answer"
    return f": namespace {target.namespace} has no Service {target.name}"


def _pod_of(target: Resolved | None, host: str) -> str:
    """The pod that ``mysql-0.mysql`` names, where the Service gives its pods names."""
    labels = host.lower().split(".")
    headless = target is not None and target.service is not None and target.service.headless
    return labels[0] if target and headless and len(labels) > 1 and labels[1] == target.name else ""


def _hostnames(target: Resolved | None, slices: EndpointSlices) -> list[str]:
    service = target.service if target else None
    return sorted({e.hostname for e in slices.endpoints(service) if e.hostname}) if service else []


def _next(complaint: Complaint, target: Resolved | None, host: str) -> Iterator[str]:
    pod = complaint.pod
    yield kubectl("exec", pod.name, "-c", complaint.container, "--", "nslookup", host, namespace=pod.namespace)
    if target and target.service is None:
        yield kubectl("get", "services", "--all-namespaces") + "   # which of them was meant?"
    else:
        yield kubectl("get", "pods,service,endpointslices", "-l", "k8s-app=kube-dns", namespace="kube-system")

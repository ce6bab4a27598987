"""A workload's log says that it cannot connect to something that it needs."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing, shorten
from kdiag.facts import (
    NO_ADDRESS,
    Backends,
    Cluster,
    Complaint,
    Complaints,
    Dependencies,
    Dependency,
    EndpointSlices,
    Logs,
    Nodes,
    Owners,
    Pod,
    Resolved,
    Service,
    Topic,
    Workloads,
    edit_template,
    inside_alone,
    is_address,
)


@check(
    title="Workload cannot connect to what it depends on",
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
    tags=("service", "network"),
)
def dependency_unreachable(
    complaints: Complaints,
    cluster: Cluster,
    dependencies: Dependencies | None,
    slices: EndpointSlices | None,
    backends: Backends | None,
    nodes: Nodes | None,
    logs: Logs | None,
    owners: Owners | None,
    workloads: Workloads | None,
) -> Iterator[Finding]:
    """Of a workload that runs well, only what goes on: its server may have been restarted a minute ago."""
    seen: set[tuple[Ref, str]] = set()
    addresses: dict[str, Pod] = {}
    # A program may say the same twice, with the port and without: once is enough.
    for complaint in sorted(complaints.about(Topic.UNREACHABLE), key=lambda c: not c.said.port):
        pod, said = complaint.pod, complaint.said
        target = dependencies.asked(said.host, pod.namespace) if dependencies else None
        told = dependencies.told(pod, said.host) if dependencies else None
        template = workloads.template(complaint.workload) if workloads else None
        if dependencies and told and dependencies.outdated(told, pod, template):
            continue
        if not addresses and backends and target is None and is_address(said.host):
            addresses = {p.ip: p for p in backends.pods.items if p.ip and not p.spec.host_network}
        server = addresses.get(said.host) if target is None else None
        nobody = ""
        if dependencies and target is None and server is None and is_address(said.host):
            told = told or next(dependencies.addressed(pod, said.host), None)
            nobody = dependencies.nobody(said.host, nodes)
        if target is None and told is None and server is None and not nobody and not complaint.failing:
            continue  # something outside, and the workload lives with it
        if target is not None and target.service is None and not complaint.failing:
            continue
        servers = backends.of(target.service) if backends and target and target.service else ()
        made = target.service.metadata.creation_timestamp if target and target.service else None
        if not complaint.crashed and complaint.replaced(servers, service=made) and all(map(_coming, servers)):
            continue  # its server is on its way to another node, or to another revision, or its Service was just made
        if not complaint.failing and _well(target, said.port, slices) and not complaint.goes_on_past(servers, cluster):
            continue
        place, bare = (_place(said.host, port, target, server) for port in (said.port, 0))
        if (complaint.workload, place) in seen:
            continue
        seen |= {(complaint.workload, place), (complaint.workload, bare)}
        evidence = [Evidence(kubectl(*complaint.command, namespace=pod.namespace), shorten(said.text, 200))]
        if target and target.service:
            evidence.append(_endpoints(target.service, slices))
        if told:
            command = kubectl("get", complaint.workload.kind.lower(), complaint.workload.name, "-o", "yaml")
            evidence.append(Evidence(f"{command} -n {pod.namespace}", f"{told.origin}: {shorten(told.value, 80)}"))
        inside = ""
        if "refused" in said.text and (found := _inside(target, said.port, told, backends, logs)):
            behind, address, line = found
            evidence.append(Evidence(kubectl("logs", behind.name, namespace=behind.namespace), shorten(line, 200)))
            inside = f"{owners.top(behind) if owners else behind.ref()} listens on {address} alone, inside its own pod"
        elif "refused" in said.text and (idle := _idle(target, backends)):
            behind, does = idle
            words = ("get", "pod", behind.name, "-o", "jsonpath={.spec.containers[*].command}")
            evidence.append(Evidence(kubectl(*words, namespace=behind.namespace), does))
            inside = f'{owners.top(behind) if owners else behind.ref()} runs "{does}" and serves nothing'
        elif by_hand := _by_hand(target, slices):
            inside = f"it selects no pods and leads to {by_hand}"
        malformed = said.phrase.by == NO_ADDRESS
        meant = _meant(said.port or (told.port if told else 0), pod, dependencies) if nobody and dependencies else None
        if nobody:
            kinds = "services" if "Service" in nobody else "pods"
            wide = kubectl("get", kinds, "--all-namespaces", "-o", "wide") + f" | grep -w {said.host}"
            evidence.append(Evidence(wide, f"nothing{f'; {_service(meant)}' if meant else ''}"))
        yield Finding(
            complaint.workload,
            (
                f"{complaint.workload} takes {shorten(told.value if told else place, 60)} for host and port"
                if malformed
                else f"{complaint.workload} cannot connect to {place}"
            )
            + (f" ({told.origin})" if told else "")
            + (f": {nobody}{f'; {_service(meant)}' if meant else ''}" if nobody else "")
            + (f": {inside}" if inside else ""),
            evidence=tuple(evidence),
            next=tuple(
                _as_address(complaint, told)
                if malformed
                else _by_name(complaint, told, meant)
                if nobody
                else _next(complaint, target, server, said.host, said.port)
            ),
            touches=tuple(_touches(target, server)),
            key=place,
            # What a program only remembers, it may forget by itself.
            severity=Severity.WARNING if nobody and told is None and not complaint.failing else Severity.ERROR,
            since=complaint.since,
            container=complaint.container,
        )


def _inside(
    target: Resolved | None, port: int, told: Dependency | None, backends: Backends | None, logs: Logs | None
) -> tuple[Pod, str, str] | None:
    """The pod behind a Service whose log says that it listens where nobody outside of it comes, and the line."""
    service = target.service if target else None
    named = service.port(port or (told.port if told else 0)) if service else None
    if service and named is None and len(service.spec.ports) == 1:
        named = service.spec.ports[0]
    pod = backends.one_of(service) if backends and service and named else None
    if pod is None or named is None or logs is None or not isinstance(named.target, int):
        return None
    lines = [line.text for line in logs.lines(pod.namespace, pod.name)]
    address = inside_alone(lines, named.target)
    return (pod, address, next(text for text in lines if address in text)) if address else None


def _by_hand(target: Resolved | None, slices: EndpointSlices | None) -> str:
    """Where a Service that selects no pods leads: what stands there, nobody keeps up to date."""
    service = target.service if target else None
    if service is None or slices is None or service.spec.selector or service.external:
        return ""
    return listing(sorted({a for e in slices.endpoints(service) if e.ready for a in e.addresses}), 2)


def _coming(pod: Pod) -> bool:
    """Whether a pod is well, or has not had the time to be anything else than on its way."""
    waiting = [s.state.waiting.reason for s in pod.all_statuses if s.state.waiting]
    return pod.ready or (not pod.restarts and set(waiting) <= {"ContainerCreating", "PodInitializing", ""})


def _idle(target: Resolved | None, backends: Backends | None) -> tuple[Pod, str] | None:
    """A pod behind a Service all of whose containers only sleep, and what they run."""
    pod = backends.one_of(target.service) if target and target.service and backends else None
    runs = pod is not None and pod.phase == "Running" and all(s.state.running for s in pod.statuses)
    does = [c.idles for c in pod.spec.containers] if pod and runs else []
    return (pod, does[0]) if pod and does and all(does) else None


def _as_address(complaint: Complaint, told: Dependency | None) -> Iterator[str]:
    workload, namespace = complaint.workload, complaint.pod.namespace
    form = "its program wants HOST:PORT there, no URL and no name alone"
    if told and told.source:
        yield kubectl("edit", "configmap", told.source.name, namespace=namespace) + f"   # {form}"
        yield kubectl("rollout", "restart", f"{workload.kind.lower()}/{workload.name}", namespace=namespace)
    else:
        yield edit_template(workload, form)


def _meant(port: int, pod: Pod, dependencies: Dependencies) -> Service | None:
    """The one Service of the namespace with that port: by its name it would be found wherever it is."""
    found = [s for s in dependencies.services.within(pod.namespace) if port and s.port(port)]
    return found[0] if len(found) == 1 else None


def _service(service: Service) -> str:
    return f"Service {service.name} is {'headless' if service.headless else service.spec.cluster_ip}"


def _by_name(complaint: Complaint, told: Dependency | None, meant: Service | None) -> Iterator[str]:
    workload, namespace = complaint.workload, complaint.pod.namespace
    kind, name = workload.kind.lower(), meant.name if meant else "NAME"
    if told is None:
        again = kubectl("rollout", "restart", f"{kind}/{workload.name}", namespace=namespace)
        yield f"its program has kept an address that is gone: {again}"
    elif told.source:
        yield kubectl("edit", "configmap", told.source.name, namespace=namespace) + f"   # {told.host} → {name}"
        yield kubectl("rollout", "restart", f"{kind}/{workload.name}", namespace=namespace)
    else:
        yield kubectl("edit", kind, workload.name, namespace=namespace) + f"   # {told.host} → {name}"
    yield (
        kubectl("get", "services,endpointslices", namespace=namespace)
        + "   # a Service's name stays, its address does not"
    )


def _place(host: str, port: int, target: Resolved | None, server: Pod | None) -> str:
    name = f"Service {target.namespace}/{target.name}" if target and target.service else host
    if server is not None:
        name = f"Pod {server.path}"
    if host in ("localhost", "127.0.0.1", "::1"):
        name = "localhost in its own pod,"
        return f"{name} port {port}" if port else name.rstrip(",")
    return f"{name} port {port}" if port else name


def _well(target: Resolved | None, port: int, slices: EndpointSlices | None) -> bool:
    """Whether the Service takes connections on that port as far as the API knows; not known counts as well."""
    service = target.service if target else None
    if service is None or slices is None:
        return True
    if port and not service.headless and service.spec.ports and all(p.port != port for p in service.spec.ports):
        return False
    return any(e.ready for e in slices.endpoints(service))


def _endpoints(service: Service, slices: EndpointSlices | None) -> Evidence:
    command = kubectl(
        "get", "endpointslices", "-l", f"kubernetes.io/service-name={service.name}", namespace=service.namespace
    )
    if slices is None:
        return Evidence(kubectl("get", "service", service.name, namespace=service.namespace), "it exists")
    endpoints = slices.endpoints(service)
    ready = sum(e.ready for e in endpoints)
    return Evidence(command, f"{ready} of {len(endpoints)} endpoints ready" if endpoints else "no endpoint")


def _next(complaint: Complaint, target: Resolved | None, server: Pod | None, host: str, port: int) -> Iterator[str]:
    namespace = complaint.pod.namespace
    if target and target.service:
        yield kubectl("describe", "service", target.name, namespace=target.namespace)
        if not target.service.spec.selector and not target.service.external:
            slices = kubectl("get", "endpointslices", "-o", "wide", namespace=target.namespace)
            yield f"{slices}   # is what it leads to still at that address?"
        name = target.name if target.namespace == namespace else f"{target.name}.{target.namespace}"
        yield kubectl("exec", complaint.pod.name, "--", "nc", "-zv", name, str(port or "PORT"), namespace=namespace)
    elif server is not None:
        yield kubectl("describe", "pod", server.name, namespace=server.namespace)
    else:
        yield kubectl("exec", complaint.pod.name, "--", "nc", "-zv", host, str(port or "PORT"), namespace=namespace)
    yield kubectl("get", "networkpolicies", namespace=target.namespace if target else namespace)


def _touches(target: Resolved | None, server: Pod | None) -> Iterator[Ref]:
    if target:
        yield Ref("Service", target.name, target.namespace)
    if server is not None:
        yield server.ref()

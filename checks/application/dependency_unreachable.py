"""A workload's log says that it cannot connect to something that it needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, Shared, check, kubectl, listing, present, shorten
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
    Node,
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
    for call in _calls(complaints, dependencies, backends, nodes, workloads):
        complaint, said = call.complaint, call.complaint.said
        if _is_none(call, cluster, slices, backends):
            continue
        place, bare = (_place(said.host, port, call.target, call.server) for port in (said.port, 0))
        if (complaint.workload, place) in seen:
            continue
        seen |= {(complaint.workload, place), (complaint.workload, bare)}
        inside, proof = _inside(call, slices, backends, logs, owners)
        if call.entrance:
            inside, proof = _at_the_door(call, call.entrance, slices, nodes)
        malformed = said.phrase.by == NO_ADDRESS
        meant = _meant(call, dependencies) if call.nobody and dependencies else None
        nobody = f"{call.nobody}{f'; {_service(meant)}' if meant else ''}" if call.nobody else ""
        yield Finding(
            complaint.workload,
            (
                f"{complaint.workload} takes {shorten(call.told.value if call.told else place, 60)} for host and port"
                if malformed
                else f"{complaint.workload} cannot connect to {place}"
            )
            + (f" ({call.told.origin})" if call.told else "")
            + "".join(f": {why}" for why in (nobody, inside) if why),
            evidence=present(
                Evidence(kubectl(*complaint.command, namespace=call.pod.namespace), shorten(said.text, 200)),
                _endpoints(call.service, slices) if call.service else None,
                _setting(call) if call.told else None,
                proof,
                _all_addresses(call, meant) if call.nobody else None,
            ),
            next=tuple(
                _as_address(complaint, call.told)
                if malformed
                else _by_name(complaint, call.told, meant)
                if call.nobody
                else _next(call)
            ),
            touches=present(
                Ref("Service", call.target.name, call.target.namespace) if call.target else None,
                call.entrance.ref() if call.entrance else None,
                call.server.ref() if call.server else None,
            ),
            key=place,
            # What a program only remembers, it may forget by itself.
            severity=Severity.WARNING
            if call.nobody and call.told is None and not complaint.failing
            else Severity.ERROR,
            since=complaint.since,
            container=complaint.container,
            shared=_shared(place, call.target, nobody or inside),
        )


def _shared(place: str, target: Resolved | None, why: str) -> Shared:
    """What all clients say of one server that does not answer."""
    ref = Ref("Service", target.name, target.namespace) if target else Ref("Address", place)
    return Shared(ref, f"{place} cannot be connected to{f' ({why})' if why else ''}", "ask it")


class _Call(NamedTuple):
    """A connection that a program could not make: the name that it asked, what told it of that, and who answers there.

    ``server`` is the pod that has the address it asked, ``nobody`` says that nothing of the cluster has it, and
    ``entrance`` is the Service whose nodePort it asked of a node.
    """

    complaint: Complaint
    target: Resolved | None
    told: Dependency | None
    server: Pod | None
    nobody: str
    entrance: Service | None = None

    @property
    def pod(self) -> Pod:
        return self.complaint.pod

    @property
    def service(self) -> Service | None:
        return self.target.service if self.target else None


def _calls(
    complaints: Complaints,
    dependencies: Dependencies | None,
    backends: Backends | None,
    nodes: Nodes | None,
    workloads: Workloads | None,
) -> Iterator[_Call]:
    """The calls that failed, without those of which the setting has been mended since."""
    addresses: dict[str, Pod] = {}
    # A program may say the same twice, with the port and without: once is enough.
    for complaint in sorted(complaints.about(Topic.UNREACHABLE), key=lambda c: not c.said.port):
        pod, host = complaint.pod, complaint.said.host
        if dependencies is None:
            target = told = None
        else:
            target, told = dependencies.asked(host, pod.namespace), dependencies.told(pod, host)
            template = workloads.template(complaint.workload) if workloads else None
            if told and dependencies.outdated(told, pod, template):
                continue
        server, nobody, entrance = None, "", None
        if target is None and is_address(host):
            if not addresses and backends:
                addresses = {p.ip: p for p in backends.pods.items if p.ip and not p.spec.host_network}
            server = addresses.get(host)
            if dependencies and server is None:
                told = told or next(dependencies.addressed(pod, host), None)
                nobody = dependencies.nobody(host, nodes)
                asked = complaint.said.port or (told.port if told else 0)
                entrance = dependencies.by_node_port.get(asked) if _node_of(host, nodes) else None
        yield _Call(complaint, target, told, server, nobody, entrance)


def _node_of(address: str, nodes: Nodes | None) -> Node | None:
    """The node that has an address."""
    return (
        next((n for n in nodes.items if any(a.address == address for a in n.status.addresses)), None) if nodes else None
    )


def _is_none(call: _Call, cluster: Cluster, slices: EndpointSlices | None, backends: Backends | None) -> bool:
    """Whether a call that failed is no fault: the program lives with it, or whom it called is on its way."""
    complaint, target, service = call.complaint, call.target, call.service
    if not complaint.failing:
        if target is None and call.told is None and call.server is None and not call.nobody:
            return True  # something outside, and the workload lives with it
        if target is not None and service is None:
            return True
    servers = backends.of(service) if backends and service else ()
    made = service.metadata.creation_timestamp if service else None
    if not complaint.crashed and complaint.replaced(servers, service=made) and all(map(_coming, servers)):
        return True  # its server is on its way to another node, or to another revision, or its Service was just made
    well = _well(service, complaint.said.port, slices)
    return well and not complaint.failing and not complaint.goes_on_past(servers, cluster)


def _setting(call: _Call) -> Evidence | None:
    """Where the workload was told of what it calls."""
    workload = call.complaint.workload
    look = kubectl("get", workload.kind.lower(), workload.name, "-o", "yaml", namespace=call.pod.namespace)
    return Evidence(look, f"{call.told.origin}: {shorten(call.told.value, 80)}") if call.told else None


def _all_addresses(call: _Call, meant: Service | None) -> Evidence:
    """Where the address would stand, if something had it."""
    kinds = "services" if "Service" in call.nobody else "pods"
    look = kubectl("get", kinds, "--all-namespaces", "-o", "wide") + f" | grep -w {call.complaint.said.host}"
    return Evidence(look, f"nothing{f'; {_service(meant)}' if meant else ''}")


def _inside(
    call: _Call,
    slices: EndpointSlices | None,
    backends: Backends | None,
    logs: Logs | None,
    owners: Owners | None,
) -> tuple[str, Evidence | None]:
    """Why the one who is called does not answer, where that can be seen at its own end, and what shows it."""
    if "refused" in call.complaint.said.text:
        if found := _on_loopback(call, backends, logs):
            pod, address, line = found
            shown = Evidence(kubectl("logs", pod.name, namespace=pod.namespace), shorten(line, 200))
            return f"{owners.top(pod) if owners else pod.ref()} listens on {address} alone, inside its own pod", shown
        if idle := _idle(call.service, backends):
            pod, does = idle
            words = ("get", "pod", pod.name, "-o", "jsonpath={.spec.containers[*].command}")
            shown = Evidence(kubectl(*words, namespace=pod.namespace), does)
            return f'{owners.top(pod) if owners else pod.ref()} runs "{does}" and serves nothing', shown
    by_hand = _by_hand(call.service, slices)
    return f"it selects no pods and leads to {by_hand}" if by_hand else "", None


def _at_the_door(
    call: _Call, service: Service, slices: EndpointSlices | None, nodes: Nodes | None
) -> tuple[str, Evidence | None]:
    """What a node does with what comes to the nodePort of a Service, and what shows it."""
    node = _node_of(call.complaint.said.host, nodes)
    port = f"the nodePort of Service {service.ref().path}"
    if node is None or slices is None or service.spec.external_traffic_policy != "Local":
        return port, None
    places = {e.node_name for e in slices.endpoints(service) if e.ready}
    if not places or node.name in places:
        return port, None
    shown = f"External Traffic Policy: Local; endpoints on {listing(sorted(places), 3)}"
    return (
        f"{port}, which has externalTrafficPolicy Local and no endpoint on {node.name}",
        Evidence(kubectl("describe", "service", service.name, namespace=service.namespace), shown),
    )


def _on_loopback(call: _Call, backends: Backends | None, logs: Logs | None) -> tuple[Pod, str, str] | None:
    """The pod behind a Service whose log says that it listens where nobody outside of it comes, and the line."""
    service = call.service
    named = service.port(call.complaint.said.port or (call.told.port if call.told else 0)) if service else None
    if service and named is None and len(service.spec.ports) == 1:
        named = service.spec.ports[0]
    pod = backends.one_of(service) if backends and service and named else None
    if pod is None or named is None or logs is None or not isinstance(named.target, int):
        return None
    lines = [line.text for line in logs.lines(pod.namespace, pod.name)]
    address = inside_alone(lines, named.target)
    return (pod, address, next(text for text in lines if address in text)) if address else None


def _by_hand(service: Service | None, slices: EndpointSlices | None) -> str:
    """Where a Service that selects no pods leads: what stands there, nobody keeps up to date."""
    if service is None or slices is None or service.spec.selector or service.external:
        return ""
    return listing(sorted({a for e in slices.endpoints(service) if e.ready for a in e.addresses}), 2)


def _coming(pod: Pod) -> bool:
    """Whether a pod is well, or has not had the time to be anything else than on its way."""
    waiting = [s.state.waiting.reason for s in pod.all_statuses if s.state.waiting]
    return pod.ready or (not pod.restarts and set(waiting) <= {"ContainerCreating", "PodInitializing", ""})


def _idle(service: Service | None, backends: Backends | None) -> tuple[Pod, str] | None:
    """A pod behind a Service all of whose containers only sleep, and what they run."""
    pod = backends.one_of(service) if service and backends else None
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


def _meant(call: _Call, dependencies: Dependencies) -> Service | None:
    """The one Service of the namespace with that port: by its name it would be found wherever it is."""
    port = call.complaint.said.port or (call.told.port if call.told else 0)
    found = [s for s in dependencies.services.within(call.pod.namespace) if port and s.port(port)]
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


def _well(service: Service | None, port: int, slices: EndpointSlices | None) -> bool:
    """Whether the Service takes connections on that port as far as the API knows; not known counts as well."""
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


def _next(call: _Call) -> Iterator[str]:
    target, service, pod, said = call.target, call.service, call.pod, call.complaint.said
    name = said.host
    if target and service:
        yield kubectl("describe", "service", target.name, namespace=target.namespace)
        if not service.spec.selector and not service.external:
            slices = kubectl("get", "endpointslices", "-o", "wide", namespace=target.namespace)
            yield f"{slices}   # is what it leads to still at that address?"
        name = target.name if target.namespace == pod.namespace else f"{target.name}.{target.namespace}"
    if call.entrance:
        yield kubectl("get", "endpointslices", "-o", "wide", namespace=call.entrance.namespace)
        if call.entrance.spec.external_traffic_policy == "Local":
            yield "ask a node that has an endpoint, or the Service by its name, or set externalTrafficPolicy Cluster"
        return
    if call.server is not None:
        yield kubectl("describe", "pod", call.server.name, namespace=call.server.namespace)
    else:
        yield kubectl("exec", pod.name, "--", "nc", "-zv", name, str(said.port or "PORT"), namespace=pod.namespace)
    yield kubectl("get", "networkpolicies", namespace=target.namespace if target else pod.namespace)

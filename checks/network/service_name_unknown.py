"""A workload is told to talk to a Service that does not exist, or that is in another namespace."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kdiag.check import (
    DEPENDENT_FAILS,
    Evidence,
    Finding,
    Layer,
    Ref,
    Severity,
    check,
    kubectl,
    listing,
    nearest,
    shorten,
)
from kdiag.facts import (
    Cluster,
    Complaint,
    Complaints,
    Dependencies,
    Dependency,
    Owners,
    Pod,
    PodSpec,
    Resolved,
    Workloads,
    edit_template,
    living,
    selects,
)

#: After this a complaint is old, in seconds: true still, but no proof that anybody is hurt now.
_OLD = 900.0
#: What programs do without, and charts name whether or not it is there.
_OPTIONAL = re.compile(
    r"redis|valkey|cache|smtp|mail|otel|otlp|jaeger|zipkin|trac|telemetry|sentry|statsd|metrics|prometheus|alertmanager"
    r"|grafana|apm|ldap|vault|s3|minio|proxy|webhook",
    re.IGNORECASE,
)
#: Services that go with another and are never what a client means.
_BESIDE = re.compile(r"(?:exporter|metrics|webhook|admission|canary|peers?)$")
_SUFFIX = re.compile(r"[-_](?:service|svc|srv)$")


@check(
    title="Workload names a Service that does not exist",
    severity=Severity.ERROR,
    layer=Layer.DEPENDENCY,
    explains=(
        *DEPENDENT_FAILS,
        "application/dependency_name_unresolved",
        "application/dependency_unreachable",
        "network/ingress_backend_missing",
    ),
    tags=("service", "dns", "config"),
)
def service_name_unknown(
    dependencies: Dependencies,
    owners: Owners,
    cluster: Cluster,
    complaints: Complaints | None,
    workloads: Workloads | None,
) -> Iterator[Finding]:
    """A name of one label may mean something outside: only a near miss or the workload's log makes it a fault.

    Whoever names one missing Service, and wherever it does, the fault is one.
    """
    seen: set[tuple[Ref, str, str]] = set()
    missing: dict[tuple[str, str, str], list[_Case]] = {}
    for group in dependencies.pods.templates:
        pod = living(group)
        if pod is None or pod.namespace == "kube-system" or not _asks_cluster_dns(pod.spec):
            continue
        template = workloads.template(owners.top(pod)) if workloads else None
        for dependency in dependencies.of(pod):
            key = (owners.top(pod), dependency.container, dependency.host)
            target = _missing(dependency, pod, dependencies)
            if target is None or key in seen or dependencies.outdated(dependency, pod, template):
                continue
            seen.add(key)
            case = _judge(dependency, target, group, pod, dependencies, owners, cluster, complaints)
            if case:
                missing.setdefault((target.namespace, target.name, dependency.host if case.respelt else ""), []).append(
                    case
                )
    for cases in missing.values():
        yield _finding(sorted(cases, key=lambda c: -c.severity), dependencies)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One place where a workload names a Service that is not there, and what was meant by it."""

    workload: Ref
    pod: Pod
    dependency: Dependency
    target: Resolved
    near: str | None
    elsewhere: tuple[str, ...]
    lacking: tuple[Ref, int] | None
    said: tuple[Complaint, ...]
    severity: Severity

    @property
    def respelt(self) -> bool:
        """Whether the name's end is what is wrong with it, and the Service is there."""
        return bool(self.near and "." in self.near)


def _asks_cluster_dns(spec: PodSpec) -> bool:
    return spec.dns_policy == "ClusterFirstWithHostNet" or (spec.dns_policy == "ClusterFirst" and not spec.host_network)


def _missing(dependency: Dependency, pod: Pod, dependencies: Dependencies) -> Resolved | None:
    """What the name means, when that is a Service that was looked for and is not there."""
    host = dependency.host.lower()
    if any(host in map(str.lower, alias.hostnames) for alias in pod.spec.host_aliases):
        return None
    if host == pod.name.lower() or (host in {c.name for c in pod.spec.all_containers} and len(pod.spec.containers) > 1):
        return None  # itself, or the container beside it, as some charts fill in
    target = dependencies.resolve(host, pod.namespace)
    labels = host.rstrip(".").split(".")
    if dependencies.respelt(host) and dependencies.services.get(labels[0], labels[1]):
        return Resolved(labels[0], labels[1], None, certain=True)
    # mysql.shopp: a namespace that does not exist, or a domain outside. Only a near miss tells.
    if (
        target is None
        and len(labels) == 2
        and any(nearest(labels[1], [s.namespace]) for s in dependencies.by_name.get(labels[0], ()))
    ):
        target = Resolved(labels[0], labels[1], None, certain=True)
    if target is None or target.service is not None:
        return None
    known = dependencies.namespaces
    # A namespace that is not there holds no Service, whatever part of the cluster was read.
    nowhere = bool(known.items) and not known.gaps and known.get(target.namespace) is None
    return target if nowhere or dependencies.services.covers(target.namespace) else None


def _judge(
    dependency: Dependency,
    target: Resolved,
    group: tuple[Pod, ...],
    pod: Pod,
    dependencies: Dependencies,
    owners: Owners,
    cluster: Cluster,
    complaints: Complaints | None,
) -> _Case | None:
    workload = owners.top(pod)
    said = sorted(
        (
            c
            for c in (complaints.unresolved.get(workload, ()) if complaints else ())
            if c.said.host == dependency.host.lower() or c.said.host.startswith(f"{dependency.host.lower()}.")
        ),
        key=lambda c: cluster.age(c.when) if c.when else 0.0,
    )
    searched = bool(pod.spec.dns_config and pod.spec.dns_config.searches) and not target.certain
    near = dependencies.respelt(dependency.host) or _near(target, dependency, pod, dependencies)
    near = near or _leading(target, dependency, workload, pod, dependencies, owners)
    elsewhere = _elsewhere(target, pod, dependencies)
    lacking = None if near else _unserved(target, workload, dependencies, owners)
    failing = any(not p.ready and _definite(p) for p in group)
    if not said and (searched or not dependency.plain):
        return None
    if not said and not (near or lacking or target.certain or _only(elsewhere, dependency)):
        return None
    service = dependencies.services.get(near, target.namespace) if near else None
    fresh = cluster.fresh(pod.created) or bool(service and cluster.fresh(service.metadata.creation_timestamp))
    waits = failing and dependency.origin == "its command"
    told = bool(said) and (said[0].failing or not said[0].when or cluster.age(said[0].when) < _OLD)
    clear = bool(near or lacking or elsewhere or target.certain)
    if told or waits or (said and clear) or ((near or lacking) and (failing or fresh)):
        severity = Severity.ERROR
    else:
        severity = Severity.WARNING if said or near or lacking or (elsewhere and fresh) else Severity.INFO
    return _Case(
        workload=workload,
        pod=pod,
        dependency=dependency,
        target=target,
        near=near,
        elsewhere=elsewhere,
        lacking=lacking,
        said=tuple(said[:1]),
        severity=severity,
    )


def _finding(cases: list[_Case], dependencies: Dependencies) -> Finding:
    """What these say together: the worst of them comes first."""
    case = cases[0]
    target, dependency = case.target, case.dependency
    places: dict[Ref, list[str]] = {}
    for one in cases:
        places.setdefault(one.workload, []).append(one.dependency.origin)
    meant = _meant(target, case.near, case.elsewhere, case.lacking)
    if len(places) == 1:
        origins = " and in ".join(dict.fromkeys(places[case.workload]))
        message = f"{case.workload} names {dependency.host} in {origins}: {meant}"
    else:
        message = f"{listing(map(str, sorted(places)), 3)} name {dependency.host}: {meant}"
    evidence = [
        Evidence(
            kubectl("get", one.workload.kind.lower(), one.workload.name, "-o", "yaml", namespace=one.pod.namespace),
            f"{one.dependency.origin}: {shorten(one.dependency.value, 80)}",
        )
        for one in cases[:3]
    ]
    evidence.append(
        Evidence(
            kubectl("get", "services", namespace=target.namespace),
            f"{target.name} is there" if case.respelt else _there(target, dependencies),
        )
    )
    said = [(one, c) for one in cases for c in one.said]
    evidence += [
        Evidence(kubectl(*c.command, namespace=c.pod.namespace), shorten(c.said.text, 200)) for _, c in said[:1]
    ]
    steps = [_next(one.workload, one.dependency, one.target, one.near, one.elsewhere, one.lacking) for one in cases[:3]]
    shared = len(places) > 1 and {ref.namespace for ref in places} == {target.namespace}
    return Finding(
        Ref("Service", target.name, target.namespace) if shared else case.workload,
        message,
        evidence=tuple(evidence),
        next=tuple(dict.fromkeys(step for part in steps for step in part)),
        touches=tuple(
            dict.fromkeys(
                (
                    Ref("Service", target.name, target.namespace),
                    *(one.dependency.source for one in cases if one.dependency.source),
                    *(places if len(places) > 1 else ()),
                )
            )
        ),
        key=f"{dependency.container} {dependency.host}" if len(places) == 1 else dependency.host,
        severity=case.severity,
        since=min((c.since for _, c in said if c.since), default=""),
    )


def _there(target: Resolved, dependencies: Dependencies) -> str:
    names = sorted(s.name for s in dependencies.services.within(target.namespace))
    if names:
        return f"no {target.name}; there is {listing(names, 4)}"
    known = dependencies.namespaces.get(target.namespace)
    return "no Service at all" if known else f"no namespace {target.namespace}"


def _definite(pod: Pod) -> bool:
    return any(s.restart_count for s in pod.all_statuses) or any(s.state.running for s in pod.init_statuses)


def _elsewhere(target: Resolved, pod: Pod, dependencies: Dependencies) -> tuple[str, ...]:
    """The namespaces that have a Service of that name: the most likely first."""
    found = [s.namespace for s in dependencies.by_name.get(target.name, ())]
    close = nearest(target.namespace, found)
    return tuple(sorted(found, key=lambda n: (n != close, n != pod.namespace, n)))


def _near(target: Resolved, dependency: Dependency, pod: Pod, dependencies: Dependencies) -> str | None:
    """The Service that was probably meant, and that the pod is not told of by another name already."""
    named = {(r.name, r.namespace) for d in dependencies.of(pod) if (r := dependencies.resolve(d.host, pod.namespace))}
    names = [
        s.name
        for s in dependencies.services.within(target.namespace)
        if (s.name, s.namespace) not in named and s.name != "kubernetes" and not _BESIDE.search(s.name)
    ]
    same_port = [
        s.name
        for s in dependencies.services.within(target.namespace)
        if s.name in names and dependency.port and s.port(dependency.port)
    ]
    if dependency.port:
        names = same_port
    plain = {_SUFFIX.sub("", name): name for name in names}
    stem = _SUFFIX.sub("", target.name)
    return plain.get(stem) or nearest(target.name, names)


def _leading(
    target: Resolved, dependency: Dependency, workload: Ref, pod: Pod, dependencies: Dependencies, owners: Owners
) -> str | None:
    """The one Service that leads to the workload of that name: ``mysql`` for the Deployment ``db``."""
    stem = _SUFFIX.sub("", target.name)
    named = {r.name for d in dependencies.of(pod) if (r := dependencies.resolve(d.host, pod.namespace))}
    labels = [
        p.labels
        for p in dependencies.pods.within(target.namespace)
        if not p.finished and (ref := owners.top(p)) != workload and _SUFFIX.sub("", ref.name) == stem
    ]
    found = {
        s.name
        for s in dependencies.services.within(target.namespace)
        if s.spec.selector
        and s.name not in named
        and (not dependency.port or s.port(dependency.port))
        and any(selects(s.spec.selector, one) for one in labels)
    }
    return found.pop() if len(found) == 1 else None


def _only(elsewhere: tuple[str, ...], dependency: Dependency) -> bool:
    """Whether one namespace alone has it, and no program does without. Each may have its own, and this one none."""
    return len(elsewhere) == 1 and not _OPTIONAL.search(f"{dependency.variable} {dependency.host}")


def _unserved(target: Resolved, workload: Ref, dependencies: Dependencies, owners: Owners) -> tuple[Ref, int] | None:
    """The workload that the Service was for, and its port: the one of that name to which no Service leads."""
    stem = _SUFFIX.sub("", target.name)
    selectors = [s.spec.selector for s in dependencies.services.within(target.namespace) if s.spec.selector]
    for pod in dependencies.pods.within(target.namespace):
        ref = owners.top(pod)
        if ref == workload or ref.kind not in ("Deployment", "StatefulSet") or _SUFFIX.sub("", ref.name) != stem:
            continue
        ports = [p.container_port for c in pod.spec.containers for p in c.ports]
        served = any(selects(selector, pod.labels) for selector in selectors)
        return (ref, ports[0]) if ports and not served and not pod.terminating else None
    return None


def _meant(target: Resolved, near: str | None, elsewhere: tuple[str, ...], lacking: tuple[Ref, int] | None) -> str:
    if near and "." in near:
        return f"a Service's full name ends in {'.'.join(near.split('.')[2:])}"
    if near:
        return f"namespace {target.namespace} has no Service {target.name}, but {near}"
    if lacking:
        return f"namespace {target.namespace} has no Service {target.name}; none leads to {lacking[0]}"
    if elsewhere:
        return f"Service {target.name} is in namespace {listing(elsewhere, 1)}, not in {target.namespace}"
    return f"namespace {target.namespace} has no Service {target.name}"


def _next(
    workload: Ref,
    dependency: Dependency,
    target: Resolved,
    near: str | None,
    elsewhere: tuple[str, ...],
    lacking: tuple[Ref, int] | None,
) -> Iterator[str]:
    namespace = workload.namespace
    if lacking:
        server, port = lacking
        yield kubectl(
            "expose", server.kind.lower(), server.name, f"--name={target.name}", f"--port={dependency.port or port}",
            *((f"--target-port={port}",) if dependency.port not in (0, port) else ()), namespace=target.namespace,
        )  # fmt: skip
        return
    right = near or target.name
    if not near and elsewhere:
        right = f"{target.name}.{elsewhere[0]}"
    elif near and target.namespace != namespace and "." not in near:
        right = f"{near}.{target.namespace}"
    simple = dependency.value.strip().lower() == dependency.host.lower()
    place, change = f"{workload.kind.lower()}/{workload.name}", f"{dependency.host} → {right}"
    if right == target.name and dependency.host.lower().startswith(right):
        change = f"what was meant by {dependency.host}?"
    if dependency.source:
        yield kubectl("edit", "configmap", dependency.source.name, namespace=namespace) + f"   # {change}"
        yield kubectl("rollout", "restart", place, namespace=namespace)
    elif simple and dependency.origin.startswith("env ") and right != dependency.host and workload.kind != "Pod":
        value = f"{dependency.variable}={right}"
        yield kubectl("set", "env", place, "-c", dependency.container, value, namespace=namespace)
    else:
        yield edit_template(workload, change)
    if not near and not elsewhere:
        made = kubectl(
            "expose", "deployment", "NAME", f"--name={target.name}", "--port=PORT", namespace=target.namespace
        )
        yield f"or create the Service: {made}"

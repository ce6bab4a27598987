"""What stands behind a Service: who answers, who asks, and why nobody does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kdiag.facts.awaited import waits_for_work
from kdiag.facts.cluster import Cluster
from kdiag.facts.dependencies import Dependencies
from kdiag.facts.events import Events
from kdiag.facts.meta import IntOrString, selects
from kdiag.facts.network import Backends, EndpointSlices, Ingresses, Service
from kdiag.facts.pods import Pod, Pods
from kdiag.facts.podspec import Container, ContainerPort, PodSpec
from kdiag.facts.progress import stalled, state_of
from kdiag.facts.workloads import Jobs, Owners, Workload, Workloads
from kdiag.model.result import Ref

#: Seconds that a controller is given to make pods, or to take one away that is past its grace.
LATE = 60

#: What a mesh adds to a pod: their ports say nothing of the application's.
MESH = frozenset(
    {"istio-proxy", "linkerd-proxy", "envoy-sidecar", "consul-dataplane", "kuma-sidecar", "daprd", "queue-proxy"}
)


@dataclass(frozen=True, slots=True)
class Idle:
    """Why nobody answers behind a Service: the pods that do not, or the workloads that have none."""

    pods: tuple[Pod, ...]
    workloads: tuple[Workload, ...]
    reason: str


def idle(
    service: Service,
    backends: Backends,
    cluster: Cluster,
    slices: EndpointSlices | None = None,
    workloads: Workloads | None = None,
    events: Events | None = None,
    jobs: Jobs | None = None,
) -> Idle | None:
    """Why no pod behind a Service with a selector is ready; None when one is, or when a start explains it.

    With ``jobs``, to wait for one that is at work is part of a start.
    """
    if not service.spec.selector or service.external or service.publishes_unready:
        return None
    pods = backends.of(service)
    if any(p.ready and not p.terminating for p in pods):
        return None
    if slices and any(e.ready for e in slices.endpoints(service)):
        return None  # somebody else answers, or the slices lag behind the pods
    late = tuple(p for p in pods if _overdue(p, cluster) or stalled(p, cluster, events))
    if late:
        return None if all(waits_for_work(p, jobs) for p in late) else Idle(late, (), _reason(late))
    if pods or workloads is None:
        return None
    lacking = tuple(w for w in behind(service, workloads) if w.desired > 0 and _podless(w, workloads, cluster))
    going = any(p.terminating for w in lacking for p in workloads.pods_of(w))
    return Idle((), lacking, "its pod is being deleted" if going else "no pod was made") if lacking else None


def answers_itself(service: Service, workload: Ref, pods: Pods, owners: Owners) -> bool:
    """Whether nobody but the pods of this workload stands behind a Service of its namespace, and none is ready."""
    if not service.spec.selector or service.publishes_unready or service.namespace != workload.namespace:
        return False
    selected = [p for p in pods.within(service.namespace) if selects(service.spec.selector, p.labels)]
    return bool(selected) and all(owners.top(p) == workload and not p.ready for p in selected)


def behind(service: Service, workloads: Workloads) -> tuple[Workload, ...]:
    """The workloads whose pods a Service selects, or would select."""
    return tuple(
        w
        for w in workloads.items
        if w.namespace == service.namespace
        and service.spec.selector
        and selects(service.spec.selector, w.spec.template.metadata.labels)
    )


def _overdue(pod: Pod, cluster: Cluster) -> bool:
    # The API adds the grace to the deletion's time.
    return pod.terminating and cluster.age(pod.deleted) > LATE


def _podless(workload: Workload, workloads: Workloads, cluster: Cluster) -> bool:
    if any(p.terminating and not _overdue(p, cluster) for p in workloads.pods_of(workload)):
        return False  # the next comes when this one has gone
    failure = workload.condition("ReplicaFailure")
    if failure and failure.status == "True":
        return True
    moments = [workload.created, *(c.last_transition_time for c in workload.status.conditions)]
    known = [m for m in moments if m]
    return bool(known) and cluster.age(max(known)) > LATE


def _reason(pods: Sequence[Pod]) -> str:
    states = dict.fromkeys(_state(p) for p in pods)
    return ", ".join(sorted(states))


def _state(pod: Pod) -> str:
    state = state_of(pod)
    if state != "Running, not ready":
        return state[0].lower() + state[1:] if state.startswith("Running, ") else state
    probed = any(c.readiness_probe for c in pod.spec.containers)
    return "running, readiness probe fails" if probed else "running, not ready"


def users(
    service: Ref, dependencies: Dependencies | None, ingresses: Ingresses | None, owners: Owners | None = None
) -> tuple[tuple[Ref, str], ...]:
    """Who names a Service, and where: workloads in their environment, Ingresses in their rules."""
    found: dict[Ref, str] = {}
    for pod in dependencies.clients.get(service, ()) if dependencies else ():
        for named in dependencies.of(pod) if dependencies else ():
            target = dependencies.resolve(named.host, pod.namespace) if dependencies else None
            if target and (target.name, target.namespace) == (service.name, service.namespace):
                found.setdefault(owners.top(pod) if owners else pod.ref(), named.origin)
    for ingress in ingresses.within(service.namespace) if ingresses else ():
        for where, backend in ingress.backends:
            if backend.name == service.name and not ingress.standby:
                found.setdefault(ingress.ref(), where)
    return tuple(sorted(found.items()))


def listeners(spec: PodSpec) -> tuple[Container, ...]:
    """The containers that may answer for a pod: those that keep running, without what a mesh adds."""
    running = (*spec.containers, *(c for c in spec.init_containers if c.sidecar))
    return tuple(c for c in running if c.name not in MESH)


def find_port(spec: PodSpec, target: IntOrString, protocol: str) -> int | None:
    """The port that the endpoint slice controller takes for a targetPort; None when it finds none."""
    if isinstance(target, int):
        return target
    every = (*spec.containers, *(c for c in spec.init_containers if c.sidecar))
    return next((p.container_port for c in every for p in c.ports if p.name == target and p.protocol == protocol), None)


def declared(spec: PodSpec) -> tuple[ContainerPort, ...]:
    """The ports that the listening containers declare."""
    return tuple(p for c in listeners(spec) for p in c.ports)


#: Official images that listen on one port and nowhere else unless they are told to; and where they would be told.
_IMAGES: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "nginx": (80, ("/etc/nginx",)),
    "httpd": (80, ("/usr/local/apache2",)),
    "redis": (6379, ("/usr/local/etc/redis", "/etc/redis")),
    "mysql": (3306, ("/etc/mysql", "/etc/my.cnf")),
    "mariadb": (3306, ("/etc/mysql",)),
    "postgres": (5432, ("/etc/postgresql",)),
    "mongo": (27017, ("/etc/mongo",)),
    "memcached": (11211, ()),
}


def image_port(container: Container) -> int | None:
    """The port that an official image listens on when nothing in the template changes it."""
    words = container.image.partition("@")[0].split("/")
    name = words[-1].partition(":")[0]
    if words[:-1] not in ([], ["library"], ["docker.io", "library"], ["docker.io"], ["index.docker.io", "library"]):
        return None
    port, places = _IMAGES.get(name, (0, ()))
    if not port or container.command or container.args:
        return None
    if any(m.mount_path.startswith(places) for m in container.volume_mounts) if places else False:
        return None
    if container.env_from or any("PORT" in e.name.upper() for e in container.env):
        return None
    return port


def mentions(container: Container, port: int) -> bool:
    """Whether a container's command, arguments, environment, probes or hooks say this number."""
    return any(_says(text, port) for text in _texts(container))


def _texts(container: Container) -> Iterator[str]:
    yield from container.command
    yield from container.args
    for env in container.env:
        yield env.value
    for _, probe in container.probes():
        if probe.port is not None:
            yield str(probe.port)
        if probe.exec:
            yield from probe.exec.command


def _says(text: str, port: int) -> bool:
    number = str(port)
    at = text.find(number)
    while at >= 0:
        before, after = text[at - 1 : at], text[at + len(number) : at + len(number) + 1]
        if not before.isdigit() and not after.isdigit():
            return True
        at = text.find(number, at + 1)
    return False

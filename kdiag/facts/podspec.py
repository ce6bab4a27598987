"""The pod template: containers, probes, volumes and where they may run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec

from kdiag.facts.meta import IntOrString, LabelSelector, Lean, Requirement, Resources
from kdiag.model.quantity import Quantity
from kdiag.model.redact import RUN
from kdiag.model.text import whole


class KeyRef(Lean, frozen=True, gc=False):
    """A key of a ConfigMap or a Secret."""

    name: str = ""
    key: str = ""
    optional: bool = False


class FieldRef(Lean, frozen=True, gc=False):
    """A field of the pod itself."""

    field_path: str = ""


class EnvSource(Lean, frozen=True, gc=False):
    """Where a variable's value comes from."""

    config_map_key_ref: KeyRef | None = None
    secret_key_ref: KeyRef | None = None
    field_ref: FieldRef | None = None


class EnvVar(Lean, frozen=True, gc=False):
    """One environment variable; a value that looks like a credential is a token that only compares."""

    name: str = ""
    value: str = ""
    value_from: EnvSource | None = None


class NameRef(Lean, frozen=True, gc=False):
    """A whole ConfigMap or Secret."""

    name: str = ""
    optional: bool = False


class EnvFrom(Lean, frozen=True, gc=False):
    """All keys of a ConfigMap or Secret as variables."""

    prefix: str = ""
    config_map_ref: NameRef | None = None
    secret_ref: NameRef | None = None


class ContainerPort(Lean, frozen=True, gc=False):
    """A declared port. The declaration is informational: an undeclared port is open all the same."""

    container_port: int = 0
    host_port: int = 0
    name: str = ""
    protocol: str = "TCP"


class Header(Lean, frozen=True, gc=False):
    """A header that a probe sends; its value may be a secret and is not kept."""

    name: str = ""


class HTTPGet(Lean, frozen=True, gc=False):
    """An HTTP probe or hook."""

    path: str = "/"
    port: IntOrString = 0
    host: str = ""
    scheme: str = "HTTP"
    http_headers: tuple[Header, ...] = ()


class Exec(Lean, frozen=True, gc=False):
    """A command in the container."""

    command: tuple[str, ...] = ()


class PortAction(Lean, frozen=True, gc=False):
    """A TCP or gRPC probe."""

    port: IntOrString = 0


class Sleep(Lean, frozen=True, gc=False):
    """A hook that only waits."""

    seconds: int = 0


class Handler(Lean, frozen=True, gc=False):
    """What a probe or a hook does."""

    http_get: HTTPGet | None = None
    exec: Exec | None = None
    tcp_socket: PortAction | None = None
    grpc: PortAction | None = None
    sleep: Sleep | None = None

    @property
    def port(self) -> IntOrString | None:
        """The port it uses, if it uses one."""
        action = self.http_get or self.tcp_socket or self.grpc
        return action.port if action else None


class Probe(Handler, frozen=True, gc=False):
    """A probe, with the API's defaults: seconds and counts."""

    initial_delay_seconds: int = 0
    period_seconds: int = 10
    timeout_seconds: int = 1
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: int | None = None

    @property
    def budget(self) -> int:
        """Seconds from container start until this probe has failed often enough to act."""
        return self.initial_delay_seconds + self.period_seconds * (self.failure_threshold - 1) + self.timeout_seconds

    def same_as(self, other: Probe) -> bool:
        """Whether it asks the same question, whatever the timing."""
        return (self.http_get, self.exec, self.tcp_socket, self.grpc) == (
            other.http_get,
            other.exec,
            other.tcp_socket,
            other.grpc,
        )


class Lifecycle(Lean, frozen=True, gc=False):
    """Hooks around the container's life."""

    pre_stop: Handler | None = None
    post_start: Handler | None = None


class ResourceRequirements(Lean, frozen=True, gc=False):
    """Requests and limits: cores and bytes."""

    requests: Resources = {}
    limits: Resources = {}


class VolumeMount(Lean, frozen=True, gc=False):
    """Where a volume appears in a container."""

    name: str = ""
    mount_path: str = ""
    sub_path: str = ""
    read_only: bool = False


class Capabilities(Lean, frozen=True, gc=False):
    """What of root's rights a container has more or less than usual."""

    add: tuple[str, ...] | None = ()
    drop: tuple[str, ...] | None = ()


class ContainerSecurity(Lean, frozen=True, gc=False):
    """The part of a security context that decides whether a container may start, and what it may do."""

    run_as_non_root: bool | None = None
    run_as_user: int | None = None
    privileged: bool | None = None
    read_only_root_filesystem: bool | None = None
    capabilities: Capabilities | None = None


_SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "zsh"})


def is_shell(program: str) -> bool:
    """Whether a program, by whatever path, is a shell."""
    return program.rpartition("/")[2] in _SHELLS


#: A command that keeps a container and does nothing; in a shell's script, also in an endless loop or after an exec.
_IDLES = re.compile(
    r"(?:while (?:true|:|1); ?do )?(?:exec )?(?:\S*/)?(?:sleep (?:infinity|inf|\d+[smhd]?)|tail -f /dev/null);?"
    r"(?: ?done;?)?"
)


class Container(Lean, frozen=True, gc=False):
    """A container of a template."""

    name: str = ""
    image: str = ""
    image_pull_policy: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFrom, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    volume_mounts: tuple[VolumeMount, ...] = ()
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle = Lifecycle()
    security_context: ContainerSecurity = ContainerSecurity()
    restart_policy: str = ""
    stdin: bool = False

    @property
    def sidecar(self) -> bool:
        """Whether it is an init container that is meant to keep running."""
        return self.restart_policy == "Always"

    def probes(self) -> Iterator[tuple[str, Probe]]:
        """Its probes by their kubelet names."""
        for name, probe in (
            ("startup", self.startup_probe),
            ("liveness", self.liveness_probe),
            ("readiness", self.readiness_probe),
        ):
            if probe:
                yield name, probe

    @property
    def idles(self) -> str:
        """The command of a container that only sleeps, as one line; empty for any other, and where the image has it."""
        words = (*self.command, *self.args) if self.command else ()
        shell = len(words) == 3 and is_shell(words[0]) and words[1] in ("-c", "-ec")
        text = " ".join((words[2] if shell else " ".join(words)).split())
        return text if len(text) < 100 and _IDLES.fullmatch(text) else ""

    def port_number(self, port: IntOrString) -> int | None:
        """The number of a port given by number or by a declared name; None when no port has that name."""
        if isinstance(port, int):
            return port
        return next((p.container_port for p in self.ports if p.name == port), whole(port))


class KeyToPath(Lean, frozen=True, gc=False):
    """One key shown as a file."""

    key: str = ""
    path: str = ""
    mode: int | None = None


class ConfigMapVolume(Lean, frozen=True, gc=False):
    """A ConfigMap as files."""

    name: str = ""
    optional: bool = False
    items: tuple[KeyToPath, ...] = ()
    default_mode: int | None = None


class SecretVolume(Lean, frozen=True, gc=False):
    """A Secret as files."""

    secret_name: str = ""
    name: str = ""  # in a projected volume
    optional: bool = False
    items: tuple[KeyToPath, ...] = ()
    default_mode: int | None = None


class ClaimVolume(Lean, frozen=True, gc=False):
    """A claim as a volume."""

    claim_name: str = ""
    read_only: bool = False


class HostPath(Lean, frozen=True, gc=False):
    """A path of the node."""

    path: str = ""
    type: str = ""


class CSIVolume(Lean, frozen=True, gc=False):
    """An inline CSI volume."""

    driver: str = ""


class NFSVolume(Lean, frozen=True, gc=False):
    """An NFS export."""

    server: str = ""
    path: str = ""


class TokenProjection(Lean, frozen=True, gc=False):
    """A token of the pod's service account, for the one who is its audience: the API server where none is named."""

    audience: str = ""
    path: str = ""


class Projection(Lean, frozen=True, gc=False):
    """One source of a projected volume."""

    config_map: ConfigMapVolume | None = None
    secret: SecretVolume | None = None
    service_account_token: TokenProjection | None = None


class Projected(Lean, frozen=True, gc=False):
    """Several sources in one volume."""

    sources: tuple[Projection, ...] = ()
    default_mode: int | None = None


class Template(Lean, frozen=True, gc=False):
    """A claim template of a generic ephemeral volume; only that it is there matters."""


class EmptyDir(Lean, frozen=True, gc=False):
    """A folder that lives as long as the pod; of medium ``Memory`` it counts as memory of whoever writes to it."""

    medium: str = ""


class ImageVolume(Lean, frozen=True, gc=False):
    """An image that is mounted and not run."""

    reference: str = ""


class Volume(Lean, frozen=True, gc=False):
    """A volume of a template."""

    name: str = ""
    config_map: ConfigMapVolume | None = None
    secret: SecretVolume | None = None
    persistent_volume_claim: ClaimVolume | None = None
    host_path: HostPath | None = None
    projected: Projected | None = None
    csi: CSIVolume | None = None
    nfs: NFSVolume | None = None
    empty_dir: EmptyDir | None = None
    ephemeral: Template | None = None
    image: ImageVolume | None = None


class Toleration(Lean, frozen=True, gc=False):
    """A taint that the pod puts up with."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""


class NodeSelectorTerm(Lean, frozen=True, gc=False):
    """Requirements that a node must meet together."""

    match_expressions: tuple[Requirement, ...] = ()
    match_fields: tuple[Requirement, ...] = ()


class NodeSelector(Lean, frozen=True, gc=False):
    """Terms of which one is enough."""

    node_selector_terms: tuple[NodeSelectorTerm, ...] = ()


class NodeAffinity(Lean, frozen=True, gc=False):
    """The node affinity that must hold."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None


class PodAffinityTerm(Lean, frozen=True, gc=False):
    """Near to, or far from, other pods."""

    label_selector: LabelSelector | None = None
    topology_key: str = ""
    namespaces: tuple[str, ...] = ()


class PodAffinity(Lean, frozen=True, gc=False):
    """The pod affinity that must hold."""

    required_during_scheduling_ignored_during_execution: tuple[PodAffinityTerm, ...] = ()


class Affinity(Lean, frozen=True, gc=False):
    """Where the pod may run."""

    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAffinity | None = None


class TopologySpread(Lean, frozen=True, gc=False):
    """How evenly pods must spread."""

    max_skew: int = 1
    topology_key: str = ""
    when_unsatisfiable: str = ""
    label_selector: LabelSelector | None = None
    match_label_keys: tuple[str, ...] = ()
    node_affinity_policy: str = "Honor"
    node_taints_policy: str = "Ignore"


class PodSecurity(Lean, frozen=True, gc=False):
    """The part of the pod's security context that decides whether it may start."""

    run_as_non_root: bool | None = None
    run_as_user: int | None = None
    fs_group: int | None = None


class ReadinessGate(Lean, frozen=True, gc=False):
    """A condition that something outside must set."""

    condition_type: str = ""


class DNSConfig(Lean, frozen=True, gc=False):
    """Resolver settings of the pod's own."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()


class HostAlias(Lean, frozen=True, gc=False):
    """Names that the pod's own hosts file answers."""

    ip: str = ""
    hostnames: tuple[str, ...] = ()


class Gate(Lean, frozen=True, gc=False):
    """A scheduling gate."""

    name: str = ""


class DeviceClaim(Lean, frozen=True, gc=False):
    """A claim on devices (DRA): one that is there, or a template of which each pod gets its own."""

    name: str = ""
    resource_claim_name: str = ""
    resource_claim_template_name: str = ""


class PodSpec(Lean, frozen=True, gc=False):
    """All of a pod that its template decides. Shared by the pods of one template; the node is the pod's own."""

    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    node_selector: dict[str, str] = {}
    affinity: Affinity | None = None
    tolerations: tuple[Toleration, ...] = ()
    topology_spread_constraints: tuple[TopologySpread, ...] = ()
    image_pull_secrets: tuple[NameRef, ...] = ()
    security_context: PodSecurity = PodSecurity()
    readiness_gates: tuple[ReadinessGate, ...] = ()
    scheduling_gates: tuple[Gate, ...] = ()
    resource_claims: tuple[DeviceClaim, ...] = ()
    dns_config: DNSConfig | None = None
    host_aliases: tuple[HostAlias, ...] = ()
    overhead: Resources = {}
    host_network: bool = False
    scheduler_name: str = "default-scheduler"
    service_account_name: str = ""
    restart_policy: str = "Always"
    termination_grace_period_seconds: int = 30
    priority_class_name: str = ""
    priority: int = 0
    dns_policy: str = "ClusterFirst"
    runtime_class_name: str = ""
    automount_service_account_token: bool | None = None

    @property
    def first(self) -> Container:
        """The container that is meant where none is named; one without a name where there is none."""
        return self.containers[0] if self.containers else Container()

    @property
    def all_containers(self) -> tuple[Container, ...]:
        """Init containers first, in the order in which they start."""
        return self.init_containers + self.containers

    def container(self, name: str) -> Container | None:
        """The container of that name, init containers included."""
        return next((c for c in self.all_containers if c.name == name), None)

    def requests(self) -> Resources:
        """What the scheduler sets aside: the larger of the running containers' sum and any one init container."""
        total: Resources = {}
        for c in (*self.containers, *(c for c in self.init_containers if c.sidecar)):
            for resource, value in effective_requests(c).items():
                total[resource] = type(value)(total.get(resource, 0) + value)
        for c in self.init_containers:
            if not c.sidecar:
                for resource, value in effective_requests(c).items():
                    total[resource] = max(total.get(resource, value), value)
        for resource, value in self.overhead.items():
            total[resource] = type(value)(total.get(resource, 0) + value)
        return total


def effective_requests(container: Container) -> Resources:
    """The requests, where a limit stands in for a request that is not set."""
    return {**container.resources.limits, **container.resources.requests}


def kept(spec: PodSpec) -> PodSpec:
    """The template as it is kept: credential-like variables are tokens that only compare, and what recurs in the
    templates of a cluster (probes, environments, ports, mounts) is there once.
    """
    return msgspec.structs.replace(
        spec,
        containers=tuple(map(_kept, spec.containers)),
        init_containers=tuple(map(_kept, spec.init_containers)),
        volumes=tuple(map(_one, spec.volumes)),
        tolerations=_one(spec.tolerations),
        security_context=_one(spec.security_context),
        image_pull_secrets=_one(spec.image_pull_secrets),
    )


_RECURRING = (
    *("name", "image", "command", "args", "ports", "env_from", "security_context"),
    *("readiness_probe", "liveness_probe", "startup_probe", "lifecycle"),
)


def _kept(container: Container) -> Container:
    env = tuple(
        e if not e.value or (value := RUN.value(e.name, e.value)) == e.value else EnvVar(e.name, value, e.value_from)
        for e in container.env
    )
    asked = container.resources
    return msgspec.structs.replace(
        container,
        env=_one(env),
        volume_mounts=tuple(map(_one, container.volume_mounts)),
        resources=_resources(tuple(asked.requests.items()), tuple(asked.limits.items())),
        **{name: _one(getattr(container, name)) for name in _RECURRING},
    )


@lru_cache(maxsize=65_536)
def _one(value: Any) -> Any:
    """The first value that was equal to this one."""
    return value


@lru_cache(maxsize=4096)
def _resources(
    requests: tuple[tuple[str, Quantity], ...], limits: tuple[tuple[str, Quantity], ...]
) -> ResourceRequirements:
    return ResourceRequirements(dict(requests), dict(limits))

"""The hosts that a workload is told to talk to: names in its environment and in the ConfigMaps that fill it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from kdiag.facts.base import Derived
from kdiag.facts.configuration import ConfigMaps, Namespaces
from kdiag.facts.network import Service, Services
from kdiag.facts.pods import Pod, Pods
from kdiag.facts.podspec import Container, PodSpec
from kdiag.model.redact import PREFIX
from kdiag.model.result import Ref

_HOST_NAME = re.compile(
    r"(?:^|[_.-])(?:host(?:s|name)?|addr(?:ess)?|server|servers|endpoint|broker|brokers|url|uri|dsn|upstream|backend"
    r"|target|service)$",
    re.IGNORECASE,
)
_OWN_NAME = re.compile(
    r"^(?:HOST|HOSTNAME|POD_.*|NODE_.*|MY_.*|KUBERNETES_.*|.*BIND.*|.*LISTEN.*|.*ADVERTISE.*|.*PUBLIC.*|.*EXTERNAL.*"
    r"|SERVER_NAME|VIRTUAL_HOST|ALLOWED_HOSTS?|.*SERVICE_NAME|.*HOSTNAME|OTEL_SERVICE.*)$",
    re.IGNORECASE,
)
_URL = re.compile(
    r"^(?:jdbc:)?[a-z][a-z0-9+.-]{1,30}://(?:[^/@\s]*@)?(?P<host>\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)"
    r"(?::(?P<port>\d{1,5}))?(?:[/?,].*)?$"
)
_PLAIN = re.compile(
    r"^(?P<host>[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9-]{1,63}){0,6})\.?(?::(?P<port>\d{1,5}))?$"
)
_DSN = re.compile(r"@(?:tcp|tcp6)\((?P<host>[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?\)")
_WORDS = frozenset(
    {"true", "false", "yes", "no", "none", "null", "localhost", "default", "auto", "all", "http", "https"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """One host that a container is told of. ``port`` is 0 when none is named."""

    container: str
    variable: str
    origin: str  # where it is written, in words: "env DB_Host", "ConfigMap app-config key DB_HOST"
    value: str
    host: str
    port: int = 0
    source: Ref | None = None  # the ConfigMap it comes from


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a host means inside the cluster: a Service by name and namespace, whether or not it exists."""

    name: str
    namespace: str
    service: Service | None
    certain: bool  # the name can mean nothing else: it ends in .svc, or the second label is a namespace


@dataclass(frozen=True, kw_only=True)
class Dependencies(Derived):
    """The hosts that each pod template names."""

    pods: Pods = field(default_factory=Pods)
    configmaps: ConfigMaps = field(default_factory=ConfigMaps)
    services: Services = field(default_factory=Services)
    namespaces: Namespaces = field(default_factory=Namespaces)

    @classmethod
    def derive(cls, pods: Pods, configmaps: ConfigMaps, services: Services, namespaces: Namespaces) -> Dependencies:
        """Join what names hosts and what could answer to them."""
        return cls(pods=pods, configmaps=configmaps, services=services, namespaces=namespaces)

    @cached_property
    def _known(self) -> dict[tuple[str, int], tuple[Dependency, ...]]:
        return {}

    def of(self, pod: Pod) -> tuple[Dependency, ...]:
        """The hosts named by a pod's template, worked out once for each template."""
        key = (pod.namespace, id(pod.spec))
        if key not in self._known:
            self._known[key] = tuple(self.of_spec(pod.spec, pod.namespace))
        return self._known[key]

    def of_spec(self, spec: PodSpec, namespace: str) -> Iterator[Dependency]:
        """The hosts named by a template."""
        for container in spec.all_containers:
            for variable, value, origin, source in self._variables(container, namespace):
                if value.startswith(PREFIX):
                    continue
                for host, port in hosts_in(variable, value):
                    yield Dependency(
                        container=container.name,
                        variable=variable,
                        origin=origin,
                        value=value,
                        host=host,
                        port=port,
                        source=source,
                    )

    def _variables(self, container: Container, namespace: str) -> Iterator[tuple[str, str, str, Ref | None]]:
        for env in container.env:
            if env.value:
                yield env.name, env.value, f"env {env.name}", None
            elif env.value_from and (ref := env.value_from.config_map_key_ref):
                found = self.configmaps.get(ref.name, namespace)
                if found and ref.key in found.data:
                    where = f"ConfigMap {ref.name} key {ref.key}"
                    yield env.name, found.data[ref.key].strip(), where, Ref("ConfigMap", ref.name, namespace)
        for source in container.env_from:
            if source.config_map_ref and (found := self.configmaps.get(source.config_map_ref.name, namespace)):
                for key, value in found.data.items():
                    where = f"ConfigMap {found.name} key {key}"
                    yield source.prefix + key, value.strip(), where, Ref("ConfigMap", found.name, namespace)

    def resolve(self, host: str, namespace: str) -> Resolved | None:
        """What ``host`` means to a pod of ``namespace``; None for a name outside the cluster or an address."""
        name = host.rstrip(".").lower()
        if is_address(name) or name in _WORDS:
            return None
        labels = name.split(".")
        if len(labels) == 1:
            return Resolved(name, namespace, self.services.get(name, namespace), certain=False)
        if len(labels) >= 3 and labels[2] == "svc":
            return Resolved(labels[0], labels[1], self.services.get(labels[0], labels[1]), certain=True)
        if len(labels) == 2 and self.namespaces.get(labels[1]):
            return Resolved(labels[0], labels[1], self.services.get(labels[0], labels[1]), certain=True)
        return None

    @cached_property
    def clients(self) -> Mapping[Ref, tuple[Pod, ...]]:
        """For each Service that is named by someone: one pod of each template that names it."""
        found: dict[Ref, list[Pod]] = {}
        for group in self.pods.templates:
            for dependency in self.of(group[0]):
                target = self.resolve(dependency.host, group[0].namespace)
                if target:
                    found.setdefault(Ref("Service", target.name, target.namespace), []).append(group[0])
        return {ref: tuple(pods) for ref, pods in found.items()}


def is_address(host: str) -> bool:
    """Whether it is an IP address and no name."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def hosts_in(variable: str, value: str) -> Iterator[tuple[str, int]]:
    """The hosts, with their ports (0: none), that a variable of this name and value tells a program to talk to."""
    if len(value) > 2048 or "$(" in value or _OWN_NAME.match(variable):
        return
    if match := _DSN.search(value):
        yield match["host"], _port(match["port"])
        return
    if match := _URL.match(value):
        if not is_address(match["host"]):
            yield match["host"], _port(match["port"])
        return
    inside = ".svc" in value
    if not inside and not _HOST_NAME.search(variable):
        return
    for part in re.split(r"[,\s;]+", value):
        match = _PLAIN.match(part)
        if match and match["host"].lower() not in _WORDS and (inside or _HOST_NAME.search(variable)):
            yield match["host"], _port(match["port"])


def _port(text: str | None) -> int:
    return int(text) if text and int(text) < 65536 else 0

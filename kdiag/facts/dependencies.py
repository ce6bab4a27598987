"""The hosts that a workload is told to talk to, by its environment, its command and the ConfigMaps that it reads."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import chain, islice

from kdiag.facts.base import Derived
from kdiag.facts.configuration import ConfigMap, ConfigMaps, Namespaces
from kdiag.facts.corefile import ServerBlock, parse_corefile, service_zones
from kdiag.facts.network import Service, Services
from kdiag.facts.nodes import Nodes
from kdiag.facts.pods import Pod, Pods
from kdiag.facts.podspec import Container, PodSpec, Probe
from kdiag.model.redact import PREFIX
from kdiag.model.result import Ref
from kdiag.model.text import distance, whole

_KINDS = (
    r"db|database|pg|postgres(?:ql)?|mysql|mariadb|redis|valkey|mongo(?:db)?|memcached?|rabbit(?:mq)?|amqp|kafka|nats|cache|queue"
    r"|broker|elastic(?:search)?|opensearch|cassandra|etcd|zookeeper|zk|smtp|mail|ldap|api|backend|upstream|server|target|remote"
    r"|auth|minio|s3|clickhouse|influx(?:db)?|jaeger|zipkin|otel|vault|consul"
)
_HOST_NAME = re.compile(
    r"(?:^|[_.-])(?:host(?:s|_?names?)?|addr(?:ess(?:es)?)?|server|servers|endpoints?|broker|brokers|url|urls|uri|dsn|upstream"
    r"|backend|target|service|nodes|contact_?points|bootstrap|conn(?:ection)?_?str(?:ing)?)$"
    rf"|^(?:.*[_.-])?(?:{_KINDS})_?(?:host(?:s|name)?|addr(?:ess)?|url|uri|servers?|endpoint)$",
    re.IGNORECASE,
)
#: Of these, the names that can hold nothing else than a place; BACKEND=redis may be a kind, and TARGET=web a word.
PLACE_NAME = re.compile(
    r"(?:host(?:s|_?names?)?|addr(?:ess(?:es)?)?|servers|endpoints?|brokers|url|urls|uri|dsn|contact_?points|bootstrap)$",
    re.IGNORECASE,
)
#: The domain of nearly every cluster, and where kubeadm's configuration states another one.
_DOMAIN = "cluster.local"
_STATED = re.compile(r"^\s+dnsDomain:\s*[\"']?([A-Za-z0-9.-]+)[\"']?\s*$", re.MULTILINE)
_POD_SUBNET = re.compile(r"^\s+podSubnet:\s*[\"']?([0-9A-Fa-f.:/,]{1,120})[\"']?\s*$", re.MULTILINE)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_OWN_NAME = re.compile(
    r"^(?:HOST|HOSTNAME|POD_.*|NODE_.*|MY_.*|KUBERNETES_.*|.*BIND.*|.*LISTEN.*|.*ADVERTISE.*|.*PUBLIC.*|.*EXTERNAL.*"
    rf"|SERVER_NAME|VIRTUAL_HOST|ALLOWED_HOSTS?|.*SERVICE_NAME|(?!.*(?:{_KINDS})).*HOST_?NAME|OTEL_SERVICE.*"
    r"|.*(?:ORIGINS?|CALLBACK_.*|REDIRECT_.*|ISSUER.*))$",
    re.IGNORECASE,
)
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(?:\.[A-Za-z0-9_-]{1,63}){0,8}"
# jdbc:mysql://, mongodb+srv://, jdbc:postgresql://, redis-sentinel://, jdbc:oracle:thin:@//
_URL = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9+.-]{0,30}:){1,4}@?//(?:[^/\s\"'<]{0,600}@|<redacted:[0-9a-f]{12}>@)?"
    r"(?P<hosts>[^/?#;\s\"'<>{}()|\\]{1,1000})"
)
_ORACLE = re.compile(rf"jdbc:oracle:thin:(?:[^@\s]{{0,200}})@(?P<hosts>{_NAME}:\d{{1,5}})[:/]")
_DSN = re.compile(rf"@tcp6?\((?P<hosts>{_NAME}(?::\d{{1,5}})?)\)")
_PAIR = re.compile(
    rf"(?:^|[;\s])(?:host|server|data source|addr(?:ess)?)\s?=\s?(?:tcp:)?(?P<host>{_NAME})"
    r"(?:[:,](?P<port>\d{1,5}))?(?=[;,\s]|$)",
    re.IGNORECASE,
)
_PAIR_PORT = re.compile(r"(?:^|[;\s])port\s?=\s?(\d{1,5})(?=[;\s]|$)", re.IGNORECASE)
_PLAIN = re.compile(rf"^(?P<host>{_NAME})\.?(?::(?P<port>\d{{1,5}}))?$")
_PORT_NAME = re.compile(r"(?<=[_.-])port$|(?<=[a-z])Port$|port$", re.IGNORECASE)
_REFERENCE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_.-]{0,200})\)")
# What a waiting init container runs: nslookup mydb, nc -z mydb 5432, pg_isready -h mydb, wait-for-it.sh mydb:5432.
_ASKS = re.compile(
    rf"\b(?:nslookup|getent hosts|getent ahosts)\s+(?:-\S+\s+)*(?P<a>{_NAME})"
    rf"|\b(?:nc|ncat|netcat|telnet)\s+(?:-\S+(?:\s+\d+)?\s+)*(?P<b>{_NAME})\s+(?P<bp>\d{{1,5}})"
    rf"|\b(?:pg_isready|psql|mysql|mysqladmin|redis-cli|mongosh?|mariadb)\b[^;&|\n]{{0,80}}?\s(?:-h\s?|--host[= ])"
    rf"(?P<c>{_NAME})"
    rf"|\bwait-for(?:-it)?(?:\.sh)?\s+(?P<d>{_NAME}):(?P<dp>\d{{1,5}})"
    rf"|\b(?:wget|curl)\b[^;&|\n]{{0,80}}?\s(?P<e>{_NAME}):(?P<ep>\d{{1,5}})"
)
# What a script only says: an echo or a printf whose words go to the log, not into a file, a pipe or a variable.
_SAID = re.compile(
    r"(?<![\w./$(-])(?:echo|printf)\s(?:\"(?:[^\"\\`$]|\\.|\$(?!\())*+\"|'[^']*+'|[^\"'|>;&`()\n]){0,600}+"
    r"(?=$|[;)\n]|&&|\|\|)"
)
_OPTION = re.compile(r"--([A-Za-z][A-Za-z0-9_.-]{1,60})$")
# A Service's full name, wherever it stands: alone, in a list, behind a flag.
_FULL = re.compile(
    rf"(?<![\w./@-])(?P<host>{_LABEL}(?:\.{_LABEL}){{1,3}}\.svc\.cluster\.local)\.?(?::(?P<port>\d{{1,5}}))?(?![\w.-])"
)
# An address in a value; not a network, and not a place to listen on.
_ADDRESS = re.compile(
    r"(?<![\w.])(?P<host>(?!0\.|127\.|169\.254\.)\d{1,3}(?:\.\d{1,3}){3})(?::(?P<port>\d{1,5}))?(?![\w.]|/\d{1,2}\b)"
)
_UPSTREAM = re.compile(r"\bupstream\s+([A-Za-z0-9_.-]{1,100})\s*\{")
_UPSTREAM_SERVER = re.compile(rf"^\s*server\s+(?P<host>{_NAME})(?::(?P<port>\d{{1,5}}))?[\s;]")
_SETTING = re.compile(
    r"^\s{0,40}[\"']?(?P<key>[A-Za-z][A-Za-z0-9_.-]{0,100})[\"']?\s*[:=]\s*[\"']?(?P<value>[^\s\"'#]{1,500})"
)
_COMMENT = re.compile(r"^\s*(?:#|//|;|--|\*|<!--)")
_WORDS = frozenset(
    {
        *(
            "true",
            "false",
            "yes",
            "no",
            "none",
            "null",
            "nil",
            "localhost",
            "default",
            "auto",
            "all",
            "any",
            "http",
            "https",
        ),
        *(
            "unix",
            "local",
            "memory",
            "file",
            "disabled",
            "enabled",
            "internal",
            "external",
            "on",
            "off",
            "host",
            "example",
        ),
        *("stdout", "stderr", "dev", "prod", "production", "development", "staging", "test", "localhost.localdomain"),
    }
)


_NO_POD = "no pod has that address"


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
    plain: bool = False  # the variable's name says that a place is meant, or the value does: a URL, a name with .svc


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
    def domain(self) -> str:
        """The cluster's domain: as it was set up with kubeadm, or the one for which CoreDNS answers.

        One that is nearly the usual one is the usual one, misspelt.
        """
        setup = self.configmaps.get("kubeadm-config", "kube-system")
        if setup and (stated := _STATED.search(setup.data.get("ClusterConfiguration", ""))):
            return stated[1].rstrip(".").lower()
        found = service_zones(self._corefile)
        zones = found[1] if found else ()
        return zones[0] if len(zones) == 1 and zones[0] and distance(zones[0], _DOMAIN, 2) > 2 else _DOMAIN

    @cached_property
    def _pod_subnets(self) -> tuple[str, ...]:
        """The ranges that kubeadm set aside for pods, also those of nodes that are gone, where pods are in them.

        A network plugin that keeps to ranges of its own leaves them to others.
        """
        setup = self.configmaps.get("kubeadm-config", "kube-system")
        stated = _POD_SUBNET.search(setup.data.get("ClusterConfiguration", "")) if setup else None
        own = [p.ip for p in self.pods.items if p.ip and not p.spec.host_network]
        return tuple(n for n in stated[1].split(",") if any(_within(ip, n) for ip in own)) if stated else ()

    @property
    def _corefile(self) -> str:
        config = self.configmaps.get("coredns", "kube-system")
        return config.data.get("Corefile", "") if config else ""

    @cached_property
    def _federated(self) -> bool:
        """Whether CoreDNS has a word on names in the usual domain beside its own: they are another cluster's."""
        blocks = parse_corefile(self._corefile).blocks
        return any(_DOMAIN in zone for block in blocks for zone in (*block.zones, *_words(block)))

    def respelt(self, host: str) -> str:
        """The name that was meant, where the end of a Service's full name is not this cluster's: see ``respelt``."""
        meant = respelt(host, self.domain)
        return "" if self._federated and host.rstrip(".").lower().endswith(f".svc.{_DOMAIN}") else meant

    @cached_property
    def _known(self) -> dict[tuple[str, int], tuple[Dependency, ...]]:
        return {}

    def of(self, pod: Pod) -> tuple[Dependency, ...]:
        """The hosts named by a pod's template, worked out once for each template."""
        key = (pod.namespace, id(pod.spec))
        if key not in self._known:
            self._known[key] = tuple(self.of_spec(pod.spec, pod.namespace))
        return self._known[key]

    def addressed(self, pod: Pod, address: str = "") -> Iterator[Dependency]:
        """The settings of a pod that name an address (this one) in place of a name."""
        for container in pod.spec.all_containers:
            for variable, value, origin, source in self._variables(container, pod.namespace):
                if "://" in value or _HOST_NAME.search(_CAMEL.sub("_", variable)):
                    yield from _addresses(container.name, variable, value, origin, source, address)
            for word in (*container.command, *container.args):
                yield from _addresses(container.name, "", word, "its command", None, address)
            mounted = {m.name for m in container.volume_mounts}
            for volume in pod.spec.volumes:
                config = volume.config_map if volume.name in mounted else None
                found = self.configmaps.get(config.name, pod.namespace) if config else None
                for key, text in found.data.items() if found else ():
                    origin = f"ConfigMap {found.name} key {key}" if found else ""
                    source = found.ref() if found else None
                    yield from _addresses(container.name, key, text, origin, source, address)

    def of_spec(self, spec: PodSpec, namespace: str) -> Iterator[Dependency]:
        """The hosts named by a template."""
        for container in spec.all_containers:
            for variable, value, origin, source in self._variables(container, namespace):
                if value.startswith(PREFIX) and value.endswith(">"):
                    continue
                for host, port in hosts_in(variable, value):
                    yield Dependency(
                        container=container.name,
                        variable=variable,
                        origin=origin,
                        value=value,
                        host=host,
                        port=port or self._port_beside(container, namespace, variable),
                        source=source,
                        plain="://" in value or ".svc" in value or bool(PLACE_NAME.search(variable)),
                    )
            yield from self._in_commands(container)
            yield from self._in_files(container, spec, namespace)

    def outdated(self, dependency: Dependency, pod: Pod, template: PodSpec | None) -> bool:
        """Whether what new pods of the workload are made from no longer names what this pod was told of.

        Then it is mended, and what holds the rollout up is the fault. Without a template the newest pod stands for it.
        """
        told = (dependency.host, dependency.port)
        return any(
            all((one.host, one.port) != told for one in self.of_spec(made, pod.namespace))
            for made in ((template,) if template else self._newest(pod))
        )

    def _newest(self, pod: Pod) -> tuple[PodSpec, ...]:
        """The templates of the newest pods of other ReplicaSets of the same Deployment, as their names tell."""
        owner = pod.owner
        if owner is None or owner.kind != "ReplicaSet" or pod.created is None:
            return ()
        stem = owner.name.rpartition("-")[0]
        made = [
            (p.created, p.spec)
            for p in self.pods.within(pod.namespace)
            if p.owner and p.owner.kind == "ReplicaSet" and p.owner.name.rpartition("-")[0] == stem
            if p.created and p.created >= pod.created
        ]
        last = max((when for when, _ in made), default=None)
        return tuple(spec for when, spec in made if when == last)

    def _port_beside(self, container: Container, namespace: str, variable: str) -> int:
        """The port that the variable beside it names: DB_PORT for DB_HOST."""
        stem = PLACE_NAME.sub("", variable)
        if not stem or stem == variable:
            return 0
        for other, value, _, _ in self._variables(container, namespace):
            if other != variable and _PORT_NAME.search(other) and _PORT_NAME.sub("", other) == stem:
                return _port(value)
        return 0

    def _in_commands(self, container: Container) -> Iterator[Dependency]:
        words = (*container.command, *container.args)
        yield from self._in_words(container, words, "its command")
        for name in ("readiness", "liveness", "startup"):
            probe: Probe | None = getattr(container, f"{name}_probe")
            if probe and probe.exec:
                yield from self._in_words(container, probe.exec.command, f"its {name} probe")

    def _in_words(self, container: Container, words: Sequence[str], place: str) -> Iterator[Dependency]:
        for before, word in zip(("", *words), words, strict=False):
            found: list[tuple[str, str, int]] = []
            if (flag := re.match(r"--?([A-Za-z][A-Za-z0-9_.-]{1,60})=(\S{1,1000})$", word)) is not None:
                found = [(flag[1], host, port) for host, port in hosts_in(flag[1], flag[2])]
            elif (
                (option := _OPTION.match(before))
                and PLACE_NAME.search(option[1])  # --server may be a switch, and the word a command
                and re.match(r"\w\S{0,1000}$", word)
            ):
                found = [(option[1], host, port) for host, port in hosts_in(option[1], word)]
            elif len(word) <= 8192:
                asks = _SAID.sub("", word)
                for match in islice(_ASKS.finditer(asks), 20):
                    name = next((match[g] for g in "abcde" if match[g]), "")
                    port = _port(match["bp"] or match["dp"] or match["ep"])
                    found.append(("", name, port))
                found += [("", host, port) for host, port in islice(_in_url(asks), 20)]
                found += [("", m["host"], _port(m["port"])) for m in islice(_FULL.finditer(asks), 20)]
            for variable, host, port in found:
                if host.lower() in _WORDS or is_address(host):
                    continue
                origin = f"argument --{variable}" if variable else place
                yield Dependency(
                    container=container.name,
                    variable=variable,
                    origin=origin,
                    value=word[:200],
                    host=host,
                    port=port,
                    plain=True,
                )

    def _in_files(self, container: Container, spec: PodSpec, namespace: str) -> Iterator[Dependency]:
        mounted = {m.name for m in container.volume_mounts}
        for volume in spec.volumes:
            if volume.config_map is None or volume.name not in mounted:
                continue
            found = self.configmaps.get(volume.config_map.name, namespace)
            keys = {item.key for item in volume.config_map.items}
            for key, variable, host, port in self._files(found) if found else ():
                if not keys or key in keys:
                    yield Dependency(
                        container=container.name,
                        variable=variable,
                        origin=f"ConfigMap {volume.config_map.name} key {key}",
                        value=f"{host}:{port}" if port else host,
                        host=host,
                        port=port,
                        source=Ref("ConfigMap", volume.config_map.name, namespace),
                        plain=True,
                    )

    def _files(self, config: ConfigMap) -> tuple[tuple[str, str, str, int], ...]:
        known = self._parsed.get(id(config))
        if known is None:
            known = self._parsed[id(config)] = tuple(
                (key, *found) for key, text in config.data.items() for found in islice(hosts_in_file(text), 50)
            )
        return known

    @cached_property
    def _parsed(self) -> dict[int, tuple[tuple[str, str, str, int], ...]]:
        return {}

    def _variables(self, container: Container, namespace: str) -> Iterator[tuple[str, str, str, Ref | None]]:
        known: dict[str, str] = {}
        for source in container.env_from:
            if source.config_map_ref and (found := self.configmaps.get(source.config_map_ref.name, namespace)):
                for key, value in found.data.items():
                    where = f"ConfigMap {found.name} key {key}"
                    known[source.prefix + key] = value.strip()
                    if not any(e.name == source.prefix + key for e in container.env):  # env wins over envFrom
                        yield source.prefix + key, value.strip(), where, Ref("ConfigMap", found.name, namespace)
        for env in container.env:
            if env.value:
                value = (
                    _REFERENCE.sub(lambda m: known.get(m[1], m[0]), env.value[:4096])
                    if "$(" in env.value
                    else env.value
                )
                known[env.name] = value[:4096]
                yield env.name, value, f"env {env.name}", None
            elif env.value_from and (ref := env.value_from.config_map_key_ref):
                found = self.configmaps.get(ref.name, namespace)
                if found and ref.key in found.data:
                    where = f"ConfigMap {ref.name} key {ref.key}"
                    known[env.name] = found.data[ref.key].strip()
                    yield env.name, known[env.name], where, Ref("ConfigMap", ref.name, namespace)

    def setting(self, container: Container, namespace: str, name: str) -> tuple[str, str, Ref | None] | None:
        """The value of one variable, where it is written, and its ConfigMap; None for what is not read."""
        found = {key: (value, origin, source) for key, value, origin, source in self._variables(container, namespace)}
        return found.get(name)

    def names(self, container: Container, namespace: str) -> tuple[str, ...]:
        """The variables whose values can be read, and those from Secrets that are named one by one."""
        every = [name for name, *_ in self._variables(container, namespace)]
        return tuple(dict.fromkeys([*every, *(e.name for e in container.env)]))

    def resolve(self, host: str, namespace: str) -> Resolved | None:
        """What ``host`` means to a pod of ``namespace``; None for a name outside the cluster or an address."""
        name = host.rstrip(".").lower()
        if is_address(name) or name in _WORDS:
            return None
        labels = name.split(".")
        if not all(labels) or "_" in labels[0]:
            return None
        if len(labels) == 1:
            return Resolved(name, namespace, self.services.get(name, namespace), certain=False)
        if len(labels) >= 3 and labels[2] == "svc":
            return self._full(labels[0], labels[1], labels[3:])
        if len(labels) >= 4 and labels[3] == "svc":  # a pod of a headless Service: mysql-0.mysql.shop.svc
            return self._full(labels[1], labels[2], labels[4:])
        if len(labels) == 2 and self.services.get(labels[1], namespace) and not self.services.get(labels[0], labels[1]):
            return self._named(labels[1], namespace, certain=True)  # mysql-0.mysql
        if len(labels) == 2 and self.namespaces.get(labels[1]):
            return self._named(labels[0], labels[1], certain=True)
        if len(labels) == 2 and self.pods.get(labels[0], namespace):  # its headless Service is what is missing
            return self._named(labels[1], namespace, certain=True)
        if len(labels) == 3 and self.services.get(labels[1], labels[2]):
            return self._named(labels[1], labels[2], certain=True)
        return None

    def _full(self, name: str, namespace: str, domain: list[str]) -> Resolved | None:
        """A full name; one in another domain than the cluster's is of this cluster only if there is such a Service."""
        if domain == ["clusterset", "local"]:
            return None
        found = self._named(name, namespace, certain=True)
        return None if domain and ".".join(domain) != self.domain and found.service is None else found

    def _named(self, name: str, namespace: str, *, certain: bool) -> Resolved:
        return Resolved(name, namespace, self.services.get(name, namespace), certain=certain)

    @cached_property
    def by_name(self) -> Mapping[str, tuple[Service, ...]]:
        """The Services of each name, in whatever namespace."""
        found: dict[str, list[Service]] = {}
        for service in self.services.items:
            found.setdefault(service.name, []).append(service)
        return {name: tuple(services) for name, services in found.items()}

    @cached_property
    def by_address(self) -> Mapping[str, Service]:
        """The Services by their cluster address."""
        return {s.spec.cluster_ip: s for s in self.services.items if s.spec.cluster_ip not in ("", "None")}

    @cached_property
    def by_node_port(self) -> Mapping[int, Service]:
        """The Services by the ports on which every node takes their traffic."""
        return {p.node_port: s for s in self.services.items for p in s.spec.ports if p.node_port}

    @cached_property
    def pod_addresses(self) -> frozenset[str]:
        """The addresses of the pods."""
        return frozenset(p.ip for p in self.pods.items if p.ip)

    def has_address(self, address: str) -> bool:
        """Whether a Service or a pod that was read has this address."""
        return address in self.by_address or address in self.pod_addresses

    def no_pod(self, address: str, nodes: Nodes | None) -> bool:
        """Whether a pod should have this address, and none does."""
        return self.nobody(address, nodes) == _NO_POD

    def nobody(self, address: str, nodes: Nodes | None) -> str:
        """Who should have an address of the cluster's own ranges and does not; empty for one that may be outside."""
        if not is_address(address) or address in self.by_address:
            return ""
        if not self.services.scope and not self.services.gaps and _inside(address, list(self.by_address)):
            return "no Service has that address"
        if self.pods.scope or self.pods.gaps or address in self.pod_addresses:
            return ""
        ranges = [n.spec.pod_cidr for n in nodes.items if n.spec.pod_cidr] if nodes else []
        return _NO_POD if any(_within(address, r) for r in chain(ranges, self._pod_subnets)) else ""

    def asked(self, host: str, namespace: str) -> Resolved | None:
        """As ``resolve``, and the Service of a cluster address too: programs log addresses for the names they know."""
        if service := self.by_address.get(host.strip("[]")):
            return Resolved(service.name, service.namespace, service, certain=True)
        return self.resolve(host, namespace)

    def told(self, pod: Pod, host: str) -> Dependency | None:
        """Where a pod was told of a host that it names in its log: by name, search domain added, or by address."""
        host = host.rstrip(".").lower()
        for dependency in self.of(pod):
            name = dependency.host.lower()
            if name == host or host.startswith(f"{name}."):
                return dependency
        target = self.asked(host, pod.namespace)
        for dependency in self.of(pod):
            known = self.resolve(dependency.host, pod.namespace)
            if known and target and (known.name, known.namespace) == (target.name, target.namespace):
                return dependency
        return None

    def kind(self, pod: Pod, by: str) -> Dependency | None:
        """The database that a program of this kind (``MySQL``, ``Redis``) talks to, when its log does not name it."""
        words, port = _SERVERS.get(by, ((), 0))
        scored: list[tuple[int, int, Dependency]] = []
        for number, dependency in enumerate(self.of(pod)):
            text = f"{dependency.variable} {dependency.host} {dependency.value}".lower()
            target = self.resolve(dependency.host, pod.namespace)
            ports = target.service.spec.ports if target and target.service else ()
            score = (
                4 * (port != 0 and (dependency.port == port or any(p.port == port for p in ports)))
                + 2 * any(word in text for word in words)
                + bool(re.match(r"(?:db|database|sql|datasource)", dependency.variable, re.IGNORECASE))
            )
            if score:
                scored.append((-score, number, dependency))
        return min(scored, key=lambda s: s[:2])[2] if scored else None

    @cached_property
    def clients(self) -> Mapping[Ref, tuple[Pod, ...]]:
        """For each Service that is named by someone: one pod of each template that names it."""
        found: dict[Ref, list[Pod]] = {}
        for group in self.pods.templates:
            hosts = dict.fromkeys(dependency.host for dependency in self.of(group[0]))
            targets = [self.resolve(host, group[0].namespace) for host in hosts]
            for ref in dict.fromkeys(Ref("Service", t.name, t.namespace) for t in targets if t):
                found.setdefault(ref, []).append(group[0])
        return {ref: tuple(pods) for ref, pods in found.items()}


def _addresses(
    container: str, variable: str, value: str, origin: str, source: Ref | None, wanted: str
) -> Iterator[Dependency]:
    if _OWN_NAME.match(variable) or (wanted and wanted not in value):
        return
    for match in islice(_ADDRESS.finditer(value[:65536]), 20):
        if wanted in ("", match["host"]) and is_address(match["host"]):
            yield Dependency(
                container=container,
                variable=variable,
                origin=origin,
                value=value if len(value) <= 200 else match[0],
                host=match["host"],
                port=_port(match["port"]),
                source=source,
                plain=True,
            )


_SERVERS: Mapping[str, tuple[tuple[str, ...], int]] = {
    "MySQL": (("mysql", "maria"), 3306),
    "PostgreSQL": (("postgres", "pg"), 5432),
    "Redis": (("redis", "valkey"), 6379),
    "lettuce": (("redis", "valkey"), 6379),
    "MongoDB": (("mongo",), 27017),
    "Oracle": (("oracle",), 1521),
    "SQL Server": (("mssql", "sqlserver"), 1433),
    "RabbitMQ": (("rabbit", "amqp"), 5672),
    "Kafka": (("kafka", "bootstrap"), 9092),
    "Elasticsearch": (("elastic", "opensearch"), 9200),
    "Cassandra": (("cassandra",), 9042),
    "HikariCP": (("jdbc", "datasource"), 0),
}


def is_address(host: str) -> bool:
    """Whether it is an IP address and no name."""
    plain = host.strip("[]")
    if ":" not in plain and not plain[-1:].isdigit():
        return False  # asked so often of names that it must cost nothing
    try:
        ipaddress.ip_address(plain)
    except ValueError:
        return False
    return True


def _within(address: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _inside(address: str, known: Sequence[str]) -> bool:
    """Whether it lies within the smallest network that holds all these: the range of Services is no smaller."""
    of_kind = [ipaddress.ip_address(k) for k in known if is_address(k) and (":" in k) == (":" in address)]
    if len(of_kind) < 2:
        return False
    differ = max(int(k) ^ int(of_kind[0]) for k in of_kind).bit_length()
    return int(ipaddress.ip_address(address.strip("[]"))) >> differ == int(of_kind[0]) >> differ


def _words(block: ServerBlock) -> Iterator[str]:
    for directive in block.directives:
        yield from chain(directive.args, *directive.body)


def respelt(host: str, domain: str = _DOMAIN) -> str:
    """The name that was meant, where the end of a Service's full name is misspelt: ``web.shop.svc.cluster.locl``.

    Or where it is the usual one, and this cluster has another. Empty where nothing is wrong with it. Other clusters
    have domains of their own, ``svc.cluster2.local`` among them.
    """
    labels = host.rstrip(".").lower().split(".")
    end, usual = ".".join(labels[2:]), f"svc.{domain}"
    if end == usual or len(labels) < 4:
        return ""
    foreign = end == f"svc.{_DOMAIN}"
    near = len(labels) - 3 in (domain.count("."), domain.count(".") + 1) and _plain(end) != _plain(usual)
    return f"{labels[0]}.{labels[1]}.{usual}" if foreign or (near and distance(end, usual, 2) <= 2) else ""


def _plain(domain: str) -> str:
    return re.sub(r"[\d-]", "", domain)


@lru_cache(maxsize=4096)
def hosts_in(variable: str, value: str) -> tuple[tuple[str, int], ...]:
    """The hosts, with their ports (0: none), that a variable of this name and value tells a program to talk to."""
    return tuple(_hosts_in(variable, value))  # the same settings recur in many templates


def _hosts_in(variable: str, value: str) -> Iterator[tuple[str, int]]:
    if len(value) > 2048 or "$(" in value or _OWN_NAME.match(variable):
        return
    found = list(islice(_in_url(value), 20))
    if not found and (pair := _PAIR.search(value)) and "=" in value:
        beside = _PAIR_PORT.search(value)
        found = [(pair["host"], _port(pair["port"] or (beside[1] if beside else "")))]
    if found or "://" in value:
        yield from ((host, port) for host, port in found if host.lower() not in _WORDS and not is_address(host))
        return
    inside = ".svc" in value
    if not inside and not _HOST_NAME.search(_CAMEL.sub("_", variable)) and not _HOST_NAME.search(variable):
        return
    for part in re.split(r"[,\s;]+", value)[:50]:
        match = _PLAIN.match(part)
        if not match or match["host"].lower() in _WORDS or not re.match(r"\d*[A-Za-z]", match["host"]):
            continue
        if not is_address(match["host"]):
            yield match["host"], _port(match["port"])


def hosts_in_file(text: str) -> Iterator[tuple[str, str, int]]:
    """The settings, hosts and ports in a configuration file: URLs, ``key = host`` lines and nginx upstreams."""
    own = set(_UPSTREAM.findall(text))
    for line in text[:65536].splitlines():
        if len(line) > 2000 or _COMMENT.match(line):
            continue
        if "://" in line or "@tcp" in line:
            setting = _SETTING.match(line)
            for host, port in islice(_in_url(line), 5):
                if host not in own and host.lower() not in _WORDS and not is_address(host):
                    yield (setting["key"] if setting and "://" not in setting["key"] else ""), host, port
        elif own and (server := _UPSTREAM_SERVER.match(line)):
            if not is_address(server["host"]) and server["host"] != "unix":
                yield "server", server["host"], _port(server["port"])
        elif setting := _SETTING.match(line):
            key = setting["key"]
            if PLACE_NAME.search(key) and _HOST_NAME.search(_CAMEL.sub("_", key)):
                for host, port in hosts_in(key, setting["value"].rstrip(",;")):
                    yield key, host, port


def _in_url(value: str) -> Iterator[tuple[str, int]]:
    for part in re.split(r",(?=[A-Za-z][A-Za-z0-9+.-]{0,30}://)", value[:8192]):
        for match in (*_DSN.finditer(part), *_URL.finditer(part), *_ORACLE.finditer(part)):
            if re.match(r"mongodb\+srv:|unix:|file:|s3:|gs:|data:|sqlite", match[0]):
                continue
            for host in match["hosts"].split(","):
                if plain := _PLAIN.match(host.rstrip(".,:")):
                    yield plain["host"], _port(plain["port"])


def _port(text: str | None) -> int:
    number = whole(text or "")
    return number if number and number < 65536 else 0

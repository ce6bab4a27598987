"""Services, the endpoints behind them, and what leads to them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import msgspec

from kdiag.facts.base import ApiList, Derived, Objects
from kdiag.facts.meta import IntOrString, LabelSelector, Lean, Object, TracedMeta, labels_text
from kdiag.facts.pods import FINISHED, Pod, Pods
from kdiag.facts.podspec import PodSpec


class ServicePort(Lean, frozen=True, gc=False):
    """One port of a Service."""

    name: str = ""
    port: int = 0
    protocol: str = "TCP"
    target_port: IntOrString = 0
    node_port: int = 0

    @property
    def target(self) -> IntOrString:
        """Where it leads: the port itself when no target is given."""
        return self.target_port or self.port


class _Ingress(Lean, frozen=True, gc=False):
    ip: str = ""
    ip_mode: str = ""
    hostname: str = ""


class _LoadBalancer(Lean, frozen=True, gc=False):
    ingress: tuple[_Ingress, ...] = ()


class _ServiceStatus(Lean, frozen=True, gc=False):
    load_balancer: _LoadBalancer = _LoadBalancer()


class _ServiceSpec(Lean, frozen=True, gc=False):
    type: str = "ClusterIP"
    selector: dict[str, str] = {}
    ports: tuple[ServicePort, ...] = ()
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    external_name: str = ""
    external_traffic_policy: str = ""
    internal_traffic_policy: str = ""
    publish_not_ready_addresses: bool = False
    load_balancer_class: str = ""
    external_ips: tuple[str, ...] = msgspec.field(name="externalIPs", default=())


#: Services that programs everywhere ask: on a node where one cannot be reached, the trouble is that of the node.
ASKED_BY_ALL = frozenset({"default/kubernetes", "kube-system/kube-dns"})


def as_variable(service: str) -> str:
    """A Service's name as it stands in the names of the variables that the kubelet sets for it: ``MY_DB`` of my-db."""
    return service.upper().replace("-", "_")


class Service(Object, frozen=True, gc=False):
    """A Service."""

    metadata: TracedMeta = TracedMeta()
    spec: _ServiceSpec = _ServiceSpec()
    status: _ServiceStatus = _ServiceStatus()

    @property
    def headless(self) -> bool:
        """Whether it has no address of its own."""
        return self.spec.cluster_ip == "None"

    @property
    def external(self) -> bool:
        """Whether it is only a name for something outside."""
        return self.spec.type == "ExternalName"

    @property
    def publishes_unready(self) -> bool:
        """Whether pods that are not ready are meant to be reached through it."""
        return self.spec.publish_not_ready_addresses or self.metadata.annotations.tolerate_unready == "true"

    @property
    def outer_addresses(self) -> tuple[str, ...]:
        """The addresses from outside of the cluster on which each node takes its traffic."""
        balanced = (i.ip for i in self.status.load_balancer.ingress if i.ip and i.ip_mode != "Proxy")
        return tuple(dict.fromkeys((*self.spec.external_ips, *balanced)))

    @property
    def selector_text(self) -> str:
        """The selector as ``kubectl -l`` takes it."""
        return labels_text(self.spec.selector)

    def port(self, wanted: IntOrString) -> ServicePort | None:
        """The port of that number or name."""
        return next((p for p in self.spec.ports if wanted in (p.port, p.name)), None)


class Services(Objects[Service]):
    """Every Service."""

    item: ClassVar[type[Any]] = Service
    sources = (ApiList("services", "v1", "services"),)


class EndpointConditions(Lean, frozen=True, gc=False):
    """Whether an endpoint takes traffic. An absent condition is to be read as the API says: ready."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class TargetRef(Lean, frozen=True, gc=False):
    """The object behind an endpoint."""

    kind: str = ""
    name: str = ""
    namespace: str = ""


class Endpoint(Lean, frozen=True, gc=False):
    """One endpoint of a slice."""

    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    target_ref: TargetRef | None = None
    node_name: str = ""
    hostname: str = ""

    @property
    def ready(self) -> bool:
        """Whether it takes new traffic."""
        return self.conditions.ready is not False


class EndpointPort(Lean, frozen=True, gc=False):
    """A port of a slice."""

    name: str = ""
    port: int | None = None
    protocol: str = "TCP"


class EndpointSlice(Object, frozen=True, gc=False):
    """A slice of a Service's endpoints."""

    address_type: str = ""
    endpoints: tuple[Endpoint, ...] | None = ()
    ports: tuple[EndpointPort, ...] | None = ()

    @property
    def service(self) -> str:
        """The Service it belongs to."""
        return self.labels.get("kubernetes.io/service-name", "")

    @property
    def managed(self) -> bool:
        """Whether the cluster's own controller writes it, and not a person or an operator."""
        return self.labels.get("endpointslice.kubernetes.io/managed-by", "").startswith("endpointslice-controller")


class EndpointSlices(Objects[EndpointSlice]):
    """Every EndpointSlice. The deprecated Endpoints objects are not read."""

    item: ClassVar[type[Any]] = EndpointSlice
    sources = (ApiList("endpointslices", "discovery.k8s.io/v1", "endpointslices"),)

    @classmethod
    def adapt(cls, item: EndpointSlice) -> EndpointSlice:
        """Keep what recurs in every endpoint (node, kind, conditions) once: a large cluster has one for each pod."""
        if not item.endpoints:
            return item
        conditions: dict[EndpointConditions, EndpointConditions] = {}
        namespace = item.namespace
        found: list[Endpoint] = []
        for e in item.endpoints:
            ref = e.target_ref
            if ref is not None and ref.namespace == namespace:
                ref = TargetRef(sys.intern(ref.kind), ref.name, namespace)
            shared = conditions.setdefault(e.conditions, e.conditions)
            found.append(Endpoint(e.addresses, shared, ref, sys.intern(e.node_name), e.hostname))
        return msgspec.structs.replace(item, endpoints=tuple(found))

    @cached_property
    def by_service(self) -> Mapping[tuple[str, str], tuple[EndpointSlice, ...]]:
        """Slices by namespace and Service name."""
        found: dict[tuple[str, str], list[EndpointSlice]] = {}
        for item in self.items:
            found.setdefault((item.namespace, item.service), []).append(item)
        return {key: tuple(items) for key, items in found.items()}

    def of_service(self, service: Service) -> tuple[EndpointSlice, ...]:
        """The slices of one Service."""
        return self.by_service.get((service.namespace, service.name), ())

    def endpoints(self, service: Service) -> tuple[Endpoint, ...]:
        """The endpoints of one Service, whatever their state."""
        return tuple(e for s in self.of_service(service) for e in s.endpoints or ())


class _Behind:
    """What is behind one Service, each part worked out when it is first asked for."""

    def __init__(self, selected: tuple[Pod, ...]) -> None:
        self.pods = tuple([p for p in selected if p.phase not in FINISHED])

    @cached_property
    def live(self) -> tuple[Pod, ...]:
        return tuple([p for p in self.pods if p.deleted is None])

    @cached_property
    def templates(self) -> tuple[PodSpec, ...]:
        return tuple({id(p.spec): p.spec for p in self.live}.values())

    @cached_property
    def one(self) -> Pod | None:
        return next((p for p in self.live if p.phase == "Running"), self.live[0] if self.live else None)


@dataclass(frozen=True, kw_only=True)
class Backends(Derived):
    """Which pods each Service selects, found in one pass over the distinct label sets."""

    services: Services = field(default_factory=Services)
    pods: Pods = field(default_factory=Pods)

    @classmethod
    def derive(cls, services: Services, pods: Pods) -> Backends:
        """Join services and pods."""
        return cls(services=services, pods=pods)

    @cached_property
    def _label_sets(self) -> Mapping[str, tuple[tuple[dict[str, str], tuple[Pod, ...]], ...]]:
        found: dict[str, dict[int, tuple[dict[str, str], list[Pod]]]] = {}
        for group in self.pods.alike:
            one = group[0]
            found.setdefault(one.namespace, {}).setdefault(id(one.labels), (one.labels, []))[1].extend(group)
        return {ns: tuple((labels, tuple(pods)) for labels, pods in sets.values()) for ns, sets in found.items()}

    @cached_property
    def _by_label(self) -> Mapping[tuple[str, str, str], tuple[int, ...]]:
        """For each namespace, key and value: the numbers of the label sets that hold it."""
        found: dict[tuple[str, str, str], list[int]] = {}
        for namespace, sets in self._label_sets.items():
            for number, (labels, _) in enumerate(sets):
                for key, value in labels.items():
                    found.setdefault((namespace, key, value), []).append(number)
        return {key: tuple(numbers) for key, numbers in found.items()}

    def selected(self, namespace: str, selector: Mapping[str, str]) -> tuple[Pod, ...]:
        """The pods of a namespace that have all these labels; none for an empty selector."""
        if not selector:
            return ()
        hits = [self._by_label.get((namespace, key, value), ()) for key, value in selector.items()]
        first, *others = sorted(hits, key=len)
        numbers = set(first).intersection(*others)
        sets = self._label_sets.get(namespace, ())
        found = [sets[n][1] for n in first if n in numbers]
        return found[0] if len(found) == 1 else tuple([pod for pods in found for pod in pods])

    def _behind(self, service: Service) -> _Behind:
        key = (service.namespace, service.name)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Behind(self.selected(service.namespace, service.spec.selector))
        return known

    @cached_property
    def _known(self) -> dict[tuple[str, str], _Behind]:
        return {}  # asked for by many checks, worked out once

    def of(self, service: Service) -> tuple[Pod, ...]:
        """The pods that a Service selects and that are not finished."""
        return self._behind(service).pods

    def live(self, service: Service) -> tuple[Pod, ...]:
        """Those of them that are not on their way out."""
        return self._behind(service).live

    def templates(self, service: Service) -> tuple[PodSpec, ...]:
        """The distinct templates of those."""
        return self._behind(service).templates

    def one_of(self, service: Service) -> Pod | None:
        """One pod that stands for all behind a Service: a running one, where there is one."""
        return self._behind(service).one

    def label_sets(self, namespace: str) -> tuple[tuple[dict[str, str], tuple[Pod, ...]], ...]:
        """The distinct label sets of a namespace, with their pods."""
        return self._label_sets.get(namespace, ())


class BackendPort(Lean, frozen=True, gc=False):
    """A Service's port as an Ingress names it."""

    number: int = 0
    name: str = ""


class BackendService(Lean, frozen=True, gc=False):
    """A Service as an Ingress names it."""

    name: str = ""
    port: BackendPort = BackendPort()


class Backend(Lean, frozen=True, gc=False):
    """Where an Ingress path leads."""

    service: BackendService | None = None


class HTTPPath(Lean, frozen=True, gc=False):
    """One path of a rule."""

    path: str = ""
    path_type: str = ""
    backend: Backend = Backend()


class _HTTP(Lean, frozen=True, gc=False):
    paths: tuple[HTTPPath, ...] = ()


class IngressRule(Lean, frozen=True, gc=False):
    """The paths of one host."""

    host: str = ""
    http: _HTTP = _HTTP()


class IngressTLS(Lean, frozen=True, gc=False):
    """The Secret that holds a host's certificate."""

    hosts: tuple[str, ...] = ()
    secret_name: str = ""


class _IngressSpec(Lean, frozen=True, gc=False):
    ingress_class_name: str = ""
    default_backend: Backend | None = None
    rules: tuple[IngressRule, ...] = ()
    tls: tuple[IngressTLS, ...] = ()


class Ingress(Object, frozen=True, gc=False):
    """An Ingress."""

    metadata: TracedMeta = TracedMeta()
    spec: _IngressSpec = _IngressSpec()
    status: _ServiceStatus = _ServiceStatus()

    @property
    def backends(self) -> tuple[tuple[str, BackendService], ...]:
        """Each ``host/path`` with the Service that it names."""
        found = [
            (f"{rule.host or '*'}{path.path or '/'}", path.backend.service)
            for rule in self.spec.rules
            for path in rule.http.paths
        ]
        if self.spec.default_backend:
            found.append(("default backend", self.spec.default_backend.service))
        return tuple((where, service) for where, service in found if service)

    @property
    def standby(self) -> bool:
        """Whether it is the canary of another Ingress and is given no request at present."""
        notes = self.metadata.annotations
        return notes.canary == "true" and notes.canary_weight == "0"


class Ingresses(Objects[Ingress]):
    """Every Ingress."""

    item: ClassVar[type[Any]] = Ingress
    sources = (ApiList("ingresses", "networking.k8s.io/v1", "ingresses"),)


class _ClassSpec(Lean, frozen=True, gc=False):
    controller: str = ""


class IngressClass(Object, frozen=True, gc=False):
    """An IngressClass."""

    spec: _ClassSpec = _ClassSpec()

    @property
    def default(self) -> bool:
        """Whether it serves the Ingresses that name no class."""
        return self.metadata.annotations.default_ingress_class == "true"


class IngressClasses(Objects[IngressClass]):
    """Every IngressClass."""

    item: ClassVar[type[Any]] = IngressClass
    spare: ClassVar[bool] = True
    sources = (ApiList("ingressclasses", "networking.k8s.io/v1", "ingressclasses", namespaced=False),)


class IPBlock(Lean, frozen=True, gc=False):
    """A range of addresses."""

    cidr: str = ""
    except_: tuple[str, ...] = msgspec.field(name="except", default=())


class Peer(Lean, frozen=True, gc=False):
    """One item of from/to; selectors within one item must hold together."""

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    ip_block: IPBlock | None = None


class PolicyPort(Lean, frozen=True, gc=False):
    """A port that a policy lets through."""

    protocol: str = "TCP"
    port: IntOrString | None = None
    end_port: int | None = None


class IngressPolicyRule(Lean, frozen=True, gc=False):
    """What may come in; no ``from`` means from everywhere, no ports means all."""

    from_: tuple[Peer, ...] = msgspec.field(name="from", default=())
    ports: tuple[PolicyPort, ...] = ()


class EgressPolicyRule(Lean, frozen=True, gc=False):
    """What may go out; no ``to`` means to everywhere, no ports means all."""

    to: tuple[Peer, ...] = ()
    ports: tuple[PolicyPort, ...] = ()


class _PolicySpec(Lean, frozen=True, gc=False):
    pod_selector: LabelSelector = LabelSelector()
    policy_types: tuple[str, ...] = ()
    ingress: tuple[IngressPolicyRule, ...] = ()
    egress: tuple[EgressPolicyRule, ...] = ()


class NetworkPolicy(Object, frozen=True, gc=False):
    """A NetworkPolicy."""

    metadata: TracedMeta = TracedMeta()
    spec: _PolicySpec = _PolicySpec()

    @property
    def types(self) -> tuple[str, ...]:
        """The directions that it governs, with the API's default."""
        return self.spec.policy_types or (("Ingress", "Egress") if self.spec.egress else ("Ingress",))


class NetworkPolicies(Objects[NetworkPolicy]):
    """Every NetworkPolicy."""

    item: ClassVar[type[Any]] = NetworkPolicy
    sources = (ApiList("networkpolicies", "networking.k8s.io/v1", "networkpolicies"),)

"""What leads to a workload, and how long its pods take to leave: the arithmetic of rollouts that drop requests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from kdiag.facts.base import Derived
from kdiag.facts.meta import Annotations
from kdiag.facts.network import Ingress, Ingresses, Service, Services
from kdiag.facts.podspec import Container, Handler
from kdiag.facts.workloads import Workload, Workloads
from kdiag.model.text import whole

_SLEEP = re.compile(r"(?:^|[\s;&|/(])sleep\s+(?P<n>\d+(?:\.\d+)?)(?P<unit>[smhd]?)(?=$|[\s;&|)])")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SYSTEM = frozenset({"kube-system", "kube-public", "kube-node-lease"})


@dataclass(frozen=True, slots=True)
class Front:
    """A workload that takes requests: the Services and Ingresses that lead to it."""

    workload: Workload
    services: tuple[Service, ...]
    ingresses: tuple[Ingress, ...]

    @property
    def outside(self) -> bool:
        """Whether requests come from outside of the cluster."""
        return bool(self.ingresses) or any(s.spec.type in ("LoadBalancer", "NodePort") for s in self.services)

    @property
    def by(self) -> str:
        """Who leads to it, in words: the outermost first."""
        if self.ingresses:
            return f"Ingress {self.ingresses[0].name}"
        outer = next((s for s in self.services if s.spec.type in ("LoadBalancer", "NodePort")), self.services[0])
        kind = "" if outer.spec.type == "ClusterIP" else f"{outer.spec.type} "
        return f"{kind}Service {outer.name}"

    @property
    def containers(self) -> tuple[Container, ...]:
        """The containers that the Services' ports lead to; all of them where the ports do not tell."""
        every = self.workload.pod_spec.containers
        wanted = [p.target for s in self.services for p in s.spec.ports]
        named = tuple(
            c for c in every if any(t == p.container_port or (p.name and t == p.name) for t in wanted for p in c.ports)
        )
        return named or (every[:1] if len(every) == 1 else every)


@dataclass(frozen=True, kw_only=True)
class Fronts(Derived):
    """The workloads, outside of the system's namespaces, that a Service with an address leads to."""

    items: tuple[Front, ...] = field(default=())

    @classmethod
    def derive(cls, workloads: Workloads, services: Services, ingresses: Ingresses) -> Fronts:
        """Join them by label: one pass over the Services of each namespace."""
        return cls(items=tuple(_fronts(workloads, services, ingresses)))


def _fronts(workloads: Workloads, services: Services, ingresses: Ingresses) -> Iterator[Front]:
    for workload in workloads.items:
        if workload.desired < 1 or workload.namespace in _SYSTEM:
            continue
        labels = workload.spec.template.metadata.labels.items()
        mine = tuple(
            s
            for s in services.within(workload.namespace)
            if s.spec.selector and not s.headless and s.spec.selector.items() <= labels
        )
        if not mine:
            continue
        names = {s.name for s in mine}
        leading = tuple(i for i in ingresses.within(workload.namespace) if any(b.name in names for _, b in i.backends))
        yield Front(workload, mine, leading)


def sleep_seconds(handler: Handler | None) -> float:
    """How long a hook certainly sleeps: the native hook, or the sleeps of its command. 0 when it does not."""
    if handler is None:
        return 0.0
    if handler.sleep:
        return float(handler.sleep.seconds)
    if handler.exec:
        text = " ".join(handler.exec.command)
        return sum(float(m["n"]) * _UNITS[m["unit"]] for m in _SLEEP.finditer(text))
    return 0.0


def attribute(text: str, name: str) -> int | None:
    """A number of a list like ``deregistration_delay.timeout_seconds=30,stickiness.enabled=true``."""
    for part in text.split(","):
        key, _, value = part.strip().partition("=")
        if key == name and (number := whole(value.strip())) is not None:
            return number
    return None


def on_alb(ingress: Ingress) -> bool:
    """Whether the AWS Load Balancer Controller makes an ALB of this Ingress."""
    notes = ingress.metadata.annotations
    return "alb" in (ingress.spec.ingress_class_name, notes.ingress_class) or bool(
        notes.deregistration or notes.lb_attributes or notes.target_type
    )


def on_nlb(service: Service) -> bool:
    """Whether the AWS Load Balancer Controller makes an NLB of this Service."""
    return service.spec.type == "LoadBalancer" and (
        service.metadata.annotations.lb_type in ("external", "nlb", "nlb-ip")
        or service.spec.load_balancer_class == "service.k8s.aws/nlb"
    )


def deregistration_delay(notes: Annotations) -> tuple[int, bool]:
    """Seconds in which the load balancer lets a leaving target finish, and whether it is the default of 300."""
    found = attribute(notes.deregistration or notes.nlb_target_attributes, "deregistration_delay.timeout_seconds")
    return (300, True) if found is None else (found, False)

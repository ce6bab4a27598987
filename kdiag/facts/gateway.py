"""The Gateway API, where its kinds are installed: routes, what they lead to, and what they are attached to."""

from __future__ import annotations

from typing import Any, ClassVar

from kdiag.facts.base import ApiList, Objects
from kdiag.facts.meta import Condition, Lean, Object, TracedMeta

GROUP = "gateway.networking.k8s.io"


class ParentRef(Lean, frozen=True, gc=False):
    """What a route is attached to: mostly a Gateway, of its own namespace where none is named."""

    group: str = GROUP
    kind: str = "Gateway"
    name: str = ""
    namespace: str = ""


class BackendRef(Lean, frozen=True, gc=False):
    """Where a rule leads: mostly a Service. Of weight 0, nothing is sent there."""

    group: str = ""
    kind: str = "Service"
    name: str = ""
    namespace: str = ""
    port: int | None = None
    weight: int = 1


class RouteRule(Lean, frozen=True, gc=False):
    """One rule of a route."""

    backend_refs: tuple[BackendRef, ...] = ()


class _RouteSpec(Lean, frozen=True, gc=False):
    parent_refs: tuple[ParentRef, ...] = ()
    hostnames: tuple[str, ...] = ()
    rules: tuple[RouteRule, ...] = ()


class RouteParent(Lean, frozen=True, gc=False):
    """What the controller of one parent says of the route."""

    parent_ref: ParentRef = ParentRef()
    controller_name: str = ""
    conditions: tuple[Condition, ...] = ()


class _RouteStatus(Lean, frozen=True, gc=False):
    parents: tuple[RouteParent, ...] = ()


class HTTPRoute(Object, frozen=True, gc=False):
    """A route of HTTP requests."""

    metadata: TracedMeta = TracedMeta()
    spec: _RouteSpec = _RouteSpec()
    status: _RouteStatus = _RouteStatus()

    @property
    def backends(self) -> tuple[BackendRef, ...]:
        """The Services that requests are sent to, each once, with the namespace that is meant."""
        found: dict[BackendRef, None] = {}
        for rule in self.spec.rules:
            for ref in rule.backend_refs:
                if (ref.group, ref.kind) == ("", "Service") and ref.weight > 0:
                    home = ref.namespace or self.namespace
                    found[BackendRef(name=ref.name, namespace=home, port=ref.port)] = None
        return tuple(found)


class HTTPRoutes(Objects[HTTPRoute]):
    """Every HTTPRoute; none where the kind is not installed."""

    item: ClassVar[type[Any]] = HTTPRoute
    spare: ClassVar[bool] = True
    installed: ClassVar[bool] = False
    sources = (ApiList("httproutes", f"{GROUP}/v1", "httproutes"),)


class Gateway(Object, frozen=True, gc=False):
    """A Gateway: where routes are attached."""


class Gateways(Objects[Gateway]):
    """Every Gateway; none where the kind is not installed."""

    item: ClassVar[type[Any]] = Gateway
    spare: ClassVar[bool] = True
    installed: ClassVar[bool] = False
    sources = (ApiList("gateways", f"{GROUP}/v1", "gateways"),)

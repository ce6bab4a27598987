"""Nodes as the API server describes them, and their heartbeats."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

import msgspec

from kdiag.facts.base import ApiList, Objects
from kdiag.facts.meta import Condition, Lean, Object, Resources, Time, TracedMeta, condition


class Taint(Lean, frozen=True, gc=False):
    """A taint of a node."""

    key: str = ""
    value: str = ""
    effect: str = ""
    time_added: Time | None = None

    def __str__(self) -> str:
        return f"{self.key}{'=' + self.value if self.value else ''}:{self.effect}"


class Address(Lean, frozen=True, gc=False):
    """One address of a node."""

    type: str = ""
    address: str = ""


class NodeInfo(Lean, frozen=True, gc=False):
    """Versions on a node."""

    kubelet_version: str = ""
    container_runtime_version: str = ""
    os_image: str = ""
    architecture: str = ""


class _Spec(Lean, frozen=True, gc=False):
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()
    pod_cidr: str = msgspec.field(name="podCIDR", default="")
    provider_id: str = msgspec.field(name="providerID", default="")


class _Status(Lean, frozen=True, gc=False):
    conditions: tuple[Condition, ...] = ()
    capacity: Resources = {}
    allocatable: Resources = {}
    addresses: tuple[Address, ...] = ()
    node_info: NodeInfo = NodeInfo()


class Node(Object, frozen=True, gc=False):
    """A node."""

    metadata: TracedMeta = TracedMeta()
    spec: _Spec = _Spec()
    status: _Status = _Status()

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type, if it was reported."""
        return condition(self.status.conditions, kind)

    @property
    def ready(self) -> bool:
        """Whether the node says that it is Ready."""
        found = self.condition("Ready")
        return found is not None and found.status == "True"

    @property
    def control_plane(self) -> bool:
        """Whether kubeadm's label says that it runs the control plane."""
        return any(
            k in self.labels for k in ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
        )

    @property
    def address(self) -> str:
        """Its internal address; empty when none was reported."""
        return next((a.address for a in self.status.addresses if a.type == "InternalIP"), "")

    @property
    def virtual(self) -> bool:
        """A node that is no machine (virtual kubelet, Fargate): no DaemonSets, no SSH."""
        return self.labels.get("type") == "virtual-kubelet" or "eks.amazonaws.com/compute-type" in self.labels


class Nodes(Objects[Node]):
    """Every node."""

    item: ClassVar[type[Any]] = Node
    spare: ClassVar[bool] = True
    sources = (ApiList("nodes", "v1", "nodes", namespaced=False),)


class _LeaseSpec(Lean, frozen=True, gc=False):
    holder_identity: str = ""
    lease_duration_seconds: int = 0
    renew_time: Time | None = None
    acquire_time: Time | None = None


class Lease(Object, frozen=True, gc=False):
    """A heartbeat, or the proof of who leads."""

    spec: _LeaseSpec = _LeaseSpec()

    def age(self, now: datetime) -> float | None:
        """Seconds since it was renewed; None when it never was."""
        return (now - self.spec.renew_time).total_seconds() if self.spec.renew_time else None


class NodeLeases(Objects[Lease]):
    """The kubelets' heartbeats."""

    item: ClassVar[type[Any]] = Lease
    spare: ClassVar[bool] = True
    sources = (ApiList("node-leases", "coordination.k8s.io/v1", "leases", namespaces=("kube-node-lease",)),)


class SystemLeases(Objects[Lease]):
    """Who leads among the schedulers and controller managers."""

    item: ClassVar[type[Any]] = Lease
    spare: ClassVar[bool] = True
    sources = (ApiList("system-leases", "coordination.k8s.io/v1", "leases", namespaces=("kube-system",)),)

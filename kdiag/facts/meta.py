"""What every object of the API has: metadata, owners, label selectors."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

import msgspec

from kdiag.model.quantity import Quantity
from kdiag.model.result import Ref

#: A moment with its zone; a time without one is refused where it is read.
Time = Annotated[datetime, msgspec.Meta(tz=True)]
IntOrString = int | str
Resources = dict[str, Quantity]


class Lean(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The base of all shapes: unknown fields are passed over, absent ones have the API's default."""


class OwnerRef(Lean, frozen=True, gc=False):
    """Who made an object."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class Annotations(Lean, frozen=True, gc=False):
    """The annotations that a check reads. All others are passed over: they are large and may hold secrets."""

    revision: str = msgspec.field(name="deployment.kubernetes.io/revision", default="")
    default_storage_class: str = msgspec.field(name="storageclass.kubernetes.io/is-default-class", default="")
    default_storage_class_beta: str = msgspec.field(name="storageclass.beta.kubernetes.io/is-default-class", default="")
    default_ingress_class: str = msgspec.field(name="ingressclass.kubernetes.io/is-default-class", default="")
    ingress_class: str = msgspec.field(name="kubernetes.io/ingress.class", default="")
    canary: str = msgspec.field(name="nginx.ingress.kubernetes.io/canary", default="")
    canary_weight: str = msgspec.field(name="nginx.ingress.kubernetes.io/canary-weight", default="")
    leader: str = msgspec.field(name="control-plane.alpha.kubernetes.io/leader", default="")
    downscaled: str = msgspec.field(name="downscaler/original-replicas", default="")
    selected_node: str = msgspec.field(name="volume.kubernetes.io/selected-node", default="")
    mirror: str = msgspec.field(name="kubernetes.io/config.mirror", default="")
    change_cause: str = msgspec.field(name="kubernetes.io/change-cause", default="")
    restarted_at: str = msgspec.field(name="kubectl.kubernetes.io/restartedAt", default="")
    deregistration: str = msgspec.field(name="alb.ingress.kubernetes.io/target-group-attributes", default="")
    lb_attributes: str = msgspec.field(name="alb.ingress.kubernetes.io/load-balancer-attributes", default="")
    target_type: str = msgspec.field(name="alb.ingress.kubernetes.io/target-type", default="")
    nlb_target_attributes: str = msgspec.field(
        name="service.beta.kubernetes.io/aws-load-balancer-target-group-attributes", default=""
    )
    nlb_target_type: str = msgspec.field(
        name="service.beta.kubernetes.io/aws-load-balancer-nlb-target-type", default=""
    )
    elb_draining: str = msgspec.field(
        name="service.beta.kubernetes.io/aws-load-balancer-connection-draining-enabled", default=""
    )
    elb_draining_timeout: str = msgspec.field(
        name="service.beta.kubernetes.io/aws-load-balancer-connection-draining-timeout", default=""
    )
    lb_type: str = msgspec.field(name="service.beta.kubernetes.io/aws-load-balancer-type", default="")
    tolerate_unready: str = msgspec.field(name="service.alpha.kubernetes.io/tolerate-unready-endpoints", default="")
    flannel_address: str = msgspec.field(name="flannel.alpha.coreos.com/public-ip", default="")
    calico_address: str = msgspec.field(name="projectcalico.org/IPv4Address", default="")


class Meta(Lean, frozen=True, gc=False):
    """Object metadata. ``labels`` may be shared between objects: never change it."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    deletion_grace_period_seconds: int | None = None
    generation: int = 0
    labels: dict[str, str] = {}
    annotations: Annotations = Annotations()
    owner_references: tuple[OwnerRef, ...] = ()
    finalizers: tuple[str, ...] = ()


class Manager(Lean, frozen=True, gc=False):
    """Who wrote an object last, and when: one entry of ``managedFields``, without the fields themselves."""

    manager: str = ""
    operation: str = ""
    time: Time | None = None
    subresource: str = ""


class TracedMeta(Meta, frozen=True, gc=False):
    """Metadata of the kinds that people change by hand. Not of pods, slices and events: there it would only cost."""

    managed_fields: tuple[Manager, ...] = ()


class Object(Lean, frozen=True, gc=False):
    """An object of the API."""

    metadata: Meta = Meta()

    @property
    def name(self) -> str:
        """metadata.name."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """metadata.namespace; empty for what has none."""
        return self.metadata.namespace

    @property
    def labels(self) -> Mapping[str, str]:
        """metadata.labels."""
        return self.metadata.labels

    @property
    def created(self) -> datetime | None:
        """metadata.creationTimestamp."""
        return self.metadata.creation_timestamp

    @property
    def controller(self) -> OwnerRef | None:
        """The owner that manages this object, if one does."""
        return next((o for o in self.metadata.owner_references if o.controller), None)

    def ref(self) -> Ref:
        """This object's name, with the kind that its class is called after."""
        return Ref(type(self).__name__, self.name, self.namespace)


class Requirement(Lean, frozen=True, gc=False):
    """One expression of a selector."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels satisfy it; an operator that is not known satisfies nothing."""
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case "Gt" | "Lt" if value is not None and len(self.values) == 1:
                try:
                    left, right = int(value), int(self.values[0])
                except ValueError:
                    return False
                return left > right if self.operator == "Gt" else left < right
        return False

    def __str__(self) -> str:
        match self.operator:
            case "In" | "NotIn":
                return f"{self.key} {self.operator.lower()} ({','.join(self.values)})"
            case "Exists":
                return self.key
            case "DoesNotExist":
                return f"!{self.key}"
        return f"{self.key} {self.operator} {','.join(self.values)}"


class LabelSelector(Lean, frozen=True, gc=False):
    """A selector of workloads, policies and budgets. An empty one matches everything."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[Requirement, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether it asks for nothing, and so matches everything."""
        return not self.match_labels and not self.match_expressions

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        return selects(self.match_labels, labels) and all(e.matches(labels) for e in self.match_expressions)

    def __str__(self) -> str:
        return ",".join([*show_labels(self.match_labels), *map(str, self.match_expressions)])


class Condition(Lean, frozen=True, gc=False):
    """One condition of a status."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: Time | None = None
    last_update_time: Time | None = None
    last_heartbeat_time: Time | None = None


def condition(conditions: tuple[Condition, ...], kind: str) -> Condition | None:
    """The condition of that type, if the object has it."""
    for one in conditions:
        if one.type == kind:
            return one
    return None


def selects(wanted: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether every wanted label is there with its value."""
    return all(labels.get(key) == value for key, value in wanted.items())


def show_labels(labels: Mapping[str, str]) -> list[str]:
    """``key=value`` of each label, sorted."""
    return [f"{key}={value}" for key, value in sorted(labels.items())]


def labels_text(labels: Mapping[str, str]) -> str:
    """Labels as ``kubectl -l`` takes them."""
    return ",".join(show_labels(labels)) or "<none>"

"""Claims that do not bind, judged as the volume controller judges them: against every volume and their class."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from kdiag.facts.base import Derived
from kdiag.facts.cluster import Cluster
from kdiag.facts.pods import Pod, Pods
from kdiag.facts.scheduling import claims_of
from kdiag.facts.storage import (
    Claims,
    Differs,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    StorageClasses,
    Volumes,
    differences,
)

STATIC = "kubernetes.io/no-provisioner"

#: A volume of the class that another claim has tells more than a free one of another class.
_WEIGHT = {Differs.TAKEN: 5, Differs.STATE: 5, Differs.CLASS: 6, Differs.NAME: 0}
_OTHER = 2


class Lack(enum.Enum):
    """Why a claim stays Pending."""

    NO_FIT = "no volume fits"
    RELEASED = "the volume that fits is kept for a claim that is gone"
    NO_CLASS = "it names no class and there is no default"
    CLASS_MISSING = "its class does not exist"
    NO_ANSWER = "its provisioner makes no volume"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A volume that a claim might have had, and in what it differs."""

    volume: PersistentVolume
    differs: Mapping[Differs, str]

    @property
    def text(self) -> str:
        """The differences in words."""
        return ", ".join(text for kind, text in self.differs.items() if kind is not Differs.NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unbound:
    """A claim that waits in vain."""

    claim: PersistentVolumeClaim
    lack: Lack
    users: tuple[Pod, ...]
    nearest: Candidate | None
    storage_class: StorageClass | None


@dataclass(frozen=True, kw_only=True)
class UnboundClaims(Derived):
    """The claims that will not bind as things are. One that waits for its first pod is not among them."""

    claims: Claims = field(default_factory=Claims)
    volumes: Volumes = field(default_factory=Volumes)
    classes: StorageClasses = field(default_factory=StorageClasses)
    pods: Pods = field(default_factory=Pods)
    cluster: Cluster = field(default_factory=Cluster)

    @classmethod
    def derive(
        cls, claims: Claims, volumes: Volumes, classes: StorageClasses, pods: Pods, cluster: Cluster
    ) -> UnboundClaims:
        """Join them."""
        return cls(claims=claims, volumes=volumes, classes=classes, pods=pods, cluster=cluster)

    @cached_property
    def users(self) -> Mapping[tuple[str, str], tuple[Pod, ...]]:
        """The pods that use each claim and have not ended, by the claim's namespace and name."""
        found: dict[tuple[str, str], list[Pod]] = {}
        for pod in self.pods.items:
            if pod.spec.volumes and not pod.finished:
                for name in claims_of(pod):
                    found.setdefault((pod.namespace, name), []).append(pod)
        return {key: tuple(pods) for key, pods in found.items()}

    @cached_property
    def items(self) -> tuple[Unbound, ...]:
        """All of them."""
        return tuple(self._items())

    def of(self, lack: Lack) -> tuple[Unbound, ...]:
        """Those that lack one thing."""
        return tuple(u for u in self.items if u.lack is lack)

    def _items(self) -> Iterator[Unbound]:
        for claim in self.claims.items:
            if claim.status.phase != "Pending" or claim.metadata.deletion_timestamp:
                continue
            if self.cluster.age(claim.created) < 15:
                continue
            ranked = self._ranked(claim)
            if ranked and not ranked[0].differs:
                continue  # it binds in a moment, or with its first pod
            users = self.users.get((claim.namespace, claim.name), ())
            storage_class = self.classes.get(claim.spec.storage_class_name or "")
            lack = self._lack(claim, storage_class, ranked, users)
            if lack is not None:
                nearest = next((c for c in ranked if lack is not Lack.RELEASED or self._released(c)), None)
                yield Unbound(claim=claim, lack=lack, users=users, nearest=nearest, storage_class=storage_class)

    def _ranked(self, claim: PersistentVolumeClaim) -> list[Candidate]:
        found = [Candidate(v, differences(claim, v)) for v in self.volumes.items]
        return sorted(
            found,
            key=lambda c: (
                c.volume.name != claim.spec.volume_name,
                sum(_WEIGHT.get(d, _OTHER) for d in c.differs),
                c.volume.name,
            ),
        )

    def _released(self, one: Candidate) -> bool:
        """Whether nothing but a claim that no longer exists keeps this volume from the claim."""
        ref = one.volume.spec.claim_ref
        if ref is None or set(one.differs) != {Differs.TAKEN} or not self.claims.covers(ref.namespace):
            return False
        holder = self.claims.get(ref.name, ref.namespace)
        return holder is None or (ref.uid != "" and holder.metadata.uid != ref.uid)

    def _lack(
        self,
        claim: PersistentVolumeClaim,
        storage_class: StorageClass | None,
        ranked: list[Candidate],
        users: tuple[Pod, ...],
    ) -> Lack | None:
        name = claim.spec.storage_class_name
        if claim.spec.volume_name:
            named = next((c for c in ranked if c.volume.name == claim.spec.volume_name), None)
            return Lack.RELEASED if named and self._released(named) else Lack.NO_FIT
        if storage_class is not None and storage_class.provisioner != STATIC:
            waits = storage_class.waits and not claim.metadata.annotations.selected_node
            return None if waits else Lack.NO_ANSWER
        if storage_class is not None and storage_class.waits and not any(not p.node for p in users):
            return None
        if any(self._released(c) for c in ranked):
            return Lack.RELEASED
        same = [c for c in ranked if Differs.CLASS not in c.differs]
        if storage_class is not None or same or name == "":
            return Lack.NO_FIT
        if name is None:
            # A default class is written into claims that name none, within moments.
            return None if any(c.default for c in self.classes.items) else Lack.NO_CLASS
        return Lack.CLASS_MISSING

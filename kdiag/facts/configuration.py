"""ConfigMaps, service accounts, namespaces, quotas, limits and priorities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import msgspec

from kdiag.facts.base import ApiList, Objects
from kdiag.facts.meta import Condition, Lean, Object, Resources, TracedMeta
from kdiag.facts.podspec import Container, KeyToPath, NameRef, PodSpec, VolumeMount
from kdiag.model.quantity import Quantity
from kdiag.model.redact import RUN


class ConfigMap(Object, frozen=True, gc=False):
    """A ConfigMap; values that look like credentials are tokens that only compare."""

    metadata: TracedMeta = TracedMeta()
    data: dict[str, str] = {}
    binary_data: dict[str, Any] = {}

    def has(self, key: str) -> bool:
        """Whether it has that key."""
        return key in self.data or key in self.binary_data

    @property
    def keys(self) -> tuple[str, ...]:
        """All its keys."""
        return (*self.data, *self.binary_data)


@dataclass(frozen=True, slots=True, kw_only=True)
class MountedFile:
    """A key of a ConfigMap that a container sees as a file."""

    config: ConfigMap
    key: str
    mode: int

    @property
    def text(self) -> str:
        """What is in it; empty for binary data."""
        return self.config.data.get(self.key, "")


class ConfigMaps(Objects[ConfigMap]):
    """Every ConfigMap."""

    item: ClassVar[type[Any]] = ConfigMap
    spare: ClassVar[bool] = True
    sources = (ApiList("configmaps", "v1", "configmaps"),)

    @classmethod
    def adapt(cls, item: ConfigMap) -> ConfigMap:
        """Take credentials out; a value over 64 KiB is kept as its size alone."""
        data = {k: RUN.value(k, v) if len(v) <= 65536 else f"({len(v):,} characters)" for k, v in item.data.items()}
        return msgspec.structs.replace(item, data=data, binary_data=dict.fromkeys(item.binary_data, ""))

    def mounted(self, spec: PodSpec, container: Container, namespace: str, path: str) -> MountedFile | None:
        """The key of a ConfigMap that a container has at this path, by the innermost mount."""
        place = path.rstrip("/")
        mounts = [m for m in container.volume_mounts if f"{place}/".startswith(f"{m.mount_path.rstrip('/')}/")]
        mount = max(mounts, key=lambda m: len(m.mount_path), default=None)
        volume = next((v for v in spec.volumes if mount and v.name == mount.name), None)
        if mount is None or volume is None:
            return None
        inside = place[len(mount.mount_path.rstrip("/")) :].strip("/")
        wanted = "/".join(p for p in (mount.sub_path.strip("/"), inside) if p)
        sources = [(volume.config_map, volume.config_map.default_mode)] if volume.config_map else []
        if volume.projected:
            sources += [(s.config_map, volume.projected.default_mode) for s in volume.projected.sources if s.config_map]
        for source, mode in sources:
            found = self.get(source.name, namespace)
            items = source.items or tuple(KeyToPath(key=k, path=k) for k in (found.keys if found else ()))
            item = next((i for i in items if i.path == wanted), None)
            if found and item and found.has(item.key):
                return MountedFile(config=found, key=item.key, mode=item.mode or mode or 0o644)
        return None

    def absent_sub_paths(
        self, spec: PodSpec, container: Container, namespace: str
    ) -> Iterator[tuple[VolumeMount, ConfigMap]]:
        """The mounts of one file of a ConfigMap that has no such key: the kubelet makes an empty directory of them."""
        volumes = {v.name: v.config_map for v in spec.volumes if v.config_map and not v.config_map.optional}
        for mount in container.volume_mounts:
            volume = volumes.get(mount.name)
            found = self.get(volume.name, namespace) if volume and mount.sub_path else None
            if found is None or volume is None:
                continue
            paths = [i.path for i in volume.items if found.has(i.key)] if volume.items else list(found.keys)
            wanted = mount.sub_path.strip("/")
            if not any(path == wanted or path.startswith(f"{wanted}/") for path in paths):
                yield mount, found


class ServiceAccount(Object, frozen=True, gc=False):
    """A service account."""

    automount_service_account_token: bool | None = None
    image_pull_secrets: tuple[NameRef, ...] = ()


class ServiceAccounts(Objects[ServiceAccount]):
    """Every ServiceAccount."""

    item: ClassVar[type[Any]] = ServiceAccount
    spare: ClassVar[bool] = True
    sources = (ApiList("serviceaccounts", "v1", "serviceaccounts"),)


class _NamespaceSpec(Lean, frozen=True, gc=False):
    finalizers: tuple[str, ...] = ()


class _NamespaceStatus(Lean, frozen=True, gc=False):
    phase: str = ""
    conditions: tuple[Condition, ...] = ()


class Namespace(Object, frozen=True, gc=False):
    """A namespace."""

    spec: _NamespaceSpec = _NamespaceSpec()
    status: _NamespaceStatus = _NamespaceStatus()


class Namespaces(Objects[Namespace]):
    """Every Namespace."""

    item: ClassVar[type[Any]] = Namespace
    spare: ClassVar[bool] = True
    sources = (ApiList("namespaces", "v1", "namespaces", namespaced=False),)

    @cached_property
    def going(self) -> frozenset[str]:
        """Those that were deleted: what they hold breaks one by one, and is meant to."""
        return frozenset(n.name for n in self.items if n.metadata.deletion_timestamp)


class _QuotaSpec(Lean, frozen=True, gc=False):
    hard: Resources = {}


class _QuotaStatus(Lean, frozen=True, gc=False):
    hard: Resources = {}
    used: Resources = {}


class ResourceQuota(Object, frozen=True, gc=False):
    """A quota."""

    metadata: TracedMeta = TracedMeta()
    spec: _QuotaSpec = _QuotaSpec()
    status: _QuotaStatus = _QuotaStatus()

    def takes(self, asked: Mapping[str, str]) -> bool:
        """Whether there is room for that much more of each resource, as an admission message writes them."""
        try:
            more = {name: Quantity.parse(text) for name, text in asked.items()}
        except ValueError:
            return False
        return all(
            name in self.status.used and self.status.used[name] + value <= self.spec.hard[name]
            for name, value in more.items()
            if name in self.spec.hard
        )


class ResourceQuotas(Objects[ResourceQuota]):
    """Every ResourceQuota."""

    item: ClassVar[type[Any]] = ResourceQuota
    spare: ClassVar[bool] = True
    sources = (ApiList("resourcequotas", "v1", "resourcequotas"),)


class Limit(Lean, frozen=True, gc=False):
    """One rule of a LimitRange."""

    type: str = ""
    max: dict[str, Quantity] = {}
    min: dict[str, Quantity] = {}
    default: dict[str, Quantity] = {}


class _LimitSpec(Lean, frozen=True, gc=False):
    limits: tuple[Limit, ...] = ()


class LimitRange(Object, frozen=True, gc=False):
    """A LimitRange."""

    metadata: TracedMeta = TracedMeta()
    spec: _LimitSpec = _LimitSpec()


class LimitRanges(Objects[LimitRange]):
    """Every LimitRange."""

    item: ClassVar[type[Any]] = LimitRange
    spare: ClassVar[bool] = True
    sources = (ApiList("limitranges", "v1", "limitranges"),)


class PriorityClass(Object, frozen=True, gc=False):
    """A priority class."""

    value: int = 0


class PriorityClasses(Objects[PriorityClass]):
    """Every PriorityClass."""

    item: ClassVar[type[Any]] = PriorityClass
    spare: ClassVar[bool] = True
    sources = (ApiList("priorityclasses", "scheduling.k8s.io/v1", "priorityclasses", namespaced=False),)

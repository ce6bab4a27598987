"""Claims, volumes, classes and drivers."""

from __future__ import annotations

import enum
from decimal import Decimal
from typing import Any, ClassVar

from kdiag.facts.base import ApiList, Objects
from kdiag.facts.meta import Condition, LabelSelector, Lean, Object, Resources
from kdiag.facts.podspec import CSIVolume, HostPath, NFSVolume, NodeSelector
from kdiag.model.quantity import amount


class _Needs(Lean, frozen=True, gc=False):
    requests: Resources = {}


class _ClaimSpec(Lean, frozen=True, gc=False):
    access_modes: tuple[str, ...] = ()
    storage_class_name: str | None = None
    volume_name: str = ""
    volume_mode: str = "Filesystem"
    resources: _Needs = _Needs()
    selector: LabelSelector | None = None


class _ClaimStatus(Lean, frozen=True, gc=False):
    phase: str = ""
    capacity: Resources = {}
    conditions: tuple[Condition, ...] = ()


class PersistentVolumeClaim(Object, frozen=True, gc=False):
    """A claim. A class of None means the default one, an empty class means none."""

    spec: _ClaimSpec = _ClaimSpec()
    status: _ClaimStatus = _ClaimStatus()


class Claims(Objects[PersistentVolumeClaim]):
    """Every PersistentVolumeClaim."""

    item: ClassVar[type[Any]] = PersistentVolumeClaim
    sources = (ApiList("persistentvolumeclaims", "v1", "persistentvolumeclaims"),)


class ClaimRef(Lean, frozen=True, gc=False):
    """The claim that a volume is kept for."""

    namespace: str = ""
    name: str = ""
    uid: str = ""


class VolumeNodeAffinity(Lean, frozen=True, gc=False):
    """The nodes from which a volume can be reached."""

    required: NodeSelector | None = None


class _VolumeSpec(Lean, frozen=True, gc=False):
    access_modes: tuple[str, ...] = ()
    storage_class_name: str = ""
    capacity: Resources = {}
    claim_ref: ClaimRef | None = None
    persistent_volume_reclaim_policy: str = ""
    volume_mode: str = "Filesystem"
    node_affinity: VolumeNodeAffinity | None = None
    csi: CSIVolume | None = None
    host_path: HostPath | None = None
    nfs: NFSVolume | None = None


class _VolumeStatus(Lean, frozen=True, gc=False):
    phase: str = ""
    reason: str = ""
    message: str = ""


class PersistentVolume(Object, frozen=True, gc=False):
    """A volume."""

    spec: _VolumeSpec = _VolumeSpec()
    status: _VolumeStatus = _VolumeStatus()


class Volumes(Objects[PersistentVolume]):
    """Every PersistentVolume."""

    item: ClassVar[type[Any]] = PersistentVolume
    spare: ClassVar[bool] = True
    sources = (ApiList("persistentvolumes", "v1", "persistentvolumes", namespaced=False),)


class StorageClass(Object, frozen=True, gc=False):
    """A storage class."""

    provisioner: str = ""
    volume_binding_mode: str = "Immediate"
    allow_volume_expansion: bool = False

    @property
    def default(self) -> bool:
        """Whether claims that name no class get this one."""
        a = self.metadata.annotations
        return "true" in (a.default_storage_class, a.default_storage_class_beta)

    @property
    def waits(self) -> bool:
        """Whether binding waits for the first pod that uses the claim."""
        return self.volume_binding_mode == "WaitForFirstConsumer"


class StorageClasses(Objects[StorageClass]):
    """Every StorageClass."""

    item: ClassVar[type[Any]] = StorageClass
    spare: ClassVar[bool] = True
    sources = (ApiList("storageclasses", "storage.k8s.io/v1", "storageclasses", namespaced=False),)


class _Driver(Lean, frozen=True, gc=False):
    name: str = ""


class _CSINodeSpec(Lean, frozen=True, gc=False):
    drivers: tuple[_Driver, ...] = ()


class CSINode(Object, frozen=True, gc=False):
    """The CSI drivers of a node."""

    spec: _CSINodeSpec = _CSINodeSpec()


class CSINodes(Objects[CSINode]):
    """Every CSINode."""

    item: ClassVar[type[Any]] = CSINode
    spare: ClassVar[bool] = True
    sources = (ApiList("csinodes", "storage.k8s.io/v1", "csinodes", namespaced=False),)


class CSIDriver(Object, frozen=True, gc=False):
    """A CSI driver that was installed."""


class CSIDrivers(Objects[CSIDriver]):
    """Every CSIDriver."""

    item: ClassVar[type[Any]] = CSIDriver
    spare: ClassVar[bool] = True
    sources = (ApiList("csidrivers", "storage.k8s.io/v1", "csidrivers", namespaced=False),)


class _AttachSource(Lean, frozen=True, gc=False):
    persistent_volume_name: str = ""


class _AttachSpec(Lean, frozen=True, gc=False):
    attacher: str = ""
    node_name: str = ""
    source: _AttachSource = _AttachSource()


class _AttachStatus(Lean, frozen=True, gc=False):
    attached: bool = False


class VolumeAttachment(Object, frozen=True, gc=False):
    """A volume's attachment to a node."""

    spec: _AttachSpec = _AttachSpec()
    status: _AttachStatus = _AttachStatus()


class VolumeAttachments(Objects[VolumeAttachment]):
    """Every VolumeAttachment."""

    item: ClassVar[type[Any]] = VolumeAttachment
    spare: ClassVar[bool] = True
    sources = (ApiList("volumeattachments", "storage.k8s.io/v1", "volumeattachments", namespaced=False),)


class Differs(enum.Enum):
    """In what a volume is not what a claim asks for."""

    TAKEN = "taken"
    STATE = "state"
    NAME = "name"
    CLASS = "class"
    SIZE = "size"
    MODES = "access modes"
    VOLUME_MODE = "volume mode"
    SELECTOR = "selector"


def differences(claim: PersistentVolumeClaim, volume: PersistentVolume) -> dict[Differs, str]:
    """Why the claim cannot bind to the volume, each in words; empty when it can.

    A claim that names no class is held against volumes of no class, as the controller does where there is no default.
    """
    found: dict[Differs, str] = {}
    spec, offer = claim.spec, volume.spec
    ref = offer.claim_ref
    mine = ref is not None and (ref.namespace, ref.name) == (claim.namespace, claim.name)
    if ref is not None and not (mine and ref.uid in ("", claim.metadata.uid)):
        again = "an earlier claim of this name" if mine else f"claim {ref.namespace}/{ref.name}"
        found[Differs.TAKEN] = f"{volume.status.phase or 'kept'} for {again}"
    elif volume.metadata.deletion_timestamp:
        found[Differs.STATE] = "being deleted"
    elif volume.status.phase not in ("", "Available", "Bound", "Pending"):
        found[Differs.STATE] = volume.status.phase
    if spec.volume_name and spec.volume_name != volume.name:
        found[Differs.NAME] = f"the claim names volume {spec.volume_name}"
    if (spec.storage_class_name or "") != offer.storage_class_name:
        found[Differs.CLASS] = (
            f"class {offer.storage_class_name or '<none>'}, not {spec.storage_class_name or '<none>'}"
        )
    wanted, size = spec.resources.requests.get("storage"), offer.capacity.get("storage")
    if wanted is not None and (size is None or size < wanted):
        found[Differs.SIZE] = f"{amount('storage', size or Decimal(0))}, not {amount('storage', wanted)}"
    if lacking := [m for m in spec.access_modes if m not in offer.access_modes]:
        found[Differs.MODES] = f"{','.join(offer.access_modes)}, not {','.join(lacking)}"
    if spec.volume_mode != offer.volume_mode:
        found[Differs.VOLUME_MODE] = f"mode {offer.volume_mode}, not {spec.volume_mode}"
    if spec.selector is not None and not spec.selector.matches(volume.labels):
        found[Differs.SELECTOR] = f"without label {spec.selector}"
    return found

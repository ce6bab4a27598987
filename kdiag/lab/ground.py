"""The practice ground: a cluster that its owner has marked as one to be broken, and nothing but that."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kdiag.errors import LabError
from kdiag.lab.api import Api, Object, Ref, field
from kdiag.lab.steps import MARK
from kdiag.model.jsontext import read_json
from kdiag.model.text import listing, plural

NAME = Ref("ConfigMap", "kube-system", "kdiag-practice")
_SYSTEM = frozenset({"kube-system", "kube-public", "kube-node-lease", "local-path-storage", "kube-flannel"})
_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "CronJob")
#: More of them than this is no cluster that somebody made to be broken.
_MANY = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The cluster as it stands: who is there, and whether it may be broken."""

    server: str
    context: str
    nodes: tuple[Object, ...]
    workloads: tuple[str, ...]
    #: Whether the control plane runs as static pods, as kubeadm makes it.
    static: bool
    marked: bool
    accepted: frozenset[str]
    images: Mapping[str, str]

    @property
    def machines(self) -> dict[str, list[str]]:
        """The nodes with their addresses."""
        found = {}
        for node in self.nodes:
            addresses = field(node, "status.addresses") or []
            order = sorted(addresses, key=lambda a: a.get("type") != "InternalIP")
            found[str(node["metadata"]["name"])] = [str(a["address"]) for a in order if a.get("address")]
        return found

    @property
    def control_planes(self) -> tuple[str, ...]:
        """The nodes of the control plane."""
        return tuple(n["metadata"]["name"] for n in self.nodes if _controls(n))

    @property
    def workers(self) -> tuple[str, ...]:
        """The nodes that are none."""
        return tuple(n["metadata"]["name"] for n in self.nodes if not _controls(n))

    @property
    def foreign(self) -> tuple[str, ...]:
        """Workloads that are neither ours nor were there when the cluster was marked."""
        return tuple(w for w in self.workloads if w not in self.accepted)

    def values(self, dice_seed: int) -> dict[str, Any]:
        """What every scenario may name: nodes and their addresses."""
        machines = self.machines
        workers = self.workers or self.control_planes
        worker = workers[dice_seed % len(workers)]
        control = self.control_planes[0] if self.control_planes else workers[0]
        others = [w for w in workers if w != worker]
        return {
            "worker": worker,
            "other_worker": others[0] if others else worker,
            "control_plane": control,
            "worker_count": len(self.workers),
            "worker_address": next(iter(machines[worker]), ""),
            "control_plane_address": next(iter(machines[control]), ""),
        }

    def refuse(self) -> None:
        """Raise LabError unless this cluster may be broken now."""
        where = f"context {self.context or '(none)'}, {self.server}"
        if not self.marked:
            raise LabError(f"this cluster is not marked for practice ({where}); kdiag lab enable marks it")
        if self.foreign:
            raise LabError(
                f"{plural(len(self.foreign), 'workload')} {'has' if len(self.foreign) == 1 else 'have'} appeared since "
                f"this cluster was marked: {listing(self.foreign)}; if they may be lost, kdiag lab enable again"
            )


def _controls(node: Object) -> bool:
    labels = node.get("metadata", {}).get("labels") or {}
    return "node-role.kubernetes.io/control-plane" in labels or "node-role.kubernetes.io/master" in labels


def look(api: Api) -> Ground:
    """The cluster as it stands."""
    mark = api.get(NAME)
    pods = api.list("Pod")
    data = (mark or {}).get("data") or {}
    return Ground(
        server=api.target.server,
        context=api.target.context,
        nodes=tuple(sorted(api.list("Node"), key=lambda n: str(n["metadata"]["name"]))),
        workloads=tuple(_foreign(api, pods)),
        static=any(str(p["metadata"]["name"]).startswith("kube-apiserver-") for p in pods),
        marked=mark is not None,
        accepted=frozenset(_decoded(data.get("workloads"), [])),
        images=_decoded(data.get("images"), {}),
    )


def _foreign(api: Api, pods: Iterable[Object]) -> Iterable[str]:
    """Workloads outside of the system's namespaces and ours, and pods that belong to none."""
    ours = {
        n["metadata"]["name"] for n in api.list("Namespace") if MARK in (n["metadata"].get("labels") or {})
    } | _SYSTEM
    for kind in _WORKLOADS:
        for item in api.list(kind):
            if item["metadata"]["namespace"] not in ours:
                yield f"{kind}/{item['metadata']['namespace']}/{item['metadata']['name']}"
    for pod in pods:
        meta = pod["metadata"]
        if meta["namespace"] not in ours and not meta.get("ownerReferences"):
            yield f"Pod/{meta['namespace']}/{meta['name']}"


def _decoded(text: object, otherwise: Any) -> Any:
    try:
        found = read_json(str(text or "null"))
    except ValueError:
        return otherwise
    return found if isinstance(found, type(otherwise)) else otherwise


def enable(api: Api, ground: Ground, images: Mapping[str, str]) -> None:
    """Mark the cluster. Raises LabError for one that looks like nobody's practice ground."""
    if len(ground.workloads) > _MANY:
        raise LabError(
            f"{plural(len(ground.workloads), 'workload')} run here: this looks like no cluster to practise on; "
            "make one with: kdiag lab up"
        )
    api.put(
        {
            "kind": "ConfigMap",
            "metadata": {"name": NAME.name, "namespace": NAME.namespace},
            "data": {
                "note": "kdiag lab may break this cluster. kdiag lab disable, or deleting this, forbids it.",
                "workloads": json.dumps(sorted(ground.workloads)),
                "images": json.dumps(dict(images)),
            },
        }
    )


def disable(api: Api) -> None:
    """Take the mark away."""
    api.delete(NAME)

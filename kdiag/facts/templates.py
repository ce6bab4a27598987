"""The template of a workload: a pod that stands for it, the commands that change it, and what it refers to."""

from __future__ import annotations

from collections.abc import Iterable

from kdiag.facts.faults import Failure
from kdiag.facts.pods import Pod
from kdiag.model.result import Ref

_EDITABLE = frozenset({"Deployment", "StatefulSet", "DaemonSet", "CronJob", "ReplicaSet", "ReplicationController"})


def edit(failure: Failure, hint: str = "") -> str:
    """The command that changes the template of what fails."""
    return edit_template(failure.owner, hint)


def edit_template(ref: Ref, hint: str = "") -> str:
    """The command that changes a workload's template. Pods and Jobs cannot be edited: they are made anew."""
    kind = ref.kind.lower()
    where = f"kubectl -n {ref.namespace}"
    then = f"   # {hint}" if hint else ""
    if ref.kind not in ("Pod", "Job"):
        return f"{where} edit {kind} {ref.name}{then}"
    again = f"{where} replace --force -f {ref.name}.yaml" if ref.kind == "Pod" else "delete the Job and create it anew"
    return f"{where} get {kind} {ref.name} -o yaml > {ref.name}.yaml   # {hint or 'correct it'}, then: {again}"


def living(group: Iterable[Pod]) -> Pod | None:
    """Of the pods of one template one that is neither over nor on its way out; None where all are."""
    return next((p for p in group if not p.finished and not p.terminating), None)


def editable(failure: Failure) -> bool:
    """Whether the workload's template can be changed in place."""
    return failure.owner.kind in _EDITABLE


def set_image(failure: Failure, image: str) -> str:
    """The command that gives a container another image; the word for it where a person has to choose."""
    ref = failure.owner
    if volume := next((v.name for v in failure.pod.spec.volumes if v.image and v.image.reference == failure.about), ""):
        return edit(failure, f"volume {volume}: image.reference {image}")
    if ref.kind not in _EDITABLE and ref.kind != "Pod":
        return edit(failure, "another image")
    return f"kubectl -n {ref.namespace} set image {ref.kind.lower()}/{ref.name} {failure.container}={image}"


def source_of(failure: Failure) -> str:
    """How the template uses the ConfigMap or Secret that a failure is about: a variable, all variables, a volume."""
    name, spec = failure.about, failure.pod.spec
    for container in spec.all_containers:
        for env in container.env:
            source = env.value_from
            for ref in (source.config_map_key_ref, source.secret_key_ref) if source else ():
                if ref and ref.name == name:
                    return f"env {env.name} of container {container.name} (key {ref.key})"
        for from_ in container.env_from:
            for whole in (from_.config_map_ref, from_.secret_ref):
                if whole and whole.name == name:
                    return f"envFrom of container {container.name}"
    for volume in spec.volumes:
        names = [
            volume.config_map.name if volume.config_map else "",
            volume.secret.secret_name if volume.secret else "",
        ]
        for part in volume.projected.sources if volume.projected else ():
            names += [part.config_map.name if part.config_map else "", part.secret.name if part.secret else ""]
        if name in names:
            return f"volume {volume.name}"
    return "a reference of the template"


def secrets_of(pods: Iterable[Pod]) -> set[str]:
    """The Secrets that the template of these pods needs, where one of them is well: so these exist."""
    found: set[str] = set()
    well = next((p for p in pods if p.ready), None)
    if well is None:
        return found
    for container in well.spec.all_containers:
        for env in container.env:
            ref = env.value_from.secret_key_ref if env.value_from else None
            found |= {ref.name} if ref and not ref.optional else set()
        found |= {s.secret_ref.name for s in container.env_from if s.secret_ref and not s.secret_ref.optional}
    for volume in well.spec.volumes:
        found |= {volume.secret.secret_name} if volume.secret and not volume.secret.optional else set()
    return found

"""What a pod of an older revision suffers from, and the newest template of its Deployment no longer asks for.

Such a pod stays until one of the new revision is ready. Where that one has a fault of its own it stays for long, and
what is wrong with it is mended all the same: only the new pods tell what is left to do.
"""

from __future__ import annotations

from collections.abc import Callable

from kdiag.facts.faults import Failure, Fault
from kdiag.facts.pods import Pods
from kdiag.facts.podspec import Container, PodSpec
from kdiag.facts.workloads import Owners


def _configuration(container: Container) -> object:
    return container.env, container.env_from


def _program(container: Container) -> object:
    return container.image, container.command, container.args


def _image(container: Container) -> object:
    return container.image


_ASKED: dict[Fault, Callable[[Container], object]] = {
    **dict.fromkeys((Fault.IMAGE_NOT_FOUND, Fault.REGISTRY_UNREACHABLE, Fault.IMAGE_NAME_INVALID), _image),
    **dict.fromkeys((Fault.IMAGE_DENIED, Fault.IMAGE_OTHER, Fault.WRONG_ARCHITECTURE), _image),
    Fault.IMAGE_NEVER_PULLED: lambda c: (c.image, c.image_pull_policy),
    Fault.COMMAND_NOT_FOUND: _program,
    Fault.OUT_OF_MEMORY: lambda c: c.resources,
}
_REFERRED = (Fault.CONFIGMAP_MISSING, Fault.SECRET_MISSING, Fault.KEY_MISSING)


def mended(failure: Failure, owners: Owners, pods: Pods) -> bool:
    """Whether the newest template no longer has what the container fails for."""
    if failure.fault is not Fault.UNSCHEDULED and failure.fault not in _ASKED and failure.fault not in _REFERRED:
        return False
    both = owners.replaced(failure.pod, pods)
    if both is None:
        return False
    old, new = both
    if failure.fault is Fault.UNSCHEDULED:
        return _placed(old) != _placed(new)
    before, after = old.container(failure.container), new.container(failure.container)
    if failure.fault in _REFERRED:
        # A volume is not one container's: the pod waits for all of them.
        if old.volumes != new.volumes:
            return True
        return bool(before and (after is None or _configuration(before) != _configuration(after)))
    asked = _ASKED[failure.fault]
    return bool(before and (after is None or asked(before) != asked(after)))


def _placed(spec: PodSpec) -> tuple[object, ...]:
    """All of a template that the scheduler looks at."""
    return (
        *(spec.node_selector, spec.affinity, spec.tolerations, spec.topology_spread_constraints),
        *(spec.requests(), spec.volumes, spec.runtime_class_name, spec.scheduler_name),
        {p.host_port for c in spec.all_containers for p in c.ports},
    )

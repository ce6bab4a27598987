"""A container or volume names a ConfigMap that does not exist in its namespace."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, Shared, check, kubectl, listing, nearest, present
from kdiag.facts import (
    Cluster,
    ConfigMaps,
    Events,
    Failures,
    Fault,
    Logs,
    PodSpec,
    Workload,
    Workloads,
    edit,
    edit_template,
    source_of,
    touched,
)

#: Every namespace has it: a list without it is not to be trusted, or the namespace is minutes old.
_ALWAYS = "kube-root-ca.crt"
#: Seconds in which what is applied together is there as a whole.
_APPLIED = 30


@check(
    title="ConfigMap does not exist",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/job_failed"),
    tags=(
        "config",
        "configmap",
    ),
)
def configmap_missing(
    failures: Failures,
    cluster: Cluster,
    events: Events | None,
    logs: Logs | None,
    configmaps: ConfigMaps | None,
    workloads: Workloads | None,
) -> Iterator[Finding]:
    """The kubelet's word decides; where it was not asked yet, what the template names and the list has not."""
    told: set[tuple[Ref, str]] = set()
    for group in failures.of(Fault.CONFIGMAP_MISSING, events, logs):
        one = group[0]
        namespace = one.pod.namespace
        if configmaps and configmaps.get(one.about, namespace):
            continue  # made meanwhile: the kubelet finds it within a minute
        told.add((one.owner, one.about))
        names, meant, hint = _around(one.about, namespace, configmaps)
        shown = Evidence(kubectl("describe", "pod", one.pod.name, namespace=namespace), one.said)
        none = "none" if one.about == _ALWAYS else f"no ConfigMap but {_ALWAYS}"
        listed = Evidence(kubectl("get", "configmaps", namespace=namespace), listing(names, 6) or none)
        steps = [edit(one, f"{one.about} → {meant}")] if meant else []
        steps += _given() if one.about == _ALWAYS else [_create(one.about, namespace)]
        yield Finding(
            one.owner,
            f"{one.where} needs ConfigMap {namespace}/{one.about}, which does not exist{hint}",
            evidence=present(shown, Evidence("", f"used as {source_of(one)}"), listed if configmaps else None),
            next=tuple(steps),
            touches=touched(group, Ref("ConfigMap", one.about, namespace)),
            key=f"{one.container} {one.about}",
            since=one.started,
            own=one.about != _ALWAYS,
            shared=_shared(one.about, namespace, hint),
        )
    for workload in workloads.items if workloads and configmaps and not configmaps.gaps else ():
        # The DNS and the proxy of the cluster have checks of their own.
        if workload.desired < 1 or workload.namespace == "kube-system" or cluster.age(workload.created) < _APPLIED:
            continue
        if configmaps and configmaps.covers(workload.namespace) and configmaps.get(_ALWAYS, workload.namespace):
            for name, use in _named(workload.pod_spec):
                if not configmaps.get(name, workload.namespace) and (workload.ref(), name) not in told:
                    told.add((workload.ref(), name))
                    yield _later(workload, name, use, configmaps)


def _around(name: str, namespace: str, configmaps: ConfigMaps | None) -> tuple[list[str], str | None, str]:
    """The ConfigMaps that there are, the one that was meant, and that in words."""
    names = [c.name for c in configmaps.within(namespace) if c.name != _ALWAYS] if configmaps else []
    if name == _ALWAYS:
        return names, None, "; the controller manager makes it in each namespace"
    meant = nearest(name, names)
    elsewhere = [c.namespace for c in configmaps.items if c.name == name] if configmaps else []
    return names, meant, f"; {meant} does" if meant else f"; namespace {elsewhere[0]} has one" if elsewhere else ""


def _create(name: str, namespace: str) -> str:
    return kubectl("create", "configmap", name, "--from-file=PATH", namespace=namespace)


def _given() -> list[str]:
    """Nobody makes that one by hand: the controller manager puts it into each namespace."""
    lease = kubectl("get", "lease", "kube-controller-manager", "-o", "yaml", namespace="kube-system")
    return [
        f"{lease}    # who makes it: is spec.renewTime of now?",
        kubectl("logs", "-l", "component=kube-controller-manager", "--tail=50", namespace="kube-system"),
    ]


def _named(spec: PodSpec) -> Iterator[tuple[str, str]]:
    """The ConfigMaps that a pod cannot start without, and what for."""
    for container in spec.all_containers:
        for env in container.env:
            key = env.value_from.config_map_key_ref if env.value_from else None
            if key and not key.optional:
                yield key.name, f"env {env.name} of container {container.name}"
        for source in container.env_from:
            if source.config_map_ref and not source.config_map_ref.optional:
                yield source.config_map_ref.name, f"envFrom of container {container.name}"
    for volume in spec.volumes:
        sources = [volume.config_map, *(s.config_map for s in (volume.projected.sources if volume.projected else ()))]
        yield from ((s.name, f"volume {volume.name}") for s in sources if s and not s.optional)


def _later(workload: Workload, name: str, use: str, configmaps: ConfigMaps) -> Finding:
    """What runs has it from before, or has not come so far."""
    ref, namespace = workload.ref(), workload.namespace
    names, meant, hint = _around(name, namespace, configmaps)
    steps = [edit_template(ref, f"{name} → {meant}")] if meant else []
    return Finding(
        ref,
        f"{ref} can start no further pod: ConfigMap {namespace}/{name} does not exist{hint}",
        evidence=(
            Evidence(kubectl("get", ref.kind.lower(), ref.name, "-o", "yaml", namespace=namespace), f"used as {use}"),
            Evidence(kubectl("get", "configmaps", namespace=namespace), listing(names, 6) or f"none but {_ALWAYS}"),
        ),
        next=(*steps, _create(name, namespace)),
        touches=(Ref("ConfigMap", name, namespace),),
        key=f" {name}",
        severity=Severity.WARNING,
        own=True,
        shared=_shared(name, namespace, hint),
    )


def _shared(name: str, namespace: str, hint: str) -> Shared:
    return Shared(Ref("ConfigMap", name, namespace), f"ConfigMap {namespace}/{name} does not exist{hint}")

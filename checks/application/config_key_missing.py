"""A container or volume names a key that its ConfigMap or Secret does not have."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, Shared, check, kubectl, listing, nearest, present
from kdiag.facts import (
    ConfigMaps,
    Events,
    Failures,
    Fault,
    Logs,
    edit,
    edit_template,
    living,
    touched,
)

_KEYS = '{{range $k, $v := .data}}{{$k}}{{"\\n"}}{{end}}'


@check(
    title="ConfigMap or Secret lacks a key",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/job_failed"),
    explains_here=(
        "application/container_crashes",
        "application/container_exits_cleanly",
        "application/init_container_fails",
        "application/pod_not_ready",
        "application/workload_unavailable",
    ),
    tags=(
        "config",
        "configmap",
        "secret",
    ),
)
def config_key_missing(
    failures: Failures, events: Events | None, logs: Logs | None, configmaps: ConfigMaps | None
) -> Iterator[Finding]:
    """A ConfigMap's own keys show what was meant; a Secret's are never read."""
    yield from _sub_paths(failures, configmaps)
    for group in failures.of(Fault.KEY_MISSING, events, logs):
        one = group[0]
        namespace = one.pod.namespace
        kind, _, name = one.about.partition(" ")
        found = configmaps.get(name, namespace) if configmaps and kind == "ConfigMap" else None
        if found and found.has(one.key):
            continue  # added meanwhile
        keys = sorted(found.keys) if found else []
        meant = nearest(one.key, keys)
        look = kubectl("get", kind.lower(), name, "-o", f"go-template={_KEYS}", namespace=namespace)
        yield Finding(
            one.owner,
            f"{one.where} needs key {one.key} of {kind} {namespace}/{name}, which does not have it"
            + (_hint(meant, keys) if found else ""),
            evidence=present(
                Evidence(kubectl("describe", "pod", one.pod.name, namespace=namespace), one.said),
                Evidence(look, listing(keys, 8) or "no key") if found else None,
            ),
            next=(
                *([] if found else [look]),
                edit(one, f"key {one.key} → {meant}" if meant else f"the key, or add {one.key} to {kind} {name}"),
            ),
            touches=touched(group, Ref(kind, name, namespace)),
            key=f"{one.container} {one.about} {one.key}",
            since=one.started,
            shared=Shared(Ref(kind, name, namespace), f"{kind} {namespace}/{name} has no key {one.key}"),
        )


def _hint(meant: str | None, keys: list[str]) -> str:
    return f"; {meant} is there" if meant else f"; it has {listing(keys)}" if keys else "; it has no key"


def _sub_paths(failures: Failures, configmaps: ConfigMaps | None) -> Iterator[Finding]:
    """A subPath that no key has is no error to the kubelet: it makes an empty directory in the file's place."""
    if configmaps is None:
        return
    for group in failures.pods.templates:
        pod = living(group)
        if pod is None:
            continue
        for container in pod.spec.all_containers:
            for mount, config in configmaps.absent_sub_paths(pod.spec, container, pod.namespace):
                keys = sorted(config.keys)
                meant = nearest(mount.sub_path, keys)
                owner = failures.owners.top(pod)
                bad = [p for p in group if not p.ready and not p.finished]
                change = f"subPath {mount.sub_path} → {meant}" if meant else f"subPath {mount.sub_path}"
                yield Finding(
                    owner,
                    f"{owner} mounts {mount.sub_path} of ConfigMap {config.ref().path} at {mount.mount_path}, and gets"
                    f" an empty directory: there is no such key{_hint(meant, keys)}",
                    evidence=(
                        Evidence(
                            kubectl("get", "pod", pod.name, "-o", "yaml", namespace=pod.namespace),
                            f"mountPath {mount.mount_path}, subPath {mount.sub_path}, volume {mount.name}",
                        ),
                        Evidence(
                            kubectl(
                                "get", "configmap", config.name, "-o", f"go-template={_KEYS}", namespace=pod.namespace
                            ),
                            listing(keys, 8) or "no key",
                        ),
                    ),
                    next=(edit_template(owner, change),),
                    touches=(config.ref(), *(p.ref() for p in bad[:20])),
                    key=f"{container.name} {mount.mount_path}",
                    severity=Severity.ERROR if bad else Severity.WARNING,
                )

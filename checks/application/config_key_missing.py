"""A container or volume names a key that its ConfigMap or Secret does not have."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing, nearest
from kdiag.facts import (
    ConfigMaps,
    Events,
    Failures,
    Fault,
    Logs,
    edit,
    touched,
)


@check(
    title="ConfigMap or Secret lacks a key",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/job_failed"),
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
    for group in failures.of(Fault.KEY_MISSING, events, logs):
        one = group[0]
        namespace = one.pod.namespace
        kind, _, name = one.about.partition(" ")
        found = configmaps.get(name, namespace) if configmaps and kind == "ConfigMap" else None
        if found and found.has(one.key):
            continue  # added meanwhile
        keys = sorted(found.keys) if found else []
        meant = nearest(one.key, keys)
        hint = (
            f"; {meant} is there"
            if meant
            else f"; it has {listing(keys)}"
            if keys
            else "; it has no key"
            if found
            else ""
        )
        template = '{{range $k, $v := .data}}{{$k}}{{"\\n"}}{{end}}'
        look = kubectl("get", kind.lower(), name, "-o", f"go-template={template}", namespace=namespace)
        yield Finding(
            one.owner,
            f"{one.where} needs key {one.key} of {kind} {namespace}/{name}, which does not have it{hint}",
            evidence=(
                Evidence(kubectl("describe", "pod", one.pod.name, namespace=namespace), one.said),
                *([Evidence(look, listing(keys, 8) or "no key")] if found else []),
            ),
            next=(
                *([] if found else [look]),
                edit(one, f"key {one.key} → {meant}" if meant else f"the key, or add {one.key} to {kind} {name}"),
            ),
            touches=touched(group, Ref(kind, name, namespace)),
            key=f"{one.container} {one.about} {one.key}",
            since=one.started,
        )

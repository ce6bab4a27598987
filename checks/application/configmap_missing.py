"""A container or volume names a ConfigMap that does not exist in its namespace."""

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
    source_of,
    touched,
)


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
    failures: Failures, events: Events | None, logs: Logs | None, configmaps: ConfigMaps | None
) -> Iterator[Finding]:
    """The kubelet's word decides; the list of ConfigMaps only shows what was meant."""
    for group in failures.of(Fault.CONFIGMAP_MISSING, events, logs):
        one = group[0]
        namespace = one.pod.namespace
        if configmaps and configmaps.get(one.about, namespace):
            continue  # made meanwhile: the kubelet finds it within a minute
        names = [c.name for c in configmaps.within(namespace) if c.name != "kube-root-ca.crt"] if configmaps else []
        meant = nearest(one.about, names)
        elsewhere = [c.namespace for c in configmaps.items if c.name == one.about] if configmaps else []
        hint = f"; {meant} does" if meant else f"; namespace {elsewhere[0]} has one" if elsewhere else ""
        shown = Evidence(kubectl("describe", "pod", one.pod.name, namespace=namespace), one.said)
        listed = Evidence(
            kubectl("get", "configmaps", namespace=namespace), listing(names, 6) or "no ConfigMap but kube-root-ca.crt"
        )
        steps = [edit(one, f"{one.about} → {meant}")] if meant else []
        steps.append(kubectl("create", "configmap", one.about, "--from-file=PATH", namespace=namespace))
        yield Finding(
            one.owner,
            f"{one.where} needs ConfigMap {namespace}/{one.about}, which does not exist{hint}",
            evidence=(shown, Evidence("", f"used as {source_of(one)}"), *([listed] if configmaps else [])),
            next=tuple(steps),
            touches=touched(group, Ref("ConfigMap", one.about, namespace)),
            key=f"{one.container} {one.about}",
            since=one.started,
        )

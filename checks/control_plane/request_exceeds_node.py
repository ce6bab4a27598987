"""A control-plane pod requests more than its node has, so the kubelet does not admit it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from kdiag.check import STATIC_POD_ABSENT, Evidence, Finding, Layer, Severity, check
from kdiag.facts import (
    Cluster,
    Containers,
    Manifest,
    Manifests,
    NodeManifests,
    Pods,
    amount,
    component_standing,
    manifest_repair,
    manifest_severity,
    stands_still,
    static_pod,
)


@check(
    title="Control-plane pod requests more than its node has",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    explains=STATIC_POD_ABSENT,
    tags=("static-pods", "manifests", "resources", "apiserver"),
)
def request_exceeds_node(
    manifests: Manifests, cluster: Cluster, containers: Containers | None, pods: Pods | None
) -> Iterator[Finding]:
    """One pod, or the control plane's pods together, against the processors and the memory of the machine."""
    for node, found in manifests:
        for resource, has in (("cpu", Decimal(found.cpus)), ("memory", Decimal(found.memory))):
            asked = {m.component: Decimal(m.spec.requests().get(resource, 0)) for m in found.running if m.spec}
            if not has or not asked:
                continue
            largest = max(asked, key=lambda part: asked[part])
            if sum(asked.values()) <= has:
                continue
            manifest = found.of(largest)
            if manifest is None:
                continue
            now = component_standing(manifest, node, containers, pods, cluster)
            if now.proven:
                continue
            subject = static_pod(largest, node)
            alone = asked[largest] > has
            what = (
                "" if alone else f", and the control plane together {amount(resource, sum(asked.values(), Decimal()))}"
            )
            line = _line(manifest, resource)
            yield Finding(
                subject,
                f"{subject.name} is not admitted: {manifest.where(line)} requests {amount(resource, asked[largest])} "
                f"{resource}{what}; {node} has {amount(resource, has)}",
                evidence=(manifest.quote(node, line), _machine(node, resource, found)),
                next=manifest_repair(node, manifest, line, f"request less {resource}"),
                touches=stands_still(manifests, largest),
                key=resource,
                severity=manifest_severity(manifests, largest, now),
            )


def _line(manifest: Manifest, resource: str) -> int:
    place = ("spec", "containers", manifest.index, "resources")
    kind = "requests" if manifest.document.at(*place, "requests", resource) is not None else "limits"
    return manifest.line(*place, kind, resource)


def _machine(node: str, resource: str, found: NodeManifests) -> Evidence:
    if resource == "cpu":
        return Evidence("grep -c ^processor /proc/cpuinfo", str(found.cpus), node)
    return Evidence("grep MemTotal /proc/meminfo", f"{found.memory // 1024} kB", node)

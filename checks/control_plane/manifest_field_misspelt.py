"""A static pod's manifest has a misspelt field, which the kubelet passes over without a word."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import COMPONENT_FAILS, Evidence, Finding, Layer, Severity, check
from kdiag.facts import (
    Cluster,
    Containers,
    Manifests,
    Pods,
    component_standing,
    manifest_repair,
    manifest_severity,
    manifest_subject,
    spell,
    stands_still,
)


@check(
    title="Static pod manifest has a misspelt field",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    explains=(
        *COMPONENT_FAILS,
        "control_plane/manifest_command_unknown",
        "control_plane/manifest_file_missing",
        "control_plane/manifest_probe_wrong",
        "control_plane/manifest_volume_wrong",
    ),
    tags=("static-pods", "manifests"),
)
def manifest_field_misspelt(
    manifests: Manifests, cluster: Cluster, containers: Containers | None, pods: Pods | None
) -> Iterator[Finding]:
    """Only a near miss of a field that the same object does not have; the pod runs without what was meant."""
    for node, found in manifests:
        for manifest in found.files if found.used else ():
            if not manifest.taken:
                continue
            now = component_standing(manifest, node, containers, pods, cluster)
            for problem in manifest.problems:
                if problem.fatal:
                    continue
                subject = manifest_subject(manifest, node)
                wrong = str(problem.path[-1])
                yield Finding(
                    subject,
                    f"{subject.name} runs without its {problem.meant}: {manifest.where(problem.line)} says {wrong}",
                    evidence=(
                        manifest.quote(node, problem.line),
                        Evidence("", f"{spell(problem.path)} is no field of a Pod and is passed over", node),
                    ),
                    next=manifest_repair(node, manifest, problem.line, f"{problem.meant} for {wrong}"),
                    touches=stands_still(manifests, manifest.component),
                    key=spell(problem.path),
                    severity=manifest_severity(manifests, manifest.component, now),
                )

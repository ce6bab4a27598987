"""A file in the static pod folder is YAML but no valid Pod, so the kubelet refuses it."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import COMPONENT_FAILS, Evidence, Finding, Layer, Severity, check
from kdiag.facts import (
    Cluster,
    Containers,
    Manifest,
    Manifests,
    Pods,
    Problem,
    component_standing,
    manifest_repair,
    manifest_severity,
    manifest_subject,
    stands_still,
    who_cannot_run,
)


@check(
    title="Static pod manifest is no valid Pod",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    explains=(
        *COMPONENT_FAILS,
        "control_plane/static_pod_missing",
    ),
    tags=("static-pods", "manifests", "apiserver", "scheduler", "etcd"),
)
def manifest_not_a_pod(
    manifests: Manifests, cluster: Cluster, containers: Containers | None, pods: Pods | None
) -> Iterator[Finding]:
    """Wrong apiVersion or kind, a required field that is missing or misspelt, a wrong type, no plain file."""
    for node, found in manifests:
        for manifest in found.files if found.used else ():
            problem = _problem(manifest)
            if problem is None:
                continue
            good = found.of(manifest.component) if manifest.component else None
            now = component_standing(manifest, node, containers, pods, cluster)
            if good:
                severity = Severity.WARNING
            elif manifest.component:
                severity = manifest_severity(manifests, manifest.component, now)
            else:
                severity = Severity.ERROR if manifest.name else Severity.WARNING
            meant = f", meant is {problem.meant}" if problem.meant else ""
            repair = problem.meant or problem.what
            if begins := _later(manifest):
                meant = f"; the kubelet reads only the first document of a file, and the Pod begins at line {begins}"
                repair = f"the Pod alone: take out what is before line {begins}"
            yield Finding(
                manifest_subject(manifest, node),
                f"{who_cannot_run(manifest, node, alone=not good)}: {manifest.where(problem.line)} is refused: "
                f"{problem.what}{meant}",
                evidence=(
                    manifest.quote(node, problem.line)
                    if manifest.lines
                    else Evidence(f"ls -la {manifest.path}", f"{manifest.info.noun}, {manifest.info.size} bytes", node),
                    *(
                        Evidence("", f"line {p.line}: {p.what}", node)
                        for p in manifest.refused[:4]
                        if p is not problem and p.path != problem.path
                    ),
                ),
                next=manifest_repair(node, manifest, problem.line, repair)
                if manifest.component and not good
                else (f"ssh {node} sudo mv {manifest.path} /root/    # only pods belong into this folder",),
                touches=stands_still(manifests, manifest.component) if manifest.component and not good else (),
                key=manifest.file if good or not manifest.component else "",
                severity=severity,
            )


def _problem(manifest: Manifest) -> Problem | None:
    if manifest.info.kind != "f":
        return Problem((), 1, f"it is {manifest.info.noun}, and the kubelet reads plain files")
    return manifest.refused[0] if manifest.refused and not manifest.fault else None


def _later(manifest: Manifest) -> int:
    """The line at which a Pod begins that stands behind another document; 0 where none does."""
    if not manifest.document.more or manifest.document.at("kind") == "Pod":
        return 0
    text = manifest.lines
    pod = next((n for n, line in enumerate(text) if line.rstrip() == "kind: Pod"), -1)
    marks = [n for n, line in enumerate(text[: max(pod, 0)]) if line.startswith("---")]
    return marks[-1] + 2 if marks and pod > 0 else 0

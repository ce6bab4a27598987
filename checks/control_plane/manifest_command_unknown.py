"""A control-plane manifest starts a program that its image does not have."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import COMPONENT_FAILS, Evidence, Finding, Layer, Severity, check, nearest, present, shorten
from kdiag.facts import (
    COMPONENTS,
    Cluster,
    Containers,
    Manifest,
    Manifests,
    Pods,
    component_standing,
    manifest_repair,
    manifest_severity,
    stands_still,
    static_pod,
)

# What images of the components have besides: a wrapper that writes logs, the program of all programs.
_ALSO = frozenset(
    {"go-runner", "hyperkube", "tini", "dumb-init", "etcdctl", "env", "nice", "ionice", "flock", "timeout"}
)


@check(
    title="Static pod starts a program that does not exist",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    explains=COMPONENT_FAILS,
    tags=("static-pods", "manifests", "scheduler", "apiserver", "etcd"),
)
def manifest_command_unknown(
    manifests: Manifests, cluster: Cluster, containers: Containers | None, pods: Pods | None
) -> Iterator[Finding]:
    """A misspelt program, another component's, or a flag where the program should be. No log: it never starts."""
    for node, found in manifests:
        for manifest in found.running:
            wrong = _wrong(manifest)
            now = component_standing(manifest, node, containers, pods, cluster)
            if not wrong or now.proven:
                continue
            part = manifest.component
            subject = static_pod(part, node)
            line = manifest.line("spec", "containers", manifest.index, "command", 0)
            said = _runtime(node, part, containers)
            if wrong.startswith("-"):
                what = f"its command begins with {shorten(wrong, 60)}, and {part} itself is missing"
            else:
                what = f"runs {shorten(wrong, 80)}, which its image does not have; meant is {part}"
            yield Finding(
                subject,
                f"{subject.name} cannot start: {manifest.where(line)} {what}",
                evidence=present(
                    manifest.quote(node, line),
                    Evidence(f"crictl inspect --name {part}", shorten(said, 300), node) if said else None,
                ),
                next=manifest_repair(node, manifest, line, part),
                touches=stands_still(manifests, part),
                severity=manifest_severity(manifests, part, now),
            )


def _wrong(manifest: Manifest) -> str:
    words = manifest.container.command
    if not words or manifest.shell:
        return ""
    if words[0].startswith("-"):
        return words[0]
    program, part = manifest.program, manifest.component
    if program == part or program in _ALSO:
        return ""
    own_image = manifest.container.image.rpartition("/")[2].partition(":")[0].partition("@")[0].startswith(part)
    near = nearest(program, [part]) or program in COMPONENTS or program.lower() == part
    return words[0] if own_image or near else ""


def _runtime(node: str, part: str, containers: Containers | None) -> str:
    seen = containers.get(node) if containers else None
    return next((c.message for c in seen.of(part) if "executable file not found" in c.message), "") if seen else ""

"""A control-plane pod mounts the wrong place of its node, or mounts the right one elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import COMPONENT_FAILS, Evidence, Finding, Layer, Severity, check, listing
from kdiag.facts import (
    Cluster,
    Containers,
    FileInfo,
    HostVolume,
    Manifest,
    Manifests,
    NodeManifests,
    Pods,
    component_standing,
    manifest_repair,
    manifest_severity,
    misplaced,
    stands_still,
    static_pod,
)


@check(
    title="Control-plane pod mounts the wrong path",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    explains=(*COMPONENT_FAILS, "application/volume_mount_fails"),
    tags=("static-pods", "manifests", "volumes", "storage"),
)
def manifest_volume_wrong(
    manifests: Manifests, cluster: Cluster, containers: Containers | None, pods: Pods | None
) -> Iterator[Finding]:
    """The flags' files are on the node, but not where the volume shows them; or the volume's type check fails."""
    for node, found in manifests:
        for manifest in found.running:
            now = component_standing(manifest, node, containers, pods, cluster)
            subject = static_pod(manifest.component, node)
            state = "runs, and its next start will fail" if now.runs else "cannot start"
            for name, paths in misplaced(manifest, found):
                line, what, meant = _misplaced(manifest, name, paths)
                yield Finding(
                    subject,
                    f"{subject.name} {state}: {manifest.where(line)} {what}",
                    evidence=(
                        manifest.quote(node, line),
                        Evidence(f"ls {' '.join(paths[:3])}", "there on the node, and not in the container", node),
                    ),
                    next=manifest_repair(node, manifest, line, meant),
                    touches=stands_still(manifests, manifest.component),
                    key=name,
                    severity=manifest_severity(manifests, manifest.component, now),
                )
            for volume in manifest.host_volumes():
                why = _refused(volume, found)
                if not why:
                    continue
                yield Finding(
                    subject,
                    f"{subject.name} {state}: {manifest.where(volume.line)} volume {volume.name} asks for "
                    f"{volume.type} {volume.path}, {why}",
                    evidence=(
                        manifest.quote(node, volume.line, volume.line + 1),
                        Evidence(f"ls -lad {volume.path}", why, node),
                    ),
                    next=manifest_repair(node, manifest, volume.line, "correct hostPath"),
                    touches=stands_still(manifests, manifest.component),
                    key=f"{volume.name}:type",
                    severity=manifest_severity(manifests, manifest.component, now),
                )


def _misplaced(manifest: Manifest, name: str, paths: tuple[str, ...]) -> tuple[int, str, str]:
    """The line to change, what is wrong there, and what was meant."""
    volume = next((v for v in manifest.host_volumes() if v.name == name), None)
    at, mount = next(
        ((i, m) for i, m in enumerate(manifest.container.volume_mounts) if m.name == name),
        (0, None),
    )
    if volume is None or mount is None:
        return 1, "", ""
    inside = mount.mount_path.rstrip("/")
    files = listing([p.rpartition("/")[2] for p in paths], 2)
    if all(p == inside or p.startswith(inside + "/") for p in paths):
        # The mount is where the flags look: it shows another place.
        what = f"volume {name} shows {volume.path}, which has no {files}; they are in {inside}"
        if paths == (inside,):
            what = f"volume {name} shows {volume.path}, and the file is {inside}"
        return volume.line, what, f"path: {inside}"
    line = manifest.line("spec", "containers", manifest.index, "volumeMounts", at, "mountPath")
    return line, f"mounts {volume.path} at {inside}; its flags look in {volume.path}", f"mountPath: {volume.path}"


def _refused(volume: HostVolume, found: NodeManifests) -> str:
    """Why the kubelet does not mount a volume: the check of its type."""
    state = found.state(volume.path)
    wanted = {"Directory": "d", "DirectoryOrCreate": "d", "File": "f", "FileOrCreate": "f", "Socket": "s"}.get(
        volume.type
    )
    if wanted is None or state is None:
        return ""
    if isinstance(state, FileInfo):
        return "" if state.kind == wanted else f"which is {state.noun}"
    if volume.type.endswith("OrCreate"):
        parent = found.state(volume.path.rpartition("/")[0] or "/")
        return "and its folder does not exist" if volume.type == "FileOrCreate" and parent is False else ""
    return "which does not exist"

"""A control-plane container runs as a user who may not read the files that its flags name."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import COMPONENT_FAILS, Evidence, Finding, Layer, Severity, check, listing
from kdiag.facts import (
    Cluster,
    Containers,
    FileInfo,
    Manifest,
    Manifests,
    NodeManifests,
    Pods,
    component_standing,
    manifest_repair,
    manifest_severity,
    stands_still,
    static_pod,
)

_READ = 4


@check(
    title="Control-plane user may not read its files",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    explains=(*COMPONENT_FAILS, "control_plane/manifest_differs_between_nodes"),
    tags=("static-pods", "manifests", "access", "apiserver", "etcd"),
)
def manifest_file_unreadable(
    manifests: Manifests, cluster: Cluster, containers: Containers | None, pods: Pods | None
) -> Iterator[Finding]:
    """By the owner and the mode of each file. What a group may read is let pass: the pod may be of that group."""
    for node, found in manifests:
        for manifest in found.running:
            user, place = _user(manifest)
            now = component_standing(manifest, node, containers, pods, cluster)
            closed = _closed(manifest, found, user) if user and not now.proven else []
            if not closed:
                continue
            part = manifest.component
            subject = static_pod(part, node)
            line = manifest.line(*place)
            starts = "runs, and its next start will fail" if now.runs else "cannot start"
            yield Finding(
                subject,
                f"{subject.name} {starts}: {manifest.where(line)} runAsUser {user} may not read "
                f"{listing([f.path for f in closed], 2)}",
                evidence=(
                    manifest.quote(node, line),
                    Evidence(
                        f"ls -ln {closed[0].path}", f"mode {closed[0].mode}, owner {closed[0].owner}: not {user}", node
                    ),
                ),
                next=manifest_repair(node, manifest, line, "remove runAsUser: kubeadm's control plane runs as root"),
                touches=stands_still(manifests, part),
                severity=manifest_severity(manifests, part, now),
            )


def _user(manifest: Manifest) -> tuple[int, tuple[str | int, ...]]:
    """Whom the container runs as, and where that is said; 0 for root and for what the image decides."""
    own = manifest.container.security_context.run_as_user
    if own is not None:
        return own, ("spec", "containers", manifest.index, "securityContext", "runAsUser")
    of_pod = manifest.spec.security_context.run_as_user if manifest.spec else None
    return of_pod or 0, ("spec", "securityContext", "runAsUser")


def _closed(manifest: Manifest, found: NodeManifests, user: int) -> list[FileInfo]:
    files: dict[str, FileInfo] = {}
    for use in manifest.uses:
        info = found.state(use.host) if use.host else None
        if isinstance(info, FileInfo) and info.kind == "f" and _may_not(info, user):
            files[info.path] = info
    return list(files.values())


def _may_not(info: FileInfo, user: int) -> bool:
    if not info.mode.isdigit() or not info.owner.isdigit():
        return False
    own, group, others = (int(bit) for bit in info.mode[-3:].rjust(3, "0"))
    if info.owner == str(user):
        return not own & _READ
    return not (group | others) & _READ

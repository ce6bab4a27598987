"""The kubelet reads its static pods from another folder than the one that holds them."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import (
    CLUSTER,
    STATIC_POD_ABSENT,
    Evidence,
    Finding,
    Layer,
    Ref,
    Severity,
    check,
    listing,
    present,
    ssh,
)
from kdiag.facts import COMPONENTS, Containers, Manifests, NodeManifests, Pods, Units, static_pod


@check(
    title="Kubelet reads another static pod folder",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    explains=STATIC_POD_ABSENT,
    tags=("static-pods", "manifests", "kubelet"),
)
def static_pod_path_wrong(
    manifests: Manifests, containers: Containers | None, pods: Pods | None, units: Units | None
) -> Iterator[Finding]:
    """Only where the manifests lie in the usual folder and not in the one that is named."""
    for node, found in manifests:
        parts = [m.component for m in found.files if m.component]
        if found.used or not parts or _holds(found, parts) or _by_flag(node, units):
            continue
        running = _running(node, parts, containers, pods)
        if running is None and not found.declared:
            continue  # a flag of the kubelet may name the folder, and nothing here can tell
        latent = running is not None and len(running) == len(parts)
        if latent and not found.declared:
            continue
        file = found.declared_in
        said = f"staticPodPath {found.declared}" if found.declared else "no staticPodPath"
        state = found.state(found.declared or "/")
        lacks = "which does not exist" if found.declared and state is False else "which holds none of them"
        subject = Ref("Node", node)
        when = "at its next start the kubelet" if latent else "the kubelet"
        yield Finding(
            subject,
            f"{when} of {node} makes no control-plane pod: {file}:{found.declared_line or 1} has {said}"
            + (f", {lacks}" if found.declared else "")
            + f"; the manifests are in {found.folder}",
            evidence=present(
                Evidence(f"grep -n staticPodPath {file}", f"{found.declared_line}: {said}", node),
                Evidence(f"ls {found.folder}", listing([m.file for m in found.files], 5), node),
                Evidence("crictl ps", f"running: {listing(sorted(running), 4) or 'none of them'}", node)
                if running is not None
                else None,
            ),
            next=(
                ssh(node, f"sudo sed -i.before 's#^staticPodPath:.*#staticPodPath: {found.folder}#' {file}"),
                f"ssh {node} sudo systemctl restart kubelet    # undo: mv {file}.before {file}",
            ),
            touches=(CLUSTER, *(static_pod(p, node) for p in parts), *(Ref("Lease", p, "kube-system") for p in parts)),
            severity=Severity.WARNING if latent else None,
        )


def _holds(found: NodeManifests, parts: list[str]) -> bool:
    """Whether the folder that is named has the manifests as well, or that cannot be told."""
    folder = (found.declared or "").rstrip("/")
    if not folder:
        return False
    states = [found.state(f"{folder}/{part}.yaml") for part in set(parts) & set(COMPONENTS)]
    return any(states) or all(s is None for s in states)


def _by_flag(node: str, units: Units | None) -> bool:
    unit = units.unit(node, "kubelet") if units else None
    return bool(unit) and any("pod-manifest-path" in word for word in (unit.argv if unit else ()))


def _running(node: str, parts: list[str], containers: Containers | None, pods: Pods | None) -> set[str] | None:
    seen = containers.get(node) if containers else None
    if seen is not None and seen.listed:
        return {p for p in parts if any(c.running for c in seen.of(p))}
    if pods is not None and not pods.gaps:
        return {p for p in parts if (pod := pods.get(f"{p}-{node}", "kube-system")) and pod.ready}
    return None

"""A control-plane container is killed by the kernel again and again, for its manifest allows it too little memory."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import COMPONENT_FAILS, Evidence, Finding, Layer, Severity, check
from kdiag.facts import (
    COMPONENTS,
    Cluster,
    Containers,
    HostContainer,
    Manifests,
    NodeContainers,
    Standing,
    current,
    manifest_repair,
    manifest_severity,
    memory,
    stands_still,
    static_pod,
)

_STEADY = 120
_RECENT = 600


@check(
    title="Control-plane container runs out of memory",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    explains=(
        *COMPONENT_FAILS,
        "application/container_crashes",
        "application/container_out_of_memory",
        "control_plane/manifest_differs_between_nodes",
    ),
    tags=("static-pods", "manifests", "memory", "apiserver", "etcd"),
)
def component_out_of_memory(containers: Containers, manifests: Manifests, cluster: Cluster) -> Iterator[Finding]:
    """Only with a limit in the manifest: without one it is the node that has run out. kubeadm sets none."""
    for node, seen in containers:
        found = manifests.get(node)
        for part in COMPONENTS:
            manifest = found.of(part) if found else None
            limit = manifest.container.resources.limits.get("memory") if manifest else None
            killed = _killed(seen, part, cluster)
            if manifest is None or limit is None or killed is None:
                continue
            subject = static_pod(part, node)
            line = manifest.line("spec", "containers", manifest.index, "resources", "limits", "memory")
            yield Finding(
                subject,
                f"{subject.name} is killed for want of memory: {manifest.where(line)} limits.memory is {memory(limit)}",
                evidence=(
                    manifest.quote(node, line),
                    Evidence(
                        f"sudo crictl inspect {killed.id[:13]}",
                        f"reason {killed.reason}, exit code {killed.exit_code}, attempt {killed.attempt}",
                        node,
                    ),
                ),
                next=manifest_repair(
                    node, manifest, line, "remove the limit: the control plane goes before what it runs"
                ),
                touches=stands_still(manifests, part),
                severity=manifest_severity(manifests, part, Standing()),
            )


def _killed(seen: NodeContainers, part: str, cluster: Cluster) -> HostContainer | None:
    """The container that the kernel killed last, unless the one after it stays up."""
    now = current(seen, part)
    last = next((c for c in seen.of(part) if not c.running and now and c.uid == now.uid), None)
    if now is None or last is None or last.reason != "OOMKilled":
        return None
    steady = now.running and cluster.age(now.started or now.created) > _STEADY
    recent = last.finished is None or cluster.age(last.finished) < _RECENT
    return last if recent and not steady else None

"""A control-plane pod runs with another command than its manifest has had for minutes."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, listing, present
from kdiag.facts import Cluster, Manifest, Manifests, Pod, Pods, SystemLeases, Units, api_server_returned, static_pod

_TAKEN_UP = 180  # seconds in which a kubelet that works has ended the old pod and made the new one


@check(
    title="Change of a manifest is not in effect",
    severity=Severity.WARNING,
    layer=Layer.NODE,
    tags=("static-pods", "manifests", "kubelet"),
)
def manifest_not_applied(
    manifests: Manifests, pods: Pods, cluster: Cluster, units: Units | None, leases: SystemLeases | None
) -> Iterator[Finding]:
    """The mirror pod shows what the kubelet has read; a kubelet that is dead or stuck reads nothing any more."""
    if api_server_returned(pods, leases, cluster.taken):
        return  # the kubelet has not written its mirror pods again
    for node, found in manifests:
        for manifest in found.running:
            part = manifest.component
            pod = pods.get(f"{part}-{node}", "kube-system")
            changed = manifest.info.changed
            if pod is None or changed is None or cluster.age(changed) < _TAKEN_UP or len(found.all_of(part)) > 1:
                continue
            only, gone = _difference(manifest, pod)
            if not only and not gone:
                continue
            subject = static_pod(part, node)
            unit = units.unit(node, "kubelet") if units else None
            if pod.created and changed < pod.created and not (unit and not unit.running):
                continue  # a copy that kept its time was put there after the pod was made, and may be a second ago
            dead = f"; the kubelet is {unit.state}" if unit and not unit.running else ""
            yield Finding(
                subject,
                f"{subject.name} runs without the change of {manifest.path} at {changed:%H:%M} UTC: "
                f"{listing(only or [f'without {g}' for g in gone], 2)}{dead}",
                evidence=present(
                    Evidence(
                        f"grep -n -e '- --' {manifest.path}", f"only in the file: {listing(only, 4) or 'nothing'}", node
                    ),
                    Evidence(
                        f"kubectl -n kube-system get pod {pod.name} -o yaml",
                        f"only in the pod: {listing(gone, 4) or 'nothing'}",
                    ),
                    Evidence("systemctl is-active kubelet", unit.state, node) if unit else None,
                ),
                next=(
                    f"ssh {node} sudo systemctl status kubelet",
                    f"ssh {node} sudo journalctl -u kubelet -n 50 --no-pager",
                ),
            )


def _difference(manifest: Manifest, pod: Pod) -> tuple[list[str], list[str]]:
    """What only the file has, and what only the pod has: words of the command, and the image."""
    running = pod.spec.container(manifest.container.name)
    if running is None:
        return [], []
    mine = [*manifest.container.command, *manifest.container.args, manifest.container.image]
    theirs = [*running.command, *running.args, running.image]
    # A flag whose value is hidden on one side cannot be compared.
    hidden = {w.partition("=")[0] for w in (*mine, *theirs) if "<redacted:" in w}
    mine, theirs = ([w for w in words if w.partition("=")[0] not in hidden] for words in (mine, theirs))
    return [w for w in mine if w not in theirs], [w for w in theirs if w not in mine]

"""A node is given up before its next heartbeat is due: Ready and not Ready by turns, and its pods are moved."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import CLUSTER, CONTROLLERS, Evidence, Finding, Layer, Ref, Severity, check, go_seconds
from kdiag.facts import Flag, Kubelets, Manifest, Manifests, manifest_repair, static_pod

_LEASE = 40  # seconds; the kubelet renews its Lease four times in that time
_GRACE = 40.0  # seconds; of releases since 1.32 it is 50


@check(
    title="Heartbeats of nodes come too late",
    severity=Severity.CRITICAL,
    layer=Layer.NODE,
    explains=(
        "application/pod_evicted",
        "application/pod_not_ready",
        "application/scheduling_taint_untolerated",
        "application/workload_unavailable",
        "network/service_has_no_ready_endpoint",
        "worker_node/node_heartbeat_stale",
        "worker_node/node_not_ready",
    ),
    tags=("node", "kubelet", "config", "controller-manager", "heartbeat"),
)
def kubelet_heartbeat_too_rare(manifests: Manifests, kubelets: Kubelets) -> Iterator[Finding]:
    """nodeLeaseDurationSeconds of the kubelets against --node-monitor-grace-period of the controller manager."""
    masters = [(node, m) for node, found in manifests if (m := found.of("kube-controller-manager"))]
    for node, manifest in masters:
        flag = manifest.flag("node-monitor-grace-period")
        grace = go_seconds(flag.value) if flag else None
        if flag and grace is not None and 0 < grace <= _LEASE / 4:
            yield _too_short(node, manifest, flag)
            return
    graces = [go_seconds(m.value("node-monitor-grace-period")) or _GRACE for _, m in masters]
    for node, setup in kubelets:
        config = setup.config
        lasts = config.get("nodeLeaseDurationSeconds") if config else None
        if config is None or not isinstance(lasts, int) or not graces or lasts / 4 < max(graces):
            continue
        file = config.file("nodeLeaseDurationSeconds")
        line = file.line("nodeLeaseDurationSeconds")
        yield Finding(
            Ref("Node", node),
            f"{node} renews its Lease every {lasts // 4} s and is given up after {max(graces):.0f} s: "
            f"{file.path}:{line} nodeLeaseDurationSeconds is {lasts}, usual is {_LEASE}",
            evidence=(
                Evidence(f"sudo sed -n {line}p {file.path}", file.quoted(line), node),
                Evidence(
                    f"kubectl -n kube-node-lease get lease {node} -o yaml",
                    "renewTime changes once in a quarter of that",
                ),
            ),
            next=(
                f"ssh -t {node} sudoedit {file.path}    # line {line}: remove it",
                f"ssh {node} sudo systemctl restart kubelet",
            ),
        )


def _too_short(node: str, manifest: Manifest, flag: Flag) -> Finding:
    subject = static_pod("kube-controller-manager", node)
    return Finding(
        subject,
        f"{subject.name} gives nodes up between two heartbeats: {manifest.where(flag.line)} "
        f"--{flag.name}={flag.value}, kubelets renew their Lease every {_LEASE // 4} s",
        evidence=(
            manifest.quote(node, flag.line),
            Evidence("kubectl get events -A --field-selector reason=NodeNotReady", "nodes that come and go"),
        ),
        next=manifest_repair(node, manifest, flag.line, "remove it: the default is 50 s, 40 s before 1.32"),
        touches=(CLUSTER, CONTROLLERS),
        key=flag.name,
    )

"""Another program listens on a port that the kubelet or the control plane needs, so what needs it cannot start."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check
from kdiag.facts import Listeners, Manifests, Units, hosted, stands_still

#: The port, the process as ss names it (15 letters at most), and its manifest; the kubelet has none.
_EXPECTED = (
    (6443, "kube-apiserver", "kube-apiserver"),
    (2379, "etcd", "etcd"),
    (2380, "etcd", "etcd"),
    (10250, "kubelet", ""),
    (10257, "kube-controller", "kube-controller-manager"),
    (10259, "kube-scheduler", "kube-scheduler"),
)
_FLAGS = {"kube-apiserver": "secure-port", "kube-controller-manager": "secure-port", "kube-scheduler": "secure-port"}
#: What holds a port for another program.
_HOLDERS = (
    "systemd",
    "conmon",
    "docker-proxy",
    "containerd-shim",
    "k3s",
    "rke2",
    "kubelite",
    "microshift",
    "openshift",
)


@check(
    title="Port is taken by another program",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=(
        "worker_node/node_not_ready",
        "worker_node/node_heartbeat_stale",
        "control_plane/api_server_unhealthy",
        "control_plane/controller_manager_not_running",
        "control_plane/scheduler_not_running",
        "control_plane/static_pod_failing",
        "control_plane/static_pod_missing",
        "control_plane/static_pod_restarting",
        "worker_node/kubelet_crash_loops",
        "worker_node/kubelet_not_running",
        "control_plane/component_exits",
        "control_plane/etcd_not_running",
        "control_plane/api_server_unreachable",
        "control_plane/api_server_cannot_reach_etcd",
    ),
    tags=("ports", "node", "kubelet"),
)
def port_taken_by_stranger(listeners: Listeners, manifests: Manifests | None, units: Units | None) -> Iterator[Finding]:
    """Only when what needs the port listens nowhere: a load balancer may hold 6443 while the API server has another."""
    for node, found in listeners:
        files = manifests.get(node) if manifests else None
        names = {one.process for one in found if one.port != 10248}
        if not any(one.process for one in found):
            continue  # ss does not show whose they are
        kubelet = units.unit(node, "kubelet") if units else None
        for port, process, component in _EXPECTED:
            manifest = files.of(component) if files and component else None
            if component and manifest is None:
                continue
            if not component and kubelet is None:
                continue
            if manifest and component in _FLAGS and manifest.value(_FLAGS[component], str(port)) != str(port):
                continue
            if (
                manifest
                and component == "etcd"
                and not any(f":{port}" in manifest.value(flag) for flag in ("listen-client-urls", "listen-peer-urls"))
            ):
                continue
            # A wrapper has another name; a second etcd is its own business.
            if any(name.startswith(process[:15]) for name in names):
                continue
            taken = [one for one in found if one.port == port and one.process and not one.process.startswith(_HOLDERS)]
            if not taken:
                continue
            one = taken[0]
            what = component or "kubelet"
            yield Finding(
                Ref("Pod", f"{component}-{node}", "kube-system") if component else Ref("Node", node),
                f"{f'{component}-{node}' if component else f'the kubelet of {node}'} cannot listen on port {port}: "
                f"{one.process} (pid {one.pid}) holds it",
                evidence=(
                    Evidence(
                        f"ss -ltnp 'sport = :{port}'",
                        f'LISTEN {one.address or "*"}:{port} users:(("{one.process}",pid={one.pid}))',
                        source=node,
                    ),
                    Evidence("ss -ltnp", f"{what} listens on no port", source=node),
                ),
                next=(
                    f"ssh {node} 'ps -fp {one.pid}; cat /proc/{one.pid}/cgroup'    # what is it, who starts it?",
                    f"ssh {node} sudo systemctl status {one.pid}    # then stop or move that program",
                    *(() if component else (f"ssh {node} sudo systemctl restart kubelet",)),
                ),
                touches=(
                    Ref("Node", node),
                    *(stands_still(manifests, component) if manifests and component else hosted(node, manifests)),
                ),
                key=str(port),
                severity=Severity.CRITICAL,
            )

"""A control-plane node of a kubeadm cluster lacks one of the static pods that it must run."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Gap, Layer, Ref, Severity, Skip, check, kubectl, listing
from kdiag.facts import COMPONENTS, Cluster, ConfigMaps, Containers, Nodes, Pods, component

#: A node that joins has its static pods soon after it is registered, in seconds; its member of etcd comes last.
_YOUNG = 120
_YOUNG_MEMBER = 600


@check(
    title="Static pod of the control plane is missing",
    severity=Severity.CRITICAL,
    layer=Layer.CONTROLLERS,
    explains=(
        "control_plane/scheduler_not_running",
        "control_plane/controller_manager_not_running",
        "network/endpointslice_stale",
        "application/namespace_stuck_terminating",
        "application/cronjob_not_running",
        "application/workload_unavailable",
    ),
    tags=("static-pods", "scheduler", "etcd", "apiserver"),
    namespaces=("kube-system",),
)
def static_pod_missing(
    pods: Pods, nodes: Nodes, configs: ConfigMaps, cluster: Cluster, containers: Containers | None
) -> Iterator[Finding | Gap | Skip]:
    """Critical where no node runs the component; managed clusters and k3s have no static pods at all."""
    if configs.get("kubeadm-config", "kube-system") is None:
        yield Skip("not a kubeadm cluster: its control plane is not made of static pods that must be there")
        return
    runs: dict[str, set[str]] = {}
    for pod in pods.within("kube-system"):
        if part := component(pod):
            runs.setdefault(pod.node, set()).add(part)
    everywhere = {part for parts in runs.values() for part in parts}
    for node in nodes.items:
        if not node.control_plane or not everywhere:
            continue
        have = runs.get(node.name, set())
        for part in COMPONENTS:
            if part in have or (part == "etcd" and part not in everywhere):
                continue  # without any etcd pod the members run outside, as the API server's answer proves
            if cluster.age(node.created) < (_YOUNG_MEMBER if part == "etcd" else _YOUNG):
                continue
            seen = containers.get(node.name) if containers else None
            if containers is not None and seen is None:
                yield Gap(node.name, f"whether {part} runs there without its mirror was not seen")
                continue
            if seen is not None and any(c.running for c in seen.of(part)):
                continue  # it runs, and only its mirror is not there: mirror_pod_refused says why
            name = f"{part}-{node.name}"
            yield Finding(
                Ref("Pod", name, "kube-system"),
                f"static pod kube-system/{name} is missing: {node.name} runs no {part}",
                evidence=(
                    Evidence(
                        kubectl("get", "pods", "-l", "tier=control-plane", "-o", "wide", namespace="kube-system"),
                        f"on {node.name}: {listing(sorted(have), 4) or 'none'}",
                    ),
                ),
                next=(
                    f"ssh {node.name} ls -la /etc/kubernetes/manifests/    # is {part}.yaml there?",
                    f"ssh {node.name} sudo grep staticPodPath /var/lib/kubelet/config.yaml",
                    f"ssh {node.name} sudo journalctl -u kubelet | grep -i {part}.yaml",
                ),
                touches=(Ref("Lease", part, "kube-system"),) if part in COMPONENTS[2:] else (),
                severity=Severity.ERROR if part in everywhere else Severity.CRITICAL,
            )

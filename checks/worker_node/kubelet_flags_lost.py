"""The kubelet is started without the flag that leads to its kubeconfig or its configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import KUBELET_DOWN, Evidence, Finding, Layer, Ref, Severity, check, nearest
from kdiag.facts import KUBELET_CONFIG, Cluster, Kubelets, KubeletSetup, Manifests, Units, hosted, on_control_plane

_KUBECONFIG = "/etc/kubernetes/kubelet.conf"
_KUBEADM = ("KUBELET_KUBECONFIG_ARGS", "KUBELET_CONFIG_ARGS", "KUBELET_KUBEADM_ARGS", "KUBELET_EXTRA_ARGS")
_EFFECT = {
    "kubeconfig": "it runs alone and tells the API server nothing",
    "config": "it runs with defaults: no static pods, another DNS and cgroup driver",
}


@check(
    title="Kubelet is started without its files",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=(
        *KUBELET_DOWN,
        "worker_node/kubelet_config_invalid",
        "worker_node/kubelet_crash_loops",
        "worker_node/kubelet_not_running",
    ),
    tags=("node", "kubelet", "systemd", "flags"),
)
def kubelet_flags_lost(
    kubelets: Kubelets, units: Units, cluster: Cluster, manifests: Manifests | None
) -> Iterator[Finding]:
    """By the command line as systemd puts it together. Of kubeadm's layout only: both files, and none of the flags."""
    for node, setup in kubelets:
        unit = units.unit(node, "kubelet")
        if unit is None or not setup.flags_known or setup.unjoined or (unit.running and unit.needs_reload):
            continue  # what systemd has loaded is not what is on disk
        if setup.program.rpartition("/")[2] != "kubelet":
            continue
        for name, path in (("kubeconfig", _KUBECONFIG), ("config", KUBELET_CONFIG)):
            if (
                setup.flag(name)
                or not _there(setup, name)
                or (name == "kubeconfig" and setup.flag("bootstrap-kubeconfig"))
            ):
                continue
            meant, typo = _variable(setup, name)
            place = f"{setup.exec_path}:{setup.exec_line} "
            why = f"${typo} is set nowhere, meant is ${meant}" if typo else f"ExecStart has no --{name}"
            effect = _EFFECT[name] + on_control_plane(node, manifests)
            yield Finding(
                Ref("Node", node),
                f"kubelet on {node} is started without --{name}: {place}{why}: {effect}",
                evidence=(
                    Evidence(f"sed -n {setup.exec_line}p {setup.exec_path}", f"ExecStart={setup.exec_start}", node),
                    Evidence(f"ls {path}", "it is there", node),
                ),
                next=(
                    f"ssh -t {node} sudoedit {setup.exec_path}    # line {setup.exec_line}: "
                    + (f"${meant}" if meant else f"--{name}={path}"),
                    f"ssh {node} sudo systemctl daemon-reload",
                    f"ssh {node} sudo systemctl restart kubelet",
                ),
                touches=hosted(node, manifests, cluster),
                key=name,
            )
            break


def _there(setup: KubeletSetup, name: str) -> bool:
    if name == "config":
        return setup.config is not None and not setup.config.absent
    return setup.kubeconfig is not None and not setup.kubeconfig.absent and bool(setup.kubeconfig.server)


def _variable(setup: KubeletSetup, name: str) -> tuple[str, str]:
    """kubeadm's variable that holds the flag, and the word of the command line that it became."""
    wanted = "KUBELET_KUBECONFIG_ARGS" if name == "kubeconfig" else "KUBELET_CONFIG_ARGS"
    words = re.findall(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)", setup.exec_start)
    if wanted in words:
        return wanted, ""
    strange = [w for w in words if w not in _KUBEADM]
    return wanted, nearest(wanted, strange) or ""

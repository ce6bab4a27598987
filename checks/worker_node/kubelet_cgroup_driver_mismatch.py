"""The kubelet and the container runtime manage cgroups in different ways."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Finding, Layer, Ref, Severity, check, present
from kdiag.facts import (
    Cluster,
    KubeletJournal,
    Kubelets,
    Manifests,
    RuntimeAnswer,
    RuntimeAnswers,
    RuntimeConfig,
    RuntimeConfigs,
    Units,
    file_line,
    hosted,
    journal_line,
    runtime_unit,
    setups,
)

_FILE = "/etc/containerd/config.toml"
_REFUSED = re.compile(r"expected cgroupsPath to be of format|cgroup[^\"]{0,40}slice:prefix:name|invalid slice name")


@check(
    title="Cgroup drivers of kubelet and runtime differ",
    severity=Severity.WARNING,
    layer=Layer.HOST,
    explains=(
        "network/pod_sandbox_fails",
        "control_plane/static_pod_failing",
        "control_plane/static_pod_restarting",
        "control_plane/api_server_unreachable",
        "control_plane/component_exits",
        "control_plane/etcd_not_running",
        "control_plane/api_server_cannot_reach_etcd",
    ),
    tags=("node", "kubelet", "containerd", "cgroups"),
)
def kubelet_cgroup_driver_mismatch(
    kubelets: Kubelets,
    configs: RuntimeConfigs,
    units: Units,
    cluster: Cluster,
    answers: RuntimeAnswers,
    journal: KubeletJournal | None,
    manifests: Manifests | None,
) -> Iterator[Finding]:
    """A runtime that tells the kubelet its driver (containerd 2, CRI-O 1.28 and later) settles the matter by itself."""
    for node, setup, _ in setups(kubelets, units):
        config, answer = configs.get(node), answers.get(node)
        unit = runtime_unit(node, units, kubelets, configs)
        if config is None or answer is None or unit is None or _negotiates(answer):
            continue
        ours, source, line = setup.given("cgroup-driver", "cgroupDriver")
        theirs, place, their_line, text = _theirs(unit.name, config, answer)
        if ours not in ("systemd", "cgroupfs") or not theirs or ours == theirs:
            continue
        log = journal.get(node) if journal else None
        refused = log.find(_REFUSED) if log else None
        hurts = refused is not None and cluster.age(refused.when) < 600
        yield Finding(
            Ref("Node", node),
            f"kubelet on {node} uses cgroup driver {ours} ({source}:{line}) and {unit.name} {theirs} ({place}): "
            + ("containers cannot be started" if hurts else "containers may be killed for no visible reason"),
            evidence=present(
                file_line(source, line, f"cgroupDriver: {ours}", node),
                file_line(place.partition(":")[0], their_line, text, node),
                journal_line(refused, node) if refused and hurts else None,
            ),
            next=(
                "stat -fc %T /sys/fs/cgroup    # on the node; cgroup2fs: both should be systemd",
                f"ssh -t {node} sudoedit {place.partition(':')[0]}    # "
                + (
                    f"SystemdCgroup = {'true' if ours == 'systemd' else 'false'}"
                    if unit.name == "containerd"
                    else f'cgroup_manager = "{ours}"'
                ),
                f"kubectl drain {node} --ignore-daemonsets    # then restart {unit.name} and kubelet, and uncordon",
            ),
            touches=hosted(node, manifests, cluster) if hurts else (),
            severity=Severity.ERROR if hurts else None,
        )


def _negotiates(answer: RuntimeAnswer) -> bool:
    """Whether the kubelet asks this runtime for its driver, or its version is not known."""
    match = re.match(r"v?(\d+)\.(\d+)", answer.version)
    if not match:
        return True
    version = (int(match[1]), int(match[2]))
    return version >= (2, 0) if answer.name == "containerd" else version >= (1, 28)


def _theirs(name: str, config: RuntimeConfig, answer: RuntimeAnswer) -> tuple[str, str, int, str]:
    if name == "containerd":
        if not config.containerd or config.fault or (config.imports and config.systemd_cgroup is None):
            return "", "", 0, ""
        systemd = answer.systemd_cgroup if answer.systemd_cgroup is not None else bool(config.systemd_cgroup)
        line = config.systemd_cgroup_line
        said = f"SystemdCgroup = {str(systemd).lower()}" if line else "SystemdCgroup is not set: false"
        return ("systemd" if systemd else "cgroupfs"), f"{_FILE}:{line}" if line else _FILE, line, said
    if name == "crio" and config.crio_cgroup_manager:
        text = f'cgroup_manager = "{config.crio_cgroup_manager}"'
        return config.crio_cgroup_manager, "/etc/crio/crio.conf", 0, text
    return "", "", 0, ""

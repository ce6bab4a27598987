"""A node has no network plugin configuration, so its runtime cannot give pods a network and the node is not Ready."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kdiag.check import NO_POD_NETWORK, Evidence, Finding, Gap, Layer, Ref, Severity, check, listing, present, ssh
from kdiag.facts import CONTAINERD, Cluster, Mount, Mounts, NetworkSetup, NetworkSetups, Nodes, RuntimeAnswers, Units

_BOOT = 90


class _Fault(NamedTuple):
    """Why there is none, the line that shows it beside the folder, and what to do."""

    what: str
    shown: Evidence | None = None
    steps: tuple[str, ...] = ()


@check(
    title="Network plugin configuration is missing",
    severity=Severity.CRITICAL,
    layer=Layer.CNI,
    explains=NO_POD_NETWORK,
    tags=("cni", "node", "network"),
)
def cni_config_missing(
    setups: NetworkSetups,
    cluster: Cluster,
    nodes: Nodes | None,
    runtimes: RuntimeAnswers | None,
    units: Units | None,
    mounts: Mounts | None,
) -> Iterator[Finding | Gap]:
    """The runtime's own word goes before the folder: it may have been told of another one."""
    for node, setup in setups:
        if setup.first is not None:
            continue
        runtime = runtimes.get(node) if runtimes else None
        said = runtime.conditions.get("NetworkReady") if runtime else None
        known = nodes.get(node) if nodes else None
        if (said and said[0]) or (said is None and known and known.ready):
            continue
        if said is None and not setup.told and not setup.folder_there:
            unit = units.unit(node, "kubelet") if units else None
            if unit is None:
                continue  # k3s and its like keep it elsewhere
        if known and cluster.age(known.created) < _BOOT:
            continue
        over = mounts.hiding(node, setup.folder) if mounts and setup.folder_there and not setup.others else None
        fault = _moved(setup, node) or _hidden(over, setup, node) or _absent(setup, node)
        shown = "no file" if setup.folder_there else "no such folder"
        if setup.others:
            shown = f"{listing(setup.others)}: none ends in .conf, .conflist or .json"
        yield Finding(
            Ref("Node", node),
            f"pods get no network on {node}: {fault.what}",
            evidence=present(
                fault.shown,
                Evidence(f"ls -l {setup.folder}", shown, node),
                Evidence("crictl info", f"NetworkReady false: {said[2] or said[1]}", node) if said else None,
            ),
            next=fault.steps,
        )


def _moved(setup: NetworkSetup, node: str) -> _Fault | None:
    """The runtime was told of another folder than the one in which the configuration is."""
    if not setup.conf_line or not setup.usual:
        return None
    usual = setup.usual[0]
    return _Fault(
        f"{CONTAINERD}:{setup.conf_line} conf_dir names {setup.folder}, the configuration is {usual}",
        Evidence(f"sudo sed -n {setup.conf_line}p {CONTAINERD}", f'conf_dir = "{setup.folder}"', node),
        (
            f'ssh -t {node} sudoedit {CONTAINERD}    # line {setup.conf_line}: conf_dir = "{usual.rpartition("/")[0]}"',
            f"ssh {node} sudo systemctl restart containerd",
        ),
    )


def _hidden(over: Mount | None, setup: NetworkSetup, node: str) -> _Fault | None:
    if over is None:
        return None
    return _Fault(
        f"no file in {setup.folder} configures a network plugin; a {over.kind} is mounted over {over.path} and hides "
        "what was there",
        Evidence(f"grep {over.path} /proc/mounts", f"{over.device} {over.path} {over.kind}", node),
        (
            f"ssh {node} sudo umount {over.path}    # and take it out of /etc/fstab, if it is there",
            f"ssh {node} sudo systemctl restart containerd",
        ),
    )


def _absent(setup: NetworkSetup, node: str) -> _Fault:
    where = f"no file in {setup.folder}" if setup.folder_there else f"no folder {setup.folder}"
    left = f"; there is {listing(setup.others)}, which no runtime reads" if setup.others else ""
    aside = f"ssh {node} ls -la {setup.folder}    # rename what was put aside back to its name"
    return _Fault(
        f"{where} configures a network plugin{left}",
        steps=present(
            aside if setup.others else None,
            f"kubectl get pods -A -o wide --field-selector=spec.nodeName={node}"
            "    # the network plugin's own pod writes the file: does it run?",
            ssh("OTHER_NODE", f"cat {setup.folder}/*")
            + "    # the same file of a node that works shows what is missing",
        ),
    )

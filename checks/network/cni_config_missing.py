"""A node has no network plugin configuration, so its runtime cannot give pods a network and the node is not Ready."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import NO_POD_NETWORK, Evidence, Finding, Gap, Layer, Ref, Severity, check, listing, present
from kdiag.facts import CONTAINERD, Cluster, Mounts, NetworkSetups, Nodes, RuntimeAnswers, Units

_BOOT = 90


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
        where = f"no file in {setup.folder}" if setup.folder_there else f"no folder {setup.folder}"
        left = f"; there is {listing(setup.others)}, which no runtime reads" if setup.others else ""
        over = mounts.hiding(node, setup.folder) if mounts and setup.folder_there and not setup.others else None
        if over:
            left = f"; a {over.kind} is mounted over {over.path} and hides what was there"
        evidence = [
            Evidence(
                f"ls -l {setup.folder}",
                (listing(setup.others) + ": none ends in .conf, .conflist or .json")
                if setup.others
                else ("no file" if setup.folder_there else "no such folder"),
                source=node,
            )
        ]
        if over:
            evidence.append(
                Evidence(f"grep {over.path} /proc/mounts", f"{over.device} {over.path} {over.kind}", source=node)
            )
        if said:
            evidence.append(Evidence("crictl info", f"NetworkReady false: {said[2] or said[1]}", source=node))
        moved = setup.conf_line and setup.usual
        if moved:
            evidence.insert(
                0, Evidence(f"sudo sed -n {setup.conf_line}p {CONTAINERD}", f'conf_dir = "{setup.folder}"', node)
            )
        yield Finding(
            Ref("Node", node),
            f"pods get no network on {node}: {CONTAINERD}:{setup.conf_line} conf_dir names {setup.folder}, "
            f"the configuration is {setup.usual[0]}"
            if moved
            else f"pods get no network on {node}: {where} configures a network plugin{left}",
            evidence=tuple(evidence),
            next=(
                f"ssh {node} sudoedit {CONTAINERD}    # line {setup.conf_line}: "
                f'conf_dir = "{setup.usual[0].rpartition("/")[0]}"',
                f"ssh {node} sudo systemctl restart containerd",
            )
            if moved
            else (
                f"ssh {node} sudo umount {over.path}    # and take it out of /etc/fstab, if it is there",
                f"ssh {node} sudo systemctl restart containerd",
            )
            if over
            else present(
                f"ssh {node} ls -la {setup.folder}    # rename what was put aside back to its name"
                if setup.others
                else None,
                "kubectl get pods -A -o wide --field-selector=spec.nodeName="
                f"{node}    # the network plugin's own pod writes the file: does it run?",
                f"ssh OTHER_NODE cat {setup.folder}/*    # the same file of a node that works shows what is missing",
            ),
        )

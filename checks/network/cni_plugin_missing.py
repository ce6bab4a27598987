"""A program that the network plugin's configuration calls is not on the node, so new pods get no network."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Gap, Layer, Ref, Severity, check, listing
from kdiag.facts import CONTAINERD, NetworkConfig, NetworkSetup, NetworkSetups, Units


@check(
    title="Network plugin program is missing",
    severity=Severity.CRITICAL,
    layer=Layer.CNI,
    explains=(
        "network/pod_sandbox_fails",
        "network/cluster_dns_unavailable",
        "application/pod_not_ready",
    ),
    tags=("cni", "node", "network"),
)
def cni_plugin_missing(setups: NetworkSetups, units: Units | None) -> Iterator[Finding | Gap]:
    """The node stays Ready and its pods run on; only what is made anew waits in ContainerCreating."""
    for node, setup in setups:
        first = setup.first
        if first is None or first.fault or not first.plugins or setup.programs is None:
            continue
        runtime = units.runtime(node) if units else None
        needed = dict.fromkeys(first.plugins)
        if runtime and runtime.name == "containerd":
            needed["loopback"] = None  # containerd calls it for every pod
        gone = [name for name in needed if name not in setup.programs]
        if not gone:
            continue
        if len(gone) == len(needed) and not setup.told and not setup.programs:
            yield Gap(f"{node} CNI programs", "not in /opt/cni/bin: the runtime may know another folder")
            continue
        folder = setup.bins[0] if setup.told or len(setup.bins) == 1 else "/opt/cni/bin"
        closed = [p for p in setup.silent if p.rpartition("/")[2] in gone]
        why = (
            f"{closed[0]} may not be executed"
            if closed
            else f"the program {listing(gone)} that {first.name} calls is not in {folder}"
        )
        moved = setup.bin_line and all(name in setup.elsewhere for name in gone)
        if moved and not closed:
            right = setup.elsewhere[gone[0]].rpartition("/")[0]
            why = f"{CONTAINERD}:{setup.bin_line} bin_dir names {folder}; {listing(gone)} and the others are in {right}"
        other = _usable(setup)
        if other and not closed:
            why = (
                f"{first.path} is read before {other.name}, and the program {listing(gone)} that it calls is not there"
            )
        yield Finding(
            Ref("Node", node),
            f"new pods get no network on {node}: {why}",
            evidence=(
                Evidence(f"cat {first.path}", f"calls {', '.join(first.plugins)}", source=node),
                Evidence(
                    f"ls -l {folder}",
                    f"no {' and no '.join(gone)} that can be executed; "
                    f"there is {listing(sorted(setup.programs), 8) or 'nothing'}",
                    source=node,
                ),
            ),
            next=(
                (f"ssh {node} sudo chmod 755 {' '.join(closed)}",)
                if closed
                else (
                    f"ssh {node} sudo mv {first.path} /root/    # left over? the first file by name counts alone",
                    f"ssh {node} ls -la {setup.folder} {folder}",
                )
                if other
                else (
                    f"ssh -t {node} sudoedit {CONTAINERD}    # line {setup.bin_line}: the folder of the programs",
                    f"ssh {node} sudo systemctl restart containerd",
                )
                if moved
                else (
                    f"ssh {node} ls -la {folder}    # was it renamed?",
                    "install the package kubernetes-cni (containernetworking-plugins) again, or let the network "
                    "plugin's own pod copy its program: "
                    f"kubectl get pods -A -o wide --field-selector=spec.nodeName={node}",
                )
            ),
        )


def _usable(setup: NetworkSetup) -> NetworkConfig | None:
    """A later file whose programs are all there: then the first one is what is left over of another plugin."""
    programs = setup.programs or {}
    whole = [c for c in setup.configs[1:] if c.plugins and not c.fault and all(name in programs for name in c.plugins)]
    return whole[0] if whole else None

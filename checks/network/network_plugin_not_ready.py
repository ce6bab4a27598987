"""A node is not Ready because no network plugin is set up on it."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import CLUSTER, Evidence, Finding, Layer, Severity, check, kubectl, listing
from kdiag.facts import (
    NO_NETWORK,
    Cluster,
    DaemonSets,
    NetworkSetups,
    Node,
    Nodes,
    RuntimeAnswers,
    network_daemonsets,
)

# A plugin's own pod needs a moment on a node that has just come up.
_BOOT = 90


@check(
    title="Network plugin is not ready",
    severity=Severity.CRITICAL,
    layer=Layer.CNI,
    explains=(
        "worker_node/node_not_ready",
        "network/pod_sandbox_fails",
        "network/cluster_dns_unavailable",
        "application/pod_not_ready",
        "application/scheduling_taint_untolerated",
        "application/dependency_unreachable",
    ),
    tags=("cni", "node"),
)
def network_plugin_not_ready(
    nodes: Nodes,
    cluster: Cluster,
    daemonsets: DaemonSets | None,
    setups: NetworkSetups | None,
    runtimes: RuntimeAnswers | None,
) -> Iterator[Finding]:
    """Pods on the host's network run on such a node; all others wait in ContainerCreating or Pending."""
    bare: list[Node] = []
    for node in nodes.items:
        ready = node.condition("Ready")
        if ready is None or ready.status == "True" or not NO_NETWORK.search(ready.message):
            continue
        if cluster.age(node.created) >= _BOOT:
            bare.append(node)
    if not bare:
        return
    plugins = network_daemonsets(daemonsets) if daemonsets else ()
    everywhere = len(bare) == len(nodes.items)
    names = [n.name for n in bare]
    message = bare[0].condition("Ready")
    evidence = [Evidence(kubectl("describe", "node", names[0]), message.message if message else "")]
    if daemonsets:
        shown = [f"{d.ref().path} {d.ready}/{d.desired}" for d in plugins]
        evidence.append(
            Evidence(
                kubectl("get", "daemonsets", "-A"),
                listing(shown) or "none that writes /etc/cni/net.d: none is installed",
            )
        )
    absent = daemonsets is not None and not plugins
    passed = [_passed_over(name, setups, runtimes) for name in names]
    why = "no network plugin is installed" if absent else "it finds no network configuration in /etc/cni/net.d"
    again: tuple[str, ...] = ()
    if all(passed):
        why = f"{passed[0]} is there, and the runtime has not taken it up"
        again = (f"ssh {names[0]} sudo systemctl restart containerd    # or crio: it reads it when it starts",)
    where = "any node" if everywhere and len(names) > 1 else listing(names)
    yield Finding(
        bare[0].ref() if len(bare) == 1 else CLUSTER,
        f"pods get no network on {where}: {why}",
        evidence=tuple(evidence),
        next=(
            *again,
            f"ssh {names[0]} ls -l /etc/cni/net.d /opt/cni/bin",
            "install the network plugin that the cluster was planned with"
            if absent
            else kubectl("get", "pods", "-A", "-o", "wide", f"--field-selector=spec.nodeName={names[0]}"),
        ),
        touches=tuple(n.ref() for n in bare),
    )


def _passed_over(node: str, setups: NetworkSetups | None, runtimes: RuntimeAnswers | None) -> str:
    """The configuration that a runtime has in its folder and says that it has not; empty where it is not so."""
    setup, runtime = setups.get(node) if setups else None, runtimes.get(node) if runtimes else None
    said = runtime.conditions.get("NetworkReady") if runtime else None
    first = setup.first if setup else None
    if setup is None or first is None or first.fault or said is None or said[0] or setup.programs is None:
        return ""
    return first.path if "initialized" in said[2] and set(first.plugins) <= set(setup.programs) else ""

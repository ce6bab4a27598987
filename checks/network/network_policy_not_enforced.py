"""NetworkPolicies exist, and the network plugin does not act on them."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, Skip, check, kubectl, listing
from kdiag.facts import DaemonSets, Enforced, NetworkPolicies, Nodes, enforcement


@check(
    title="NetworkPolicies are not enforced",
    severity=Severity.WARNING,
    layer=Layer.CNI,
    tags=("networkpolicy", "flannel"),
)
def network_policy_not_enforced(
    policies: NetworkPolicies, daemonsets: DaemonSets, nodes: Nodes | None
) -> Iterator[Finding | Skip]:
    """Flannel alone ignores them; a plugin that is not known is not judged."""
    if not policies.items:
        yield Skip("there is no NetworkPolicy")
        return
    enforced, plugin = enforcement(daemonsets, nodes)
    if enforced is not Enforced.NO:
        return
    namespace, _, name = plugin.partition("/")
    names = sorted(p.ref().path for p in policies.items)
    yield Finding(
        Ref("DaemonSet", name, namespace),
        f"DaemonSet {plugin} is the network plugin and enforces no NetworkPolicy: {listing(names, 2)} has no effect",
        evidence=(
            Evidence(kubectl("get", "daemonsets", "-A"), f"{plugin}; no Calico, Cilium or other policy controller"),
            Evidence(kubectl("get", "networkpolicies", "-A"), listing(names, 4)),
        ),
        next=(
            "install a policy controller beside flannel (Calico as canal, kube-network-policies), or another plugin",
        ),
    )

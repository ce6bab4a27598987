"""What NetworkPolicies let through: additive rules, evaluated for one pod that asks another."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kdiag.facts.configuration import Namespaces
from kdiag.facts.endpoints import find_port
from kdiag.facts.network import NetworkPolicies, NetworkPolicy, Peer, PolicyPort
from kdiag.facts.nodes import Nodes
from kdiag.facts.pods import Pod
from kdiag.facts.workloads import DaemonSets


class Enforced(enum.Enum):
    """Whether anything in this cluster acts on NetworkPolicies."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


_ENFORCE = (
    *("calico/node", "cilium/cilium", "weave-npc", "kube-router", "antrea-agent", "antrea/antrea", "kube-ovn"),
    *("ovnkube", "ovn-kubernetes", "azure-npm", "kube-network-policies", "nsx-node-agent", "kube-netpol", "romana"),
)
_REASONS = {"CalicoIsUp": "Calico", "CiliumIsUp": "Cilium", "AntreaIsUp": "Antrea"}


def enforcement(daemonsets: DaemonSets | None, nodes: Nodes | None) -> tuple[Enforced, str]:
    """Whether policies are enforced here, and by what; unknown where the network plugin is not one that we know."""
    reasons = set()
    for node in nodes.items if nodes else ():
        found = node.condition("NetworkUnavailable")
        if found and found.status == "False":
            reasons.add(found.reason)
        if "+k3s" in node.status.node_info.kubelet_version or "+rke2" in node.status.node_info.kubelet_version:
            return Enforced.UNKNOWN, ""  # its controller is built in, and can be switched off
    for reason, name in _REASONS.items():
        if reason in reasons:
            return Enforced.YES, name
    if daemonsets is None or daemonsets.gaps or daemonsets.scope:
        return Enforced.UNKNOWN, ""
    flannel = ""
    other = False
    for daemonset in daemonsets.items:
        for container in daemonset.pod_spec.containers:
            image = container.image.partition("@")[0]
            if any(word in image for word in _ENFORCE):
                return Enforced.YES, daemonset.name
            if any("enable-network-policy=true" in a for a in container.args):
                return Enforced.YES, daemonset.name
            if "flannel" in image:
                flannel = daemonset.ref().path
            if "netpol" in image or "network-policy" in image or "policy" in daemonset.name:
                other = True
    return (Enforced.NO, flannel) if flannel and not other else (Enforced.UNKNOWN, "")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether traffic passes one side, and the policies that govern that side."""

    allowed: bool
    policies: tuple[NetworkPolicy, ...] = ()


def governing(policies: NetworkPolicies, pod: Pod, direction: str) -> tuple[NetworkPolicy, ...]:
    """The policies that select a pod for ``Ingress`` or ``Egress``. None: everything passes."""
    if pod.spec.host_network:
        return ()  # the node's traffic; plugins do not govern it
    return tuple(
        p
        for p in policies.within(pod.namespace)
        if direction in p.types and not p.metadata.deletion_timestamp and p.spec.pod_selector.matches(pod.labels)
    )


def incoming(
    policies: NetworkPolicies, namespaces: Namespaces, source: Pod, target: Pod, port: int, protocol: str = "TCP"
) -> Verdict:
    """Whether ``target`` lets ``source`` in on its own port (not the Service's)."""
    found = governing(policies, target, "Ingress")
    if not found or source.spec.host_network or source.path == target.path:
        return Verdict(True)
    for policy in found:
        for rule in policy.spec.ingress:
            if ports_match(rule.ports, target, port, protocol) and peers_match(rule.from_, policy, source, namespaces):
                return Verdict(True, found)
    return Verdict(False, found)


def outgoing(
    policies: NetworkPolicies, namespaces: Namespaces, source: Pod, target: Pod, port: int, protocol: str = "TCP"
) -> Verdict:
    """Whether ``source`` is let out to ``target`` on the target's own port."""
    found = governing(policies, source, "Egress")
    if not found or source.path == target.path:
        return Verdict(True)
    for policy in found:
        for rule in policy.spec.egress:
            if ports_match(rule.ports, target, port, protocol) and peers_match(rule.to, policy, target, namespaces):
                return Verdict(True, found)
    return Verdict(False, found)


def ports_match(ports: Sequence[PolicyPort], target: Pod, port: int, protocol: str) -> bool:
    """Whether a rule's ports hold this one; none at all means every port. A name is looked up in the target."""
    return not ports or any(_admits(p, target, port, protocol) for p in ports)


def _admits(wanted: PolicyPort, target: Pod, port: int, protocol: str) -> bool:
    if (wanted.protocol or "TCP") != protocol:
        return False
    if wanted.port is None:
        return True
    if isinstance(wanted.port, str):
        return find_port(target.spec, wanted.port, protocol) == port
    return wanted.port <= port <= (wanted.end_port or wanted.port)


def peers_match(peers: Sequence[Peer], policy: NetworkPolicy, other: Pod, namespaces: Namespaces) -> bool:
    """Whether one of a rule's peers is this pod: items are alternatives, what stands in one item holds together."""
    return not peers or any(_is_peer(p, policy, other, namespaces) for p in peers)


def _is_peer(peer: Peer, policy: NetworkPolicy, other: Pod, namespaces: Namespaces) -> bool:
    if peer.ip_block is not None:
        if not other.ip:
            return True  # not known: no verdict against it
        return _inside(other.ip, (peer.ip_block.cidr,)) and not _inside(other.ip, peer.ip_block.except_)
    if peer.namespace_selector is None:
        if other.namespace != policy.namespace:
            return False
    elif not peer.namespace_selector.empty:
        namespace = namespaces.get(other.namespace)
        if namespace is None:
            return True  # not read
        labels = {"kubernetes.io/metadata.name": namespace.name, **namespace.labels}
        if not peer.namespace_selector.matches(labels):
            return False
    return peer.pod_selector is None or peer.pod_selector.matches(other.labels)


def _inside(address: str, ranges: Iterable[str]) -> bool:
    try:
        ip = ipaddress.ip_address(address)
        return any(ip in ipaddress.ip_network(r, strict=False) for r in ranges)
    except ValueError:
        return False


def shown_ports(ports: Sequence[PolicyPort]) -> str:
    """A rule's ports as a person says them."""
    if not ports:
        return "every port"
    words = []
    for p in ports:
        number = "every port" if p.port is None else f"{p.port}-{p.end_port}" if p.end_port else str(p.port)
        words.append(f"{number}/{p.protocol or 'TCP'}")
    return ", ".join(words)


def shown_peers(peers: Sequence[Peer]) -> str:
    """A rule's peers as a person says them: ``and`` within an item, ``or`` between items."""
    if not peers:
        return "everybody"
    words = []
    for peer in peers:
        if peer.ip_block is not None:
            words.append(peer.ip_block.cidr)
            continue
        parts = []
        if peer.pod_selector is not None:
            parts.append(f"pods {peer.pod_selector}" if not peer.pod_selector.empty else "all pods")
        if peer.namespace_selector is not None:
            empty = peer.namespace_selector.empty
            parts.append("in every namespace" if empty else f"in namespaces {peer.namespace_selector}")
        words.append(" ".join(parts) or "all pods")
    return " or ".join(words)

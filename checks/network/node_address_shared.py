"""Several nodes give the same address as their own, so what is sent to one of them arrives at another or nowhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kdiag.check import TRAFFIC_LOST, Evidence, Finding, Layer, Severity, check, kubectl, listing
from kdiag.facts import Interfaces, Node, Nodes

#: What gives the address, how a person sees it, and what it is for.
_PLACES: tuple[tuple[str, str, Callable[[Node], str]], ...] = (
    ("InternalIP", ".status.addresses[0].address", lambda node: node.address),
    (
        "flannel",
        ".metadata.annotations.flannel\\.alpha\\.coreos\\.com/public-ip",
        lambda node: node.metadata.annotations.flannel_address,
    ),
    (
        "Calico",
        ".metadata.annotations.projectcalico\\.org/IPv4Address",
        lambda node: node.metadata.annotations.calico_address.partition("/")[0],
    ),
)


@check(
    title="Nodes share one address",
    severity=Severity.ERROR,
    layer=Layer.CNI,
    explains=TRAFFIC_LOST,
    tags=("cni", "node", "flannel", "calico"),
)
def node_address_shared(nodes: Nodes, interfaces: Interfaces | None) -> Iterator[Finding]:
    """Machines of one template often have a first interface that is the same on all of them: NAT, a bridge of its own.

    The kubelet and the network plugin take the interface of the default route unless they are told. Only nodes that
    are Ready count: the object of a machine that is gone may have the address of the one that came after it.
    """
    real = [n for n in nodes.items if n.ready and not n.virtual and "type" not in n.labels]
    for kind, path, address_of in _PLACES:
        having: dict[str, list[Node]] = {}
        for node in real:
            if address := address_of(node):
                having.setdefault(address, []).append(node)
        for address, alike in having.items():
            if len(alike) < 2:
                continue
            names = [n.name for n in alike]
            tunnel = kind != "InternalIP"
            effect = (
                f"packets between their pods go astray ({kind} announces it)"
                if tunnel
                else "kubectl logs and exec, and what is sent to their pods, ends at one of them"
            )
            yield Finding(
                alike[0].ref(),
                f"nodes {listing(names)} all give {address} as their address: {effect}",
                evidence=(
                    Evidence(
                        kubectl("get", "nodes", "-o", f"custom-columns=NODE:.metadata.name,ADDRESS:{path}"),
                        f"{address}: {listing(names)}",
                    ),
                    *_own(alike[0], interfaces),
                ),
                next=tuple(_next(kind, alike, address, interfaces)),
                touches=tuple(n.ref() for n in alike),
                key=kind,
            )


def _own(node: Node, interfaces: Interfaces | None) -> Iterator[Evidence]:
    links = (interfaces.get(node.name) if interfaces else None) or ()
    shown = [f"{i.name} {a}" for i in links for a in i.addresses if i.name != "lo"]
    if shown:
        yield Evidence("ip -4 -brief address", listing(shown, 5), source=node.name)


def _next(kind: str, nodes: list[Node], address: str, interfaces: Interfaces | None) -> Iterator[str]:
    first = nodes[0]
    links = (interfaces.get(first.name) if interfaces else None) or ()
    other = next(
        (i.name for i in links for a in i.addresses if str(a.ip) not in (address, "127.0.0.1") and i.name[:3] == "eth"),
        "INTERFACE",
    )
    yield f"ssh {first.name} ip -4 -brief address    # which interface leads to the other nodes?"
    if kind == "flannel":
        yield f"kubectl -n kube-flannel edit daemonset kube-flannel-ds    # args: --iface={other}"
        yield "kubectl -n kube-flannel rollout status daemonset/kube-flannel-ds"
    elif kind == "Calico":
        yield f"kubectl -n kube-system set env daemonset/calico-node IP_AUTODETECTION_METHOD=interface={other}"
    else:
        yield (
            f"ssh -t {first.name} sudoedit /var/lib/kubelet/kubeadm-flags.env"
            "    # add --node-ip= with the node's own address, on each node"
        )
        yield f"ssh {first.name} sudo systemctl restart kubelet"

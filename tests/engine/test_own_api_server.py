"""A control-plane node whose kubelet reports to its own API server hangs on that one's etcd."""

from __future__ import annotations

import msgspec

from kdiag.engine.intake import Facts
from kdiag.engine.topology import Topology
from kdiag.facts import Cluster, Kubeconfig, Kubelets, KubeletSetup, Node, Nodes
from kdiag.model.result import Ref


def depends(server: str) -> frozenset[Ref]:
    setup = KubeletSetup(kubeconfig=Kubeconfig(path="/etc/kubernetes/kubelet.conf", server=server))
    address = {"type": "InternalIP", "address": "10.89.0.15"}
    node = msgspec.convert({"metadata": {"name": "cp3"}, "status": {"addresses": [address]}}, Node)
    facts = Facts({Cluster: Cluster(), Nodes: Nodes.of([node]), Kubelets: Kubelets.of({"cp3": setup})})
    return Topology(facts).closure((Ref("Node", "cp3"),))


def test_a_node_depends_on_the_etcd_beside_its_own_api_server() -> None:
    assert Ref("Pod", "etcd-cp3", "kube-system") in depends("https://10.89.0.15:6443")


def test_a_node_that_reports_elsewhere_does_not() -> None:
    assert Ref("Pod", "etcd-cp3", "kube-system") not in depends("https://10.89.0.11:6443")

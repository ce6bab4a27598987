"""NetworkPolicies are additive, their items are alternatives, and what stands in one item holds together."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kdiag.facts import (
    DaemonSet,
    DaemonSets,
    Enforced,
    Namespace,
    Namespaces,
    NetworkPolicies,
    NetworkPolicy,
    Node,
    Nodes,
    Pod,
    PodSpec,
    enforcement,
    incoming,
    outgoing,
    shown_peers,
    shown_ports,
)

NAMESPACES = Namespaces.of(
    msgspec.convert({"metadata": {"name": name, "labels": labels}}, Namespace)
    for name, labels in (("shop", {}), ("front", {"team": "front"}))
)
PORTS = {"containers": [{"name": "db", "ports": [{"containerPort": 3306, "name": "mysql"}]}]}
DB = Pod(name="db", namespace="shop", labels={"app": "db"}, ip="10.244.2.9", spec=msgspec.convert(PORTS, PodSpec))
WEB = Pod(name="web", namespace="shop", labels={"app": "web"}, ip="10.244.1.5")
UI = Pod(name="ui", namespace="front", labels={"app": "ui"}, ip="10.244.1.6")
HOST = Pod(name="host", namespace="front", ip="10.0.0.1", spec=PodSpec(host_network=True))


def policy(name: str = "p", select: dict[str, str] | None = None, **spec: Any) -> NetworkPolicy:
    whole = {
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"podSelector": {"matchLabels": select or {}}, **spec},
    }
    return msgspec.convert(whole, NetworkPolicy)


def into(source: Pod, *policies: NetworkPolicy, port: int = 3306, protocol: str = "TCP") -> bool:
    return incoming(NetworkPolicies.of(policies), NAMESPACES, source, DB, port, protocol).allowed


def out(target: Pod, *policies: NetworkPolicy, port: int = 53, protocol: str = "UDP") -> bool:
    return outgoing(NetworkPolicies.of(policies), NAMESPACES, WEB, target, port, protocol).allowed


def rule(*peers: dict[str, Any], ports: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"from": list(peers), "ports": ports or []}


PODS = {"podSelector": {"matchLabels": {"app": "ui"}}}
TEAM = {"namespaceSelector": {"matchLabels": {"team": "front"}}}


def test_lets_everything_through_where_no_policy_selects_the_pod() -> None:
    assert into(WEB)
    assert into(WEB, policy(select={"app": "other"}))
    assert out(DB, policy(policyTypes=["Ingress"]))


def test_denies_what_no_rule_allows() -> None:
    verdict = incoming(NetworkPolicies.of([policy()]), NAMESPACES, WEB, DB, 3306)
    assert not verdict.allowed
    assert [p.name for p in verdict.policies] == ["p"]


def test_adds_policies_up() -> None:
    assert into(WEB, policy("deny"), policy("allow", ingress=[rule({"podSelector": {}})]))


def test_takes_items_as_alternatives_and_one_item_as_a_whole() -> None:
    both, either = rule({**PODS, **TEAM}), rule(PODS, TEAM)
    other = Pod(name="other", namespace="front", labels={"app": "other"})
    assert into(UI, policy(ingress=[both]))
    assert not into(other, policy(ingress=[both]))
    assert into(other, policy(ingress=[either]))


def test_looks_for_pods_in_its_own_namespace_unless_told_otherwise() -> None:
    assert not into(UI, policy(ingress=[rule(PODS)]))
    assert into(UI, policy(ingress=[rule({**PODS, "namespaceSelector": {}})]))


def test_knows_a_namespace_by_the_name_label_that_the_api_adds() -> None:
    named = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "front"}}}
    assert into(UI, policy(ingress=[rule(named)]))
    assert not into(WEB, policy(ingress=[rule(named)]))


@pytest.mark.parametrize(
    ("port", "allowed"),
    [
        ({"port": 3306}, True),
        ({"port": "mysql"}, True),
        ({"port": 3300, "endPort": 3310}, True),
        ({"protocol": "TCP"}, True),
        ({"port": 3306, "protocol": "UDP"}, False),
        ({"port": 80}, False),
        ({"port": "http"}, False),
    ],
)
def test_compares_ports_with_those_of_the_pod(port: dict[str, Any], allowed: bool) -> None:
    assert into(WEB, policy(ingress=[rule(ports=[port])])) is allowed


def test_reads_ranges_of_addresses_with_their_exceptions() -> None:
    block = {"ipBlock": {"cidr": "10.244.0.0/16", "except": ["10.244.1.6/32"]}}
    assert into(WEB, policy(ingress=[rule(block)]))
    assert not into(UI, policy(ingress=[rule(block)]))


def test_does_not_judge_the_network_of_the_node() -> None:
    assert into(HOST, policy())


def test_takes_53_without_a_protocol_for_tcp() -> None:
    dns = policy(policyTypes=["Egress"], egress=[{"ports": [{"port": 53}]}])
    assert not out(DB, dns)
    assert out(DB, dns, protocol="TCP")


def test_governs_egress_where_egress_rules_are_written_without_a_type() -> None:
    assert not out(DB, policy(egress=[{"ports": [{"port": 443}]}]))


def daemonset(image: str, *args: str) -> DaemonSet:
    spec = {"containers": [{"name": "a", "image": image, "args": list(args)}]}
    whole = {"metadata": {"name": "net", "namespace": "kube-system"}, "spec": {"template": {"spec": spec}}}
    return msgspec.convert(whole, DaemonSet)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (["quay.io/calico/node:v3.29"], Enforced.YES),
        (["quay.io/cilium/cilium:v1.16@sha256:0"], Enforced.YES),
        (["docker.io/flannel/flannel:v0.26"], Enforced.NO),
        (["docker.io/flannel/flannel:v0.26", "docker.io/calico/node:v3.29"], Enforced.YES),
        (["docker.io/lab/net:1"], Enforced.UNKNOWN),
        ([], Enforced.UNKNOWN),
    ],
)
def test_knows_who_enforces_policies(images: list[str], expected: Enforced) -> None:
    assert enforcement(DaemonSets.of(map(daemonset, images)), None)[0] is expected


def test_knows_it_from_the_nodes_where_kube_system_was_not_read() -> None:
    status = {"conditions": [{"type": "NetworkUnavailable", "status": "False", "reason": "CalicoIsUp"}]}
    nodes = Nodes.of([msgspec.convert({"metadata": {"name": "w1"}, "status": status}, Node)])
    assert enforcement(DaemonSets(scope="shop"), nodes) == (Enforced.YES, "Calico")


def test_says_rules_as_a_person_does() -> None:
    found = policy(ingress=[rule({**PODS, **TEAM}, TEAM, ports=[{"port": 80}, {"port": 1, "endPort": 9}])])
    assert shown_peers(found.spec.ingress[0].from_) == (
        "pods app=ui in namespaces team=front or in namespaces team=front"
    )
    assert shown_ports(found.spec.ingress[0].ports) == "80/TCP, 1-9/TCP"

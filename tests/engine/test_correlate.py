"""Causes above their symptoms: with built checks and facts, no cluster."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from kdiag.check import CLUSTER, Check, Evidence, Finding, Layer, Ref, Severity, Shared
from kdiag.engine.correlate import Node, correlate, reach
from kdiag.engine.intake import Facts
from kdiag.engine.topology import Topology
from kdiag.facts import Backends, Deployments, Pods, ReplicaSets, Services, Workloads
from kdiag.facts.workloads import DaemonSets, StatefulSets
from kdiag.model.result import Result, Status, controller
from tests.facts.test_pods import raw
from tests.facts.test_wire import built, listed


def check(
    name: str,
    *,
    layer: Layer = Layer.POD,
    explains: tuple[str, ...] = (),
    here: tuple[str, ...] = (),
    severity: Severity = Severity.ERROR,
) -> Check:
    return Check(
        id=name, title=name, summary="", severity=severity, layer=layer, explains=explains, explains_here=here,
        tags=(), namespaces=(),
        run=lambda: (), needs={}, wants={},
    )  # fmt: skip


def library(*checks: Check) -> dict[str, Check]:
    return {c.id: c for c in checks}


def failed(check: str, *findings: Finding) -> Result:
    return Result(check, Status.FAIL, findings)


def tree(nodes: list[Node]) -> list[Any]:
    return [
        (n.check.id, n.finding.subject.name, tree(n.symptoms)) if n.symptoms else (n.check.id, n.finding.subject.name)
        for n in nodes
    ]


def facts() -> Facts:
    """Deployment shop/web with one pod on w1, and Service shop/web that selects it."""
    deployment = {
        "metadata": {"name": "web", "namespace": "shop", "uid": "d1"},
        "spec": {"template": {"metadata": {"labels": {"app": "web"}}}},
    }
    made = {"metadata": {"name": "web-h1", "namespace": "shop", "uid": "u1", "ownerReferences": [
        {"kind": "Deployment", "name": "web", "uid": "d1", "controller": True}]}, "spec": {"replicas": 1}}  # fmt: skip
    pod = raw(conditions=[{"type": "Ready", "status": "False"}])
    pod["spec"]["volumes"] = [{"name": "c", "configMap": {"name": "settings"}}]
    service = {
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }
    found = {
        Deployments: built(Deployments, listed(deployment)),
        ReplicaSets: built(ReplicaSets, listed(made)),
        Pods: built(Pods, listed(pod)),
        Services: built(Services, listed(service)),
        StatefulSets: StatefulSets(),
        DaemonSets: DaemonSets(),
    }
    return Facts(found)


WEB = Ref("Deployment", "web", "shop")
SERVICE = Ref("Service", "web", "shop")


def fold(results: list[Result], checks: dict[str, Check]) -> list[Any]:
    return tree(correlate(results, checks, Topology(facts())))


def test_a_symptom_of_an_object_that_depends_on_the_causes_object_is_folded() -> None:
    checks = library(check("node", layer=Layer.NODE, explains=("pod",)), check("pod"))
    results = [failed("pod", Finding(WEB, "m")), failed("node", Finding(Ref("Node", "w1"), "m"))]
    assert fold(results, checks) == [("node", "w1", [("pod", "web")])]


def test_a_symptom_elsewhere_is_a_cause_of_its_own() -> None:
    checks = library(check("node", layer=Layer.NODE, explains=("pod",)), check("pod"))
    results = [failed("pod", Finding(WEB, "m")), failed("node", Finding(Ref("Node", "w2"), "m"))]
    assert fold(results, checks) == [("node", "w2"), ("pod", "web")]


def test_what_no_check_explains_stays_a_cause_on_the_same_object() -> None:
    checks = library(check("image"), check("config"))
    results = [failed("image", Finding(WEB, "m")), failed("config", Finding(WEB, "m"))]
    assert len(fold(results, checks)) == 2


def test_a_chain_hangs_in_order_and_the_nearest_cause_is_the_parent() -> None:
    checks = library(
        check("config", explains=("pod",)),
        check("pod", explains=("workload",)),
        check("workload", layer=Layer.ROLLOUT, explains=("endpoints",)),
        check("endpoints", layer=Layer.ENDPOINTS),
    )
    results = [
        failed("endpoints", Finding(SERVICE, "m")),
        failed("workload", Finding(WEB, "m")),
        failed("pod", Finding(WEB, "m")),
        failed("config", Finding(Ref("ConfigMap", "settings", "shop"), "m")),
    ]
    assert fold(results, checks) == [
        ("config", "settings", [("pod", "web", [("workload", "web", [("endpoints", "web")])])])
    ]


def test_a_client_that_fails_for_want_of_its_server_is_folded_under_what_the_server_lacks() -> None:
    # The same checks fire for server and client: which explains which is for the objects to say.
    checks = library(
        check("image", explains=("pod",)), check("pod", explains=("endpoints",)),
        check("endpoints", layer=Layer.ENDPOINTS, explains=("unreachable",)),
        check("unreachable", layer=Layer.DEPENDENCY, here=("crash", "pod")), check("crash", explains=("pod",)),
    )  # fmt: skip
    client = Ref("Deployment", "client", "shop")
    results = [
        failed("image", Finding(WEB, "m")),
        failed("pod", Finding(WEB, "m"), Finding(client, "m")),
        failed("endpoints", Finding(SERVICE, "m")),
        failed("unreachable", Finding(client, "m", touches=(SERVICE,))),
        failed("crash", Finding(client, "m")),
    ]
    below = ("unreachable", "client", [("crash", "client"), ("pod", "client")])
    assert fold(results, checks) == [("image", "web", [("pod", "web", [("endpoints", "web", [below])])])]


def test_what_one_container_lacks_is_no_reason_for_the_crash_of_another() -> None:
    checks = library(check("unreachable", layer=Layer.DEPENDENCY, here=("crash", "pod")), check("crash"), check("pod"))
    results = [
        failed("unreachable", Finding(WEB, "m", container="app")),
        failed("crash", Finding(WEB, "m", container="shipper"), Finding(WEB, "m", container="app")),
        failed("pod", Finding(WEB, "m")),
    ]
    below = [("crash", "web"), ("pod", "web")]
    assert sorted(fold(results, checks), key=len) == [("crash", "web"), ("unreachable", "web", below)]


def test_a_workloads_own_empty_service_is_no_reason_for_what_it_waits_for() -> None:
    checks = library(
        check("waits", here=("pod",)), check("pod", explains=("endpoints",)),
        check("endpoints", layer=Layer.ENDPOINTS, explains=("waits",)),
    )  # fmt: skip
    results = [
        failed("waits", Finding(WEB, "m", touches=(Ref("Service", "db", "shop"),))),
        failed("pod", Finding(WEB, "m")),
        failed("endpoints", Finding(SERVICE, "m", touches=(WEB,))),
    ]
    assert fold(results, checks) == [("waits", "web", [("pod", "web", [("endpoints", "web")])])]


def test_a_service_that_was_meant_for_a_workload_is_no_reason_why_its_pods_are_not_ready() -> None:
    checks = library(
        check("kubelet", layer=Layer.NODE, explains=("pods",)),
        check("service", layer=Layer.ENDPOINTS, explains=("pods",)),
        check("pods"),
    )
    found = fold(
        [
            failed("pods", Finding(WEB, "")),
            failed("service", Finding(Ref("Service", "wep", "shop"), "", touches=(WEB,))),
            failed("kubelet", Finding(Ref("Node", "w1"), "")),
        ],
        checks,
    )
    assert found == [("kubelet", "w1", [("pods", "web")]), ("service", "wep")]


@pytest.mark.parametrize(
    ("places", "down", "touches", "folded"),
    [
        (("w1",), ("w1",), (), True),
        (("w1", "w2"), ("w1", "w2"), (), True),
        (("w1", "w2"), ("w1",), (), False),
        (("w2",), ("w1",), (), False),
        (("w1", "w2"), ("w1",), (CLUSTER,), True),
    ],
)
def test_a_daemonset_in_trouble_on_more_nodes_than_are_down_has_a_cause_of_its_own(
    places: tuple[str, ...], down: tuple[str, ...], touches: tuple[Ref, ...], *, folded: bool
) -> None:
    checks = library(check("kubelet", layer=Layer.HOST, explains=("proxy",)), check("proxy", layer=Layer.PROXY))
    proxy = Ref("DaemonSet", "kube-proxy", "kube-system")
    results = [
        failed("proxy", Finding(proxy, "m", touches=tuple(Ref("Node", place) for place in places))),
        failed("kubelet", *(Finding(Ref("Node", node), "m", touches=touches) for node in down)),
    ]
    assert (("proxy", "kube-proxy") not in fold(results, checks)) is folded


def test_what_hurts_nobody_yet_explains_an_error_only_where_no_error_does() -> None:
    checks = library(
        check("setting_differs", explains=("client_fails",), severity=Severity.WARNING),
        check("port_wrong", layer=Layer.ENDPOINTS, explains=("client_fails",)),
        check("client_fails"),
    )
    web, service = Ref("Deployment", "web", "shop"), Ref("Service", "web", "shop")
    fails = failed("client_fails", Finding(web, "fails", touches=(service,)))
    differs, wrong = failed("setting_differs", Finding(web, "x")), failed("port_wrong", Finding(service, "y"))
    assert fold([fails, differs, wrong], checks) == [
        ("port_wrong", "web", [("client_fails", "web")]),
        ("setting_differs", "web"),
    ]
    assert fold([fails, differs], checks) == [("setting_differs", "web", [("client_fails", "web")])]


def test_what_hurts_nobody_yet_on_the_object_itself_comes_after_an_error_elsewhere() -> None:
    checks = library(
        check("node", layer=Layer.NODE, explains=("pods",)),
        check("upstream", layer=Layer.DNS, here=("pods",), severity=Severity.WARNING),
        check("pods"),
    )
    own = [failed("upstream", Finding(WEB, "")), failed("pods", Finding(WEB, ""))]
    assert fold(own, checks) == [("upstream", "web", [("pods", "web")])]
    found = fold([*own, failed("node", Finding(Ref("Node", "w1"), ""))], checks)
    assert found == [("node", "w1", [("pods", "web")]), ("upstream", "web")]


def test_a_link_of_the_chain_that_is_missing_breaks_nothing() -> None:
    checks = library(
        check("config", explains=("pod",)), check("pod", explains=("workload",)),
        check("workload", explains=("endpoints",)), check("endpoints", layer=Layer.ENDPOINTS),
    )  # fmt: skip
    results = [failed("endpoints", Finding(SERVICE, "m")), failed("config", Finding(WEB, "m"))]
    assert fold(results, checks) == [("config", "web", [("endpoints", "web")])]


def test_a_fault_of_the_whole_cluster_explains_what_it_says_everywhere() -> None:
    checks = library(
        check("scheduler", layer=Layer.CONTROLLERS, explains=("pending",)), check("pending"), check("other")
    )
    scheduler = Finding(Ref("Pod", "kube-scheduler-cp1", "kube-system"), "m", touches=(CLUSTER,))
    results = [failed("pending", Finding(WEB, "m")), failed("other", Finding(WEB, "m")), failed("scheduler", scheduler)]
    assert fold(results, checks) == [("scheduler", "kube-scheduler-cp1", [("pending", "web")]), ("other", "web")]


def test_what_a_fault_of_the_whole_cluster_explains_through_another_check_shows_on_an_object_of_that_one() -> None:
    """The DNS Service selects nothing, and so does Service web: its wrong selector has nothing to do with DNS."""
    checks = library(
        check("dns", layer=Layer.DNS, explains=("selector", "unresolved")),
        check("selector", layer=Layer.ENDPOINTS, explains=("crash",)),
        check("unresolved", layer=Layer.DEPENDENCY),
        check("crash"),
    )
    kube_dns = Ref("Service", "kube-dns", "kube-system")
    dns = failed("dns", Finding(kube_dns, "m", touches=(CLUSTER,)))
    crash = failed("crash", Finding(WEB, "m"))
    assert set(fold([dns, crash], checks)) == {("crash", "web"), ("dns", "kube-dns")}
    assert fold([dns, failed("unresolved", Finding(WEB, "m"))], checks) == [
        ("dns", "kube-dns", [("unresolved", "web")])
    ]
    through = [dns, crash, failed("selector", Finding(Ref("Service", "web", "shop"), "m", touches=(WEB,)))]
    assert ("crash", "web") in fold(through, checks)


def test_a_workload_is_not_cut_off_from_what_it_needs_by_its_own_fault_behind_its_own_service() -> None:
    """Its new image cannot be pulled, and the database of its old pods is down."""
    checks = library(
        check("image", explains=("unready",)),
        check("secret", explains=("unready",)),
        check("unready", explains=("endpoint",)),
        check("endpoint", layer=Layer.ENDPOINTS, explains=("unreachable",)),
        check("unreachable", layer=Layer.DEPENDENCY),
    )
    database, behind = Ref("StatefulSet", "db", "shop"), Ref("Service", "db", "shop")
    results = [
        failed("image", Finding(WEB, "m")),
        failed("unready", Finding(WEB, "m"), Finding(database, "m")),
        failed("secret", Finding(database, "m")),
        failed("endpoint", Finding(behind, "m", touches=(database,))),
        failed("unreachable", Finding(WEB, "m", touches=(behind,))),
    ]
    assert fold(results, checks) == [
        ("secret", "db", [("unready", "db", [("endpoint", "db", [("unreachable", "web")])])]),
        ("image", "web", [("unready", "web")]),
    ]


def test_what_has_its_reason_in_itself_is_below_no_fault_of_the_whole_cluster() -> None:
    """The name that a workload asks for ends in a blank, and the cluster's DNS is down."""
    checks = library(check("dns", layer=Layer.DNS, explains=("name",)), check("name", layer=Layer.DEPENDENCY))
    dns = failed("dns", Finding(Ref("Service", "kube-dns", "kube-system"), "m", touches=(CLUSTER,)))
    assert fold([dns, failed("name", Finding(WEB, "m"))], checks) == [("dns", "kube-dns", [("name", "web")])]
    found = fold([dns, failed("name", Finding(WEB, "m", own=True))], checks)
    assert set(found) == {("dns", "kube-dns"), ("name", "web")}


def test_what_has_its_reason_in_itself_is_below_no_node_that_is_down() -> None:
    """A workload asks for a runtime handler that no node has, and the node of one of its pods is not Ready."""
    checks = library(check("node", explains=("sandbox",)), check("sandbox", layer=Layer.CNI))
    down = failed("node", Finding(Ref("Node", "w1"), "m"))
    assert fold([down, failed("sandbox", Finding(WEB, "m"))], checks) == [("node", "w1", [("sandbox", "web")])]
    found = fold([down, failed("sandbox", Finding(WEB, "m", own=True))], checks)
    assert set(found) == {("node", "w1"), ("sandbox", "web")}


def test_a_controller_that_stands_still_explains_what_it_reconciles_and_nothing_else() -> None:
    checks = library(check("rights", explains=("unavailable",)), check("unavailable", layer=Layer.ROLLOUT))
    web = failed("unavailable", Finding(WEB, "m"))
    role = Ref("ClusterRole", "r")
    mine = failed("rights", Finding(role, "m", touches=(controller("deployment-controller"),)))
    assert fold([mine, web], checks) == [("rights", "r", [("unavailable", "web")])]
    other = failed("rights", Finding(role, "m", touches=(controller("job-controller"),)))
    assert set(fold([other, web], checks)) == {("rights", "r"), ("unavailable", "web")}


def test_worse_comes_first_then_lower_then_wider() -> None:
    checks = library(
        check("a_warning", layer=Layer.HOST, severity=Severity.WARNING), check("ingress", layer=Layer.INGRESS),
        check("dns", layer=Layer.DNS), check("node", layer=Layer.NODE, severity=Severity.CRITICAL),
    )  # fmt: skip
    results = [failed(name, Finding(Ref("X", name), "m")) for name in checks]
    assert [n[0] for n in fold(results, checks)] == ["node", "dns", "ingress", "a_warning"]


def test_what_the_whole_cluster_suffers_from_comes_before_a_lower_layer_and_not_before_what_is_worse() -> None:
    lib = library(
        check("etcd", layer=Layer.ETCD, severity=Severity.CRITICAL),
        check("host", layer=Layer.HOST, severity=Severity.CRITICAL),
        check("names", layer=Layer.DNS),
    )
    wide = failed("etcd", Finding(Ref("Pod", "etcd-cp1", "kube-system"), "dead", touches=(CLUSTER,)))
    minor = failed("names", Finding(Ref("Pod", "coredns", "kube-system"), "slow", touches=(CLUSTER,)))
    found = correlate([failed("host", Finding(Ref("Node", "w1"), "down")), minor, wide], lib, Topology(facts()))
    assert [n.check.id for n in found] == ["etcd", "host", "names"]


def test_nothing_is_dropped() -> None:
    checks = library(check("a", explains=("b",)), check("b", explains=("c",)), check("c"))
    results = [failed(name, *(Finding(WEB, f"{name}{i}", key=str(i)) for i in range(7))) for name in checks]
    causes = correlate(results, checks, Topology(facts()))
    assert sum(1 + c.size for c in causes) == 21


def test_a_cycle_in_what_explains_what_ends() -> None:
    checks = library(check("a", explains=("b",)), check("b", explains=("a",)))
    assert reach(checks) == {"a": frozenset({"b"}), "b": frozenset({"a"})}
    results = [failed(name, Finding(WEB, "m")) for name in checks]
    causes = correlate(results, checks, Topology(facts()))
    assert len([n for c in causes for n in c.walk()]) == 2


def test_a_fingerprint_survives_another_message_and_tells_objects_apart() -> None:
    one = Node(check("a"), Finding(WEB, "2 of 3 pods", key="app"))
    assert one.fingerprint == Node(check("a"), Finding(WEB, "1 of 3 pods", key="app")).fingerprint
    others = [
        Node(check("b"), one.finding),
        Node(check("a"), msgspec.structs.replace(one.finding, subject=SERVICE)),
        Node(check("a"), msgspec.structs.replace(one.finding, key="other")),
    ]
    assert len({one.fingerprint, *(o.fingerprint for o in others)}) == 4


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_results_changes_nothing(order: int) -> None:
    checks = library(check("node", layer=Layer.NODE, explains=("pod",)), check("pod"), check("x"))
    results = [
        failed("pod", Finding(WEB, "m")),
        failed("x", Finding(SERVICE, "m")),
        failed("node", Finding(Ref("Node", "w1"), "m")),
    ][::order]
    assert fold(results, checks) == [("node", "w1", [("pod", "web")]), ("x", "web")]


def test_a_service_depends_on_the_workload_behind_it_even_without_pods() -> None:
    known = facts()
    known = known.replaced(Pods())
    assert WEB in Topology(known).direct(SERVICE)
    assert known.get(Backends) is not None
    assert known.get(Workloads) is not None


def stumbles(name: str, kind: str = "Deployment", fault: str = "ConfigMap shop/settings does not exist") -> Finding:
    shared = Shared(Ref("ConfigMap", "settings", "shop"), fault)
    return Finding(
        Ref(kind, name, "shop"),
        f"{name} needs it",
        evidence=(Evidence("kubectl get configmaps", "none"),),
        next=(f"edit {name}", "or: create it"),
        touches=(shared.ref,),
        shared=shared,
    )


def test_what_several_stumble_over_is_one_cause_with_all_of_them_below() -> None:
    checks = library(check("config", explains=("pod",)), check("pod"))
    results = [failed("config", stumbles("web"), stumbles("api")), failed("pod", Finding(WEB, "m"))]
    [cause] = correlate(results, checks, Topology(facts()))
    assert cause.finding.subject == Ref("ConfigMap", "settings", "shop")
    assert cause.finding.message == "ConfigMap shop/settings does not exist: 2 Deployments need it"
    assert cause.finding.next == ("edit api   # so each of them", "or: create it")
    assert tree([cause]) == [("config", "settings", [("config", "api"), ("config", "web", [("pod", "web")])])]
    assert cause.worst is Severity.ERROR
    assert WEB in cause.finding.touches, "its page is filled with one of them"


def test_one_that_stumbles_alone_is_its_own_cause() -> None:
    checks = library(check("config"))
    assert fold([failed("config", stumbles("web"))], checks) == [("config", "web")]


def test_two_faults_of_one_object_are_two_causes_and_kinds_that_differ_are_workloads() -> None:
    checks = library(check("config"))
    other = "ConfigMap shop/settings has no key b"
    found = [stumbles("web"), stumbles("load", "Job"), stumbles("c", fault=other), stumbles("d", fault=other)]
    causes = correlate([failed("config", *found)], checks, Topology(facts()))
    assert sorted(c.finding.message for c in causes) == [
        "ConfigMap shop/settings does not exist: 2 workloads need it",
        "ConfigMap shop/settings has no key b: 2 Deployments need it",
    ]
    assert len({c.fingerprint for c in causes}) == 2


def test_what_follows_from_elsewhere_does_not_count_as_stumbling() -> None:
    checks = library(check("node", layer=Layer.NODE, explains=("config",)), check("config"))
    results = [failed("node", Finding(Ref("Node", "w1"), "m")), failed("config", stumbles("web"), stumbles("api"))]
    assert fold(results, checks) == [("node", "w1", [("config", "web")]), ("config", "api")]


def test_of_many_that_touch_one_object_the_own_one_is_the_cause() -> None:
    # A hundred claims of a class that is gone: a workload hangs below the claim that it waits for itself.
    checks = library(check("class", layer=Layer.VOLUME, explains=("waits",)), check("waits"))
    shared = Ref("ConfigMap", "settings", "shop")
    others = [Finding(Ref("Claim", f"c{n:03}", "shop"), "m", touches=(shared,)) for n in range(100)]
    own = Finding(Ref("Pod", "web-1", "shop"), "m", touches=(shared,))
    found = fold([failed("class", *others, own), failed("waits", Finding(WEB, "m", touches=(own.subject,)))], checks)
    assert ("class", "web-1", [("waits", "web")]) in found
    assert len(found) == 101


def test_many_findings_that_share_an_object_are_not_compared_with_each_other() -> None:
    checks = library(check("class", layer=Layer.VOLUME, explains=("waits",)), check("waits"))
    shared = Ref("ConfigMap", "settings", "shop")
    nodes = {
        name: [Finding(Ref(name, f"c{n:04}", "shop"), "m", touches=(shared,)) for n in range(1000)]
        for name in ("class", "waits")
    }
    looks = 0

    class Counted(frozenset[str]):
        def __contains__(self, item: object) -> bool:
            nonlocal looks
            looks += 1
            return super().__contains__(item)

    checks["class"] = dataclasses.replace(checks["class"], explains=Counted({"waits"}))  # type: ignore[arg-type]
    found = correlate([failed(name, *some) for name, some in nodes.items()], checks, Topology(facts()))
    assert sum(n.size for n in found) == 1000
    assert looks < 100_000


@pytest.mark.parametrize(
    ("mine", "theirs", "told"),
    [
        ("edit a   # a label", "edit b   # a label", "edit a   # a label; so each of them"),
        ("create it", "create it", "create it"),
    ],
)
def test_a_step_that_is_one_workloads_own_is_said_to_stand_for_each(mine: str, theirs: str, told: str) -> None:
    found = [
        msgspec.structs.replace(stumbles(name), next=(step, "or: create it"))
        for name, step in (("a", mine), ("b", theirs))
    ]
    (cause,) = correlate([failed("config", *found)], library(check("config")), Topology(facts()))
    assert cause.finding.next == (told, "or: create it")

"""What changed just before a fault: only what can bear on it, and only just before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from kdiag.check import Layer
from kdiag.engine.changes import Change, Changes
from kdiag.engine.intake import Facts
from kdiag.engine.library import checks
from kdiag.engine.topology import Topology
from kdiag.engine.verdict import judge
from kdiag.model.result import Finding, Ref
from tests.recording import facts_of, observations

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def at(minutes: float) -> str:
    """So many minutes before now."""
    return (NOW - timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


def meta(name: str, created: float = 600, namespace: str = "shop", **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": namespace, "creationTimestamp": at(created), "uid": f"u-{name}", **more}


def wrote(manager: str, minutes: float, subresource: str = "", operation: str = "Update") -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "time": at(minutes), "subresource": subresource}


TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {"containers": [{"name": "app", "image": "nginx", "envFrom": [{"configMapRef": {"name": "settings"}}]}]},
}
DEPLOYMENT = {
    "metadata": meta(
        "web",
        managedFields=[
            wrote("kubectl-client-side-apply", 600),
            wrote("kubectl-edit", 12),
            wrote("kube-controller-manager", 3, "status"),
            wrote("kube-controller-manager", 11.9),
        ],
    ),
    "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE},
}


def replicaset(revision: int, minutes: float, cause: str = "") -> dict[str, Any]:
    annotations = {"deployment.kubernetes.io/revision": str(revision), "kubernetes.io/change-cause": cause}
    owner = {"kind": "Deployment", "name": "web", "uid": "u-web", "controller": True}
    return {"metadata": meta(f"web-{revision}", minutes, annotations=annotations, ownerReferences=[owner])}


POD = {
    "metadata": {
        **meta("web-1", 11),
        "labels": {"app": "web"},
        "ownerReferences": [{"kind": "ReplicaSet", "name": "web-7", "uid": "u-web-7", "controller": True}],
    },
    "spec": {"nodeName": "w1", **TEMPLATE["spec"]},
    "status": {"phase": "Running"},
}
SERVICE = {
    "metadata": meta("web", managedFields=[wrote("kubectl-create", 600), wrote("kubectl-patch", 4)]),
    "spec": {"selector": {"app": "web"}},
}
SETTINGS = {
    "metadata": meta("settings", managedFields=[wrote("helm", 600), wrote("kubectl-edit", 5)]),
    "data": {"a": "b"},
}
CLUSTER: dict[str, Any] = {
    "taken": NOW,
    "expect": [],
    "deployments": [DEPLOYMENT],
    "replicasets": [replicaset(1, 600), replicaset(7, 11.95, "set image web")],
    "pods": [POD],
    "services": [SERVICE],
    "configmaps": [SETTINGS, {"metadata": meta("unrelated", managedFields=[wrote("kubectl-edit", 2)]), "data": {}}],
    "nodes": [
        {"metadata": {"name": "w1", "creationTimestamp": at(9000), "managedFields": [wrote("kubectl-label", 6)]}}
    ],
}


def facts(**more: Any) -> Facts:
    return facts_of(observations({**CLUSTER, **more}))


def told(finding: Finding, layer: Layer | None = None, **more: Any) -> list[str]:
    seen = facts(**more)
    before = Changes(seen, Topology(seen)).before(finding, layer)
    return [f"{(NOW - c.when).total_seconds() / 60:g} {c}" for c in before]


WEB = Finding(Ref("Deployment", "web", "shop"), "Deployment shop/web crashes")


def test_tells_newest_first_what_the_fault_depends_on() -> None:
    assert told(WEB, Layer.POD) == [
        "5 ConfigMap shop/settings (kubectl-edit)",
        "11.95 Deployment shop/web rollout to revision 7: set image web (kubectl-edit)",
    ]


def test_a_fault_that_began_earlier_has_earlier_causes() -> None:
    began = Finding(WEB.subject, WEB.message, since=at(8))
    assert told(began, Layer.POD) == ["11.95 Deployment shop/web rollout to revision 7: set image web (kubectl-edit)"]
    assert told(Finding(WEB.subject, WEB.message, since=at(300)), Layer.POD) == []
    assert told(Finding(WEB.subject, WEB.message, since="no time"), Layer.POD) != []


def test_only_what_can_bear_on_it_is_told() -> None:
    service = Finding(Ref("Service", "web", "shop"), "Service shop/web selects no pod")
    assert told(service, Layer.ENDPOINTS) == [
        "4 Service shop/web (kubectl-patch)",
        "11.95 Deployment shop/web rollout to revision 7: set image web (kubectl-edit)",
    ]
    elsewhere = Finding(Ref("Deployment", "other", "ops"), "x")
    assert told(elsewhere, Layer.POD) == []


def test_a_scaled_workload_names_who_scaled_it() -> None:
    deployment = {**DEPLOYMENT, "metadata": meta("web", managedFields=[wrote("kubectl", 3, "scale")])}
    assert told(WEB, Layer.POD, deployments=[deployment], replicasets=[], configmaps=[]) == [
        "3 Deployment shop/web scaled (kubectl)"
    ]
    event = {
        "metadata": {"namespace": "shop"},
        "involvedObject": {"kind": "HorizontalPodAutoscaler", "name": "web", "namespace": "shop"},
        "reason": "SuccessfulRescale",
        "message": "New size: 9; reason: cpu",
        "lastTimestamp": at(2),
    }
    scaler = {"metadata": meta("web"), "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}}}
    found = told(WEB, Layer.POD, events=[event], horizontalpodautoscalers=[scaler], configmaps=[], replicasets=[])
    assert found[0] == "2 Deployment shop/web New size: 9; reason: cpu (HorizontalPodAutoscaler web)"


def test_what_is_written_right_after_it_was_created_is_a_change() -> None:
    settings = {
        "metadata": meta("settings", 5, managedFields=[wrote("helm", 5), wrote("kubectl-patch", 4.98)]),
        "data": {},
    }
    assert told(WEB, Layer.POD, configmaps=[settings])[:2] == [
        "4.98 ConfigMap shop/settings (kubectl-patch)",
        "5 ConfigMap shop/settings created (helm)",
    ]


def test_a_network_policy_of_the_namespace_is_told() -> None:
    policy = {"metadata": meta("deny", 3, managedFields=[wrote("kubectl-create", 3)]), "spec": {"podSelector": {}}}
    assert told(WEB, Layer.DEPENDENCY, networkpolicies=[policy])[0] == (
        "3 NetworkPolicy shop/deny created (kubectl-create)"
    )


def event(reason: str, minutes: float, component: str = "kubelet") -> dict[str, Any]:
    return {
        "metadata": {"namespace": "default"},
        "involvedObject": {"kind": "Node", "name": "w1"},
        "reason": reason,
        "lastTimestamp": at(minutes),
        "source": {"component": component},
    }


def test_what_happened_to_a_node_bears_on_what_runs_there() -> None:
    events = [event("NodeNotReady", 7, "node-controller"), event("Starting", 6), event("Starting", 6, "kube-proxy")]
    calm = {"configmaps": [], "replicasets": [], "deployments": [{**DEPLOYMENT, "metadata": meta("web")}]}
    pod = Finding(Ref("Pod", "web-1", "shop"), "x")
    assert told(pod, Layer.POD, events=events, **calm) == [
        "6 Node w1 kubelet started",
        "7 Node w1 NodeNotReady (node-controller)",
    ]
    # A selector is not missed for it, and a label only matters where something is to be placed.
    assert not [c for c in told(pod, Layer.ENDPOINTS, events=events, **calm) if "Node" in c]
    assert "6 Node w1 (kubectl-label)" in told(pod, Layer.SCHEDULING, **calm)


def test_what_takes_the_place_of_a_pod_may_have_the_second_in_which_it_has_none() -> None:
    calm = {"configmaps": [], "replicasets": [], "deployments": [{**DEPLOYMENT, "metadata": meta("web")}]}
    pod = Finding(Ref("Pod", "web-1", "shop"), "x", since=at(6))
    assert "6 Node w1 (kubectl-label)" in told(pod, Layer.SCHEDULING, **calm)


def test_the_fault_itself_is_no_change_before_it() -> None:
    node = Finding(Ref("Node", "w1"), "node w1 is not Ready", since=at(7))
    assert told(node, Layer.NODE, events=[event("NodeNotReady", 7), event("Rebooted", 9)]) == [
        "9 Node w1 Rebooted (kubelet)"
    ]


UNITS = """Id=kubelet.service
LoadState=loaded
ActiveState=active
SubState=running
ActiveEnterTimestamp=Sun 2026-11-22 09:55:00 UTC

Id=containerd.service
LoadState=loaded
ActiveState=inactive
InactiveEnterTimestamp=Sun 2026-11-22 09:52:00 UTC
"""


def test_units_that_started_or_stopped_are_told_of_their_node() -> None:
    node = Finding(Ref("Node", "w1"), "x")
    assert told(node, Layer.NODE, hosts={"w1": {"units": UNITS}}) == [
        "5 Node w1 kubelet.service started",
        "6 Node w1 (kubectl-label)",
        "8 Node w1 containerd.service stopped",
    ]


def files(*lines: tuple[str, str, float]) -> str:
    """What ``find`` prints of files: kind, path, minutes before now."""
    return "".join(
        f"{kind}\t{kind}\t100\t{(NOW - timedelta(minutes=minutes)).timestamp():.9f}\t600\t0\t{path}\t\n"
        for kind, path, minutes in lines
    )


MADE = [
    ("d", "/etc/kubernetes/manifests", 8.0),
    ("f", "/etc/kubernetes/pki/ca.crt", 8.1),
    ("f", "/etc/kubernetes/pki/apiserver.crt", 8.1),
    ("f", "/etc/kubernetes/scheduler.conf", 8.0),
    ("f", "/etc/kubernetes/controller-manager.conf", 8.0),
    ("f", "/etc/kubernetes/manifests/kube-apiserver.yaml", 8.0),
    ("f", "/etc/kubernetes/manifests/kube-controller-manager.yaml", 8.0),
    ("f", "/etc/kubernetes/manifests/kube-scheduler.yaml", 8.0),
]
SCHEDULER = Finding(Ref("Pod", "kube-scheduler-cp1", "kube-system"), "x")


def test_what_was_written_when_the_node_was_made_is_no_change() -> None:
    assert told(SCHEDULER, Layer.CONTROLLERS, hosts={"cp1": {"manifest-files": files(*MADE)}}) == []


def test_a_manifest_that_was_written_later_is() -> None:
    edited = [*MADE[:-1], ("f", "/etc/kubernetes/manifests/kube-scheduler.yaml", 2.0)]
    assert told(SCHEDULER, Layer.CONTROLLERS, hosts={"cp1": {"manifest-files": files(*edited)}}) == [
        "2 Pod kube-system/kube-scheduler-cp1 manifest kube-scheduler.yaml written"
    ]


def test_of_a_manifest_that_is_gone_the_folder_tells_when() -> None:
    gone = [("d", "/etc/kubernetes/manifests", 1.0), *MADE[1:-1]]
    assert told(SCHEDULER, Layer.CONTROLLERS, hosts={"cp1": {"manifest-files": files(*gone)}}) == [
        "1 Pod kube-system/kube-scheduler-cp1 a file came into /etc/kubernetes/manifests or left it"
    ]


def test_every_change_names_the_command_that_shows_it() -> None:
    seen = facts()
    for change in Changes(seen, Topology(seen)).before(WEB, Layer.POD):
        assert change.command.startswith("kubectl -n shop ")


def test_hostile_names_are_made_safe() -> None:
    odd = {"metadata": meta("settings", managedFields=[wrote("evil\x1b[31m\u202e" + "x" * 300, 5)]), "data": {}}
    (text, *_) = told(WEB, Layer.POD, configmaps=[odd])
    assert text.isprintable()
    assert len(text) < 200


def test_a_healthy_cluster_has_no_changes_to_tell() -> None:
    verdict = judge(list(checks().values())[:0], facts(), checks())
    assert verdict.changes == {}


def test_the_verdict_says_how_long_before() -> None:
    seen = facts(
        services=[
            {"metadata": meta("web", managedFields=[wrote("kubectl-patch", 4)]), "spec": {"selector": {"app": "wbe"}}}
        ]
    )
    library = checks()
    verdict = judge([library["network/service_selects_nothing"]], seen, library)
    (cause,) = verdict.causes
    assert next((age, str(change)) for age, change in verdict.changed(cause)) == (
        "4m ago",
        "Service shop/web (kubectl-patch)",
    )
    assert judge([library["network/service_selects_nothing"]], seen, library).changes == verdict.changes


def test_changes_compare_and_show() -> None:
    change = Change(when=NOW, what="changed", object=Ref("ConfigMap", "a", "b"))
    assert str(change) == "ConfigMap b/a"

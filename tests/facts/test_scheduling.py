"""Why a pod has no node: the scheduler's words of several versions, and the model over nodes and pods."""

from __future__ import annotations

from typing import Any

import pytest

from kdiag.facts import (
    Claims,
    Cluster,
    Differs,
    Pods,
    Scheduling,
    Stuck,
    Taint,
    Toleration,
    Volumes,
    Why,
    differences,
    scheduler_said,
    tolerates,
)
from tests.recording import facts_of, observations

NOW = "2026-11-22T09:30:00Z"
CP = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (  # 1.36
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. "
            "no new claims to deallocate, preemption: 0/3 nodes are available: "
            "1 Preemption is not helpful for scheduling, 2 No preemption victims"
            " found for incoming pod.",
            {Why.TAINT: 1, Why.RESOURCE: 2},
        ),
        (  # 1.32
            "0/2 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, "
            "1 node(s) were unschedulable.",
            {Why.TAINT: 1, Why.CORDONED: 1},
        ),
        (  # 1.19
            "0/4 nodes are available: 1 node(s) had taint {node-role.kubernetes.io/master: }, that the pod didn't "
            "tolerate, 3 node(s) didn't match node selector.",
            {Why.TAINT: 1, Why.SELECTOR: 3},
        ),
        ("0/2 nodes are available: 2 node(s) had volume node affinity conflict.", {Why.VOLUME: 2}),
        ("0/2 nodes are available: 2 node(s) didn't match PersistentVolume's node affinity.", {Why.VOLUME: 2}),
        ("0/3 nodes are available: 2 Insufficient cpu, 3 Insufficient memory.", {Why.RESOURCE: 5}),
        ("0/1 nodes are available: 1 Too many pods.", {Why.PODS: 1}),
        (
            "0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints (missing required label).",
            {Why.SPREAD: 3},
        ),
        (
            "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found",
            {Why.CLAIM_UNBOUND: 0},
        ),
        ('0/3 nodes are available: persistentvolumeclaim "x" not found. not found', {Why.CLAIM_MISSING: 0}),
        ('0/3 nodes are available: persistentvolumeclaim "x" is being deleted. not found', {Why.CLAIM_DELETED: 0}),
        ("no nodes available to schedule pods", {Why.NO_NODE: 0}),
        ("running PreBind plugin VolumeBinding: binding volumes: context deadline exceeded", {}),
        (
            "0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, "
            "2 cannot allocate all claims. still not schedulable, preemption: 0/3 nodes are available: 3 Preemption is "
            "not helpful for scheduling.",
            {Why.TAINT: 1, Why.OTHER: 2},
        ),
        ('0/3 nodes are available: waiting for resource claim "gpu" to be created', {Why.OTHER: 0}),
        ("0/3 nodes are available: 3 node is filtered out by the prefilter result.", {}),
        ("0/2 nodes are available: 2 node(s) exceed max volume count.", {Why.VOLUME_LIMIT: 2}),
    ],
)
def test_reads_the_schedulers_words_of_every_version(message: str, said: dict[Why, int]) -> None:
    assert scheduler_said(message) == said


@pytest.mark.parametrize(
    ("toleration", "covers"),
    [
        (Toleration(key="dedicated", operator="Equal", value="batch", effect="NoSchedule"), True),
        (Toleration(key="dedicated", operator="Equal", value="batch"), True),
        (Toleration(key="dedicated", operator="Exists"), True),
        (Toleration(operator="Exists"), True),
        (Toleration(key="dedicated", operator="Equal", value="Batch"), False),
        (Toleration(key="dedicated", operator="Exists", effect="NoExecute"), False),
        (Toleration(value="batch"), False),
    ],
)
def test_tolerates_as_the_scheduler_does(toleration: Toleration, covers: bool) -> None:
    assert tolerates([toleration], Taint(key="dedicated", value="batch", effect="NoSchedule")) is covers


def node(name: str, *taints: dict[str, str], cordoned: bool = False, cpu: str = "2", **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}},
        "spec": {"taints": list(taints), "unschedulable": cordoned},
        "status": {"allocatable": {"cpu": cpu, "memory": "4Gi", "pods": "110"}},
    }


def pod(name: str, at: str = "", message: str = "", cpu: str = "", **spec: Any) -> dict[str, Any]:
    resources = {"requests": {"cpu": cpu}} if cpu else {}
    container = {"name": "app", "image": "x", "resources": resources, "ports": spec.pop("ports", [])}
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "labels": {"app": name.split("-")[0]},
            "creationTimestamp": "2026-11-22T09:20:00Z",
        },
        "spec": {"containers": [container], "nodeName": at, **spec},
        "status": {"phase": "Running" if at else "Pending", "conditions": [] if at else [condition]},
    }


def facts(nodes: list[dict[str, Any]], pods: list[dict[str, Any]], **more: Any) -> Any:
    return facts_of(observations({"taken": NOW, "nodes": nodes, "pods": pods, **more}))


def the_one(nodes: list[dict[str, Any]], pods: list[dict[str, Any]], **more: Any) -> Stuck:
    seen = facts(nodes, pods, **more)
    model, cluster = seen.get(Scheduling), seen.get(Cluster)
    found = [s for w in Why for s in model.stuck(w, cluster.taken, seen.get(Claims), seen.get(Volumes))]
    (one,) = found
    assert isinstance(one, Stuck)
    return one


def said(*parts: str, of: int = 3) -> str:
    return f"0/{of} nodes are available: {', '.join(parts)}. preemption: 0/{of} nodes are available: …"


def test_the_selector_is_the_cause_when_no_node_has_the_label_whatever_the_taints_say() -> None:
    message = said("3 node(s) had untolerated taint(s)")
    nodes = [node("cp1", CP), node("w1", {"key": "a", "effect": "NoSchedule"}), node("w2", CP)]
    assert the_one(nodes, [pod("web", message=message, nodeSelector={"disk": "ssd"})]).why is Why.SELECTOR


def test_a_request_that_never_fits_is_the_cause_although_a_taint_comes_first() -> None:
    message = said("3 node(s) had untolerated taint(s)")
    nodes = [node("cp1", CP), *(node(n, {"key": "a", "effect": "NoSchedule"}) for n in ("w1", "w2"))]
    one = the_one(nodes, [pod("web", message=message, cpu="64")])
    assert (one.why, [n.name for n in one.near]) == (Why.RESOURCE, ["w1", "w2"])


def test_the_cordoned_node_is_the_cause_when_it_alone_would_fit() -> None:
    message = said("1 Insufficient cpu", "1 node(s) had untolerated taint(s)", "1 node(s) were unschedulable")
    pods = [pod("full", at="w2", cpu="1900m"), pod("web", message=message, cpu="500m")]
    one = the_one([node("cp1", CP), node("w1", cordoned=True), node("w2")], pods)
    assert (one.why, [n.name for n in one.near]) == (Why.CORDONED, ["w1"])


def test_resources_are_the_cause_when_the_cordoned_node_would_not_fit_either() -> None:
    message = said("1 Insufficient cpu", "1 node(s) had untolerated taint(s)", "1 node(s) were unschedulable")
    one = the_one([node("cp1", CP), node("w1", cordoned=True), node("w2")], [pod("web", message=message, cpu="8")])
    assert one.why is Why.RESOURCE


def test_a_pod_that_wants_the_control_plane_lacks_the_toleration() -> None:
    message = said("1 node(s) had untolerated taint(s)", "2 node(s) didn't match Pod's node affinity/selector")
    nodes = [node("cp1", CP), node("w1"), node("w2")]
    one = the_one(nodes, [pod("web", message=message, nodeSelector={"kubernetes.io/hostname": "cp1"})])
    assert (one.why, [n.name for n in one.near]) == (Why.TAINT, ["cp1"])


def test_a_local_volume_on_a_cordoned_node_blames_the_cordon() -> None:
    message = said("1 node(s) were unschedulable", "1 node(s) didn't match PersistentVolume's node affinity", of=2)
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["w1"]}]}
    volume = {
        "metadata": {"name": "pv1"},
        "spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}},
        "status": {"phase": "Bound"},
    }
    claim = {
        "metadata": {"name": "data", "namespace": "shop"},
        "spec": {"volumeName": "pv1"},
        "status": {"phase": "Bound"},
    }
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]
    nodes = [node("w1", cordoned=True), node("w2")]
    one = the_one(
        nodes,
        [pod("db", message=message, volumes=volumes)],
        persistentvolumes=[volume],
        persistentvolumeclaims=[claim],
    )
    assert (one.why, [n.name for n in one.near]) == (Why.CORDONED, ["w1"])
    gone = the_one(
        nodes[1:],
        [pod("db", message=said("1 node(s) had volume node affinity conflict", of=1), volumes=volumes)],
        persistentvolumes=[volume],
        persistentvolumeclaims=[claim],
    )
    assert gone.why is Why.VOLUME


def test_the_schedulers_word_stands_where_the_model_sees_nothing_in_the_way() -> None:
    message = said("1 node(s) had untolerated taint(s)", "2 Insufficient cpu")
    one = the_one([node("cp1", CP), node("w1"), node("w2")], [pod("web", message=message)])
    assert (one.why, one.near) == (Why.RESOURCE, ())


def test_a_pod_that_waits_for_seconds_is_not_stuck_unless_nothing_could_help() -> None:
    full = pod("web", message=said("1 Insufficient cpu", of=1), cpu="1500m")
    never = pod("big", message=said("1 Insufficient cpu", of=1), cpu="64")
    for one in (full, never):
        one["metadata"]["creationTimestamp"] = "2026-11-22T09:29:30Z"
    seen = facts([node("w1")], [full, never, pod("other", at="w1", cpu="1")])
    found = seen.get(Scheduling).stuck(Why.RESOURCE, seen.get(Cluster).taken)
    assert [s.owner.name for s in found] == ["big"]


def test_a_pod_whose_predecessor_is_still_ending_is_not_stuck_yet() -> None:
    port = [{"containerPort": 80, "hostPort": 80}]
    new = pod("web-2", message=said("1 node(s) didn't have free ports for the requested pod ports", of=1), ports=port)
    new["metadata"]["creationTimestamp"] = "2026-11-22T09:28:00Z"
    old = pod("web-1", at="w1", ports=port)
    seen = facts([node("w1")], [new, old])
    assert len(seen.get(Scheduling).stuck(Why.PORT, seen.get(Cluster).taken)) == 1
    old["metadata"]["deletionTimestamp"] = "2026-11-22T09:29:30Z"
    seen = facts([node("w1")], [new, old])
    assert seen.get(Scheduling).stuck(Why.PORT, seen.get(Cluster).taken) == ()


def test_a_host_port_is_in_the_way_only_with_the_same_protocol() -> None:
    tcp, udp = {"containerPort": 53, "hostPort": 53}, {"containerPort": 53, "hostPort": 53, "protocol": "UDP"}
    message = said("1 node(s) didn't have free ports for the requested pod ports", of=1)
    seen = facts([node("w1")], [pod("dns", at="w1", ports=[udp]), pod("web", message=message, ports=[tcp])])
    model = seen.get(Scheduling)
    assert model.obstacles(seen.get(Pods).get("web", "shop"))["w1"] == ()
    assert [o.why for o in model.obstacles(seen.get(Pods).get("dns", "shop"))["w1"]] == [Why.PORT]


def test_what_is_free_counts_every_pod_that_has_not_ended() -> None:
    done = pod("done", at="w1", cpu="1")
    done["status"]["phase"] = "Succeeded"
    seen = facts([node("w1")], [done, pod("a", at="w1", cpu="250m"), pod("b", at="w1", cpu="500m")])
    model = seen.get(Scheduling)
    assert model.free(model.nodes.items[0], "cpu") == pytest.approx(1.25)


def test_the_first_pod_of_a_group_with_affinity_to_itself_is_not_refused() -> None:
    term = {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}
    affinity = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    seen = facts([node("w1")], [pod("web", message=said("1 Too many pods", of=1), affinity=affinity)])
    assert seen.get(Scheduling).obstacles(seen.get(Pods).get("web", "shop"))["w1"] == ()


def test_pods_of_one_namespace_do_not_tell_what_is_free() -> None:
    seen = facts([node("w1")], [pod("a", at="w1", cpu="1500m")], namespace="shop")
    model = seen.get(Scheduling)
    assert not model.whole
    assert model.free(model.nodes.items[0], "cpu") == 2


def test_a_claim_differs_from_a_volume_in_all_that_the_controller_compares() -> None:
    claim = {
        "metadata": {"name": "data", "namespace": "shop", "uid": "2"},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "fast",
            "volumeMode": "Block",
            "resources": {"requests": {"storage": "5Gi"}},
            "selector": {"matchLabels": {"tier": "gold"}},
        },
    }
    volume = {
        "metadata": {"name": "pv1"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "slow",
            "capacity": {"storage": "1Gi"},
            "claimRef": {"namespace": "shop", "name": "data", "uid": "1"},
        },
        "status": {"phase": "Released"},
    }
    seen = facts([], [], persistentvolumeclaims=[claim], persistentvolumes=[volume])
    found = differences(seen.get(Claims).items[0], seen.get(Volumes).items[0])
    assert set(found) == {
        *(Differs.TAKEN, Differs.CLASS, Differs.SIZE, Differs.MODES, Differs.VOLUME_MODE, Differs.SELECTOR),
    }
    volume["spec"] = {
        "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
        "storageClassName": "fast",
        "volumeMode": "Block",
        "capacity": {"storage": "5Gi"},
        "claimRef": {"namespace": "shop", "name": "data"},
    }
    volume["metadata"] = {"name": "pv1", "labels": {"tier": "gold"}}
    volume["status"] = {"phase": "Available"}
    seen = facts([], [], persistentvolumeclaims=[claim], persistentvolumes=[volume])
    assert differences(seen.get(Claims).items[0], seen.get(Volumes).items[0]) == {}

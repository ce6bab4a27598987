"""Pods are kept lean without losing what tells."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from kdiag.facts import Pod, Pods
from kdiag.model.observation import Observation


def pods(*items: Any) -> Pods:
    builder = Pods.builder()
    builder.feed(Observation("api", "pods", body=json.dumps({"items": items}).encode()))
    fact = builder.finish()
    assert isinstance(fact, Pods)
    assert fact.gaps == ()
    return fact


def raw(name: str = "web-1", *, owner: str = "u1", token: str = "aaaaa", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "labels": {"app": "web", "pod-template-hash": "h1"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-h1", "uid": owner, "controller": True}],
        },
        "spec": {
            "nodeName": "w1",
            "containers": [{"name": "c", "image": "nginx", "volumeMounts": [{"name": f"kube-api-access-{token}"}]}],
        },
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "c", "ready": True, "restartCount": 0, "state": {"running": {}}}],
            **status,
        },
    }


def only(item: Any) -> Pod:
    return pods(item).items[0]


def test_a_pod_that_is_well_keeps_no_statuses() -> None:
    pod = only(raw())
    assert pod.ready
    assert pod.statuses == ()
    assert pods(raw()).troubled == ()


def test_a_restart_is_kept() -> None:
    status = {"name": "c", "ready": True, "restartCount": 2, "state": {"running": {}},
              "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}  # fmt: skip
    pod = only(raw(containerStatuses=[status]))
    assert pod.ready
    ended = pod.statuses[0].ended
    assert ended is not None
    assert (ended.exit_code, ended.reason) == (137, "OOMKilled")


def test_a_container_that_waits_is_kept_with_its_reason() -> None:
    status = {
        "name": "c",
        "ready": False,
        "restartCount": 0,
        "state": {"waiting": {"reason": "ErrImagePull", "message": "m"}},
    }
    pod = only(raw(conditions=[{"type": "Ready", "status": "False"}], containerStatuses=[status]))
    assert not pod.ready
    assert pod.statuses[0].state.waiting is not None
    assert pod.statuses[0].state.waiting.reason == "ErrImagePull"


def test_pods_of_one_template_share_it_whatever_their_token_volume_is_called() -> None:
    found = pods(raw("web-1", token="aaaaa"), raw("web-2", token="bbbbb"))
    assert found.items[0].spec is found.items[1].spec
    assert len(found.templates) == 1


def test_a_pod_that_a_webhook_changed_has_a_template_of_its_own() -> None:
    changed = copy.deepcopy(raw("web-2"))
    changed["spec"]["containers"].append({"name": "proxy", "image": "envoy"})
    found = pods(raw("web-1"), changed)
    assert [len(p.spec.containers) for p in found.items] == [1, 2]


def test_another_owner_or_revision_is_another_template() -> None:
    other = raw("b-1", owner="u2")
    newer = raw("web-3")
    newer["metadata"]["labels"]["pod-template-hash"] = "h2"
    assert len(pods(raw(), other, newer).templates) == 3


def test_a_password_in_the_environment_is_a_token_that_compares() -> None:
    item = raw()
    item["spec"]["containers"][0]["env"] = [
        {"name": "DB_PASSWORD", "value": "hunter2"},
        {"name": "ROOT_PASSWORD", "value": "hunter2"},
        {"name": "HOST", "value": "db"},
    ]  # fmt: skip
    first, second, host = only(item).spec.containers[0].env
    assert "hunter2" not in first.value
    assert first.value == second.value
    assert host.value == "db"


def test_a_restarted_list_replaces_what_came_before() -> None:
    from kdiag.engine.intake import Intake

    intake = Intake([Pods])
    intake.feed(Observation("api", "pods", body=json.dumps({"items": [raw("old")]}).encode()))
    intake.feed(Observation("api", "pods", restart=True))
    intake.feed(Observation("api", "pods", body=json.dumps({"items": [raw("new")]}).encode()))
    found = intake.finish().get(Pods)
    assert found is not None
    assert [p.name for p in found.items] == ["new"]


_NOT_READY = [{"type": "Ready", "status": "False", "message": '"type":"Ready","status":"True"'}]


@pytest.mark.parametrize(
    ("conditions", "ready"),
    [
        ([{"type": "Ready", "status": "True"}], True),
        ([{"type": "Ready", "observedGeneration": 2, "status": "True"}], True),
        ([{"status": "True", "type": "Ready"}], True),
        ([{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": "False"}], False),
        (_NOT_READY, False),
        ([{"type": "Ready", "status": "True", "reason": None}], True),
        ([], False),
        (None, False),
    ],
)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_a_pod_is_ready_by_its_condition_however_it_is_written(
    conditions: Any, ready: bool, separators: tuple[str, str]
) -> None:
    builder = Pods.builder()
    body = json.dumps({"items": [raw(conditions=conditions)]}, separators=separators)
    builder.feed(Observation("api", "pods", body=body.encode()))
    found = builder.finish()
    assert isinstance(found, Pods)
    assert found.gaps == ()
    pod = found.items[0]
    assert pod.ready is ready
    assert bool(pod.statuses) is not ready


def test_pods_that_say_the_same_are_looked_at_together() -> None:
    found = pods(raw("web-1"), raw("web-2"), raw("b-1", owner="u2"))
    assert [[p.name for p in group] for group in found.alike] == [["web-1", "web-2"], ["b-1"]]
    assert [p.name for p in found.by_owner["u1"]] == ["web-1", "web-2"]


def test_what_a_fact_has_worked_out_is_kept_until_more_is_read() -> None:
    from kdiag.engine.intake import Intake

    intake = Intake([Pods])
    intake.feed(Observation("api", "pods", body=json.dumps({"items": [raw("a")]}).encode()))
    first = intake.fact(Pods)
    assert intake.fact(Pods) is first
    intake.feed(Observation("api", "pods", body=json.dumps({"items": [raw("b")]}).encode()))
    second = intake.fact(Pods)
    assert isinstance(second, Pods)
    assert [p.name for p in second.items] == ["a", "b"]


def well(name: str = "c", **odd: Any) -> dict[str, Any]:
    """The status of a container as an API server writes it, in its order."""
    return {
        "name": name,
        "state": {"running": {"startedAt": "2026-10-11T01:05:16Z"}},
        "lastState": {},
        "ready": True,
        "restartCount": 0,
        "image": "nginx",
        "imageID": "nginx@sha256:1",
        **odd,
    }


ENDED = {"terminated": {"exitCode": 1, "finishedAt": "2026-10-11T01:05:16Z"}}


@pytest.mark.parametrize(
    ("statuses", "kept"),
    [
        ([well(), well("d")], 0),
        ([well(), well("d", restartCount=1, lastState=ENDED)], 2),
        ([well(), well("d", restartCount=10)], 2),
        ([well(), well("d", ready=False)], 2),
        ([well(), well("d", state=ENDED)], 2),
        ([well(), well("d", state={"waiting": {"reason": 'Z"}},"lastState":{},"ready":true,"restartCount":0,'}})], 2),
        ([well("d")], 0),
        ([well("d", image='Z"}},"lastState":{},"ready":true,"restartCount":0,', ready=False)], 1),
        ([], 0),
    ],
)
def test_whether_a_pod_is_well_does_not_hang_on_how_its_text_is_written(statuses: list[Any], kept: int) -> None:
    item = raw(containerStatuses=statuses)
    item["spec"]["containers"].append({"name": "d", "image": "nginx"})
    item["metadata"]["managedFields"] = [{"manager": "kubelet", "fieldsV1": {"f:status": {".": {}}}}]
    for spaces in ((",", ":"), (", ", ": ")):
        builder = Pods.builder()
        builder.feed(Observation("api", "pods", body=json.dumps({"items": [item]}, separators=spaces).encode()))
        fact = builder.finish()
        assert isinstance(fact, Pods)
        assert [len(pod.statuses) for pod in fact.items] == [kept]

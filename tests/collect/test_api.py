"""Reading a cluster through its API, against a server that speaks real HTTP and misbehaves."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kdiag.collect.api import ApiSource, continue_token
from kdiag.collect.deadline import Deadline
from kdiag.collect.kubeconfig import Overrides, load
from kdiag.engine.intake import Facts, Intake, known, sources
from kdiag.errors import AccessDenied, CollectError, Unreachable
from kdiag.facts import Cluster, Events, Nodes, Pods, Services
from kdiag.model.observation import Observation
from tests.fakeapi import Answer, FakeAPI, Fault, Rule

POD: dict[str, Any] = {
    "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
    "spec": {"containers": [{"name": "c", "image": "nginx"}]},
    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
}


def pods(count: int) -> list[dict[str, Any]]:
    found = []
    for number in range(count):
        pod = copy.deepcopy(POD)
        pod["metadata"]["name"] = f"web-{number}"
        found.append(pod)
    return found


Read = Callable[..., Facts]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def facts(api: FakeAPI, *, seconds: float = 20.0, namespace: str = "", narrow: bool = False) -> Facts:
        target = load(Overrides(kubeconfig=str(api.kubeconfig(tmp_path / "config"))), {}, home=tmp_path)
        source = ApiSource(target, deadline=Deadline(seconds), namespace=namespace, pause=lambda _: None)
        intake = Intake(known())
        try:
            source.probe()
            if narrow:
                source.narrow()
            intake.feed(source.run_record())
            source.observe(sources(known()), intake.feed)
        finally:
            source.close()
        return intake.finish()

    return facts


def gaps(facts: Facts, kind: Any) -> str:
    fact = facts.get(kind)
    assert fact is not None
    return "; ".join(map(str, fact.gaps))


def test_every_kind_is_asked_for_once_and_nothing_but_get_leaves(read: Read) -> None:
    with FakeAPI({"/api/v1/pods": pods(3)}) as api:
        facts = read(api)
        paths = [r.path for r in api.requests if r.path not in ("/version",)]
    assert {r.method for r in api.requests} == {"GET"}
    assert len(paths) == len(set(paths))
    found = facts.get(Pods)
    assert found is not None
    assert len(found) == 3


def test_pages_are_followed_to_the_end(read: Read) -> None:
    with FakeAPI({"/api/v1/pods": pods(2500)}) as api:
        found = read(api).get(Pods)
        asked = [r.query.get("limit") for r in api.requests if r.path == "/api/v1/pods"]
    assert found is not None
    assert len({p.name for p in found.items}) == 2500
    assert asked == ["1000"] * 3


def test_a_list_that_expires_goes_on_and_no_pod_is_there_twice(read: Read) -> None:
    with FakeAPI({"/api/v1/pods": pods(2500)}) as api:
        api.fault("/api/v1/pods", Fault.status(410), continued=True, first=1)
        found = read(api).get(Pods)
    assert found is not None
    assert sorted(p.name for p in found.items) == sorted(f"web-{n}" for n in range(2500))
    assert found.gaps == ()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault.status(403), "403 Forbidden: may not list pods"),
        (Fault.status(500), "500"),
        (Fault.status(503), "503"),
        (Fault.html(), "pods"),
        (Fault.not_json(), "pods"),
        (Fault.truncated_json(), "pods"),
        (Fault.short_body(), "pods"),
        (Fault.cut_chunk(), "pods"),
        (Fault.reset(), "pods"),
        (Fault.reset(after=400), "pods"),
        (Fault.close(), "pods"),
        (Fault.redirect("https://login.example/\x1b[31m"), "pods"),
        (Fault.gzip(), "pods"),
        (Fault.answer(Answer.text("[" * 60_000, 500)), "500"),
        (Fault.answer(Answer.text("[" * 60_000, 410)), "410"),
    ],
    ids=lambda f: getattr(f, "name", str(f)),
)
def test_a_fault_of_one_list_is_a_gap_in_it_and_the_others_are_read(read: Read, fault: Fault, reason: str) -> None:
    node = {"metadata": {"name": "w1"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    with FakeAPI({"/api/v1/pods": pods(5), "/api/v1/nodes": [node]}) as api:
        api.fault("/api/v1/pods", fault)
        facts = read(api)
    said = gaps(facts, Pods)
    assert reason in said
    assert "\x1b" not in said
    assert "Traceback" not in said
    nodes = facts.get(Nodes)
    assert nodes is not None
    assert [n.name for n in nodes.items] == ["w1"]
    assert nodes.gaps == ()


def test_a_server_that_hangs_for_want_of_its_store_is_not_waited_for(read: Read) -> None:
    with FakeAPI({"/api/v1/pods": pods(1)}, unhealthy=["etcd"]) as api:
        api.fault("/api/v1/pods", Fault.silent())
        with pytest.raises(Unreachable, match=r"answers, but not from its store: its own check of etcd fails"):
            read(api, narrow=True)


def test_a_server_that_hangs_and_has_its_store_is_waited_for(read: Read) -> None:
    with FakeAPI({"/api/v1/pods": pods(1)}) as api:
        api.fault("/api/v1/pods", Fault.silent())
        with pytest.raises(Unreachable, match=r"/api/v1/pods .*did not finish within 8 s"):
            read(api, narrow=True)


def test_a_log_that_the_node_does_not_give_says_which_node_and_not_the_whole_url(tmp_path: Path) -> None:
    asked = "https://10.89.0.12:10250/containerLogs/shop/web-0/c?limitBytes=65536&tailLines=60&timestamps=true"
    refused = Answer.json(
        {"kind": "Status", "message": f'Get "{asked}": dial tcp 10.89.0.12:10250: connect: connection refused'}, 500
    )
    seen: list[Observation] = []
    with FakeAPI({"/api/v1/pods": pods(1)}) as api:
        api.fault("/api/v1/namespaces/shop/pods/web-0/log", Fault.answer(refused))
        target = load(Overrides(kubeconfig=str(api.kubeconfig(tmp_path / "config"))), {}, home=tmp_path)
        source = ApiSource(target, deadline=Deadline(20))
        try:
            source.logs(
                [("shop/web-0/c/current", "/api/v1/namespaces/shop/pods/web-0/log?container=c", "")], seen.append
            )
        finally:
            source.close()
    assert [o.error for o in seen] == [
        "500: cannot read the log: dial tcp 10.89.0.12:10250: connect: connection refused"
    ]


def test_a_node_that_gives_no_log_is_not_asked_for_all_the_others(tmp_path: Path) -> None:
    seen: list[Observation] = []
    with FakeAPI({"/api/v1/pods": pods(30)}) as api:
        api.fault("/api/v1/namespaces/shop/pods/web-29/log", Fault.not_json(b"well"))
        api.fault("/api/v1/namespaces/shop/pods/", Fault.silent())
        target = load(Overrides(kubeconfig=str(api.kubeconfig(tmp_path / "config"))), {}, home=tmp_path)
        source = ApiSource(target, deadline=Deadline(20), log_seconds=0.3)
        url = "/api/v1/namespaces/shop/pods/web-{}/log?container=c"
        try:
            source.logs([(f"web-{n}", url.format(n), "w1" if n == 29 else "w2") for n in range(30)], seen.append)
        finally:
            source.close()
        asked = [r.path for r in api.requests if r.path.endswith("/log")]
    said = {o.name: o.error for o in seen}
    assert said.pop("web-29") == ""
    assert len(set(asked)) < 10
    assert sum(error == "not asked for: the kubelet of w2 gave no other log" for error in said.values()) > 20


@pytest.mark.parametrize("fault", [Fault.dribble(), Fault.endless(), Fault.silent()], ids=lambda f: f.name)
def test_what_never_ends_is_cut_by_the_deadline_and_the_others_are_read(read: Read, fault: Fault) -> None:
    with FakeAPI({"/api/v1/events": [], "/api/v1/pods": pods(5)}) as api:
        api.fault("/api/v1/events", fault)
        facts = read(api, seconds=1.5)
    assert gaps(facts, Events)
    found = facts.get(Pods)
    assert found is not None
    assert len(found) == 5
    assert found.gaps == ()


def test_too_many_requests_is_waited_out(read: Read) -> None:
    with FakeAPI({"/api/v1/pods": pods(5)}) as api:
        api.fault("/api/v1/pods", Fault.status(429, retry_after=1), first=1)
        found = read(api).get(Pods)
    assert found is not None
    assert (len(found), found.gaps) == (5, ())


def test_a_kind_that_the_cluster_does_not_serve_is_a_gap_of_its_own(read: Read) -> None:
    with FakeAPI({"/api/v1/pods": pods(2)}, absent=["autoscaling/v2"]) as api:
        facts = read(api)
    from kdiag.facts import Autoscalers

    found, others = facts.get(Autoscalers), facts.get(Pods)
    assert found is not None
    assert others is not None
    assert "404 Not Found: cannot list horizontalpodautoscalers of autoscaling/v2" in found.gaps[0].reason
    assert (len(others), others.gaps) == (2, ())


def test_an_object_that_is_no_list_is_not_taken_for_an_empty_one(read: Read) -> None:
    with FakeAPI({"/api/v1/pods": pods(2)}) as api:
        api.fault("/api/v1/services", Fault.not_json(b"{}"))
        api.fault("/api/v1/nodes", Fault.not_json(b'{"kind": "NodeList", "items": null}'))
        facts = read(api)
    from kdiag.facts import Nodes, Services

    services, nodes = facts.get(Services), facts.get(Nodes)
    assert services is not None
    assert nodes is not None
    assert "is not a list" in services.gaps[0].reason
    assert nodes.gaps == ()


def test_one_namespace_is_read_when_it_is_asked_for(read: Read) -> None:
    other = copy.deepcopy(POD)
    other["metadata"]["namespace"] = "other"
    with FakeAPI({"/api/v1/pods": [POD, other]}) as api:
        facts = read(api, namespace="shop")
        asked = {r.path for r in api.requests}
    found = facts.get(Pods)
    assert found is not None
    assert [p.namespace for p in found.items] == ["shop"]
    assert found.covers("shop")
    assert not found.covers("other")
    assert "/api/v1/pods" not in asked


def test_a_server_that_has_not_read_its_roles_yet_is_asked_again(read: Read) -> None:
    with FakeAPI({"/api/v1/pods": [POD]}) as api:
        api.fault("/version", Fault.status(403), first=1)
        api.fault("/api/v1/pods", Fault.status(403), first=3)
        facts = read(api, narrow=True)
    cluster, found = facts.get(Cluster), facts.get(Pods)
    assert cluster is not None
    assert found is not None
    assert cluster.namespace == ""
    assert len(found) == 1


def test_a_server_that_refuses_everything_for_good_is_not_asked_for_ever(read: Read) -> None:
    with FakeAPI({"/api/v1/pods": [POD]}, rbac=[]) as api:
        api.fault("/version", Fault.status(403))
        facts = read(api, narrow=True)
        asked = [r for r in api.requests if r.path == "/api/v1/pods"]
    assert len(asked) < 12
    assert "403" in gaps(facts, Pods)


def test_a_user_of_one_namespace_sees_that_namespace(read: Read, tmp_path: Path) -> None:
    rules = [Rule(resources=["pods", "services"], namespaces=["default"])]
    with FakeAPI({"/api/v1/pods": [POD]}, rbac=rules) as api:
        facts = read(api, narrow=True)
    cluster = facts.get(Cluster)
    assert cluster is not None
    assert cluster.namespace == "default"
    services = facts.get(Services)
    assert services is not None
    assert services.gaps == ()
    assert "403" in gaps(facts, Nodes)
    assert "in namespace" not in gaps(facts, Nodes)  # nodes are in none


def test_who_may_not_list_pods_is_told_with_the_groups(read: Read) -> None:
    with FakeAPI({"/api/v1/pods": [POD]}, rbac=[]) as api:
        cluster = read(api, narrow=True).get(Cluster)
    assert cluster is not None
    assert cluster.refused_user == "kubernetes-admin"
    assert "system:authenticated" in cluster.refused_groups


def test_credentials_that_are_refused_stop_the_run(read: Read) -> None:
    with FakeAPI({}) as api:
        api.fault("/", Fault.status(401))
        with pytest.raises(AccessDenied, match="401 Unauthorized"):
            read(api)


def test_a_server_that_gives_one_page_for_ever_is_left(read: Read) -> None:
    page = {"kind": "PodList", "metadata": {"continue": "again"}, "items": [POD]}
    with FakeAPI({}) as api:
        api.fault("/api/v1/pods", Fault.answer(Answer.json(page)))
        facts = read(api)
    assert "same page again" in gaps(facts, Pods)


def test_the_clock_is_the_servers_and_the_difference_is_kept(read: Read) -> None:
    from datetime import timedelta

    with FakeAPI({}, date=timedelta(hours=1)) as api:
        facts = read(api)
    cluster = facts.get(Cluster)
    assert cluster is not None
    assert -3605 < cluster.skew < -3590


def test_nothing_that_answers_is_one_clear_error(tmp_path: Path) -> None:
    with FakeAPI({}) as api:
        path = api.kubeconfig(tmp_path / "config", server="http://127.0.0.1:1")
        target = load(Overrides(kubeconfig=str(path)), {}, home=tmp_path)
        source = ApiSource(target, deadline=Deadline(5))
        with pytest.raises(CollectError) as caught:
            source.probe()
        source.close()
    assert "\n" not in str(caught.value)
    assert "127.0.0.1:1" in str(caught.value)


def test_a_fault_of_our_own_in_a_thread_reaches_the_caller(tmp_path: Path) -> None:
    with FakeAPI({"/api/v1/pods": [POD]}) as api:
        target = load(Overrides(kubeconfig=str(api.kubeconfig(tmp_path / "config"))), {}, home=tmp_path)
        source = ApiSource(target, deadline=Deadline(10))

        def broken(seen: Observation) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            source.observe(Pods.sources, broken)
        source.close()


@pytest.mark.parametrize(
    "body",
    [
        {"metadata": {"resourceVersion": "1", "continue": "more"}, "items": [{"a": "x" * 9000}]},
        {"items": [{"a": "x" * 9000}], "metadata": {"continue": "more"}},
        {"items": [{"a": "x" * 9000}], "metadata": {"continue": "more"}, "z": "x" * 9000},
        {"note": "x" * 9000, "metadata": {"continue": "more"}, "items": [{"a": "x" * 9000}]},
        {"metadata": {"selfLink": "x" * 9000, "continue": "more"}, "items": []},
        {"metadata": {"continue": "more" * 5000}, "items": []},
    ],
)
def test_the_token_of_the_next_page_is_found_wherever_it_stands(body: dict[str, Any]) -> None:
    assert continue_token(json.dumps(body).encode()).startswith("more")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[" * 100_000,
        b'{"items":' + b"[" * 100_000,
        json.dumps({"metadata": {"continue": 5}, "items": ["x" * 9000]}).encode(),
        json.dumps({"metadata": {}, "items": [{"continue": "x" * 9000}]}).encode(),
        json.dumps(
            {"items": [{"metadata": {"continue": "of an object"}, "a": "x" * 9000}, {"b": "x" * 9000}]}
        ).encode(),
    ],
)
def test_what_is_no_token_of_a_list_is_none(body: bytes) -> None:
    assert continue_token(body) == ""

"""One namespace of a recording is what a run over that namespace alone would have read."""

from __future__ import annotations

import json

import pytest

from kdiag.engine.narrow import narrowed
from kdiag.engine.verdict import judge
from kdiag.errors import UsageError
from kdiag.facts import Cluster, Nodes, Pods, Services
from kdiag.model.observation import Observation
from tests.fuzz import recording
from tests.recording import clusters, every_check, facts_of

(DEMO,) = clusters("demo")


def test_objects_and_logs_of_others_are_gone_and_the_cluster_s_own_stay() -> None:
    facts = facts_of(narrowed(recording(DEMO), "shop"))
    pods, services, nodes, cluster = facts.get(Pods), facts.get(Services), facts.get(Nodes), facts.get(Cluster)
    assert pods is not None
    assert services is not None
    assert {p.namespace for p in pods.items} == {s.namespace for s in services.items} == {"shop"}
    assert cluster is not None
    assert pods.scope == cluster.namespace == "shop"
    assert nodes is not None
    assert {n.name for n in nodes.items} == {"cp1", "w1", "w2"}
    kept = [o.name for o in narrowed(recording(DEMO), "shop") if o.key == "log" and o.name]
    assert all(name.startswith("shop/") for name in kept)


def test_causes_elsewhere_are_not_told() -> None:
    checks = {c.id: c for c in every_check()}
    found = judge([c for c in checks.values() if not c.risk], facts_of(narrowed(recording(DEMO), "shop")), checks)
    assert found.causes
    assert {c.finding.subject.namespace for c in found.causes} <= {"", "shop"}


@pytest.mark.parametrize(
    ("namespace", "told"),
    [("shopp", "namespace shopp does not exist in the recording; did you mean shop?"), ("\x1b[31m", "␛")],
)
def test_a_namespace_that_is_not_there_is_no_healthy_one(namespace: str, told: str) -> None:
    with pytest.raises(UsageError, match=None) as caught:
        list(narrowed(recording(DEMO), namespace))
    assert told in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_recording_of_one_namespace_holds_no_other() -> None:
    seen = [Observation("api", "run", body=b'{"taken": "2026-11-22T09:30:00Z", "namespace": "shop"}')]
    assert list(narrowed(seen, "shop"))
    with pytest.raises(UsageError, match="holds namespace shop alone"):
        list(narrowed(seen, "calm"))


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b'{"items": 7}', b'{"items": [null, 3, {"metadata": []}]}', b"{"]
)
def test_what_cannot_be_read_is_left_to_its_reader(body: bytes) -> None:
    for key in ("pods", "namespaces", "run"):
        try:
            (one,) = narrowed([Observation("api", key, body=body)], "shop")
        except UsageError:
            assert key == "namespaces"
        else:
            if key == "pods":
                assert one.body == body or json.loads(bytes(one.body))["items"] == []

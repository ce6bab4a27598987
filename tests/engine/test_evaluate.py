"""A check's result is a result, whatever the check does."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from kdiag.check import Check, Finding, Gap, Layer, Ref, Severity, Skip, check
from kdiag.engine.evaluate import evaluate, evaluate_all
from kdiag.engine.intake import Facts, needed
from kdiag.errors import CheckDefinitionError
from kdiag.facts import (
    Cluster,
    DaemonSets,
    Deployments,
    Events,
    Namespace,
    Namespaces,
    Node,
    Nodes,
    Pods,
    ReplicaSets,
    ReplicationController,
    ReplicationControllers,
    StatefulSets,
    Workloads,
)
from kdiag.facts.base import Derived
from kdiag.facts.meta import Meta
from kdiag.model.result import Status


def made(run: Any, **more: Any) -> Check:
    return check(title="A title", severity=Severity.ERROR, layer=Layer.POD, **more)(run)


REFUSED = Facts({Pods: Pods(), Nodes: Nodes(gaps=(Gap("nodes", "403"),)), Cluster: Cluster(namespace="shop")})
SEEN = REFUSED.replaced(Nodes.of([Node()], gaps=(Gap("nodes", "403"),)))


def test_findings_fail() -> None:
    def run(pods: Pods) -> Iterator[Finding]:
        yield Finding(Ref("Pod", "a"), "m")

    result = evaluate(made(run), SEEN)
    assert result.status is Status.FAIL
    assert result.findings[0].severity is Severity.ERROR


def test_what_breaks_in_a_namespace_that_goes_is_not_missed() -> None:
    def run(pods: Pods) -> Iterator[Finding]:
        yield Finding(Ref("Deployment", "web", "old"), "m")
        yield Finding(Ref("Deployment", "web", "shop"), "m")

    old = Namespace(metadata=Meta(name="old", deletion_timestamp=datetime(2026, 1, 1, tzinfo=UTC)))
    facts = SEEN.replaced(Namespaces.of([old, Namespace(metadata=Meta(name="shop"))]))
    assert [f.subject.namespace for f in evaluate(made(run), facts).findings] == ["shop"]
    assert len(evaluate(made(run, holds_deletion=True), facts).findings) == 2


def test_nothing_found_passes() -> None:
    def run(pods: Pods, events: Events | None) -> Iterator[Finding]:
        assert events is None
        yield from ()

    assert evaluate(made(run), SEEN).status is Status.PASS


def test_nothing_found_in_a_fact_with_a_gap_is_unknown() -> None:
    def run(nodes: Nodes) -> Iterator[Finding]:
        yield from ()

    result = evaluate(made(run), SEEN)
    assert result.status is Status.UNKNOWN
    assert "403" in str(result.gaps[0])


def test_a_finding_in_a_fact_with_a_gap_fails_and_keeps_the_gap() -> None:
    def run(nodes: Nodes) -> Iterator[Finding]:
        yield Finding(Ref("Node", "a"), "m")

    result = evaluate(made(run), SEEN)
    assert result.status is Status.FAIL
    assert result.gaps


def test_a_list_that_was_not_seen_at_all_is_no_empty_cluster() -> None:
    def run(nodes: Nodes) -> Iterator[Finding]:
        yield Finding(Ref("Node", "a"), "there is no node")

    assert evaluate(made(run), REFUSED).status is Status.UNKNOWN


def test_a_fact_that_was_not_collected_is_unknown_and_the_check_does_not_run() -> None:
    def run(events: Events) -> Iterator[Finding]:
        raise AssertionError

    assert evaluate(made(run), SEEN).status is Status.UNKNOWN


def test_a_check_that_yields_a_gap_is_unknown() -> None:
    def run(pods: Pods) -> Iterator[Gap]:
        yield Gap("x", "could not tell")

    assert evaluate(made(run), SEEN).status is Status.UNKNOWN


def test_a_check_that_skips_does_not_apply() -> None:
    def run(pods: Pods) -> Iterator[Skip]:
        yield Skip("no such thing here")

    result = evaluate(made(run), SEEN)
    assert (result.status, result.reason) == (Status.SKIPPED, "no such thing here")


def test_a_check_of_another_namespace_than_the_one_asked_for_does_not_apply() -> None:
    def run(pods: Pods) -> Iterator[Finding]:
        raise AssertionError

    assert evaluate(made(run, namespaces=("kube-system",)), SEEN).status is Status.SKIPPED


def test_a_check_that_raises_is_an_error_of_its_own_and_keeps_what_it_found() -> None:
    def run(pods: Pods) -> Iterator[Finding]:
        yield Finding(Ref("Pod", "a"), "m")
        raise ValueError("odd\x1b[31m")

    result = evaluate(made(run), SEEN)
    assert result.status is Status.ERROR
    assert "ValueError: odd␛[31m" in result.reason
    assert len(result.findings) == 1


class _Breaks(Derived):
    @classmethod
    def derive(cls, pods: Pods) -> _Breaks:
        raise OverflowError("date value out of range")


def test_a_fact_that_cannot_be_made_costs_those_that_read_it() -> None:
    def run(pods: Pods) -> Iterator[Finding]:
        yield from ()

    def needs(breaks: _Breaks) -> Iterator[Finding]:
        yield from ()

    def wants(pods: Pods, breaks: _Breaks | None) -> Iterator[Finding]:
        yield from ()

    assert evaluate(made(run), SEEN).status is Status.PASS
    for one in (made(needs), made(wants)):
        result = evaluate(one, SEEN)
        assert result.status is Status.ERROR
        assert result.reason.startswith("OverflowError: date value out of range")


def test_findings_are_cleaned_whatever_the_check_put_in() -> None:
    def run(pods: Pods) -> Iterator[Finding]:
        yield Finding(Ref("Pod", "a\x1b[2J", "n\u202e"), "m\x07\nnext", next=("kubectl \x9b",), key="\x00")

    finding = evaluate(made(run), SEEN).findings[0]
    assert finding.subject.name == "a␛[2J"
    assert all(c.isprintable() for c in finding.message + finding.next[0] + finding.key + finding.subject.namespace)


def test_a_parameter_that_is_no_fact_is_refused_when_the_check_is_loaded() -> None:
    def run(pods: int) -> Iterator[Finding]:
        yield from ()

    with pytest.raises(CheckDefinitionError, match="is not a fact"):
        made(run)


def test_a_check_without_facts_is_refused() -> None:
    def run() -> Iterator[Finding]:
        yield from ()

    with pytest.raises(CheckDefinitionError, match="at least one fact"):
        made(run)


def test_a_derived_fact_is_whole_without_what_it_takes_only_where_it_is_there() -> None:
    def run(workloads: Workloads) -> Iterator[Finding]:
        return iter(())

    seen = Facts({kind: kind() for kind in (Deployments, ReplicaSets, StatefulSets, DaemonSets, Pods)})
    assert evaluate(made(run), seen).status is Status.PASS
    refused = ReplicationControllers(gaps=(Gap("replicationcontrollers", "403"),))
    assert evaluate(made(run), seen.replaced(refused)).status is Status.PASS
    old = ReplicationController(metadata=Meta(name="web"))
    found = seen.replaced(ReplicationControllers.of([old])).get(Workloads)
    assert found is not None
    assert found.items == (old,)
    assert ReplicationControllers in needed([made(run)])


def test_what_no_time_is_left_for_is_unknown_and_the_lowest_layer_comes_first() -> None:
    asked: list[str] = []

    def upper(pods: Pods) -> Iterator[Finding]:
        asked.append("upper")
        yield from ()

    def lower(pods: Pods) -> Iterator[Finding]:
        asked.append("lower")
        yield Finding(Ref("Node", "w1"), "m")

    first = dataclasses.replace(made(upper), id="application/upper")
    second = dataclasses.replace(made(lower), id="worker_node/lower", layer=Layer.HOST)
    results = evaluate_all((first, second), SEEN, lambda: "no time" if asked else "")
    assert asked == ["lower"]
    assert [(r.check_id, r.status) for r in results] == [(first.id, Status.UNKNOWN), (second.id, Status.FAIL)]
    assert [str(gap) for gap in results[0].gaps] == ["judging: no time"]

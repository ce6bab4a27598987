"""What was not seen must never look like what is not there: each check, with each of its sources gone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from kdiag.check import Check
from kdiag.engine.evaluate import evaluate
from kdiag.engine.intake import Intake, roots
from kdiag.engine.library import find
from kdiag.facts import Certificates, Cluster, MutatingWebhooks, Services, ValidatingWebhooks
from kdiag.facts.base import Fact
from kdiag.facts.hosts import UNREADABLE
from kdiag.model.observation import Observation
from kdiag.model.result import Ref, Result, Status
from tests.recording import (
    FIXTURES,
    cases,
    cluster_observations,
    clusters,
    every_check,
    facts_of,
    fixture_facts,
    load,
    observations,
)
from tests.whole import Whole

#: Without what it may list, a finding is on a pod instead of its workload, or on the member that tells of another.
_LESS_EXACT = {"Pod", "ReplicaSet"}

#: What speaks for a check that is blind: a refusal by a webhook is told by the webhook's checks, where they can see it.
_INSTEAD: dict[str, set[type[Fact]]] = {
    "application/pods_cannot_be_created": {ValidatingWebhooks, MutatingWebhooks},
    "control_plane/manifest_file_missing": {Certificates},  # that a key is empty
}


def blinded(seen: list[Observation], kind: type[Fact]) -> Fact | None:
    """The fact when everything that it is made of was refused."""
    intake = Intake([kind])
    keys = {source.key for source in kind.sources}
    for one in seen:
        if one.key in keys:
            refused = dataclasses.replace(one, body=b"", absent=False, error="403 Forbidden: may not list")
            intake.feed(refused)
        elif one.key == UNREADABLE:
            intake.feed(one)
    return intake.fact(kind)


def subjects(result: Result) -> set[Ref]:
    return {finding.subject for finding in result.findings}


@pytest.mark.parametrize("check", every_check(), ids=lambda c: c.id)
def test_a_source_that_is_refused_makes_no_new_finding(check: Check) -> None:
    for path in cases(check, "healthy") + cases(check, "broken"):
        facts, seen = fixture_facts(path), observations(load(path))
        whole = subjects(evaluate(check, facts))
        for kind in roots([*check.needs.values(), *check.wants.values()]):
            part = blinded(seen, kind) if kind is not Cluster else None
            if part is None:
                continue
            result = evaluate(check, facts.replaced(part))
            assert result.status is not Status.ERROR, (path.name, kind.__name__, result.reason)
            if kind in _INSTEAD.get(check.id, ()):
                continue
            new = {ref for ref in subjects(result) - whole if not (whole and ref.kind in _LESS_EXACT)}
            assert not new, (path.name, kind.__name__, [f.message for f in result.findings])


@pytest.mark.parametrize("folder", [*clusters("healthy"), *clusters("demo")], ids=lambda f: f.name)
def test_a_whole_cluster_without_one_of_its_sources_gives_no_new_finding(folder: Path) -> None:
    seen = list(cluster_observations(folder))
    facts = facts_of(seen)
    users: dict[type[Fact], list[Check]] = {}
    for check in every_check():
        for kind in roots([*check.needs.values(), *check.wants.values()]):
            users.setdefault(kind, []).append(check)
    whole = {(check.id, ref) for check in every_check() for ref in subjects(evaluate(check, facts))}
    for kind, concerned in users.items():
        part = blinded(seen, kind) if kind is not Cluster else None
        if part is None:
            continue
        without = facts.replaced(part)
        for check in concerned:
            result = evaluate(check, without)
            assert result.status is not Status.ERROR, (kind.__name__, check.id, result.reason)
            new = [f.message for f in result.findings if (check.id, f.subject) not in whole]
            assert not new, (kind.__name__, check.id, new)


def test_without_replicasets_a_deployment_is_one_cause_under_its_own_name() -> None:
    whole = Whole()
    pods = whole.application("team/web", replicas=2)
    for pod in pods:
        pod["metadata"]["labels"]["pod-template-hash"] = "6b9f"
    whole.waiting(pods[0], "CrashLoopBackOff", "back-off 5m0s restarting failed container", restarts=6, code=1)
    whole.settle()
    whole.refused = {"replicasets"}
    (cause,) = whole.verdict().causes
    assert {str(node.finding.subject) for node in cause.walk()} == {"Deployment team/web"}
    assert "application/workload_unavailable" in {node.check.id for node in cause.walk()}


def test_services_beyond_those_that_are_followed_through_a_filter_are_told() -> None:
    check = "network/service_blocked"
    facts = fixture_facts(FIXTURES / check / "broken.yaml")
    services = facts.get(Services)
    assert services is not None
    assert not evaluate(find(check), facts).gaps
    gaps = evaluate(find(check), facts.replaced(Services(items=services.items * 501))).gaps
    assert gaps
    assert all("followed for 500 Services of " in gap.reason for gap in gaps)

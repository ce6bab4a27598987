"""A finding is cleared when it was looked for with open eyes and is not there; never for want of sight."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from kdiag.engine.intake import Facts
from kdiag.engine.library import checks
from kdiag.engine.verify import Look, State, fingerprints, look, successors
from kdiag.engine.wanted import Wanted, meant
from kdiag.errors import UsageError
from kdiag.facts import Services
from kdiag.model.result import Finding, Gap, Ref
from tests.recording import FIXTURES, facts_of, fixture_facts, observations

CHECK = checks()["network/service_selects_nothing"]
WEB = Wanted.parse("shop/web")


def cluster(selector: str, **more: Any) -> Facts:
    def pod(name: str) -> dict[str, Any]:
        return {
            "metadata": {"name": f"{name}-1", "namespace": "shop", "labels": {"app": name}, "uid": f"u-{name}"},
            "spec": {
                "nodeName": "w1",
                "containers": [{"name": name, "image": "nginx", "ports": [{"containerPort": 80}]}],
            },
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        }

    def service(name: str, wanted: str) -> dict[str, Any]:
        return {
            "metadata": {"name": name, "namespace": "shop", "uid": f"s-{name}"},
            "spec": {"selector": {"app": wanted}, "clusterIP": "10.96.0.7", "ports": [{"port": 80, "targetPort": 80}]},
        }

    return facts_of(
        observations(
            {
                "taken": "2026-11-22T10:00:00Z",
                "expect": [],
                "pods": [pod("web"), pod("db")],
                "services": [service("web", selector), service("db", "dbb")],
                **more,
            }
        )
    )


def test_is_there_while_the_check_finds_it() -> None:
    found = look(CHECK, cluster("webb"), WEB)
    assert found.state is State.THERE
    assert found.finding
    assert found.finding.subject == Ref("Service", "web", "shop")


def test_is_cleared_when_only_others_are_left() -> None:
    assert look(CHECK, cluster("web"), WEB) == Look(state=State.CLEARED)
    assert look(CHECK, cluster("web"), None).state is State.THERE  # any object: db is still wrong


def test_what_was_not_seen_is_never_cleared() -> None:
    facts = cluster("web")
    assert look(CHECK, facts.without(Services), WEB).state is State.UNSEEN
    services = facts.get(Services)
    assert services
    partly = facts.replaced(dataclasses.replace(services, gaps=(Gap("services", "timed out"),)))
    found = look(CHECK, partly, WEB)
    assert (found.state, found.reason) == (State.UNSEEN, "services: timed out")


def test_what_is_seen_in_spite_of_a_gap_is_there() -> None:
    facts = cluster("webb")
    services = facts.get(Services)
    assert services
    partly = facts.replaced(dataclasses.replace(services, gaps=(Gap("services", "timed out"),)))
    assert look(CHECK, partly, WEB).state in (State.THERE, State.UNSEEN)


def test_a_node_that_was_not_asked_clears_nothing() -> None:
    kubelet = checks()["worker_node/kubelet_not_running"]
    assert look(kubelet, cluster("web"), None).state is State.UNSEEN


def test_a_check_of_another_namespace_clears_nothing() -> None:
    one = next(c for c in checks().values() if c.namespaces)
    facts = facts_of(observations({"taken": "2026-11-22T10:00:00Z", "expect": [], "namespace": "shop"}))
    assert look(one, facts, None).state is not State.THERE


def test_says_what_took_the_place_of_a_finding() -> None:
    before = look(CHECK, cluster("webb"), WEB)
    assert before.finding
    known = frozenset(fingerprints(cluster("webb"), (before.finding.subject,)))
    assert successors(known, cluster("web"), before.finding) == []
    # The selector is right now, and the port is not.
    service = {
        "metadata": {"name": "web", "namespace": "shop", "uid": "s-web"},
        "spec": {"selector": {"app": "web"}, "clusterIP": "10.96.0.7", "ports": [{"port": 80, "targetPort": "htpp"}]},
    }
    found = successors(known, cluster("web", services=[service]), before.finding)
    assert [node.check.id for node in found] == ["network/service_target_port_wrong"]


@pytest.mark.parametrize("kind", ["broken", "healthy"])
def test_agrees_with_the_check_on_its_fixtures(kind: str) -> None:
    for path in sorted((FIXTURES / CHECK.id).glob(f"{kind}*.yaml")):
        expected = State.THERE if kind == "broken" else State.CLEARED
        assert look(CHECK, fixture_facts(path), None).state is expected, path.name


# Objects of the command line


@pytest.mark.parametrize(
    ("word", "ref", "named"),
    [
        ("shop/web", Ref("Service", "web", "shop"), True),
        ("shop/web", Ref("Deployment", "web", "shop"), True),
        ("service/shop/web", Ref("Service", "web", "shop"), True),
        ("svc/shop/web", Ref("Service", "web", "shop"), True),
        ("Services/shop/web", Ref("Service", "web", "shop"), True),
        ("deploy/shop/web", Ref("Service", "web", "shop"), False),
        ("other/web", Ref("Service", "web", "shop"), False),
        ("node/w1", Ref("Node", "w1"), True),
        ("no/w1", Ref("Node", "w1"), True),
        ("ns/shop", Ref("Namespace", "shop"), True),
        ("pvc/shop/data", Ref("PersistentVolumeClaim", "data", "shop"), True),
        ("ingresses/shop/front", Ref("Ingress", "front", "shop"), True),
        ("whatever/shop/x", Ref("Whatever", "x", "shop"), True),
    ],
)
def test_an_object_is_named_as_to_kubectl(word: str, ref: Ref, named: bool) -> None:
    assert Wanted.parse(word).names(ref) is named


@pytest.mark.parametrize("word", ["", "web", "a/b/c/d", "/web", "shop/", "shop/we b", "shop/-x", "shop/$(id)", "a//b"])
def test_a_word_that_names_no_object_is_refused(word: str) -> None:
    with pytest.raises(UsageError):
        Wanted.parse(word)


def test_the_finding_about_an_object_goes_before_one_that_touches_it() -> None:
    touching = Finding(Ref("Deployment", "front", "shop"), "x", touches=(Ref("Service", "web", "shop"),))
    about = Finding(Ref("Service", "web", "shop"), "y")
    assert meant([touching, about], WEB) is about
    assert meant([touching], WEB) is touching
    assert meant([touching, about], None) is touching
    assert meant([touching], Wanted.parse("shop/nothing")) is None

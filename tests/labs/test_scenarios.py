"""What every scenario owes, without a cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from kdiag.engine.library import checks
from kdiag.errors import LabError, UsageError
from kdiag.lab import exam
from kdiag.lab.api import KINDS, Ref
from kdiag.lab.apps import LAB_IMAGES, build
from kdiag.lab.game import unfit
from kdiag.lab.proof import Witness, text
from kdiag.lab.scenario import DOMAINS, GROUPS, Drawn, Scenario, find, parse, scenarios
from kdiag.lab.steps import ALLOWED
from tests.recording import ROOT

SEEDS = (1, 2, 3)
CLUSTER: Mapping[str, Any] = {
    **{f"image_{name}": image for name, image in LAB_IMAGES.items()},
    "worker": "w1",
    "other_worker": "w2",
    "control_plane": "cp1",
    "worker_count": 2,
    "worker_address": "10.0.0.12",
    "control_plane_address": "10.0.0.11",
}
everyone = pytest.mark.parametrize("scenario", scenarios().values(), ids=lambda s: s.id)
#: Words of a check's name that a task may well use: they name the place, not the fault.
_PLACE = frozenset(
    """
    service services node nodes pod pods network deployment deployments container containers volume claim cluster
    server control plane scheduler manager api etcd kubelet runtime image name names port ports not with host folder
    config path file proxy dns coredns kube controller job ingress namespace process database class scheduling
    application update running from are has one other than the for was that stuck address account rollout
    statefulset daemonset autoscaler of to is cannot no request requests sandbox missing update
    """.split()  # noqa: SIM905
)


def drawn(scenario: Scenario, seed: int = 1) -> Drawn:
    return scenario.resolve(seed, CLUSTER)


def test_there_are_at_least_eighty_in_every_group_and_domain() -> None:
    found = scenarios().values()
    assert len(found) >= 80
    assert {s.group for s in found} == set(GROUPS)
    assert {s.domain for s in found} == set(DOMAINS)
    assert len({s.code for s in found}) == len(found)


@everyone
def test_every_variation_resolves_and_is_the_same_again(scenario: Scenario) -> None:
    for seed in SEEDS:
        one = drawn(scenario, seed)
        assert dict(one.values) == dict(drawn(scenario, seed).values)
        whole = [one.task, one.explain, *one.hints, one.setup, one.breaks, one.proof, one.fix, one.causes(), one.also()]
        assert "$" not in re.sub(r"^\s*\$ .*", "", one.task, flags=re.M)
        assert whole
        assert one.proof
        assert all(hint for hint in one.hints)
        assert len(one.hints) == 3


@everyone
def test_the_causes_are_checks_with_a_page_and_objects_with_a_name(scenario: Scenario) -> None:
    one = drawn(scenario)
    for cause in (*one.causes(), *one.also()):
        assert cause.check in checks()
        group, name = cause.check.split("/")
        assert (ROOT / "runbooks" / group / f"{name}.md").exists()
        assert Ref.parse(cause.object).name
        assert checks()[cause.check].risk == scenario.risk


@everyone
def test_the_task_does_not_give_the_fault_away(scenario: Scenario) -> None:
    one = drawn(scenario)
    words = {w for w in re.findall(r"[a-z]{4,}", one.causes()[0].check.partition("/")[2].replace("_", " "))} - _PLACE
    told = set(re.findall(r"[a-z]{4,}", f"{one.task} {scenario.title}".lower()))
    assert not words & told
    assert scenario.id.partition("/")[2].replace("_", " ") not in one.task.lower()


@everyone
def test_every_step_is_one_that_the_lab_can_take(scenario: Scenario) -> None:
    one = drawn(scenario)
    for step in (*one.setup, *one.breaks, *one.fix):
        if "node" in step:
            path = next((str(step[k]) for k in ("edit", "remove", "write", "keep") if k in step), ALLOWED[0])
            assert path.startswith(ALLOWED), path
            assert {"edit", "remove", "write", "keep", "unit", "sysctl", "firewall", "run"} & set(step)
            assert "run" not in step or "undo" in step or "keep" in step
            continue
        named = [str(step[k]) for k in ("patch", "delete", "scale", "wait") if k in step]
        for word in named:
            Ref.parse(word, str(one.values["ns"]))
        if "ask" in step:
            Ref.parse(str(step["ask"]).rpartition(":")[0], str(one.values["ns"]))
        if {"apply", "kind", "app"} & set(step):
            for item in build(step.get("apply") or step, one.values):
                assert item["kind"] in KINDS
                assert item["metadata"]["name"]
                assert yaml.safe_load(yaml.safe_dump(item)) == item
        elif not named:
            assert {"ask", "pause", "evict"} & set(step), step


@everyone
def test_every_line_of_a_proof_can_be_said(scenario: Scenario) -> None:
    one = drawn(scenario)
    witness = Witness(api=None, hosts=None, values=one.values, machines={})  # type: ignore[arg-type]  # nothing is asked
    for item in one.proof:
        assert text(witness, item)


@everyone
def test_what_is_broken_from_the_start_has_a_way_out(scenario: Scenario) -> None:
    """A proof that nothing can fulfil is no scenario: what is not undone from the record is mended by ``fix``."""
    one = drawn(scenario)
    undone = [s for s in one.breaks if "node" in s or "patch" in s or "scale" in s or "delete" in s]
    assert undone or one.fix


@everyone
def test_a_change_outside_of_the_own_namespace_is_no_secret(scenario: Scenario) -> None:
    one = drawn(scenario)
    for step in one.breaks:
        for key in ("patch", "delete"):
            if key in step:
                ref = Ref.parse(str(step[key]), str(one.values["ns"]))
                assert ref.kind != "Secret" or ref.namespace == one.values["ns"]


def test_another_seed_gives_other_names() -> None:
    shop = find("service_selector_misses")
    assert len({drawn(shop, seed).values["ns"] for seed in range(20)}) > 5


def test_two_at_once_never_share_a_namespace_or_a_port() -> None:
    shops = [s for s in scenarios().values() if "node_port" in (s._raw.get("vary") or {})]
    taken: list[Mapping[str, Any]] = []
    for shop in shops[:8]:
        taken.append(shop.resolve(7, CLUSTER, taken).values)
    assert len({t["ns"] for t in taken}) == len(taken) == len({t["node_port"] for t in taken})


def test_an_exam_is_weighted_and_nothing_in_it_collides() -> None:
    counted = dict.fromkeys(DOMAINS, 0)
    for seed in range(40):
        chosen = exam.draw(5, seed, lambda s: CLUSTER, lambda s: True)
        assert len({s.id for s, _ in chosen}) == 5
        values: list[Mapping[str, Any]] = []
        found: list[Drawn] = []
        for s, own in chosen:
            found.append(s.resolve(own, CLUSTER, values))
            values.append(found[-1].values)
        assert not any(exam.collide(a, b) for i, a in enumerate(found) for b in found[:i])
        for s, _ in chosen:
            counted[s.domain] += 1
    assert counted["troubleshooting"] > counted["storage"]
    assert all(counted.values())


def test_an_exam_that_is_too_large_says_so() -> None:
    with pytest.raises(LabError, match="only 2 scenarios"):
        exam.draw(3, 1, lambda s: CLUSTER, lambda s: s.id in ("network/target_port_wrong", "application/job_fails"))


def test_a_word_that_names_no_scenario_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'target_port_wrong'"):
        find("target_port_wron")
    assert find(find("target_port_wrong").code).id == "network/target_port_wrong"


GOOD = """
title: t
task: do
domain: storage
difficulty: easy
minutes: 5
break: [{scale: Deployment/a, to: 0}]
proof: [{ready: Deployment/a}]
hints: [a, b, c]
explain: e
cause: {check: application/job_failed, object: Job/$ns/a}
"""


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("title: t\n", "", "'title' is missing"),
        ("hints: [a, b, c]", "hints: [a, b]", "three hints"),
        ("domain: storage", "domain: cooking", "domain is one of"),
        ("minutes: 5", "minutes: 5\nminuets: 4", "unknown field 'minuets'"),
        ("minutes: 5", "minutes: [", "no YAML"),
        ("minutes: 5", "minutes: 5\nneeds: [luck]", "'luck'"),
        ("explain: e", "explain: e $nobody", "cannot be filled in"),
    ],
)
def test_a_scenario_that_makes_none_says_where(old: str, new: str, why: str) -> None:
    with pytest.raises(LabError, match=re.escape(why)):
        _ = parse("storage/x".replace("storage", "application"), GOOD.replace(old, new)).resolve(1, CLUSTER).explain


def test_an_unfit_cluster_is_told_what_it_lacks() -> None:
    from tests.labs.test_game import GROUND, Nobody

    assert unfit(find("worker_node/kubelet_stopped"), GROUND, Nobody()).startswith("it wants a root shell on the nodes")


def test_an_application_takes_no_value_that_it_was_not_given() -> None:
    values = {**CLUSTER, "ns": "x", "node_port": 30081, "port": 99, "name": "wrong"}
    [service] = build({"app": "service", "name": "mysql"}, values)
    assert service["spec"]["ports"] == [{"port": 80, "targetPort": 80}]
    assert "type" not in service["spec"]

"""The tree of findings: made, folded, filtered and compared without a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from kdiag.engine.correlate import Node
from kdiag.engine.library import checks
from kdiag.engine.verdict import Verdict
from kdiag.model.result import Evidence, Finding, Gap, Ref, Result, Severity, Status
from kdiag.tui.model import GONE, REMARKS, Filter, Kind, Row, Tree, offsets

LIBRARY = checks()
POD, SERVICE, NODE = "application/container_crashes", "network/service_selects_nothing", "worker_node/node_not_ready"


def node(check: str, name: str, *below: Node, namespace: str = "shop", severity: Severity | None = None) -> Node:
    finding = Finding(
        Ref("Deployment", name, namespace), f"{name} is broken", (Evidence("kubectl get x", "shown"),),
        severity=severity, since="2026-11-22T10:59:00Z",
    )  # fmt: skip
    return Node(LIBRARY[check], finding, list(below))


def verdict(*causes: Node, infos: Iterable[Node] = (), results: Iterable[Result] = ()) -> Verdict:
    return Verdict(
        server="https://s", context="c", namespace="", version="v1", taken="2026-11-22T11:00:00Z", source="api",
        causes=causes, infos=tuple(infos), results=tuple(results),
    )  # fmt: skip


def titles(rows: list[Row]) -> list[str]:
    return [row.title for row in rows]


def test_groups_hold_causes_and_causes_hold_symptoms_in_the_order_of_the_verdict() -> None:
    tree = Tree(verdict(node(NODE, "w1", node(POD, "a")), node(SERVICE, "b"), node(NODE, "w2")))
    rows = tree.shown(Filter(), ())
    assert titles(rows) == ["worker node", "w1 is broken", "a is broken", "w2 is broken", "network", "b is broken"]
    assert [r.kind for r in rows[:3]] == [Kind.GROUP, Kind.CAUSE, Kind.SYMPTOM]
    assert [r.number for r in rows if r.kind is Kind.CAUSE] == [1, 3, 2]
    assert rows[1].age == "60s"
    assert rows[1].size == 1


def test_many_symptoms_are_folded_at_first_and_unfolded_on_request() -> None:
    tree = Tree(verdict(node(NODE, "w1", *(node(POD, f"p{n}") for n in range(9)))))
    assert len(tree.shown(Filter(), ())) == 2
    assert len(tree.shown(Filter(), {tree.groups[0].children[0].key})) == 11
    assert len(tree.shown(Filter(), {"group:worker_node"})) == 1


def test_a_filter_keeps_what_matches_and_what_it_hangs_below() -> None:
    tree = Tree(verdict(node(NODE, "w1", *(node(POD, f"p{n}") for n in range(9))), node(SERVICE, "b", namespace="web")))
    assert titles(tree.shown(Filter(text="p7"), ())) == ["worker node", "w1 is broken", "p7 is broken"]
    assert titles(tree.shown(Filter(text="BROKEN selects_nothing"), ())) == ["network", "b is broken"]
    assert titles(tree.shown(Filter(text="-n web"), ())) == ["network", "b is broken"]
    assert titles(tree.shown(Filter(text="-n we"), ())) == ["network", "b is broken"], "as it is typed"
    assert tree.shown(Filter(text="-n web w1"), ()) == []
    assert titles(tree.shown(Filter(groups=frozenset({"network"})), ())) == ["network", "b is broken"]
    assert tree.count(Filter(text="-n web")) == 1
    assert tree.count(Filter()) == 2


def test_a_severity_filter_looks_at_the_worst_of_a_cause() -> None:
    mild = node(SERVICE, "b", severity=Severity.WARNING)
    bad = node(SERVICE, "c", node(POD, "d", severity=Severity.CRITICAL), severity=Severity.WARNING)
    tree = Tree(verdict(bad, mild))
    assert titles(tree.shown(Filter(least=Severity.ERROR), ())) == ["network", "c is broken", "d is broken"]


def test_remarks_are_a_group_of_their_own_and_have_no_number() -> None:
    tree = Tree(verdict(node(SERVICE, "b"), infos=[node(POD, "i", severity=Severity.INFO)]))
    assert [(g.group, g.size) for g in tree.groups] == [("network", 1), (REMARKS, 1)]
    assert tree.groups[1].children[0].number == 0


def test_new_and_gone_are_told_by_fingerprint() -> None:
    passed = [Result(NODE, Status.PASS), Result(SERVICE, Status.FAIL)]
    before = Tree(verdict(node(NODE, "w1"), node(SERVICE, "b")))
    after = Tree(verdict(node(SERVICE, "b"), node(SERVICE, "new"), results=passed), before=before)
    assert {r.title: r.new for r in after.causes()} == {"b is broken": False, "new is broken": True}
    gone = next(g for g in after.groups if g.group == GONE)
    assert titles(gone.children) == ["w1 is broken"]
    assert gone.children[0].gone
    third = Tree(verdict(node(SERVICE, "b"), results=passed), before=after)
    assert titles([r for g in third.groups if g.group == GONE for r in g.children]) == ["new is broken"]


def test_what_cannot_be_looked_at_again_is_not_gone() -> None:
    before = Tree(verdict(node(NODE, "w1")))
    after = Tree(verdict(results=[Result(NODE, Status.UNKNOWN, gaps=(Gap("nodes", "403"),))]), before=before)
    assert [g.group for g in after.groups] == []
    assert not after.coverage.complete
    partly = [Result(NODE, Status.FAIL, gaps=(Gap("ssh:w1", "timed out"),))]
    after = Tree(verdict(node(NODE, "w2"), results=partly), before=before)
    assert GONE not in [g.group for g in after.groups]


def test_the_same_finding_twice_stays_two_rows() -> None:
    tree = Tree(verdict(node(NODE, "w1"), node(NODE, "w1")))
    assert len({row.key for row in tree.shown(Filter(), ())}) == 3


def test_a_finding_is_found_by_its_fingerprint_at_any_depth() -> None:
    deep = node(POD, "deep")
    tree = Tree(verdict(node(NODE, "w1", node(SERVICE, "s", deep))))
    row = tree.row_of(deep.fingerprint)
    assert row is not None
    assert row.title == "deep is broken"
    assert tree.row_of("0000") is None


def test_causes_take_two_lines_and_the_others_one() -> None:
    rows = Tree(verdict(node(NODE, "w1", node(POD, "a")))).shown(Filter(), ())
    assert offsets(rows) == [0, 1, 3, 4]


def test_a_million_characters_of_ten_thousand_findings_are_filtered_without_making_rows() -> None:
    tree = Tree(verdict(*(node(NODE, f"w{n}", *(node(POD, f"p{n}-{m}") for m in range(4))) for n in range(2000))))
    everything = tree.shown(Filter(), ())
    assert len(everything) == 1 + 2000 + 8000
    some = tree.shown(Filter(text="p1999-3"), ())
    assert titles(some) == ["worker node", "w1999 is broken", "p1999-3 is broken"]
    assert all(row in everything for row in some), "the rows are the same objects"


def test_an_age_that_makes_no_sense_is_none() -> None:
    late = Finding(Ref("Pod", "a", "b"), "m", since="tomorrow")
    tree = Tree(
        verdict(
            Node(LIBRARY[POD], late),
            Node(LIBRARY[POD], Finding(Ref("Pod", "c", "b"), "m", since="2030-01-01T00:00:00Z")),
        )
    )
    assert [row.age for row in tree.causes()] == ["", "0s"]

"""Pages as steps: taken apart, filled in, and what their outputs point to."""

from __future__ import annotations

import re

import pytest

from kdiag.check import Check
from kdiag.engine import shell
from kdiag.engine.evaluate import evaluate
from kdiag.engine.hints import hints
from kdiag.engine.runbook import Block, Expect, Kind, Outcome, Page, Step, fill, mark, page, parse, walk
from kdiag.errors import UsageError
from kdiag.model.result import Evidence, Finding, Ref
from tests.recording import cases, every_check, fixture_facts

PAGE = """# Service selects no pod

## Meaning

The selector asks for what no pod has.

## Impact

Clients fail.

## Diagnosis

First the Service:

```sh
NAMESPACE=shop NAME=web   # the Service of the finding
POD=$(kubectl -n "$NAMESPACE" get pods -o name | grep "/$NAME" | head -n 1)
kubectl -n "$NAMESPACE" get service "$NAME" -o wide   # SELECTOR
kubectl -n "$NAMESPACE" get pods \\
  --show-labels
```

- `ENDPOINTS <unset>`: nothing matches.
- `connection refused` to port 2379: etcd fails; see [etcd_not_running](../control_plane/etcd_not_running.md).
- `CrashLoopBackOff`: see [crash](container_crashes.md#more) and
  [docs](https://example.com/a.md).
- The unit is not `active`: start it.

Then on the node:

```sh
NODE=cp1   # a control-plane node
FILE=/etc/kubernetes/manifests/$NAME.yaml
ssh "$NODE" "sudo cat $FILE"
# by hand: it runs a program in the container
kubectl -n "$NAMESPACE" exec "$POD" -- id
```

You should see `Running`, and no `Could not process manifest file`. Never run `kubectl delete pod` here.

## Mitigation

1. Set the selector. Undo: set the old one.

   ```sh
   kubectl -n "$NAMESPACE" patch service "$NAME" -p '{}'
   ```

2. Restart it.

Further reading: [docs](https://example.com).
"""
FINDING = Finding(
    Ref("Service", "api", "pay"),
    "Service pay/api selects no pod",
    (Evidence("kubectl -n pay get service api", "app=x"),),
    touches=(Ref("Deployment", "api-server", "pay"), Ref("Pod", "api-1", "pay")),
)


@pytest.fixture
def book() -> Page:
    return parse("network/x", PAGE)


def step(book: Page, text: str) -> Step:
    return next(s for s in book.steps if text in s.text)


def test_takes_a_page_apart(book: Page) -> None:
    assert (book.title, book.meaning) == ("Service selects no pod", "The selector asks for what no pod has.")
    first, second = book.blocks
    assert first.before == "First the Service:"
    assert second.before == "Then on the node:"
    assert first.after.startswith("- `ENDPOINTS <unset>`")
    assert [s.number for s in book.steps] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [s.kind for s in first.steps] == [Kind.SET, Kind.RUN, Kind.RUN, Kind.RUN]
    assert step(book, "get service").comment == "SELECTOR"
    assert step(book, "--show-labels").text.count("\n") == 1
    assert step(book, "ssh").node == "cp1"
    assert book.block_of(step(book, "ssh")) == second


def test_leaves_to_a_person_what_the_page_says(book: Page) -> None:
    by_hand = step(book, "exec")
    assert (by_hand.kind, by_hand.by_hand) == (Kind.COPY, True)
    assert by_hand.refused == "it runs a program in the container"


def test_knows_what_to_look_for_and_what_is_only_a_command(book: Page) -> None:
    second = book.blocks[1]
    assert second.expects == (Expect("Running"), Expect("Could not process manifest file", wanted=False))


def test_knows_where_the_conclusions_lead(book: Page) -> None:
    etcd, crash, unit = book.blocks[0].branches[1:]
    assert etcd.pages == ("control_plane/etcd_not_running",)
    assert etcd.numbers == ("2379",)
    assert crash.pages == ("network/container_crashes",)
    assert unit.expects == (Expect("active", wanted=False),)


def test_fills_in_the_findings_own_objects(book: Page) -> None:
    filled = fill(book, FINDING, {"NODE": "cp7"})
    commands = [s.command for s in filled.steps]
    assert commands[:3] == ["NAMESPACE=pay NAME=api", "POD=pod/api-1", "kubectl -n pay get service api -o wide"]
    assert 'ssh cp7 "sudo cat /etc/kubernetes/manifests/api.yaml"' in commands
    assert "kubectl -n pay exec pod/api-1 -- id" in commands
    assert step(filled, "ssh").node == "cp7"
    assert filled.unfilled == ()
    assert "kubectl -n pay patch service api" in filled.mitigation
    assert filled.remedies[0].commands == ("kubectl -n pay patch service api -p '{}'",)


def test_says_what_the_finding_does_not_name(book: Page) -> None:
    filled = fill(book, Finding(Ref("Service", "api", "pay"), "x"))
    assert filled.unfilled == ("NODE",)
    on_node = step(filled, "ssh")
    assert on_node.missing == ("NODE",)
    assert not on_node.runs
    # What the page asks for itself is asked for.
    asked = step(filled, "POD=")
    assert (asked.kind, asked.runs) == (Kind.RUN, True)
    assert asked.command.startswith("POD=$(kubectl -n pay get pods")


def test_without_a_finding_the_page_keeps_its_examples(book: Page) -> None:
    filled = fill(book, None)
    assert filled.steps[0].command == "NAMESPACE=shop NAME=web"
    assert "NAME" in filled.unfilled


@pytest.mark.parametrize(
    "name", ["--kubeconfig=/tmp/x", "a b", "a;rm -rf /", "$(id)", "`id`", "a'b", 'a"b', "a\nb", "", "../x", "‮evil"]
)
def test_a_name_that_is_none_is_not_filled_in(book: Page, name: str) -> None:
    filled = fill(book, Finding(Ref("Service", name, "pay"), "x"), {"NODE": name, "POD": name})
    for one in filled.steps:
        assert name == "" or name not in one.command
    assert "NAME" in filled.unfilled


def test_the_mitigation_is_quoted_with_its_undo(book: Page) -> None:
    first, second = book.remedies
    assert first.undo == "Undo: set the old one."
    assert first.commands == ('kubectl -n "$NAMESPACE" patch service "$NAME" -p \'{}\'',)
    assert (second.text, second.undo) == ("2. Restart it.", "")


def test_marks_what_the_page_names(book: Page) -> None:
    first, second = book.blocks
    found = mark(second, ["web-1   Running", "NotRunning", "err: Could not  process manifest file x"])
    assert [(m.line, m.expect.text) for m in found.marks] == [(0, "Running"), (2, "Could not process manifest file")]
    assert found.lines == {0, 2}
    table = mark(first, ["NAME   PORTS   ENDPOINTS", "web    80      <unset>", "CrashLoopBackOffs"])
    assert [(m.line, m.start) for m in table.marks] == [(1, 15)]


def test_follows_a_branch_only_when_all_of_its_condition_is_there(book: Page) -> None:
    block = book.blocks[0]

    def pages(*lines: str) -> list[str]:
        return [p for b in mark(block, lines).branches for p in b.pages]

    assert pages("active", "dial tcp 127.0.0.1:2379: connection refused") == ["control_plane/etcd_not_running"]
    assert pages("active", "dial tcp 127.0.0.1:10257: connection refused") == []
    assert pages("active") == []
    # What is not there may be what another step would have shown.
    assert mark(block, []).branches == mark(block, ["inactive"]).branches == ()


class Told:
    """Answers steps from a list, and keeps what it was asked."""

    def __init__(self, *answers: Outcome) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[int, dict[str, str]]] = []

    def run(self, step: Step, values: object) -> Outcome:
        assert isinstance(values, dict)
        self.asked.append((step.number, dict(values)))
        return self.answers.pop(0)

    def close(self) -> None:
        pass


def test_walks_what_may_run_and_hands_on_what_it_found_out(book: Page) -> None:
    filled = fill(book, Finding(Ref("Service", "api", "pay"), "x"))
    told = Told(
        Outcome(status=0, lines=("POD=pod/api-9",), sets={"POD": "pod/api-9"}),
        Outcome(status=0, lines=("SELECTOR",)),
        Outcome(status=0, lines=("CrashLoopBackOff active",)),
    )
    walked = walk(filled, told)
    assert [number for number, _ in told.asked] == [2, 3, 4]
    assert told.asked[-1][1]["POD"] == "pod/api-9"
    assert set(walked.outcomes) == {2, 3, 4}
    assert [b.pages for b in walked.branches(filled.blocks[0])] == [("network/container_crashes",)]
    assert walked.branches(filled.blocks[1]) == ()


def test_there_is_no_page_of_a_check_that_does_not_exist() -> None:
    for name in ("network/nothing", "nothing", "../../etc/passwd", "network/../x"):
        with pytest.raises(UsageError):
            page(name)


# All pages

each_check = pytest.mark.parametrize("check", every_check(), ids=lambda c: c.id)


@each_check
def test_every_page_parses_into_steps(check: Check) -> None:
    book = page(check.id)
    assert book.title == check.title
    assert book.meaning
    assert book.impact
    assert book.remedies
    assert any(s.kind is Kind.RUN for s in book.steps), "nothing of it can be run"
    assert [s.number for s in book.steps] == list(range(1, len(book.steps) + 1))
    library = {c.id for c in every_check()}
    for block in book.blocks:
        assert block.steps
        for branch in block.branches:
            assert set(branch.pages) <= library, branch.text
        for expect in block.expects:
            assert expect.pattern.search("") is None
    # Nothing of the Diagnosis is lost: every command line is a step.
    known = "\n".join(s.text for s in book.steps)
    for line in re.findall(r"^ *(kubectl|ssh) .*$", book_text(check.id), re.MULTILINE):
        assert line in known


def book_text(check_id: str) -> str:
    from kdiag.engine.runbook import source

    return source(check_id).partition("## Diagnosis")[2].partition("## Mitigation")[0]


@each_check
def test_every_page_is_filled_in_from_its_own_findings(check: Check) -> None:
    book = page(check.id)
    for path in cases(check, "broken"):
        facts = fixture_facts(path)
        for finding in evaluate(check, facts).findings:
            filled = fill(book, finding, hints(finding, facts, group=check.group))
            namespaces = {r.namespace for r in (finding.subject, *finding.touches)}
            for one in filled.steps:
                if one.kind is Kind.RUN:
                    shell.parse(one.command)
                    assert one.refused == ""
                if one.runs and "shop" not in namespaces:
                    assert not re.search(r"-n shop\b", one.command), (path.name, one.command)
                assert not one.by_hand or one.kind is Kind.COPY


def test_nearly_every_step_can_be_run_for_a_real_finding() -> None:
    runs = missing = 0
    for check in every_check():
        book = page(check.id)
        facts = fixture_facts(cases(check, "broken")[0])
        finding = evaluate(check, facts).findings[0]
        filled = fill(book, finding, hints(finding, facts, group=check.group))
        runs += sum(s.runs for s in filled.steps)
        missing += sum(s.kind is Kind.RUN and not s.runs for s in filled.steps)
    assert missing < 0.05 * runs, f"{missing} of {runs + missing} steps lack a value"


def test_marks_are_found_in_bounded_time() -> None:
    block = Block(steps=(), expects=(Expect("a … b … c … d"), Expect("x x x x x")))
    mark(block, ["a " * 50_000, "x " * 50_000])

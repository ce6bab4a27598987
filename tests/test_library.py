"""What every check owes its reader, asked of all of them at once."""

from __future__ import annotations

import dataclasses
import dis
import inspect
import re
import subprocess
from pathlib import Path

import pytest

from kdiag.check import Check
from kdiag.engine.correlate import reach
from kdiag.engine.evaluate import evaluate
from kdiag.engine.intake import roots
from kdiag.engine.library import GROUPS, checks
from kdiag.model.result import Gap, Severity, Status
from tests.recording import FIXTURES, ROOT, cases, cluster_facts, clusters, every_check, fixture_facts, load

each_check = pytest.mark.parametrize("check", every_check(), ids=lambda c: c.id)
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]


@each_check
def test_fires_on_each_broken_fixture_with_the_expected_messages(check: Check) -> None:
    assert cases(check, "broken"), f"{check.id} has no broken fixture"
    for path in cases(check, "broken"):
        result = evaluate(check, fixture_facts(path))
        assert result.status is Status.FAIL, (path.name, result.reason, result.gaps)
        assert [f.message for f in result.findings] == load(path)["expect"], path.name


@each_check
def test_is_silent_on_each_healthy_fixture(check: Check) -> None:
    assert cases(check, "healthy"), f"{check.id} has no healthy fixture"
    for path in cases(check, "healthy"):
        result = evaluate(check, fixture_facts(path))
        assert result.status in (Status.PASS, Status.SKIPPED), (path.name, result)


@each_check
def test_is_silent_on_every_healthy_cluster(check: Check) -> None:
    if check.risk:
        pytest.skip("a risk is not a fault")
    for folder in clusters("healthy"):
        result = evaluate(check, cluster_facts(folder))
        assert not result.findings, (folder.name, [f.message for f in result.findings])
        assert result.status is not Status.ERROR, (folder.name, result.reason)


@each_check
def test_is_unknown_when_a_needed_fact_is_missing(check: Check) -> None:
    facts = fixture_facts(cases(check, "healthy")[0])
    for needed in roots(check.needs.values()):
        assert evaluate(check, facts.without(needed)).status is Status.UNKNOWN, needed.__name__
        whole = facts.get(needed)
        assert whole is not None
        partial = facts.replaced(dataclasses.replace(whole, gaps=(Gap("w9", "timed out"),)))
        assert evaluate(check, partial).status is Status.UNKNOWN, needed.__name__


@each_check
def test_does_without_what_it_only_wants(check: Check) -> None:
    for path in cases(check, "broken") + cases(check, "healthy"):
        for wanted in roots(check.wants.values()):
            facts = fixture_facts(path)
            facts.get(wanted)
            result = evaluate(check, facts.without(wanted))
            assert result.status is not Status.ERROR, (path.name, wanted.__name__, result.reason)


@each_check
def test_reads_each_fact_that_it_asks_for(check: Check) -> None:
    code = inspect.unwrap(check.run).__code__
    # From Python 3.13 on one instruction may load two.
    read = [
        i.argval if isinstance(i.argval, tuple) else (i.argval,)
        for i in dis.get_instructions(code)
        if "LOAD_" in i.opname
    ]
    assert {*check.needs, *check.wants} <= {name for names in read for name in names}


@each_check
def test_gives_evidence_and_a_next_step(check: Check) -> None:
    for path in cases(check, "broken"):
        for finding in evaluate(check, fixture_facts(path)).findings:
            assert finding.evidence, (path.name, finding.message)
            assert finding.next, (path.name, finding.message)
            assert all(e.shown for e in finding.evidence), (path.name, finding.message)
            assert finding.subject.name in finding.message or finding.subject.kind == "Cluster", finding.message


@each_check
def test_breaks_on_no_other_fixture(check: Check) -> None:
    for path in sorted(FIXTURES.glob("*/*/*.yaml")):
        result = evaluate(check, fixture_facts(path))
        assert result.status is not Status.ERROR, (path, result.reason)


def test_no_check_explains_what_does_not_exist_or_itself() -> None:
    library = checks()
    for one in library.values():
        named = {*one.explains, *one.explains_here}
        assert named <= set(library), (one.id, named - set(library))
    below = reach(library)
    for one in library.values():
        for other in one.explains:
            assert one.id not in {other, *below[other]}, f"{one.id} and {other} explain each other"


@each_check
def test_names_the_fault_and_says_it_in_a_sentence(check: Check) -> None:
    assert check.group in GROUPS
    name = check.id.partition("/")[2]
    assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", name)
    assert not re.match(r"(check|is|detect|fix|find|verify)_", name)
    assert re.fullmatch(r"[A-Z].{10,110}\.", check.summary), check.summary
    assert 5 <= len(check.title) <= 70
    assert not check.title.endswith(".")


@each_check
def test_has_a_runbook_page_of_the_four_sections(check: Check) -> None:
    page = (ROOT / "runbooks" / f"{check.id}.md").read_text()
    heads = re.findall(r"^(#{1,2}) (.+)$", page, re.MULTILINE)
    assert heads[0] == ("#", check.title)
    assert [h for level, h in heads[1:] if level == "##"] == SECTIONS
    for name, text in zip(SECTIONS, re.split(r"^## .+$", page, flags=re.MULTILINE)[1:], strict=True):
        assert len(text.strip()) > 40, f"{name} says nothing"
    assert "```sh" in page.partition("## Diagnosis")[2].partition("## Mitigation")[0]


def shell_blocks(page: Path) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@each_check
def test_has_commands_that_a_shell_can_read(check: Check) -> None:
    for block in shell_blocks(ROOT / "runbooks" / f"{check.id}.md"):
        parsed = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, timeout=10)
        assert parsed.returncode == 0, (block, parsed.stderr)


def test_runbook_pages_link_only_to_pages_that_exist() -> None:
    for page in (ROOT / "runbooks").rglob("*.md"):
        for link in re.findall(r"\]\((?!https:)([^)#]+\.md)\)", page.read_text()):
            assert (page.parent / link).resolve().is_file(), f"{page}: {link}"


@pytest.mark.parametrize(("top", "suffix"), [("checks", ".py"), ("runbooks", ".md"), ("fixtures", "")])
def test_the_three_trees_mirror_each_other(top: str, suffix: str) -> None:
    if top == "fixtures":
        found = {str(p.relative_to(FIXTURES)) for g in GROUPS for p in (FIXTURES / g).glob("*") if p.is_dir()}
    else:
        paths = (p for p in (ROOT / top).rglob(f"*{suffix}") if p.name != "__init__.py")
        found = {str(p.relative_to(ROOT / top).with_suffix("")) for p in paths}
    assert found == set(checks())


def test_there_is_a_healthy_cluster_to_be_silent_on() -> None:
    assert clusters("healthy")


def test_risks_are_marked_as_risks() -> None:
    assert all(c.severity is Severity.RISK for c in checks().values() if c.risk)

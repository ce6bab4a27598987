"""Whole recorded clusters: a healthy one is silent, a broken one gives its causes in order and folds the rest.

Beside each broken recording stands ``expect.txt``: a line ``check object`` for each cause, in rank order. A line that
begins with ``~`` is a cause that may follow and is right as well.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from kdiag.engine.library import checks
from kdiag.engine.verdict import Verdict, judge
from kdiag.model.result import Severity, Status
from kdiag.report.document import render_json
from tests.recording import cluster_facts, clusters


def verdict(folder: Path) -> Verdict:
    chosen = [c for c in checks().values() if not c.risk]
    return judge(chosen, cluster_facts(folder), checks())


def causes(one: Verdict, least: Severity = Severity.ERROR) -> list[str]:
    return [f"{c.check.id} {c.finding.subject.kind}/{c.finding.subject.path}" for c in one.causes if c.worst >= least]


@pytest.mark.parametrize("folder", clusters("healthy"), ids=lambda p: p.name)
def test_a_healthy_cluster_gives_no_finding_and_breaks_no_check(folder: Path) -> None:
    one = verdict(folder)
    assert [c.finding.message for c in one.causes] == []
    assert [(r.check_id, r.reason) for r in one.of(Status.ERROR)] == []


@pytest.mark.parametrize("folder", clusters("broken") + clusters("demo"), ids=lambda p: p.name)
def test_a_broken_cluster_gives_its_causes_in_order(folder: Path) -> None:
    wanted = (folder / "expect.txt").read_text().splitlines()
    must = [line for line in wanted if line and not line.startswith(("~", "#"))]
    may = {line[1:].strip() for line in wanted if line.startswith("~")}
    found = causes(verdict(folder))
    assert [c for c in found if c not in may or c in must] == must


@pytest.mark.parametrize("folder", clusters("broken") + clusters("demo"), ids=lambda p: p.name)
def test_the_same_recording_gives_the_same_bytes(folder: Path) -> None:
    assert render_json(verdict(folder)) == render_json(verdict(folder))

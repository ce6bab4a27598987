"""Every practice scenario as the lab showed it: its cause is named first, and nothing wrong beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdiag.engine.library import checks
from kdiag.engine.verdict import judge
from kdiag.model.result import Severity
from tests.lab.recordings import recordings, unpack
from tests.recording import facts_of


@pytest.mark.parametrize(
    "path", tuple(recordings()), ids=lambda p: f"{p.parent.name}/{p.name.removesuffix('.json.xz')}"
)
def test_the_cause_is_named_first_and_none_that_is_wrong(path: Path) -> None:
    one, seen = unpack(path)
    chosen = [c for c in checks().values() if one.scenario.risk or not c.risk]
    verdict = judge(chosen, facts_of(seen), checks())
    right = {(c.check, c.object) for c in (*one.causes(), *one.also())}
    named = [
        (c.check.id, f"{c.finding.subject.kind}/{c.finding.subject.path}")
        for c in verdict.causes
        if c.worst >= Severity.ERROR or one.scenario.risk
    ]
    if one.scenario.risk:
        assert right & set(named)
        return
    assert named
    assert named[0] in right
    assert set(named) <= right
    assert {c.object for c in one.also()} <= {where for _, where in named}

"""Clusters of other makers: a healthy one is silent, and what breaks in one is named in its own terms."""

from __future__ import annotations

import pytest

from kdiag.model.result import Status
from tests.foreign import Foreign, distributions
from tests.whole import tree


@pytest.mark.parametrize("name", distributions())
def test_a_healthy_distribution_has_no_finding(name: str) -> None:
    foreign = Foreign(name)
    found = foreign.verdict()
    assert found.causes == (), tree(found.causes)
    told = [n.finding.message for n in found.infos]
    assert [t for t in told if not t.startswith(tuple(foreign.remarks))] == []
    assert len(told) == len(foreign.remarks)
    assert not found.of(Status.ERROR)
    unknown = {r.check_id: [(g.source, g.reason) for g in r.gaps] for r in found.of(Status.UNKNOWN)}
    assert unknown == {}

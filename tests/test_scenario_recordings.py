"""Every practice scenario as the lab showed it: its cause is named first, and nothing wrong beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.recordings import misjudged, recordings, unpack


@pytest.mark.parametrize(
    "path", tuple(recordings()), ids=lambda p: f"{p.parent.name}/{p.name.removesuffix('.json.xz')}"
)
def test_the_cause_is_named_first_and_none_that_is_wrong(path: Path) -> None:
    one, seen = unpack(path)
    assert misjudged(one, seen) is None

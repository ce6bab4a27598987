"""An incident on the real cluster, walked from end to end by keys: break, see, look, mend, verify."""

from __future__ import annotations

import pytest

from tests.lab import cluster
from tests.tui.pilot import app, bar, main, on_loop, said, screen, select, shown, text, until

pytestmark = [pytest.mark.lab, pytest.mark.core]
_SELECTOR = '{"spec":{"selector":{"name":"%s"}}}'


def _patch(name: str) -> None:
    cluster.kubectl("-n", "shop", "patch", "service", "mysql-service", "--type=merge", "-p", _SELECTOR % name)


@pytest.mark.usefixtures("shop")
@on_loop
async def test_a_service_that_selects_nothing_is_found_and_mended_by_keys() -> None:
    _patch("mysql-db")
    try:
        async with screen("-n", "shop", size=(140, 44)) as pilot:
            await until(pilot, lambda: "selects no pod" in text(pilot), "the cause")
            select(pilot, "selects no pod")
            await pilot.press("enter")
            await pilot.pause()
            walk = main(pilot).walk
            assert walk is not None
            await pilot.press("X")
            await until(pilot, lambda: len(walk.results) == len(walk.runnable) and not walk.running, "all answers")
            outputs = {walk.step(number).command: result for number, result in walk.results.items()}  # type: ignore[union-attr]
            assert not [r.error for r in outputs.values() if r.error], outputs
            assert any("name=mysql-db" in line for r in outputs.values() for line in r.lines)
            await pilot.press("escape", "t")
            await shown(pilot, "hop broken")
            await pilot.press("escape", "v")
            await until(pilot, lambda: "still there" in bar(pilot, "cover"), "that it is still there")
            _patch("mysql")
            await said(pilot, "cleared after")
            await until(pilot, lambda: not app(pilot).case.reading.running, "the next verdict")
            await pilot.pause()
            tree = app(pilot).case.tree
            assert tree is not None
            assert not [row for row in tree.causes() if "selects no pod" in row.title]
    finally:
        _patch("mysql")

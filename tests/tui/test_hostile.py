"""Whatever a cluster writes into its texts, each screen keeps its shape and shows it as text."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot

from kdiag.collect.snapshot import Snapshot, write
from kdiag.model.observation import Observation
from kdiag.tui.screens.page import PageScreen
from tests.tui.pilot import DEMO, app, choices, main, on_loop, page, recording, typed, until

_TEXTS = {
    "escapes": "\x1b]52;c;cHduZWQ=\x07\x1b[2J\x9b31m\x00\r\x08 [/foo][red][@click=app.bell]x[link=http://e]y",
    "right to left": "שלום \u202eevil\u2066 مرحبا \u200f",
    "wide": "漢字かな交じり文🧨👨‍👩‍👧‍👦🇩🇪 ｆｕｌｌ",
    "combining": "e" + "\u0301" * 40 + "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L\ufe0f\u200d\u200b",
    "long": "n" * 10_000,
    "lines": "one\ntwo\u2028three\r\n\tfour\x0b" + "word " * 500,
}
_FIELDS = ("message", "image", "value")


def _said(value: Any, text: str) -> Any:
    """The object with this text behind whatever its free fields say."""
    if isinstance(value, dict):
        return {k: v + text if k in _FIELDS and isinstance(v, str) else _said(v, text) for k, v in value.items()}
    return [_said(one, text) for one in value] if isinstance(value, list) else value


def _poisoned(text: str) -> Iterator[Observation]:
    for seen in Snapshot(DEMO).observations():
        body = bytes(seen.body)
        if body.startswith(b"{"):
            body = json.dumps(_said(json.loads(body), text)).encode()
        elif body:
            body = b"\n".join(line + text.encode("utf-8", "surrogatepass") for line in body.split(b"\n")[:200])
        yield Observation(seen.source, seen.key, seen.host, seen.scope, seen.name, body, seen.error, seen.absent)


def _in_shape(pilot: Pilot[int]) -> None:
    """Every row has as many cells as the screen is wide, and nothing in it moves a cursor or turns the text round."""
    width, height = pilot.app.size
    strips = pilot.app.screen._compositor.render_strips(pilot.app.size)
    assert len(strips) == height
    for strip in strips:
        row = "".join(segment.text for segment in strip)
        assert cell_len(row) == width, row
        assert not [c for c in row if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")], ascii(row)
        assert not [n for n in range(len(row) - 2) if all(map(unicodedata.combining, row[n : n + 3]))], ascii(row)


def _is_page(pilot: Pilot[int]) -> bool:
    return isinstance(app(pilot).screen, PageScreen)


@pytest.mark.parametrize("name", _TEXTS)
@on_loop
async def test_every_screen_keeps_its_shape(name: str, tmp_path: Path) -> None:
    text = _TEXTS[name]
    write(tmp_path / "night", _poisoned(text))
    async with recording(tmp_path / "night", size=(80, 24)) as pilot:
        assert main(pilot).rows.rows, "there is something to be seen"
        for size in ((140, 44), (80, 24)):
            await pilot.resize_terminal(*size)
            for key in ("j", "right", "left", "end", "home", "enter", "X", "pagedown", "escape", "tab", "end"):
                await pilot.press(key)
                _in_shape(pilot)
            await pilot.press("escape")
        for command in ("timeline", "coverage", "node w1", "trace shop/webapp", "help", "search \x1b[31m漢"):
            app(pilot).command(command)
            await until(
                pilot, lambda: choices(pilot) or (_is_page(pilot) and page(pilot) not in ("", "reading…")), command
            )
            _in_shape(pilot)
            await pilot.press("pagedown", "end")
            _in_shape(pilot)
            await pilot.press("escape")
        await pilot.press("slash")
        await typed(pilot, "xyz")
        main(pilot).prompt.value = text
        await pilot.pause()
        _in_shape(pilot)
        await pilot.press("escape")
        app(pilot).say(text)
        await pilot.pause()
        _in_shape(pilot)

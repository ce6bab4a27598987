"""The report on a terminal: what stands above the causes keeps to its width."""

from __future__ import annotations

import pytest

from kdiag.engine.verdict import Verdict
from kdiag.report.style import Style
from kdiag.report.text import render

NOTE = "what a long note tells, in many short words, " * 6


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_note_keeps_to_the_width_of_the_terminal(width: int) -> None:
    verdict = Verdict(
        server="https://10.0.0.1:6443", context="c", namespace="", version="v1.32.0", taken="2026-11-22T11:00:00Z",
        source="api", causes=(), notes=(NOTE,), results=(),
    )  # fmt: skip
    lines = render(verdict, Style(width=width)).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("note: "))
    told = [lines[start], *(line for line in lines[start + 1 :] if line.startswith("      "))]
    assert len(told) > 1
    assert max(map(len, told)) <= width
    assert " ".join(" ".join(told).split()) == f"note: {NOTE.strip()}"

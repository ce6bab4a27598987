"""The report on a terminal: what stands above the causes keeps to its width."""

from __future__ import annotations

import re

import pytest

from kdiag.engine.verdict import Verdict
from kdiag.model.result import Gap, Result, Status
from kdiag.report.style import Style, visible_length
from kdiag.report.text import render, step_lines
from tests.whole import Whole

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


@pytest.mark.parametrize("many", [3, 4, 15, 40])
def test_what_is_wrong_with_many_alike_is_told_in_full_for_the_first_few(many: int) -> None:
    cluster = Whole()
    for number in range(many):
        (pod,) = cluster.application(f"team/web{number:02}")
        cluster.waiting(pod, "CrashLoopBackOff", restarts=9, code=1)
    cluster.settle()
    verdict = cluster.verdict()
    assert len(verdict.causes) == many

    text = render(verdict, Style(width=100))
    assert text.count("kdiag explain application/container_crashes") == 3
    named = {f"web{number:02}" for number in range(many) if f"Deployment team/web{number:02} " in text}
    assert len(named) == min(many, 15)
    assert ("shows all of them whole" in text) == (many > 3)
    assert ("and 25 more of application/container_crashes" in text) == (many == 40)

    wide = render(verdict, Style(width=100), wide=True)
    assert wide.count("kdiag explain application/container_crashes") == many


@pytest.mark.parametrize("width", [50, 60, 80])
@pytest.mark.parametrize("color", [False, True])
def test_the_first_lines_and_the_last_ones_keep_to_the_width_of_the_terminal(width: int, color: bool) -> None:
    gap = Gap("pods", "the list broke off after 1,000 objects")
    results = [
        Result(f"application/check_number_{number}", status, gaps=(gap,), reason="ValueError: a word or two (line 12)")
        for number, status in enumerate([Status.FAIL] * 9 + [Status.UNKNOWN, Status.SKIPPED, Status.ERROR])
    ]
    verdict = Verdict(
        server="https://10.0.0.1:6443", context="kubernetes-admin@kubernetes", namespace="shop", version="v1.36.3",
        taken="2026-11-22T11:00:00Z", source="api", causes=(), results=tuple(results), selector="app=web", outside=3,
    )  # fmt: skip
    text = render(verdict, Style(width=width, color=color))
    assert max(map(visible_length, text.splitlines())) <= width
    plain = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())
    assert "nothing found, but not everything was seen" in plain
    assert "9 failed checks could not see everything, there may be more" in plain


@pytest.mark.parametrize("width", [60, 80])
def test_a_command_at_the_end_of_a_sentence_is_not_broken(width: int) -> None:
    command = "kubectl get pods -A -o wide --field-selector=spec.nodeName=w2"
    lines = list(step_lines("next", f"install the package, or look at its own pod: {command}", Style(width=width)))
    assert lines[-1].strip() == command
    assert max(map(len, lines[:-1])) <= width

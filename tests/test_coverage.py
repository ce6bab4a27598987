"""The page on what is covered says what is so: each number of the catalogue once, only checks and tests that exist."""

from __future__ import annotations

import re
from functools import cache

import pytest

from kdiag.engine.library import checks
from tests import test_traps
from tests.recording import ROOT
from tests.test_cascades import CASCADES

PAGE = ROOT / "docs" / "coverage.md"
_ROW = re.compile(r"^\| ([A-Z]?\d+) \|(.*)\|$", re.MULTILINE)
_CHECK = re.compile(r"`((?:application|control_plane|network|worker_node)/[a-z0-9_]+)`")
_RANGE = re.compile(r"\b([A-Z]?)(\d+)–[A-Z]?(\d+)\b")


@cache
def text() -> str:
    return PAGE.read_text()


def promised() -> list[str]:
    """Every number of the catalogue, from the line that says how far each goes."""
    (line,) = re.findall(r"^The catalogue's numbers: (.+)$", text(), re.MULTILINE)
    found = []
    for letter, first, last in _RANGE.findall(line):
        width = len(first) if letter else 0
        found += [f"{letter}{n:0{width}}" for n in range(int(first), int(last) + 1)]
    return found


def rows() -> dict[str, str]:
    return dict(_ROW.findall(text()))


def test_every_number_of_the_catalogue_stands_once() -> None:
    numbers = [number for number, _ in _ROW.findall(text())]
    assert sorted(numbers) == sorted(promised())


def test_only_checks_that_exist_are_named() -> None:
    assert set(_CHECK.findall(text())) <= set(checks())


def test_what_stands_under_the_catalogue_does_not_stand_beyond_it_again() -> None:
    within, _, beyond = text().partition("## Beyond the catalogue")
    assert set(_CHECK.findall(within)) & set(re.findall(r"^- `([a-z_/0-9]+)`", beyond, re.MULTILINE)) == set()


@pytest.mark.parametrize("number", [n for n in promised() if n[0] in "CWNARSP"])
def test_a_fault_is_decided_by_a_check_or_says_why_by_none(number: str) -> None:
    row = rows()[number].split("|")[-1]
    assert _CHECK.search(row) or re.search(r"^ none[ :].{40}", row), row


@pytest.mark.parametrize("number", [n for n in promised() if n[0] == "L"])
def test_a_line_is_used_or_says_why_not(number: str) -> None:
    row = rows()[number].split("|")[-1]
    assert _CHECK.search(row) or "not used: " in row, row


@pytest.mark.parametrize("number", [n for n in promised() if n[0] == "K"])
def test_a_cascade_names_its_tests(number: str) -> None:
    named = {f"{number}-{name}" for name in re.findall(r"`([a-z_0-9]+)`", rows()[number])}
    assert named == {c.id for c in CASCADES if c.id.startswith(number)}


@pytest.mark.parametrize("number", [n for n in promised() if n[0].isdigit()])
def test_a_trap_names_a_test_or_a_fixture(number: str) -> None:
    known = {name.partition("-")[2].rpartition("-")[2] or name for name in test_traps.TRAPS}
    named = re.findall(r"`([^`]+)`", rows()[number])
    assert named or "nothing to prove" in rows()[number]
    for one in named:
        assert one in known or hasattr(test_traps, one) or (ROOT / one).is_file(), one

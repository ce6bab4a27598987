"""Text from a cluster cannot drive a terminal."""

from __future__ import annotations

import unicodedata
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdiag.model.text import (
    clean,
    clean_line,
    command_in,
    distance,
    duration,
    is_command,
    listing,
    middle,
    nearest,
    plural,
    shorten,
)


@given(st.text())
def test_clean_text_holds_nothing_that_controls(text: str) -> None:
    for char in clean(text):
        assert char in "\t\n" or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}, hex(ord(char))


@given(st.text())
def test_a_clean_line_is_one_line(text: str) -> None:
    assert len(clean_line(text).splitlines()) <= 1
    assert "\t" not in clean_line(text)


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S"]), min_size=1))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]52;c;aGk=\x07", "␛]52;c;aGk=␇"),
        ("a\u202eb", "a<U+202E>b"),
        ("a\x9b31mb", "a<U+009B>31mb"),
        ("zero\u200bwidth", "zero<U+200B>width"),
    ],
)
def test_what_was_there_can_still_be_read(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_a_cut_is_always_marked() -> None:
    assert shorten("abcdef", 4) == "abc…"
    assert middle("abcdefghij", 5) == "ab…ij"
    assert listing(["a", "b", "c", "d", "e"], 3) == "a, b, c and 2 more"
    assert listing(["a"], 3) == "a"


def test_counts_agree_with_their_noun() -> None:
    assert plural(1, "pod") == "1 pod"
    assert plural(2000, "pod") == "2,000 pods"
    assert plural(2, "entry", "entries") == "2 entries"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (3600, "60m"),
        (4 * 3600 + 60, "4h1m"),
        (3 * 86400, "3d"),
        (-5, "-5s"),
    ],
)
def test_ages_are_written_as_kubectl_writes_them(seconds: int, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text


def test_distance_counts_edits_and_swaps_and_stops_at_its_limit() -> None:
    assert distance("forward", "forwrad") == 1
    assert distance("kitten", "sitting", 5) == 3
    assert distance("a", "completely different", 3) == 4


@pytest.mark.parametrize(
    ("word", "candidates", "meant"),
    [
        ("mysql-servce", ["mysql-service", "web-service"], "mysql-service"),
        ("mysql", ["mysql-service"], "mysql-service"),
        ("service-mysql", ["mysql-service"], "mysql-service"),
        ("db", ["redis", "cache"], None),
        ("web", ["web"], None),
    ],
)
def test_the_nearest_name_is_one_that_could_have_been_meant(
    word: str, candidates: list[str], meant: str | None
) -> None:
    assert nearest(word, candidates) == meant


@pytest.mark.parametrize("step", ["kubectl get pods", "ping 10.0.0.2    # no answer", "ssh w1 sudo ls"])
def test_a_step_that_begins_with_a_program_is_a_command(step: str) -> None:
    assert is_command(step)
    assert not is_command(f"look: {step}")
    assert not is_command("the " + step)


@pytest.mark.parametrize(
    ("step", "words", "command"),
    [
        ("ask for less: kubectl -n shop top pods", "ask for less:", "kubectl -n shop top pods"),
        ("or load it: ssh w2 sudo crictl pull a:1", "or load it:", "ssh w2 sudo crictl pull a:1"),
        ("wait for it", "wait for it", ""),
        ("there: etcdctl member list, then remove it", "there: etcdctl member list, then remove it", ""),
        ("go by another way: kubectl with a token", "go by another way: kubectl with a token", ""),
    ],
)
def test_a_sentence_may_end_in_a_command(step: str, words: str, command: str) -> None:
    assert command_in(step) == (words, command)

"""JSON that is cut, of another form or nested without end is an error that is named, or nothing."""

from __future__ import annotations

import pytest

from kdiag.model.jsontext import TooDeep, first_object, read_json, read_object

DEEP = "[" * 100_000
BROKEN = ["", "{", "nothing", '{"a": }', b"\xff\xfe", "9" * 5000, DEEP, '{"a":' * 100_000]


@pytest.mark.parametrize("text", BROKEN, ids=lambda text: str(text[:8]))
def test_what_cannot_be_read_is_one_kind_of_error_or_an_empty_object(text: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whichever of them
        read_json(text)
    assert read_object(text) == {}


def test_endless_nesting_is_told_apart() -> None:
    with pytest.raises(TooDeep, match="nested too deeply"):
        read_json(DEEP)


@pytest.mark.parametrize("text", ["[]", "null", '"x"', "5"])
def test_what_is_no_object_is_an_empty_one(text: str) -> None:
    assert read_object(text) == {}


def test_an_object_is_found_between_what_a_program_says() -> None:
    assert first_object('W0101 a warning\n{"a": 1}\nbye {') == {"a": 1}
    assert first_object("{}") == {}


@pytest.mark.parametrize("text", ["", "no brace", "{'a'", '{"a":' * 100_000])
def test_no_object_is_none(text: str) -> None:
    assert first_object(text) is None

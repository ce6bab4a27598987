"""Quantities are exact, and nonsense is refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdiag.model.quantity import Quantity, amount


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500m", "0.5"), ("2Gi", str(2 * 2**30)), ("1e3", "1000"), ("1E3", "1000"), ("0", "0"), ("1.5", "1.5"),
        ("100k", "100000"),
        ("3E", str(3 * 10**18)), ("1Ei", str(2**60)), ("100n", "0.0000001"), (".5", "0.5"), ("-1", "-1"),
    ],
)  # fmt: skip
def test_a_quantity_is_read_exactly(text: str, value: str) -> None:
    assert Quantity.parse(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "abc", "1GiB", "1 Gi", "--1", "1e9999", "Gi", "٣"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        Quantity.parse(text)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        Quantity.parse(text)
    except ValueError:
        return


@pytest.mark.parametrize(
    ("resource", "text", "shown"),
    [
        ("cpu", "250m", "250m"),
        ("cpu", "4", "4"),
        ("requests.cpu", "1500m", "1500m"),
        ("memory", "1536Mi", "1.5Gi"),
        ("pods", "110", "110"),
    ],
)
def test_amounts_are_written_as_a_person_would(resource: str, text: str, shown: str) -> None:
    assert amount(resource, Quantity.parse(text)) == shown

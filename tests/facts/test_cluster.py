"""What is known of the run and of the server's version, whatever is answered in their place."""

from __future__ import annotations

import pytest

from kdiag.facts import Cluster, Version
from kdiag.model.observation import Observation


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"5", b"\xff\xfe", b'{"gitVersion":' + b"[" * 200_000, b'{"a":' * 100_000, b'{"gitVersion":5}'],
)
@pytest.mark.parametrize(("fact", "key"), [(Version, "version"), (Cluster, "run")])
def test_what_cannot_be_read_is_a_gap(fact: type[Version | Cluster], key: str, body: bytes) -> None:
    builder = fact.builder()
    builder.feed(Observation("api", key, body=body))
    assert [gap.source for gap in builder.finish().gaps] == [key]

"""A real cluster with a healthy application in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import cluster


@pytest.fixture(scope="session")
def shop() -> Iterator[None]:
    """The two-tier application of the classic course labs, serving."""
    cluster.up()
    cluster.kubectl("apply", "-f", "-", stdin=cluster.SHOP.read_text())
    for name in ("mysql", "webapp"):
        cluster.kubectl("-n", "shop", "rollout", "status", f"deploy/{name}", "--timeout=120s")
    yield
    cluster.kubectl("delete", "namespace", "shop", "--wait=false", check=False)

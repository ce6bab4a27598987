"""A real cluster with a healthy application in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import cluster


@pytest.fixture(autouse=True)
def aims_at_the_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs inside the test's own process reads the lab, whatever the shell around it points to."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.KUBECONFIG))
    monkeypatch.setenv("KDIAG_SSH_CONFIG", str(cluster.KUBECONFIG.with_name("ssh_config")))


@pytest.fixture(scope="session")
def shop() -> Iterator[None]:
    """The two-tier application of the classic course labs, serving."""
    cluster.up()
    cluster.kubectl("apply", "-f", "-", stdin=cluster.SHOP.read_text())
    for name in ("mysql", "webapp"):
        cluster.kubectl("-n", "shop", "rollout", "status", f"deploy/{name}", "--timeout=120s")
    yield
    cluster.kubectl("delete", "namespace", "shop", "--wait=false", check=False)

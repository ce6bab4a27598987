"""What kdiag may do is enough for it: the users and rights of deploy/, on the real cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import cluster

pytestmark = [pytest.mark.lab, pytest.mark.core]

DEPLOY = Path(__file__).parents[2] / "deploy"
NODES = ("cp1", "w1", "w2")
PLACE = "/etc/sudoers.d/kdiag"


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Path]:
    """An SSH configuration for a user who may run as root what deploy/sudoers names, and nothing else."""
    rules = (
        (DEPLOY / "sudoers").read_text().replace("Defaults:kdiag", "Defaults:guest").replace("kdiag ALL", "guest ALL")
    )
    config = tmp_path / "ssh"
    config.write_text(cluster.KUBECONFIG.with_name("ssh_config").read_text().replace("User ops", "User guest"))
    try:
        for name in NODES:
            cluster.run(str(cluster.LAB), "exec", name, "sh", "-c", f"cat > {PLACE} && chmod 440 {PLACE}", stdin=rules)
            cluster.node(name, f"visudo -cf {PLACE}")
        yield config
    finally:
        for name in NODES:
            cluster.node(name, f"rm -f {PLACE}")


def test_the_sudoers_file_is_all_that_the_nodes_need(shop: None, guest: Path) -> None:
    cluster.until("the cluster is silent", cluster.silent, nodes=True)
    report = cluster.kdiag("--ssh-config", str(guest), nodes=True)
    assert report.document["coverage"]["unknown"] == [], report.summary()
    assert not report.causes, report.summary()


def test_the_role_is_all_that_the_api_needs(shop: None) -> None:
    cluster.until("the cluster is silent", cluster.silent)
    cluster.kubectl("create", "namespace", "kdiag")
    try:
        cluster.kubectl("apply", "-f", str(DEPLOY / "rbac.yaml"))
        report = cluster.kdiag("--as", "system:serviceaccount:kdiag:kdiag")
        assert report.document["coverage"]["unknown"] == [], report.summary()
        assert not report.causes, report.summary()
    finally:
        cluster.kubectl("delete", "--ignore-not-found", "-f", str(DEPLOY / "rbac.yaml"))
        cluster.kubectl("delete", "namespace", "kdiag", "--ignore-not-found")

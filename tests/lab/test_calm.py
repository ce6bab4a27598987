"""What looks odd and is well: kdiag says nothing, while it starts, while it rolls and when it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import cluster

pytestmark = pytest.mark.lab

CALM = Path(__file__).with_name("calm.yaml")


def quiet(when: str) -> None:
    report = cluster.kdiag()
    assert not report.causes, f"{when}: {report.summary()}"


def rolled() -> bool:
    status = cluster.kubectl("-n", "calm", "rollout", "status", "deploy/web", "--watch=false")
    return "successfully rolled out" in status


def test_starting_rolling_and_standing_still_are_no_faults(shop: None) -> None:
    cluster.until("the cluster is silent before", cluster.silent)
    try:
        cluster.kubectl("apply", "-f", "-", stdin=CALM.read_text())
        for round_ in range(60):
            quiet(f"starting, look {round_}")
            if rolled():
                break
        cluster.kubectl("-n", "calm", "rollout", "restart", "deploy/web", "statefulset/set")
        for round_ in range(60):
            quiet(f"rolling, look {round_}")
            if rolled():
                break
        quiet("standing")
    finally:
        cluster.kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=CALM.read_text())
    cluster.kubectl("wait", "--for=delete", "namespace/calm", "--timeout=120s", check=False)
    cluster.until("the cluster is silent after", cluster.silent)

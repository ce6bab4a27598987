"""Each fault is named first, with the right object, and kdiag falls silent when it is undone."""

from __future__ import annotations

import pytest

from tests.lab import cluster
from tests.lab.faults import FAULTS, Fault

pytestmark = pytest.mark.lab


def test_a_healthy_cluster_gives_no_finding(shop: None) -> None:
    report = cluster.until("a healthy cluster is silent", cluster.silent)
    assert report.document["complete"], report.summary()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_the_fault_is_the_first_cause_and_its_undoing_is_seen(shop: None, fault: Fault) -> None:
    right = {fault.cause, *fault.instead}
    try:
        for step in fault.make:
            step()
        report = cluster.until(f"{fault.cause} comes first", lambda r: r.top() in right, fault.patience)
        assert report.code == 1, report.summary()
        others = [c for c in report.causes[1:] if c["severity"] in ("error", "critical")]
        assert not others, report.summary()
    finally:
        for step in fault.undo:
            step()
    cluster.until("kdiag falls silent again", cluster.silent, patience=240)

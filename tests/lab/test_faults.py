"""Each fault is named first, with the right object, and kdiag falls silent when it is undone."""

from __future__ import annotations

import pytest
from _pytest.mark.structures import ParameterSet

from tests.lab import cluster
from tests.lab.faults import FAULTS, NODE_FAULTS, Fault

pytestmark = pytest.mark.lab


def case(fault: Fault) -> ParameterSet:
    """The fault as a parameter, marked when every CI run makes it."""
    name = f"{fault.name}-over-ssh" if fault.nodes else fault.name
    return pytest.param(fault, id=name, marks=[pytest.mark.core] if fault.core and not fault.nodes else [])


@pytest.mark.core
def test_a_healthy_cluster_gives_no_finding(shop: None) -> None:
    cluster.until("a healthy cluster is silent", complete)


def test_a_healthy_cluster_gives_no_finding_over_ssh_either(shop: None) -> None:
    cluster.until("a healthy cluster is silent", complete, patience=300, nodes=True)


def complete(report: cluster.Report) -> bool:
    """Nothing found, and everything seen."""
    return cluster.silent(report) and bool(report.document["complete"])


def play(fault: Fault) -> None:
    """Make the fault, see it named first and alone, undo it, and see silence."""
    right = {fault.cause, *fault.instead}
    try:
        for step in fault.make:
            step()
        cluster.until(  # what no user feels yet is a warning, and the exit code 0
            f"{fault.cause} comes first as an error, and no other cause",
            lambda r: r.top() in right and not r.others() and r.code == 1,
            fault.patience,
            nodes=fault.nodes,
        )
    finally:
        for step in fault.undo:
            step()
    cluster.until("kdiag falls silent again", cluster.silent, patience=240, nodes=fault.nodes)


@pytest.mark.parametrize("fault", [case(f) for f in (*FAULTS, *NODE_FAULTS)])
def test_the_fault_is_the_first_cause_and_its_undoing_is_seen(shop: None, fault: Fault) -> None:
    try:
        play(fault)
    except cluster.Stuck as first:
        # Two cores carry a whole cluster: a second try tells a wrong verdict from a machine that was late.
        print(f"{fault.name}: second try, for {first}")
        cluster.until("the cluster is well again", cluster.silent, patience=240)
        play(fault)

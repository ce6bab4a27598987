"""Steps that fit the fault: where a check knows several faults, each has its own."""

from __future__ import annotations

import pytest

from kdiag.engine.evaluate import evaluate
from kdiag.engine.library import find
from tests.recording import FIXTURES, fixture_facts


def test_the_event_is_shown_of_whom_it_is_about() -> None:
    check = "application/priority_class_missing"
    (finding,) = evaluate(find(check), fixture_facts(FIXTURES / check / "broken-stateful-set.yaml")).findings
    assert finding.evidence[0].command == "kubectl -n shop describe statefulset mysql"


@pytest.mark.parametrize(
    ("check", "fixture", "step"),
    [
        ("application/pod_rejected_by_kubelet", "broken-apparmor", "appArmorProfile: take it out"),
        ("application/pod_fits_no_node", "broken-device-class", "kubectl get deviceclasses"),
        ("application/pods_cannot_be_created", "broken-runtime-class", "kubectl get runtimeclasses"),
        ("application/container_crashes", "broken-seccomp", "seccompProfile: RuntimeDefault"),
        ("application/job_failed", "broken-indexed", "logs render-1-"),
        ("application/workload_unavailable", "broken-min-ready", "spec.minReadySeconds"),
        ("application/autoscaler_target_missing", "broken-version", '"apiVersion":"apps/v1"'),
        ("control_plane/component_exits", "broken-port", "sudo ss -ltnp sport = :10259"),
        ("control_plane/etcd_not_running", "broken-one-of-three", "sudo ss -ltnp sport = :2380"),
    ],
)
def test_the_first_steps_are_those_of_this_fault(check: str, fixture: str, step: str) -> None:
    (finding, *_) = evaluate(find(check), fixture_facts(FIXTURES / check / f"{fixture}.yaml")).findings
    assert step in " ".join(finding.next)

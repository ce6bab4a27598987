"""A pod of an older revision is judged only for what the newest template still asks for."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import yaml

from kdiag.facts import Cluster, Events, Failures, Fault, Pods, Scheduling, Why
from tests.recording import FIXTURES, facts_of, observations

IMAGE = FIXTURES / "application/registry_unreachable/healthy-mended-in-the-template.yaml"
PLACE = FIXTURES / "application/scheduling_node_selector_unmatched/healthy-mended-in-the-template.yaml"


def _same_template(told: dict[str, Any]) -> dict[str, Any]:
    """The new revision asks for the same as the old one."""
    changed = deepcopy(told)
    old, new = sorted(changed["replicasets"], key=_revision)
    new["spec"]["template"]["spec"] = old["spec"]["template"]["spec"]
    return changed


def _undone(told: dict[str, Any]) -> dict[str, Any]:
    """The new revision was scaled to nothing: the old one is what shall run."""
    changed = deepcopy(told)
    max(changed["replicasets"], key=_revision)["spec"]["replicas"] = 0
    return changed


def _alone(told: dict[str, Any]) -> dict[str, Any]:
    """Neither ReplicaSets nor a newer pod: nothing is known of revisions."""
    return {**told, "replicasets": [], "pods": [min(told["pods"], key=_created)]}


def _revision(item: dict[str, Any]) -> int:
    return int(item["metadata"]["annotations"]["deployment.kubernetes.io/revision"])


def _created(item: dict[str, Any]) -> str:
    return str(item["metadata"]["creationTimestamp"])


def _pulls(told: dict[str, Any]) -> list[str]:
    facts = facts_of(observations(told))
    failures = facts.get(Failures)
    assert failures is not None
    found = failures.of(Fault.REGISTRY_UNREACHABLE, facts.get(Events))
    return [f.about for group in found for f in group]


def _unmatched(told: dict[str, Any]) -> list[str]:
    facts = facts_of(observations(told))
    scheduling, cluster = facts.get(Scheduling), facts.get(Cluster)
    assert scheduling is not None
    assert cluster is not None
    return [s.owner.path for s in scheduling.stuck(Why.SELECTOR, cluster.taken)]


def test_what_the_new_template_no_longer_asks_for_is_mended() -> None:
    assert _pulls(yaml.safe_load(IMAGE.read_text())) == []
    assert _unmatched(yaml.safe_load(PLACE.read_text())) == []


def test_a_newer_pod_stands_for_the_template_where_replicasets_are_not_seen() -> None:
    assert _pulls({**yaml.safe_load(IMAGE.read_text()), "replicasets": []}) == []
    assert _unmatched({**yaml.safe_load(PLACE.read_text()), "replicasets": []}) == []


@pytest.mark.parametrize("change", [_same_template, _undone, _alone])
def test_what_is_still_asked_for_is_told(change: Any) -> None:
    assert _pulls(change(yaml.safe_load(IMAGE.read_text()))) == ["nginx:1.27-alpin"]
    assert _unmatched(change(yaml.safe_load(PLACE.read_text()))) == ["ma-a4/batch"]


def test_the_new_pods_speak_for_themselves() -> None:
    facts = facts_of(observations(yaml.safe_load(PLACE.read_text())))
    scheduling, cluster, pods = facts.get(Scheduling), facts.get(Cluster), facts.get(Pods)
    assert scheduling is not None
    assert cluster is not None
    assert pods is not None
    (stuck,) = scheduling.stuck(Why.RESOURCE, cluster.taken)
    assert len(pods.items) == 2
    assert stuck.pods == (max(pods.items, key=lambda p: p.created.timestamp() if p.created else 0.0),)

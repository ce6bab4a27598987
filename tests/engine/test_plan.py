"""Which logs are worth reading."""

from __future__ import annotations

import json
from typing import Any

from kdiag.engine.intake import Intake, known
from kdiag.engine.plan import RECENT, LogRequest, logs_wanted
from kdiag.model.observation import Observation


def pod(name: str, host: str = "", app: str = "web", **status: Any) -> dict[str, Any]:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{app}-1", "uid": app, "controller": True}
    env = [{"name": "DB_HOST", "value": host}] if host else []
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "labels": {"app": app, "pod-template-hash": "1"},
            "ownerReferences": [owner],
        },
        "spec": {"nodeName": "w1", "containers": [{"name": "app", "image": "x", "env": env}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], **status},
    }


def wanted(pods: list[dict[str, Any]], most: int = 60) -> list[LogRequest]:
    service = {"metadata": {"name": "mysql", "namespace": "shop"}, "spec": {"clusterIP": "10.96.0.7", "ports": []}}
    intake = Intake(known())
    intake.feed(Observation("api", "run", body=b'{"taken": "2026-11-22T10:00:00Z"}'))
    lists = {"pods": pods, "services": [service], "replicasets": [], "jobs": [], "configmaps": [], "namespaces": []}
    for key, items in lists.items():
        intake.feed(Observation("api", key, body=json.dumps({"items": items}).encode()))
    return list(logs_wanted(intake.finish(), most)[0])


def test_the_log_of_a_name_that_no_service_has_is_read_from_its_start() -> None:
    there, missing = wanted([pod("web-1", "mysql"), pod("api-1", "mysqll", app="api")])
    assert (missing.pod, missing.since) == ("web-1", RECENT)
    assert (there.pod, there.since) == ("api-1", 0)


def test_such_a_template_is_read_in_up_to_three_pods_after_one_of_each_other() -> None:
    many = [pod(f"web-{n}", "mysqll") for n in range(5)]
    found = wanted([*many, pod("api-1", "mysqll", app="api")])
    assert [r.pod for r in found] == ["api-1", "web-0", "web-1", "web-2"]
    assert [r.pod for r in wanted([*many, pod("api-1", "mysqll", app="api")], most=2)] == ["api-1", "web-0"]


def test_an_evicted_pod_has_no_log_any_more() -> None:
    ended = {"name": "app", "ready": False, "restartCount": 0, "state": {"terminated": {"exitCode": 137}}}
    gone: dict[str, Any] = {"phase": "Failed", "containerStatuses": [ended], "conditions": []}
    assert wanted([pod("web-1", reason="Evicted", **gone)]) == []
    assert [r.pod for r in wanted([pod("web-1", reason="Error", **gone)])] == ["web-1"]

"""The JSON report against its published schema."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from kdiag.collect.snapshot import write
from kdiag.engine.library import checks, choose
from kdiag.engine.verdict import judge
from kdiag.model.result import CLUSTER, Evidence, Finding, Gap, Result, Severity, Status
from kdiag.report.document import document, render_json, render_yaml
from tests.cli.runner import kdiag
from tests.recording import SQUEEZED, cases, cluster_facts, cluster_observations, clusters, every_check, fixture_facts

SCHEMA = json.loads((files("kdiag") / "data" / "report.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)
FOLDERS = clusters("")


def closed(schema: Any) -> Any:
    """The same schema where nothing may be that it does not describe: what is written is all documented."""
    if isinstance(schema, dict):
        inner = {key: closed(value) for key, value in schema.items()}
        return inner | {"additionalProperties": False} if inner.get("type") == "object" else inner
    return [closed(value) for value in schema] if isinstance(schema, list) else schema


STRICT = Draft202012Validator(closed(SCHEMA))


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_every_recorded_cluster(folder: Path) -> None:
    verdict = judge(choose((), risks=True), cluster_facts(folder), checks())
    STRICT.validate(json.loads(render_json(verdict)))
    assert yaml.safe_load(render_yaml(verdict)) == json.loads(render_json(verdict))


def test_every_broken_fixture() -> None:
    for check in every_check():
        for path in cases(check, "broken"):
            verdict = judge([check], fixture_facts(path), checks())
            STRICT.validate(document(verdict))


def test_every_kind_of_result(monkeypatch: pytest.MonkeyPatch) -> None:
    from kdiag.engine import verdict as module

    some = list(checks())[:5]
    finding = Finding(
        CLUSTER, "x", (Evidence("", "y", "w1"),), ("z",), severity=Severity.RISK, since="2026-01-01T00:00:00Z"
    )
    results = [
        Result(some[0], Status.FAIL, (finding,), (Gap("pods", "403"),)),
        Result(some[1], Status.UNKNOWN, gaps=(Gap("pods", "403"), Gap("nodes", "late"))),
        Result(some[2], Status.SKIPPED, reason="does not apply"),
        Result(some[3], Status.ERROR, reason="ZeroDivisionError"),
        Result(some[4], Status.PASS),
    ]
    monkeypatch.setattr(module, "evaluate_all", lambda *_: results)
    written = document(judge((), cluster_facts(FOLDERS[0]), checks()))
    STRICT.validate(written)
    assert written["coverage"] == {
        "passed": 1,
        "failed": 1,
        "unknown": [{"check": some[1], "reason": "pods: 403; nodes: late"}],
        "partial": [{"check": some[0], "reason": "pods: 403"}],
        "skipped": [{"check": some[2], "reason": "does not apply"}],
        "errors": [{"check": some[3], "reason": "ZeroDivisionError"}],
    }
    assert not written["complete"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_the_same_recording_gives_the_same_bytes(tmp_path: Path, folder: Path) -> None:
    if (folder / SQUEEZED).exists():
        write(tmp_path / "unfolded", cluster_observations(folder))
        folder = tmp_path / "unfolded"
    runs = {
        kdiag("check", "-o", "json", "--snapshot", folder, home=tmp_path, env={"PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2", "3")
    }
    (text,) = runs
    STRICT.validate(json.loads(text))


def test_a_missing_member_is_seen() -> None:
    whole = document(judge(choose(()), cluster_facts(FOLDERS[0]), checks()))
    for name in whole:
        assert not VALIDATOR.is_valid({key: value for key, value in whole.items() if key != name})

"""A check says the same of what it sees live, of a recording of it, and of a fixture."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from kdiag.check import Check
from kdiag.collect.api import ApiSource
from kdiag.collect.deadline import Deadline
from kdiag.collect.kubeconfig import Overrides, load
from kdiag.collect.snapshot import Recorder, Snapshot
from kdiag.engine.evaluate import evaluate
from kdiag.engine.intake import Facts, Intake, known, sources
from kdiag.engine.plan import logs_wanted
from kdiag.facts.base import ApiGet, ApiList
from kdiag.model.observation import Observation
from tests import recording
from tests.fakeapi import FakeAPI

cases = [(c, path) for c in recording.every_check() for path in recording.cases(c, "broken")[:1]]


def serve(path: Path) -> FakeAPI:
    fixture = recording.load(path)
    objects: dict[str, list[dict[str, object]]] = {}
    for source in sources(known()):
        if isinstance(source, ApiList) and source.key in fixture:
            items = fixture[source.key]
            for item in items:
                if source.namespaces:
                    item.setdefault("metadata", {}).setdefault("namespace", source.namespaces[0])
            objects.setdefault(source.path(), []).extend(items)
    raw = {s.url: fixture[s.key] for s in sources(known()) if isinstance(s, ApiGet) and s.key in fixture}
    logs = {}
    for name, text in fixture.get("log", {}).items():
        namespace, pod, container, which = name.split("/")
        logs[(namespace, pod, container, which == "previous")] = text
    taken = fixture["taken"]
    moment = taken if isinstance(taken, datetime) else datetime.fromisoformat(str(taken))
    return FakeAPI(objects, raw=raw, logs=logs, date=moment)


def live(path: Path, tmp_path: Path) -> list[Observation]:
    """Everything that a run over HTTP sees, logs in the fixture's own words."""
    seen: list[Observation] = []

    def emit(one: Observation) -> None:
        body = bytes(one.body)
        seen.append(Observation(one.source, one.key, one.host, one.scope, one.name, body, one.error, one.absent))
        intake.feed(one)

    with serve(path) as api:
        target = load(Overrides(kubeconfig=str(api.kubeconfig(tmp_path / "config"))), {}, home=tmp_path)
        source = ApiSource(target, deadline=Deadline(30))
        intake = Intake(known())
        source.probe()
        emit(source.run_record())
        source.observe(sources(known()), emit)
        requests, _ = logs_wanted(intake.finish())
        wanted = {r.name for r in requests}
        source.close()
    emit(Observation("api", "log", absent=True))
    for one in recording.node_observations(recording.load(path)):
        emit(one)
    for name, text in recording.load(path).get("log", {}).items():
        assert name in wanted, f"no run would read the log {name} of {path}"
        emit(Observation("api", "log", name=name, body=text.encode()))
    return seen


def messages(check: Check, facts: Facts) -> list[str]:
    result = evaluate(check, facts)
    return sorted(f.message for f in result.findings)


@pytest.mark.parametrize(("check", "path"), cases, ids=lambda v: getattr(v, "id", ""))
def test_live_recorded_and_built_agree(check: Check, path: Path, tmp_path: Path) -> None:
    if "errors" in recording.load(path):
        pytest.skip("the fixture is about what cannot be read")
    if check.id == "control_plane/clock_skewed":
        pytest.skip("it is about the clock of the machine that looks")
    expected = messages(check, recording.fixture_facts(path))
    dead = recording.load(path).get("api") == "dead"
    seen = recording.observations(recording.load(path)) if dead else live(path, tmp_path)
    assert messages(check, recording.facts_of(seen)) == expected
    recorder = Recorder(tmp_path / "snapshot")
    for one in seen:
        recorder.take(one)
    recorder.finish([])
    assert messages(check, recording.facts_of(Snapshot(tmp_path / "snapshot").observations())) == expected

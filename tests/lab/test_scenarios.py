"""Every practice scenario on the real lab: kdiag names it first, it can be mended, and nothing is left of it.

What each run saw is kept in ``KDIAG_LAB_RESULTS`` (a file of JSON lines); ``python -m tests.lab.accuracy`` makes
docs/accuracy.md of it. ``KDIAG_LAB_RECORD=1`` keeps a recording of each that kdiag got right, in fixtures/scenarios.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet

from kdiag.collect.inventory import Inventory
from kdiag.collect.kubeconfig import Overrides, load
from kdiag.collect.snapshot import Snapshot
from kdiag.lab import ground as grounds
from kdiag.lab.game import Game
from kdiag.lab.record import Store
from kdiag.lab.scenario import Drawn, Scenario, scenarios
from tests.lab import accuracy, cluster, recordings

pytestmark = pytest.mark.lab

#: What every CI run makes, so that the game itself is tried; tests/lab/faults.py has one fault of each mechanism.
CORE = frozenset(
    {
        "application/configmap_missing_for_env",
        "network/service_selector_misses",
        "control_plane/scheduler_command",
    }
)
PATIENCE = 150.0


def case(scenario: Scenario) -> ParameterSet:
    return pytest.param(scenario, id=scenario.id, marks=[pytest.mark.core] if scenario.id in CORE else [])


class Ground:
    """The lab as a user's practice ground, with a state folder of its own."""

    def __init__(self, folder: Path) -> None:
        cluster.up()
        self.folder = folder
        config = cluster.KUBECONFIG
        self.environ = {
            **os.environ,
            "KUBECONFIG": str(config),
            "KDIAG_SSH_CONFIG": str(config.with_name("ssh_config")),
            "XDG_STATE_HOME": str(folder),
        }
        self.game = Game(
            lambda: load(Overrides(), self.environ), Inventory(self.environ), Store(self.environ), environ=self.environ
        )

    def ready(self) -> None:
        """Nothing is left of an earlier run, and the cluster is marked as it is now."""
        if self.game.store.session() is not None:
            self.game.stop(remember=False)
        grounds.enable(self.game.api, grounds.look(self.game.api), {})


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    folder = os.environ.get("KDIAG_LAB_STATE")
    return Ground(Path(folder) if folder else tmp_path_factory.mktemp("state"))


def named(cause: Mapping[str, Any]) -> tuple[str, str]:
    where = cause["object"]
    return str(cause["check"]), "/".join(p for p in (where["kind"], where["namespace"], where["name"]) if p)


def right(report: cluster.Report, one: Drawn) -> bool:
    """The first cause is the expected one, all of them are there, and none that is wrong."""
    accepted = {(c.check, c.object) for c in (*one.causes(), *one.also())}
    found = [named(c) for c in report.causes if c["severity"] in ("error", "critical") or one.scenario.risk]
    objects = {c.object for c in one.also()}
    first = bool(report.causes) and named(report.causes[0]) in accepted
    if one.scenario.risk:
        return bool(accepted & set(found))
    return first and set(found) <= accepted and objects <= {o for _, o in found}


def row(report: cluster.Report, one: Drawn, seconds: float) -> accuracy.Row:
    accepted = [(c.check, c.object) for c in (*one.causes(), *one.also())]
    found = [named(c) for c in report.causes]
    rank = next((n for n, cause in enumerate(found, 1) if cause in accepted), 0)
    wrong = [c for c in report.causes if c["severity"] in ("error", "critical") and named(c) not in accepted]
    return accuracy.Row(
        scenario=one.scenario.id,
        cause=report.causes[0]["message"] if report.causes else "",
        rank=rank,
        right=right(report, one),
        wrong=[f"{c['check']}: {c['message']}" for c in wrong],
        folded=sum(len(c["symptoms"]) for c in report.causes if named(c) in accepted),
        unknown=len(report.document["coverage"].get("unknown", ())),
        seconds=round(seconds, 1),
    )


@pytest.mark.parametrize("scenario", [case(s) for s in scenarios().values()])
def test_kdiag_names_it_first_and_it_can_be_mended(ground: Ground, scenario: Scenario) -> None:
    ground.ready()
    game = ground.game
    found: accuracy.Row | None = None
    try:
        game.start([(scenario, 1)])
        _, drawn = game.running()
        begun = time.monotonic()
        flags = ["--risks"] if scenario.risk else []
        while True:
            report = cluster.kdiag(*flags, nodes=True)
            found = row(report, drawn[0], time.monotonic() - begun)
            if found.right or time.monotonic() - begun > PATIENCE:
                break
        if found.right and os.environ.get("KDIAG_LAB_RECORD"):
            record(drawn[0], ground.folder)
        for line in game.mend()[0]:
            assert line.holds, f"mended, and still: {line.text}: {line.seen}"
        found.proof = True
    finally:
        left = game.stop(remember=False) if game.store.session() is not None else []
        if found:
            accuracy.keep(found)
    assert not left
    cluster.until("kdiag falls silent again", cluster.silent, patience=240, nodes=True)
    found.silent = True
    accuracy.keep(found)
    assert found.right, report.summary()


def record(one: Drawn, folder: Path) -> None:
    """Keep what is seen now."""
    name = one.scenario.id
    snapshot = folder / f"recording-{name.replace('/', '-')}-{time.monotonic_ns()}"
    ssh = str(cluster.KUBECONFIG.with_name("ssh_config"))
    cluster.run("kdiag", "record", str(snapshot), "--ssh-config", ssh, check=False, timeout=150)
    recordings.pack(Snapshot(snapshot).observations(), one, recordings.FOLDER / f"{name}.json.xz")

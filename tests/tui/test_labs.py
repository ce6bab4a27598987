"""The labs screen, against a cluster that takes writes: from the list to the restored cluster."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from kdiag.lab.record import Change, Session, Store, Task
from kdiag.lab.scenario import find, scenarios
from kdiag.tui.glyphs import ASCII
from kdiag.tui.screens import labs
from kdiag.tui.screens.confirm import ConfirmScreen
from kdiag.tui.screens.labs import LabsScreen
from kdiag.tui.screens.verdict import VerdictScreen
from kdiag.tui.widgets.page import PageView
from tests.labs.fakecluster import WritableAPI
from tests.labs.test_game import OBJECTS
from tests.tui.pilot import DEMO, app, main, on_loop, options, page, recording, said, screen, shown, text, typed, until

CODE = find("ingress_class_missing").code
MARK = {"metadata": {"name": "kdiag-practice", "namespace": "kube-system"}, "data": {"workloads": "[]"}}
INGRESSES = "/apis/networking.k8s.io/v1/ingresses"
EVIL = "evil\x1b[31m\x1b]0;x\x07\u202e\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody's state and kubeconfig are used; a check does not wait for what is on its way."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "KDIAG_SSH_CONFIG", "KDIAG_CONFIG", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(labs, "PATIENCE", 0.0)
    monkeypatch.setattr(labs, "LOOK", 1)
    return tmp_path


@pytest.fixture
def api() -> Iterator[WritableAPI]:
    """A cluster that is marked for practice."""
    with WritableAPI({**OBJECTS, "/api/v1/configmaps": [MARK]}) as found:
        yield found


def on(api: WritableAPI, home: Path, **named: Any) -> Any:
    return screen("--kubeconfig", api.kubeconfig(home / "config"), "--no-nodes", read=False, **named)


def top(pilot: Pilot[int]) -> LabsScreen:
    found = app(pilot).screen
    assert isinstance(found, LabsScreen), found
    return found


async def opened(pilot: Pilot[int], words: str) -> None:
    await pilot.press("L")
    await shown(pilot, words)


async def asked(pilot: Pilot[int]) -> str:
    """The question over the screen."""
    await until(pilot, lambda: isinstance(app(pilot).screen, ConfirmScreen), "a question")
    await pilot.pause()
    return app(pilot).screen.query_one(PageView).text


async def chosen(pilot: Pilot[int]) -> None:
    """The list, with one scenario left of it."""
    await opened(pilot, "NETWORK")
    await pilot.press("slash")
    await typed(pilot, CODE)
    await pilot.press("enter")


async def started(pilot: Pilot[int]) -> None:
    await pilot.press("enter")
    await asked(pilot)
    await pilot.press("y")
    await shown(pilot, "TASK")


def session(**fields: Any) -> Session:
    known: dict[str, Any] = {
        "id": "s1", "server": "https://gone:6443", "context": "elsewhere", "machines": {}, "phase": "running",
        "started": time.time() - 65, "minutes": 10,
        "tasks": [Task(scenario="network/ingress_class_missing", seed=1, values={"ns": "raven"})],
    }  # fmt: skip
    return Session(**{**known, **fields})


@on_loop
async def test_a_recording_shows_the_list_and_the_keys_and_says_that_practice_needs_a_cluster(home: Path) -> None:
    async with recording(DEMO) as pilot:
        await opened(pilot, "APPLICATION")
        assert "This is a recording. Practice needs a cluster" in page(pilot)
        await pilot.press("enter")
        await said(pilot, "a recording cannot be broken")
        await pilot.press("question_mark")
        await shown(pilot, "take the next hint; it costs points")
        await pilot.press("escape")
        assert not (home / ".local").exists(), "looking writes nothing"
        await pilot.press("escape")
        assert isinstance(app(pilot).screen, VerdictScreen)


@on_loop
async def test_the_list_is_filtered_while_one_types(api: WritableAPI, home: Path) -> None:
    async with on(api, home) as pilot:
        await opened(pilot, "CONTROL PLANE")
        assert all(s.code in page(pilot) for s in scenarios().values())
        await pilot.press("end")
        await until(pilot, lambda: top(pilot).page.scroll_y > 0, "the end of the list")
        await pilot.press("home")
        assert "ingress_class_missing" not in page(pilot), "the name of the fault is not given away"
        await pilot.press("slash")
        await typed(pilot, "storage hard")
        await pilot.pause()
        assert "hard" in page(pilot)
        assert "CONTROL PLANE" not in page(pilot)
        assert " medium " not in page(pilot)
        await typed(pilot, " xyz")
        await pilot.pause()
        assert "no scenario has these words" in page(pilot)
        await pilot.press("escape")
        await shown(pilot, "CONTROL PLANE")
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "Architecture\n" in text(pilot), "a narrow list")


@on_loop
async def test_a_cluster_without_the_mark_is_refused_with_the_way_out(home: Path) -> None:
    with WritableAPI(OBJECTS) as unmarked:
        before = unmarked.everything()
        async with on(unmarked, home) as pilot:
            await opened(pilot, "APPLICATION")
            await pilot.press("enter")
            await shown(pilot, "not marked for practice")
            assert unmarked.url in page(pilot)
            assert any(one.copies == f"kdiag lab enable --kubeconfig {home}/config" for one in top(pilot).page.lines)
        assert unmarked.everything() == before


@on_loop
async def test_a_whole_session_from_the_list_to_the_restored_cluster(api: WritableAPI, home: Path) -> None:
    before = api.everything()
    async with on(api, home) as pilot:
        await chosen(pilot)
        await pilot.press("enter")
        question = await asked(pilot)
        assert "context  fake" in question
        assert f"server   {api.url}" in question
        await pilot.press("enter", "space")
        assert isinstance(app(pilot).screen, ConfirmScreen), "only y is yes"
        await pilot.press("escape")
        await pilot.pause()
        assert top(pilot).phase == "none"
        assert api.everything() == before

        await started(pilot)
        assert "Ingress site in namespace" in page(pilot)
        assert "0 of 3 taken; h takes the next and costs 10 points" in page(pilot)
        assert "on fake" in text(pilot)
        assert re.search(r"[45]:\d\d left", text(pilot))
        store = Store(os.environ)
        kept = store.session()
        assert kept is not None
        kept.started -= 120
        store.save(kept)
        await until(pilot, lambda: re.search(r"[32]:\d\d left", text(pilot)), "the clock")
        assert "c check  h hint  g give up  x stop" in text(pilot)

        await pilot.press("h")
        await shown(pilot, "1 of 3 taken")
        await pilot.press("c")
        await shown(pilot, "1 of 1 still fails")
        assert "is set as the task wants it: not yet" in page(pilot)
        assert "ingressClassName" not in page(pilot)

        [ingress] = api.store[INGRESSES].values()
        ingress["spec"]["ingressClassName"] += "s"
        await pilot.press("c")
        await shown(pilot, "all of it holds; 90 of 100 points")
        assert "score 90" in text(pilot)
        await pilot.press("h")
        await said(pilot, "this task is over")
        await pilot.press("g")
        await shown(pilot, "WHAT IT WAS")
        assert "kubectl -n" in page(pilot)

        await pilot.press("x")
        assert "score    90 of 100" in await asked(pilot)
        await pilot.press("y")
        await shown(pilot, "the cluster is as it was; score 90 of 100")
        await pilot.press("escape")
        await shown(pilot, "PLAYED")
        assert "1 hint" in page(pilot)
        assert "1 tried, 1 mastered" in text(pilot)
    assert api.everything() == before


@on_loop
async def test_to_give_up_is_asked_about_and_leads_to_the_runbook_page(api: WritableAPI, home: Path) -> None:
    async with on(api, home) as pilot:
        await chosen(pilot)
        await started(pilot)
        await pilot.press("g")
        assert "its points are gone" in await asked(pilot)
        await pilot.press("y")
        await shown(pilot, "given up")
        assert "kdiag calls it: Ingress has no class that exists" in page(pilot)
        await pilot.press("end", "enter")
        await until(pilot, lambda: isinstance(app(pilot).screen, VerdictScreen), "the first screen")
        walk = main(pilot).walk
        assert walk is not None
        assert walk.check_id == "network/ingress_class_missing"


@on_loop
async def test_hostile_names_are_text(api: WritableAPI, home: Path) -> None:
    Store(os.environ).save(
        session(
            context=EVIL,
            exam=True,
            started=time.time() - 3600,
            tasks=[
                Task(scenario="network/ingress_class_missing", seed=1, values={"ns": EVIL}, hints=3, shown=True),
                Task(scenario="network/ingress_class_missing", seed=1, values={"ns": "[b]bold[/]"}),
            ],
        )
    )
    async with on(api, home, size=(80, 24), signs=ASCII) as pilot:
        await opened(pilot, "TASK 2")
        assert not set(text(pilot) + page(pilot)) & set("\x1b\x07\u202e")
        assert "[b]bold[/]" in page(pilot)
        assert "time is up since 50:0" in text(pilot)
        await pilot.press("end", "c")
        await shown(pilot, "and this is http")
        assert "the lab runs on https://gone:6443" in page(pilot), "another cluster is not touched"


@on_loop
async def test_a_start_that_was_broken_off_can_be_taken_back(api: WritableAPI, home: Path) -> None:
    change = Change(number=1, scenario="network/ingress_class_missing", kind="object", what="Ingress/raven/site")
    Store(os.environ).save(session(phase="starting", changes=[change], server=api.url, context="fake"))
    async with on(api, home) as pilot:
        await opened(pilot, "did not come to its end")
        assert "Ingress/raven/site" in page(pilot)
        assert "h hint" not in text(pilot)
        await pilot.press("x")
        await asked(pilot)
        await pilot.press("y")
        await shown(pilot, "the cluster is as it was")


@on_loop
async def test_one_that_is_started_in_another_window_appears(api: WritableAPI, home: Path) -> None:
    store = Store(os.environ)
    with store.alone():
        store.save(session(phase="starting"))
        async with on(api, home) as pilot:
            await opened(pilot, "is being started by another kdiag")
            store.save(session())
            await shown(pilot, "Ingress")
            assert top(pilot).phase == "running"


@on_loop
async def test_a_spoilt_record_is_a_line(api: WritableAPI, home: Path) -> None:
    folder = home / ".local" / "state" / "kdiag" / "lab"
    folder.mkdir(parents=True)
    (folder / "session.json").write_text('{"id": 3}')
    async with on(api, home) as pilot:
        await opened(pilot, "session.json cannot be read")


def test_what_is_under_way_is_finished_when_the_window_is_closed(api: WritableAPI, home: Path) -> None:
    config = api.kubeconfig(home / "config")
    known = {n: v for n, v in vars(options("--kubeconfig", config)).items() if n != "run"}
    question = {"verb": "start", "code": CODE, "server": api.url}
    nobody, ours = os.pipe()
    os.close(nobody)
    try:
        subprocess.run(
            [sys.executable, "-P", "-m", "kdiag.lab.serve"],
            input=f"{json.dumps(known)}\n{json.dumps(question)}\n", stdout=ours, text=True, timeout=60, check=True,
        )  # fmt: skip
    finally:
        os.close(ours)
    found = Store(os.environ).session()
    assert found is not None
    assert found.phase == "running"

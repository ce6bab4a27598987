"""The screen over an API that streams, stalls, changes, dies and comes back."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from textual.pilot import Pilot

from kdiag.engine.intake import Facts, needed
from kdiag.engine.library import checks, choose
from kdiag.engine.verdict import judge
from kdiag.session import recorded
from kdiag.tui.case import Heard, Verdict
from kdiag.tui.messages import Ends, Judged, Note
from kdiag.tui.model import GONE, Tree
from kdiag.tui.widgets.page import PageView
from kdiag.tui.wire import Channel
from kdiag.tui.worker import _Progress, _provisional
from tests.cli.runner import environment, healthy_api, lost_service
from tests.cli.test_nodes import Site
from tests.cli.test_nodes import site as site
from tests.fakeapi import Exchange, FakeAPI, Fault
from tests.tui.pilot import (
    DEMO,
    app,
    bar,
    main,
    on_loop,
    page,
    recording,
    said,
    screen,
    select,
    shown,
    text,
    typed,
    until,
)

SERVICES = "/api/v1/services"


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAPI]:
    """A healthy cluster but for one Service that selects nothing; nobody's kubeconfig and nodes are used."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "KDIAG_SSH_CONFIG", "KDIAG_CONFIG", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    with healthy_api(lost_service()) as served:
        yield served


def words(api: FakeAPI, tmp_path: Path) -> list[str]:
    return ["--kubeconfig", str(api.kubeconfig(tmp_path / "config")), "--no-nodes"]


@contextmanager
def held(api: FakeAPI, path: str) -> Iterator[threading.Event]:
    """Answers below this path wait until the event is set."""
    gate = threading.Event()

    def act(exchange: Exchange) -> None:
        gate.wait(60)
        exchange.send(exchange.healthy())

    api.fault(path, Fault(act, "held"))
    try:
        yield gate
    finally:
        gate.set()


def mended(api: FakeAPI) -> None:
    """Take the broken Service away."""
    healthy = [s for s in api._stored(SERVICES).items if s["metadata"]["name"] != "db"]
    api.set(SERVICES, healthy)


def causes(pilot: Pilot[int]) -> list[str]:
    tree = app(pilot).case.tree
    return [row.title for row in tree.causes()] if tree else []


@on_loop
async def test_findings_stream_in_while_something_is_still_being_read(api: FakeAPI, tmp_path: Path) -> None:
    with held(api, "/api/v1/configmaps") as gate:
        async with screen(*words(api, tmp_path), read=False) as pilot:
            await until(pilot, lambda: causes(pilot), "a first cause")
            await pilot.pause()
            assert app(pilot).case.reading.running
            assert "Service shop/db selects no pod" in text(pilot)
            assert "reading" in bar(pilot, "head")
            assert "API lists" in bar(pilot, "cover")
            assert "esc cancels" in bar(pilot, "cover")
            await pilot.press("u")
            await pilot.pause()
            assert "configmaps" in page(pilot)
            await pilot.press("escape")
            await until(pilot, lambda: "configmaps takes" in bar(pilot, "cover"), "what is slow")
            gate.set()
            await until(pilot, lambda: not app(pilot).case.reading.running, "the end")
            assert "passed" in bar(pilot, "cover")


@pytest.mark.parametrize("nodes", [True, False])
def test_a_cause_whose_own_cause_may_still_be_unread_is_provisional(nodes: bool) -> None:
    chosen = choose(())
    facts = recorded(str(DEMO), needed(chosen)).facts
    verdict = judge(chosen, facts, checks())
    marked = _provisional(verdict, chosen, facts, nodes=nodes)
    said = {n.check.id: n.fingerprint in marked for n in verdict.causes}
    assert said["worker_node/node_not_ready"] is nodes, "the node itself may tell why"
    assert not said["network/service_selects_nothing"]


@on_loop
async def test_what_the_nodes_say_does_not_wait_for_an_api_server_that_hangs(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.node()
    for name, value in environment(site.home, **site.env).items():
        monkeypatch.setenv(name, value)
    settings = site.home / ".config" / "kdiag" / "config.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text("nodes: [cp1]\n")
    for name in ("XDG_CONFIG_HOME", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    with healthy_api() as api:
        config = api.kubeconfig(site.home / "c")
        with held(api, "/version"):
            async with screen("--kubeconfig", str(config), read=False) as pilot:
                await until(pilot, lambda: causes(pilot), "a first cause")
                assert app(pilot).case.reading.running
                tree = app(pilot).case.tree
                assert tree is not None
                assert "control_plane/manifest_unparsable" in {r.node.check.id for r in tree.causes() if r.node}
                await pilot.pause()
                assert "so far" in bar(pilot, "head")
                await pilot.press("escape")


@on_loop
async def test_escape_stops_reading_and_what_was_found_stays(api: FakeAPI, tmp_path: Path) -> None:
    with held(api, "/api/v1/configmaps"):
        async with screen(*words(api, tmp_path), read=False) as pilot:
            await until(pilot, lambda: causes(pilot), "a first cause")
            await pilot.press("escape")
            await pilot.pause()
            assert not app(pilot).case.reading.running
            assert "cancelled" in bar(pilot, "head")
            assert "Service shop/db selects no pod" in text(pilot)
            await pilot.press("t")
            await pilot.pause()
            assert "nothing was read" in page(pilot)


@on_loop
async def test_reading_again_marks_what_is_gone_and_what_is_new(api: FakeAPI, tmp_path: Path) -> None:
    broken = list(api._stored(SERVICES).items)
    async with screen(*words(api, tmp_path)) as pilot:
        assert any("selects no pod" in c for c in causes(pilot))
        mended(api)
        await pilot.press("R")
        await until(pilot, lambda: not app(pilot).case.reading.running, "the second reading")
        await pilot.pause()
        tree = app(pilot).case.tree
        assert tree is not None
        assert [g.group for g in tree.groups if g.group == GONE]
        assert "gone since the last look" in text(pilot)
        api.set(SERVICES, broken)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: not app(pilot).case.reading.running, "the third reading")
        await pilot.pause()
        assert "✚ new" in text(pilot)
        assert all(not row.gone for row in app(pilot).case.tree.causes())  # type: ignore[union-attr]


@on_loop
async def test_what_still_stands_while_it_is_read_anew_has_the_time_of_its_reading(
    api: FakeAPI, tmp_path: Path
) -> None:
    async with screen(*words(api, tmp_path)) as pilot:
        tree = app(pilot).case.tree
        assert tree is not None
        taken = tree.verdict.taken[11:19]
        with held(api, "/api/v1/configmaps") as gate:
            await pilot.press("R")
            await until(pilot, lambda: "reading" in bar(pilot, "head"), "the second reading")
            assert f"as of {taken} UTC" in bar(pilot, "head")
            gate.set()
            await until(pilot, lambda: not app(pilot).case.reading.running, "its end")
            await pilot.pause()
            assert "as of" not in bar(pilot, "head")


@on_loop
async def test_verify_waits_until_the_finding_is_gone(
    api: FakeAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with screen(*words(api, tmp_path)) as pilot:
        select(pilot, "selects no pod")
        app(pilot).verify_pause = 0.2
        await pilot.press("v")
        await until(pilot, lambda: app(pilot).verifying and app(pilot).verifying.looks, "a first look")  # type: ignore[union-attr]
        await until(pilot, lambda: "still there" in bar(pilot, "cover"), "that it is still there")
        mended(api)
        await said(pilot, "cleared after")
        await until(pilot, lambda: not any("selects no pod" in c for c in causes(pilot)), "the verdict without it")
        assert app(pilot).verifying is None


@on_loop
async def test_the_api_dies_and_returns_while_the_screen_is_open(api: FakeAPI, tmp_path: Path) -> None:
    async with screen(*words(api, tmp_path), "--timeout", "5s") as pilot:
        api.fault("/", Fault.close())
        await pilot.press("R")
        await until(pilot, lambda: not app(pilot).case.reading.running, "the failed reading")
        await pilot.pause()
        assert app(pilot).case.failure is not None
        assert "what was read before" in text(pilot)
        assert any("selects no pod" in c for c in causes(pilot)), "the last verdict stays"
        await pilot.press("t")
        await shown(pilot, "Service shop/db")
        await pilot.press("escape")
        api.heal()
        await pilot.press("R")
        await until(pilot, lambda: not app(pilot).case.reading.running, "the next reading")
        await pilot.pause()
        assert app(pilot).case.failure is None
        assert "what was read before" not in text(pilot)


@on_loop
async def test_an_api_that_never_answers_is_said_and_the_keys_work(api: FakeAPI, tmp_path: Path) -> None:
    api.fault("/", Fault.close())
    async with screen(*words(api, tmp_path), "--timeout", "5s") as pilot:
        assert "nothing could be read" in text(pilot)
        await pilot.press("u", "escape", "question_mark", "escape", "enter", "T")
        await pilot.pause()
        assert "nothing was read" in page(pilot)


@on_loop
async def test_s_saves_exactly_what_is_on_the_screen(api: FakeAPI, tmp_path: Path) -> None:
    async with screen(*words(api, tmp_path)) as pilot:
        mended(api)  # later than what was read
        app(pilot).command("snapshot night")
        await said(pilot, "saved into night")
    async with recording(tmp_path / "night") as pilot:
        assert any("selects no pod" in c for c in causes(pilot))


@on_loop
async def test_one_namespace_is_read_on_request(api: FakeAPI, tmp_path: Path) -> None:
    async with screen(*words(api, tmp_path)) as pilot:
        await pilot.press("colon")
        await typed(pilot, "ns shop")
        await pilot.press("enter")
        await until(pilot, lambda: app(pilot).options.namespace == "shop" and not app(pilot).case.reading.running, "it")
        await pilot.pause()
        assert "namespace shop" in bar(pilot, "head")
        app(pilot).command("ctx no-such-context")
        await said(pilot, "there is no context 'no-such-context'")
        app(pilot).command("ns shopp")
        await said(pilot, "did you mean 'shop'?")
        assert app(pilot).case.tree is not None, "a slip costs nothing of what is on the screen"
        assert "namespace shop" in bar(pilot, "head")


@on_loop
async def test_a_step_of_a_runbook_asks_the_cluster(api: FakeAPI, tmp_path: Path) -> None:
    async with screen(*words(api, tmp_path)) as pilot:
        select(pilot, "selects no pod")
        await pilot.press("enter")
        await pilot.pause()
        walk = main(pilot).walk
        assert walk is not None
        await pilot.press("x")
        await until(pilot, lambda: walk.results and not walk.running, "the answer")
        await pilot.pause()
        [result] = walk.results.values()
        assert any("db" in line for line in result.lines), result
        assert result.note.startswith(("kubectl", "kdiag"))
        assert result.lines[-1] in main(pilot).query_one("#book", PageView).text


@on_loop
async def test_a_few_readings_leave_no_file_and_no_process_behind(api: FakeAPI, tmp_path: Path) -> None:
    def kept() -> tuple[int, int]:
        """Files beside the far ends of kdiag's connections, which stand in this process too; and processes."""
        children = 0
        for task in os.listdir("/proc/self/task"):
            with suppress(OSError):  # a thread that ends hands its children to another
                children += len(Path("/proc/self/task", task, "children").read_text().split())
        return len(os.listdir("/proc/self/fd")) - api.open, children

    async with screen(*words(api, tmp_path)) as pilot:
        files, processes = kept()
        for _ in range(8):
            await pilot.press("R")
            await until(pilot, lambda: not app(pilot).case.reading.running, "a reading")
        # What a reading leaves would by now stand there eight times; the last one may still be letting go.
        await until(pilot, lambda: kept()[0] < files + 8 and kept()[1] <= processes, "the end of the former readings")


@on_loop
async def test_two_hundred_verdicts_leave_nothing_behind() -> None:
    async with recording(DEMO) as pilot:
        case = app(pilot).case
        assert case.head is not None
        verdict = case.head.verdict
        head = Judged(verdict=verdict, parts=0, final=True)
        counts: list[int] = []
        for number in range(200):
            app(pilot).post_message(app(pilot).Said(Heard(case.runs, Verdict(Tree(verdict, before=case.tree), head))))
            await pilot.pause()
            if number in (50, 199):
                gc.collect()
                counts.append(len(gc.get_objects()))
        assert counts[1] < counts[0] * 1.02 + 500, counts


def test_a_part_that_cannot_be_judged_is_said_and_no_verdict_is_lost_in_silence() -> None:
    ours, theirs = os.pipe(), os.pipe()
    here, there = Channel(theirs[0], ours[1]), Channel(ours[0], theirs[1])

    def judge(facts: Facts) -> None:
        raise ZeroDivisionError("of a check")

    progress = _Progress(there, judge)
    progress.begins(lambda: Facts({}))
    progress.ends("pods", "")
    assert isinstance(here.receive(), Ends)
    note = here.receive()
    assert isinstance(note, Note)
    assert "ZeroDivisionError: of a check" in note.text
    progress.over()
    here.close()
    there.close()

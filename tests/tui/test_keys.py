"""Every key and every screen, over recordings."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from kdiag.model.result import Severity, Status
from kdiag.tui.case import Heard, Verdict
from kdiag.tui.glyphs import ASCII
from kdiag.tui.model import Kind, Tree
from kdiag.tui.screens.page import PageScreen
from kdiag.tui.screens.pick import PickScreen
from kdiag.tui.widgets.page import PageView
from tests.tui.pilot import (
    DEAD,
    DEMO,
    HEALTHY,
    app,
    bar,
    choices,
    main,
    on_loop,
    page,
    recording,
    said,
    select,
    shown,
    text,
    typed,
    until,
)


@on_loop
async def test_the_verdict_shows_causes_with_their_evidence_and_the_coverage() -> None:
    async with recording(DEMO) as pilot:
        seen = text(pilot)
        assert "4 causes · 5 symptoms · 2 remarks" in seen
        assert "✖ 1 node w1 is not Ready" in seen
        assert "CRITICAL" in seen
        assert "kubectl describe node w1" in seen
        count = app(pilot).case.tree.coverage  # type: ignore[union-attr]
        assert count.failed > 0 < count.unknown
        assert f"{count.passed} passed · {count.failed} failed · {count.unknown} unknown" in bar(pilot, "cover")
        assert "log of kube-system/coredns" in bar(pilot, "cover"), "the first reason"
        assert "enter" in bar(pilot, "keys") or "⏎" in bar(pilot, "keys")


@on_loop
async def test_arrows_select_and_the_page_follows() -> None:
    async with recording(DEMO) as pilot:
        await pilot.press("j")
        await pilot.press("down")
        await pilot.pause()
        assert main(pilot).selected is not None
        assert "billing/invoices needs ConfigMap" in main(pilot).detail.text, "group headings are passed over"
        await pilot.press("k", "end")
        await pilot.pause()
        assert "calm/balanced" in main(pilot).detail.text
        await pilot.press("home")
        await pilot.pause()
        first = main(pilot).rows.selected
        assert first is not None
        assert first.kind is Kind.GROUP
        assert "1 finding" in main(pilot).detail.text


@on_loop
async def test_left_and_right_fold_and_walk_the_tree() -> None:
    async with recording(DEMO) as pilot:
        rows = main(pilot).rows
        before = len(rows.rows)
        select(pilot, "billing-setings")
        await pilot.press("left")
        assert len(rows.rows) == before - 4
        await pilot.press("right")
        assert len(rows.rows) == before
        await pilot.press("right")
        assert rows.selected is not None
        assert rows.selected.depth == 1
        await pilot.press("left", "left")
        assert rows.selected.kind is Kind.CAUSE, "the first folds it, the second goes up"
        await pilot.press("home", "space")
        assert [r.kind for r in rows.rows[:2]] == [Kind.GROUP, Kind.GROUP]


@on_loop
async def test_enter_opens_the_runbook_beside_the_finding_and_escape_closes_it() -> None:
    async with recording(DEMO) as pilot:
        await pilot.press("enter")
        await pilot.pause()
        book = main(pilot).query_one("#book", PageView)
        assert "Node is not Ready" in book.text
        assert "kubectl get node w1 -o wide" in book.text, "filled in with the finding's own object"
        assert book.has_focus
        assert "EVIDENCE" in text(pilot)
        await pilot.press("escape")
        await pilot.pause()
        assert not main(pilot).has_class("-book")
        assert main(pilot).rows.has_focus
        await pilot.press("r")
        await pilot.pause()
        assert main(pilot).has_class("-book")


@on_loop
async def test_links_of_a_runbook_are_followed_by_keyboard() -> None:
    async with recording(DEMO) as pilot:
        await pilot.press("enter")
        await pilot.pause()
        book = main(pilot).query_one("#book", PageView)
        for _ in range(60):
            if book.current and book.current.action and book.current.action.verb == "page":
                break
            await pilot.press("right_square_bracket")
        assert book.current is not None
        assert book.current.action is not None
        target = book.current.action.value
        await pilot.press("enter")
        await pilot.pause()
        assert target in book.text


@on_loop
async def test_one_step_and_all_steps_run_and_their_answers_stand_below_them() -> None:
    async with recording(DEMO) as pilot:
        select(pilot, "mysql")
        await pilot.press("enter")
        await pilot.pause()
        book = main(pilot).query_one("#book", PageView)
        walk = main(pilot).walk
        assert walk is not None
        assert "kubectl -n shop get service mysql-service -o wide" in book.text
        await pilot.press("x")
        await until(pilot, lambda: walk.results and not walk.running, "the step's answer")
        assert len(walk.results) == 1
        await pilot.press("X")
        await until(pilot, lambda: len(walk.results) == len(walk.runnable) and not walk.running, "all answers")
        await pilot.pause()
        assert "selector" in book.text.lower() or "recording" in book.text
        assert "not run" not in book.text


@on_loop
async def test_a_step_that_is_run_is_brought_into_sight() -> None:
    async with recording(DEMO, size=(80, 24)) as pilot:
        select(pilot, "billing-setings")
        await pilot.press("enter")
        book = main(pilot).query_one("#book", PageView)
        assert "MEANING" in text(pilot)
        await pilot.press("X")
        walk = main(pilot).walk
        assert walk is not None
        await until(pilot, lambda: len(walk.results) == len(walk.runnable) and not walk.running, "all answers")
        assert walk.runnable[0].command in text(pilot)
        assert "the recording does not hold it" in text(pilot)
        book.action_edge(-1)
        app(pilot).command("run 2")
        await pilot.pause()
        assert "kubectl -n billing describe" in text(pilot)
        assert book.current is not None
        assert book.current.copies == walk.runnable[1].command


@on_loop
async def test_a_long_path_in_a_title_is_broken_between_names() -> None:
    async with recording(DEMO, size=(80, 24)) as pilot:
        row = next(r for r in main(pilot).rows.rows if r.kind is Kind.CAUSE)
        row.title = "kubelet on w2 does not start: clientCAFile /etc/kubernetes/pki/" + "WRONG-CA-FILE.crt is not there"
        assert main(pilot).rows._title(row, 80, 2, 0) == (
            "kubelet on w2 does not start: clientCAFile /etc/kubernetes/pki/", "WRONG-CA-FILE.crt is not there"
        )  # fmt: skip
        row.title = "x" * 200
        assert len(main(pilot).rows._title(row, 80, 2, 0)[0]) == 73


@on_loop
async def test_y_copies_the_command_under_the_cursor() -> None:
    async with recording(DEMO) as pilot:
        await pilot.press("y")
        assert app(pilot).clipboard == "kubectl describe node w1"
        await pilot.press("tab", "down", "y")
        assert app(pilot).clipboard == "kubectl -n kube-node-lease get lease w1 -o yaml"
        await pilot.press("tab", "enter", "y")
        assert "kubectl" in app(pilot).clipboard


@on_loop
async def test_a_filter_works_as_it_is_typed_and_escape_takes_it_away() -> None:
    async with recording(DEMO) as pilot:
        rows = main(pilot).rows
        everything = len(rows.rows)
        await pilot.press("slash")
        await typed(pilot, "mysql")
        await pilot.pause()
        assert [r.group for r in rows.rows if r.kind is Kind.GROUP] == ["network"]
        assert "filter mysql: 1 of 4" in bar(pilot, "cover")
        await pilot.press("enter", "escape")
        await pilot.pause()
        assert len(rows.rows) == everything
        await pilot.press("minus")
        await typed(pilot, "billing")
        await pilot.pause()
        assert {r.namespace for r in rows.rows if r.kind is Kind.CAUSE} == {"billing"}
        await pilot.press("escape")
        await pilot.pause()
        assert len(rows.rows) == everything
        await pilot.press("slash")
        await typed(pilot, "no such thing")
        await pilot.pause()
        assert "nothing matches no such thing" in text(pilot)


@on_loop
async def test_number_keys_choose_groups_and_the_bang_severities() -> None:
    async with recording(DEMO) as pilot:
        rows = main(pilot).rows
        await pilot.press("4")
        assert {r.group for r in rows.rows} == {"network"}
        await pilot.press("3")
        assert {r.group for r in rows.rows} == {"network", "worker_node"}
        await pilot.press("0")
        everything = len(rows.rows)
        await pilot.press("exclamation_mark", "exclamation_mark", "exclamation_mark")
        assert {r.severity for r in rows.rows if r.kind is Kind.CAUSE} == {Severity.CRITICAL}
        await pilot.press("exclamation_mark")
        assert len(rows.rows) == everything


@on_loop
async def test_t_draws_the_hops_and_marks_the_broken_one() -> None:
    async with recording(DEMO) as pilot:
        select(pilot, "mysql")
        await pilot.press("t")
        await until(pilot, lambda: "hop broken" in page(pilot), "the trace")
        assert "✖ endpoints" in page(pilot)
        assert "no pod has name=mysql-db" in page(pilot)
        await pilot.press("escape")
        await pilot.pause()
        assert app(pilot).screen is main(pilot)


@on_loop
async def test_n_shows_the_node_of_the_finding_with_its_journal_and_certificates() -> None:
    async with recording(DEAD) as pilot:
        await pilot.press("n")
        await until(pilot, lambda: "days left" in page(pilot), "the node")
        seen = page(pilot)
        assert "etcd-cp1 cannot start" in seen
        assert "KUBELET JOURNAL" in seen
        assert "static pod" in seen
        await pilot.press("enter")
        await pilot.pause()
        assert app(pilot).screen is main(pilot), "a finding on the page leads back to the list"


@on_loop
async def test_eighty_columns_hold_a_certificate_in_a_row() -> None:
    async with recording(DEAD, size=(80, 24)) as pilot:
        await pilot.press("n")
        await until(pilot, lambda: "days left" in page(pilot), "the node")
        shown_ = [one.text for one in app(pilot).screen.query_one(PageView).lines if "/etc/kubernetes/" in one.text]
        certificates = [one for one in shown_ if " days " in one]
        assert len(certificates) > 8
        assert max(map(len, certificates)) <= 78, certificates


@on_loop
async def test_what_a_recording_of_a_node_does_not_hold_is_no_error() -> None:
    async with recording(DEAD) as pilot:
        await pilot.press("enter", "X")
        walk = main(pilot).walk
        assert walk is not None
        await until(pilot, lambda: len(walk.results) == len(walk.runnable) and not walk.running, "all answers")
        lines = main(pilot).query_one("#book", PageView).lines
        styles = {style for one in lines for words, style in one.spans if "the recording does not hold it" in words}
        assert styles == {"dim"}


@on_loop
async def test_n_lets_a_node_be_chosen_where_the_finding_has_none() -> None:
    async with recording(DEMO) as pilot:
        select(pilot, "mysql")
        await pilot.press("n")
        await pilot.pause()
        assert isinstance(app(pilot).screen, PickScreen)
        await typed(pilot, "w2")
        await pilot.press("enter")
        await until(
            pilot, lambda: isinstance(app(pilot).screen, PageScreen) and "conditions" in page(pilot), "the node"
        )


@on_loop
async def test_the_timeline_the_coverage_and_the_help_are_pages() -> None:
    async with recording(DEMO) as pilot:
        await pilot.press("T")
        await until(pilot, lambda: "2026-11-22" in page(pilot), "the timeline")
        assert "Node w1: Ready became Unknown" in page(pilot)
        assert "node w1 is not Ready" in page(pilot)
        await pilot.press("slash")
        await typed(pilot, "ScalingReplicaSet")
        await pilot.press("enter")
        await pilot.pause()
        assert "ScalingReplicaSet" in text(pilot)
        await pilot.press("escape", "u")
        await pilot.pause()
        assert "WHY UNKNOWN" in page(pilot)
        assert "could not see everything" in page(pilot).lower()
        await pilot.press("escape", "question_mark")
        await pilot.pause()
        for word in ("run the step under the cursor", "FINDINGS", "COMMANDS, AFTER :", "-n NAMESPACE"):
            assert word in page(pilot)


@on_loop
async def test_every_binding_is_on_the_help_page() -> None:
    from textual.binding import Binding

    from kdiag.tui.screens.verdict import VerdictScreen

    async with recording(DEMO) as pilot:
        await pilot.press("question_mark")
        await pilot.pause()
        seen = page(pilot)
        for owner in (VerdictScreen, type(app(pilot)), PageView):
            for binding in Binding.make_bindings(owner.__dict__["BINDINGS"]):
                assert (binding.tooltip or binding.description) in seen


@on_loop
async def test_commands_are_typed_after_a_colon() -> None:
    async with recording(DEMO) as pilot:
        for command, word in (
            ("node w2", "heartbeat"),
            ("trace shop/webapp", "Service shop/webapp"),
            ("coverage", "DO NOT APPLY"),
        ):
            await pilot.press("colon")
            await typed(pilot, command)
            await pilot.press("enter")
            await shown(pilot, word)
            await pilot.press("escape")
            await pilot.pause()
        await pilot.press("colon")
        await typed(pilot, "runbook etcd_not_running")
        await pilot.press("enter")
        await pilot.pause()
        assert "control_plane/etcd_not_running" in main(pilot).query_one("#book", PageView).text
        await pilot.press("escape")
        for wrong, word in (
            ("nonsense", "no command"),
            ("trace a/b/c/d", "names no"),
            ("runbook nonsense", "no check"),
            ("node 'x", "No closing"),
        ):
            app(pilot).command(wrong)
            await said(pilot, word)
        app(pilot).command("q")
        await pilot.pause()
        assert app(pilot).return_code == 0


@on_loop
async def test_words_are_looked_for_in_all_runbook_pages_and_the_page_opens_where_they_stand() -> None:
    async with recording(DEMO) as pilot:
        await pilot.press("f")
        await typed(pilot, "no space left on device")
        await until(pilot, lambda: "application/disk_full_in_container" in choices(pilot), "the page with the words")
        await pilot.press("down", "up", "enter")
        await until(pilot, lambda: main(pilot).has_class("-book"), "the page")
        book = main(pilot).query_one("#book", PageView)
        assert "application/disk_full_in_container" in book.text
        assert book.has_focus
        assert "no space left on device" in text(pilot)
        app(pilot).command("search zzz yyy")
        await until(pilot, lambda: "no page has all these words" in choices(pilot), "that there is none")
        await pilot.press("enter")
        await until(pilot, lambda: app(pilot).screen is main(pilot), "the verdict")
        app(pilot).command("search")
        await until(pilot, lambda: "more pages: more words" in choices(pilot), "all pages")
        await pilot.press("escape")
        await pilot.pause()
        assert app(pilot).screen is main(pilot)


@on_loop
async def test_every_key_has_a_command_and_the_palette_offers_all() -> None:
    from textual.binding import Binding

    from kdiag.tui.commands import COMMANDS, NAMES
    from kdiag.tui.screens.verdict import VerdictScreen

    walking = {"back", "leave", "command_line", "interrupt"}
    async with recording(DEMO) as pilot:
        bound = {
            binding.action.partition("(")[0].removesuffix("_all")
            for owner in (VerdictScreen, PageScreen, type(app(pilot)))
            for binding in Binding.make_bindings(owner.__dict__["BINDINGS"])
        }
        assert bound - walking == {command.action for command in COMMANDS if command.action}
        assert len(NAMES) == sum(1 + len(command.also) for command in COMMANDS), "no name is used twice"
        offered = [one.title for one in app(pilot).get_system_commands(main(pilot))]
        assert offered == [command.title for command in COMMANDS]


@on_loop
async def test_commands_do_what_the_keys_do() -> None:
    async with recording(DEMO) as pilot:
        rows = main(pilot).rows
        everything = len(rows.rows)

        async def causes_after(command: str) -> list[str]:
            app(pilot).command(command)
            await pilot.pause()
            return [r.group for r in rows.rows if r.kind is Kind.CAUSE]

        assert set(await causes_after("group network")) == {"network"}
        assert len(await causes_after("group all")) == len([r for r in rows.rows if r.kind is Kind.CAUSE])
        assert await causes_after("severity critical") == ["worker_node"]
        await causes_after("severity all")
        assert len(rows.rows) == everything
        assert await causes_after("filter mysql") == ["network"]
        await causes_after("filter")
        app(pilot).command("ns shop")
        await until(pilot, lambda: "namespace shop" in bar(pilot, "head"), "one namespace of the recording")
        assert {r.namespace for r in rows.rows if r.kind is Kind.CAUSE} <= {"shop", ""}
        assert app(pilot).screen.focused is rows
        app(pilot).command("ns all")
        await until(pilot, lambda: len(rows.rows) == everything, "all of them")
        for wrong, word in (("group nothing", "there is no group"), ("severity erro", "did you mean 'error'?"),
                            ("ns shp", "did you mean 'shop'?"), ("find x y z", "not on this page"),
                            ("run 3", "there is no step"), ("auto soon", "write the seconds")):  # fmt: skip
            app(pilot).command(wrong)
            await said(pilot, word)
        app(pilot).command("copy")
        assert app(pilot).clipboard == "kubectl describe node w1"
        select(pilot, "mysql")
        app(pilot).command("trace")
        await shown(pilot, "hop broken")
        app(pilot).command("find mysql-db")
        app(pilot).command("copy")
        app(pilot).command("runbook")
        await until(pilot, lambda: main(pilot).has_class("-book"), "the page of the finding")
        walk = main(pilot).walk
        assert walk is not None
        await until(pilot, lambda: "NAMESPACE" in walk.values, "the page with its objects")
        app(pilot).command("run 1")
        await until(pilot, lambda: len(walk.results) == 1 and not walk.running, "one step")
        app(pilot).command("run all")
        await until(pilot, lambda: len(walk.results) == len(walk.runnable) and not walk.running, "all steps")
        app(pilot).command("verify")
        await said(pilot, "does not change")


@on_loop
async def test_a_command_gives_the_focus_back() -> None:
    async with recording(DEMO) as pilot:
        await pilot.press("enter", "colon")
        await typed(pilot, "theme light")
        await pilot.press("enter")
        await pilot.pause()
        assert main(pilot).query_one("#book", PageView).has_focus
        await pilot.press("colon", "escape")
        await pilot.pause()
        assert main(pilot).query_one("#book", PageView).has_focus


@on_loop
async def test_the_theme_changes_and_nothing_breaks() -> None:
    async with recording(DEMO) as pilot:
        for name in (
            "light",
            "contrast",
            "nord",
            "textual-ansi" if "textual-ansi" in app(pilot).available_themes else "dracula",
        ):
            app(pilot).command(f"theme {name}")
            await pilot.pause()
            assert "node w1 is not Ready" in text(pilot)
        await pilot.press("ctrl+t")
        app(pilot).command("theme no-such")
        await said(pilot, "no theme")


@on_loop
async def test_s_says_that_a_recording_is_one_and_capital_s_writes_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with recording(DEMO) as pilot:
        await pilot.press("s")
        await said(pilot, "recording already")
        await pilot.press("S")
        [written] = tmp_path.glob("kdiag-report-*.md")
        report = written.read_text()
        assert "## 1. CRITICAL: node w1 is not Ready" in report
        assert "$ kubectl describe node w1" in report
        assert written.stat().st_mode & 0o077 == 0
        app(pilot).command("report night.html")
        assert "<h2>1. CRITICAL" in (tmp_path / "night.html").read_text()
        app(pilot).command("report night.html")
        await said(pilot, "exists")
        await pilot.press("v")
        await said(pilot, "does not change")


@on_loop
async def test_a_dead_api_server_is_a_banner_with_what_is_read_instead() -> None:
    async with recording(DEAD) as pilot:
        assert "reading cp1, w1, w2 instead" in text(pilot)


@on_loop
async def test_a_healthy_cluster_is_one_calm_line() -> None:
    async with recording(HEALTHY) as pilot:
        assert "✔ nothing is wrong" in text(pilot)
        assert main(pilot).rows.outer_size.width == pilot.app.size.width, "what there is to say has all the room"
        assert "checks passed" in text(pilot)
        await pilot.press("enter", "y", "t", "space", "left", "right", "pagedown", "v", "x", "X", "escape")
        assert app(pilot).crash is None


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60), (60, 15), (60, 10)])
@on_loop
async def test_every_size_shows_the_cause_and_the_runbook(size: tuple[int, int]) -> None:
    async with recording(DEMO, size=size) as pilot:
        assert "node w1 is not Ready" in text(pilot)
        await pilot.press("enter")
        await pilot.pause()
        assert "Node is not Ready" in text(pilot)


@on_loop
async def test_eighty_columns_tell_first_what_matters_most() -> None:
    async with recording(DEMO, size=(80, 24)) as pilot:
        assert bar(pilot, "head").split("4 causes")[0].startswith("kdiag  recording 2026-11-22 10:37 UTC")
        tree = app(pilot).case.tree
        assert tree is not None
        failed, unknown, total = tree.coverage.failed, tree.coverage.unknown, len(tree.verdict.results)
        words = f"{failed} failed · {unknown} of {total} checks unknown · log of kube-system/coredns"
        assert bar(pilot, "cover").startswith(words)
        assert main(pilot).detail.size.height >= 10
        app(pilot).command("severity critical")
        await pilot.pause()
        assert main(pilot).rows.size.height == 3, "what the list does not need the finding has"
        await pilot.resize_terminal(120, 40)
        await until(pilot, lambda: "checks: " in bar(pilot, "cover"), "the wider lines")
        assert "2 remarks" in bar(pilot, "head")


@on_loop
async def test_a_terminal_that_is_too_small_says_so_and_recovers() -> None:
    async with recording(DEMO, size=(20, 5)) as pilot:
        assert "needs 60x10" in text(pilot)
        await pilot.resize_terminal(100, 30)
        await pilot.pause()
        assert "node w1 is not Ready" in text(pilot)
        await pilot.resize_terminal(120, 9)
        await pilot.pause()
        assert "has 120x9" in text(pilot)
        await pilot.resize_terminal(8, 2)
        await pilot.pause()
        assert app(pilot).crash is None


@on_loop
async def test_a_plain_terminal_gets_ascii_alone() -> None:
    async with recording(DEMO, signs=ASCII) as pilot:
        await pilot.press("enter")
        await pilot.pause()
        seen = text(pilot)
        assert "Node is not Ready" in seen
        for screen_key in ("T", "u", "question_mark"):
            await pilot.press("escape", screen_key)
            await until(
                pilot, lambda: isinstance(app(pilot).screen, PageScreen) and "reading" not in page(pilot)[:10], "a page"
            )
            await pilot.pause()
        seen += text(pilot)
        rest = sorted({c for c in seen if not c.isascii()})
        assert rest == [], rest


@on_loop
async def test_the_mouse_selects_folds_and_follows() -> None:
    async with recording(DEMO) as pilot:
        await pilot.click("#list", offset=(10, 5))
        await pilot.pause()
        assert main(pilot).selected is not None
        assert "reports wants" in main(pilot).selected.title  # type: ignore[union-attr]
        await pilot.click("#list", offset=(10, 5), times=2)
        await pilot.pause()
        assert main(pilot).has_class("-book")
        await pilot.press("escape")
        await pilot.click("#keys", offset=(bar(pilot, "keys").index("?") + 1, 0))
        await pilot.pause()
        assert isinstance(app(pilot).screen, PageScreen)


@on_loop
async def test_the_command_palette_opens_and_runs() -> None:
    async with recording(DEMO) as pilot:
        await pilot.press("ctrl+p")
        await pilot.pause()
        await typed(pilot, "coverage")
        await until(pilot, lambda: "Coverage" in text(pilot), "the palette")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app(pilot).screen, PageScreen), "the page")


@on_loop
async def test_a_broken_recording_is_said_and_the_screen_stays(tmp_path: Path) -> None:
    (tmp_path / "kdiag-snapshot.json").write_text("{")
    async with recording(tmp_path) as pilot:
        assert "nothing could be read" in text(pilot)
        assert "damaged" in text(pilot)
        await pilot.press("enter", "t", "n", "T", "escape", "S", "u", "escape", "R")
        await until(pilot, lambda: not app(pilot).case.reading.running, "the second reading")
        assert "nothing could be read" in text(pilot)


@on_loop
async def test_what_is_longer_than_the_screen_scrolls() -> None:
    async with recording(DEMO, size=(80, 24)) as pilot:
        await pilot.press("end")
        await until(pilot, lambda: main(pilot).rows.scroll_y > 0, "the end of the list")
        await pilot.press("question_mark")
        await shown(pilot, "COMMANDS")
        await pilot.press("end")
        await until(pilot, lambda: "keeps one namespace" in text(pilot), "the end of the page")


@on_loop
async def test_what_comes_while_the_screen_is_made_or_taken_down_is_no_crash() -> None:
    async with recording(DEMO) as pilot:
        await main(pilot).query("#head").remove()
        main(pilot).show_progress()
        await main(pilot).query("#list").remove()
        main(pilot).show_verdict()


@on_loop
async def test_a_check_that_breaks_is_counted_and_said_and_hides_nothing() -> None:
    async with recording(DEMO) as pilot:
        case = app(pilot).case
        assert case.head is not None
        assert case.tree is not None
        [first, *rest] = case.tree.verdict.results
        broken = dataclasses.replace(first, status=Status.ERROR, findings=(), reason="ZeroDivisionError: [/foo]")
        verdict = dataclasses.replace(case.tree.verdict, results=(broken, *rest))
        head = dataclasses.replace(case.head, verdict=verdict)
        app(pilot).post_message(app(pilot).Said(Heard(case.runs, Verdict(Tree(verdict), head))))
        await pilot.pause()
        assert "1 broke" in bar(pilot, "cover")
        assert "4 causes" in bar(pilot, "head")
        await pilot.press("u")
        await shown(pilot, "ZeroDivisionError: [/foo]")
        assert first.check_id in page(pilot)

"""What a script may rely on: the exit code, one line of reason, never a traceback."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.runner import HEALTHY, KDIAG, environment, healthy_api, kdiag, lost_service, started
from tests.fakeapi import Answer, Exchange, FakeAPI, Fault, Rule

Done = subprocess.CompletedProcess[str]


def one_line(done: Done, *words: str) -> None:
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("kdiag: ")
    for word in words:
        assert word in lines[0]


def test_a_healthy_cluster_is_0(tmp_path: Path) -> None:
    with healthy_api() as api:
        done = kdiag("check", "--kubeconfig", api.kubeconfig(tmp_path / "c"), home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing is wrong" in done.stdout


def test_a_cause_is_1_and_only_from_its_level_on(tmp_path: Path) -> None:
    with healthy_api(lost_service()) as api:
        config = api.kubeconfig(tmp_path / "c")
        assert kdiag("check", "service_selects_nothing", "--kubeconfig", config, home=tmp_path).returncode == 1
        less = kdiag("check", "service_selects_nothing", "--fail-on", "critical", "--kubeconfig", config, home=tmp_path)
    assert less.returncode == 0
    assert "shop/db" in less.stdout


def test_quiet_prints_nothing_when_nothing_is_wrong(tmp_path: Path) -> None:
    done = kdiag("check", "-q", "--snapshot", HEALTHY, home=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_quiet_says_what_was_not_seen(tmp_path: Path) -> None:
    with healthy_api(rbac=lambda access: access.resource != "configmaps") as api:
        done = kdiag("check", "-q", "--kubeconfig", api.kubeconfig(tmp_path / "c"), home=tmp_path)
    assert done.returncode == 0
    assert "not everything was seen" in done.stdout


def test_on_change_speaks_once_for_each_change(tmp_path: Path) -> None:
    words = ("check", "service_selects_nothing", "--on-change", "--kubeconfig", tmp_path / "c")
    lost = lost_service()
    spaces: dict[str, Any] = {"/api/v1/namespaces": lost.pop("/api/v1/namespaces")}
    with healthy_api({path: () for path in lost} | spaces) as api:
        api.kubeconfig(tmp_path / "c")
        well = kdiag(*words, home=tmp_path)
        assert (well.returncode, well.stdout) == (0, "")
        for path, items in lost.items():
            api.set(path, items)
        new = kdiag(*words, home=tmp_path)
        assert new.returncode == 1
        assert "changed since" in new.stdout
        assert "new   Service shop/db" in new.stdout
        again = kdiag(*words, home=tmp_path)
        assert (again.returncode, again.stdout) == (1, "")
        for path in lost:
            api.set(path, ())
        back = kdiag(*words, home=tmp_path)
    assert back.returncode == 0
    assert "gone  Service shop/db" in back.stdout


def test_on_change_calls_nothing_gone_that_it_cannot_see(tmp_path: Path) -> None:
    words = ("check", "service_selects_nothing", "--on-change", "--kubeconfig", tmp_path / "c")
    hidden: set[str] = set()
    with healthy_api(lost_service(), rbac=lambda access: access.resource not in hidden) as api:
        api.kubeconfig(tmp_path / "c")
        assert "first run" in kdiag(*words, home=tmp_path).stdout
        hidden.add("services")
        blind = kdiag(*words, home=tmp_path)
        assert "gone" not in blind.stdout
        assert "seen  no more, but its check cannot see everything: Service shop/db" in blind.stdout
        assert kdiag(*words, home=tmp_path).stdout == ""
        hidden.clear()
        again = kdiag(*words, home=tmp_path)
        assert "seen  everything again" in again.stdout
        assert "  new " not in again.stdout
        hidden.add("services")
        assert "seen  no more" in kdiag(*words, home=tmp_path).stdout
        hidden.clear()
        api.set("/api/v1/services", ())
        assert "gone  Service shop/db" in kdiag(*words, home=tmp_path).stdout


def test_on_change_tells_what_grows_worse_and_what_is_a_remark_by_now(tmp_path: Path) -> None:
    words = ("check", "service_selects_nothing", "--on-change", "--kubeconfig", tmp_path / "c")
    lost = lost_service()
    (service,) = lost["/api/v1/services"]
    with healthy_api(lost) as api:

        def look(kind: str, selector: str) -> subprocess.CompletedProcess[str]:
            service["spec"] |= {"type": kind, "selector": {"app": selector}}
            api.set("/api/v1/services", [service])
            return kdiag(*words, home=tmp_path)

        api.kubeconfig(tmp_path / "c")
        mild = look("NodePort", "catalogue")
        assert (mild.returncode, "1 WARNING" in mild.stdout) == (0, True)
        worse = look("NodePort", "mysqll")
        assert worse.returncode == 1
        assert "  worse Service shop/db selects no pod: nothing has app=mysqll" in worse.stdout
        assert "app=mysql: error now, warning before\n" in worse.stdout
        assert look("NodePort", "mysqll").stdout == ""
        less = look("ClusterIP", "catalogue")
        assert "  less  Service shop/db selects no pod" in less.stdout
        assert "  gone " not in less.stdout
        assert look("ClusterIP", "catalogue").stdout == ""
        kept = tmp_path / ".local" / "state" / "kdiag" / "last.json"
        look("NodePort", "catalogue")
        for old in ('"worst": 3', '"worst": {"x": "dire"}', '"was": {}'):
            text = kept.read_text()
            kept.write_text(text[: text.index('"worst"')] + old + "}}")
            assert look("NodePort", "catalogue").stdout == ""


def test_a_change_that_nobody_could_read_is_told_again(tmp_path: Path) -> None:
    words = ("check", "service_selects_nothing", "--on-change", "--kubeconfig", tmp_path / "c")
    with healthy_api(lost_service()) as api:
        api.kubeconfig(tmp_path / "c")
        with open("/dev/full", "wb") as full:
            lost = subprocess.run(
                [*KDIAG, *map(str, words)], env=environment(tmp_path), stdout=full, stderr=subprocess.PIPE, text=True,
                timeout=60, check=False,
            )  # fmt: skip
        assert (lost.returncode, lost.stderr) == (3, "kdiag: cannot write the output: No space left on device\n")
        reader, writer = os.pipe()
        os.close(reader)
        closed = subprocess.run(
            [*KDIAG, *map(str, words)], env=environment(tmp_path), stdout=writer, timeout=60, check=False
        )
        os.close(writer)
        assert closed.returncode == 1
        assert "first run" in kdiag(*words, home=tmp_path).stdout
        assert kdiag(*words, home=tmp_path).stdout == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("chek",), "'check'"),
        (("check", "-o", "xml"), "-o/--output"),
        (("check", "--nonsense"), "--nonsense"),
        (("check", "--kubeconf", "x"), "--kubeconf"),  # a flag is not to be cut short: scripts would break later
        (("check", "service_selects_nothin"), "did you mean 'service_selects_nothing'?"),
        (("check", "--timeout", "soon", "-s", "http://127.0.0.1:1"), "no duration"),
        (("check", "-l", "a b c", "--snapshot", str(HEALTHY)), "no label selector"),
        (("check", "-n", "a", "-A"), "not allowed with"),
        (("explain", "service_selects_nothin"), "did you mean 'service_selects_nothing'?"),
        (("explain", "service_selects_nothing", "a b"), "names no object"),
        (("trace", "--snapshot", str(HEALTHY), "a/b/c/d"), "names no Service"),
        (("trace", "--snapshot", str(HEALTHY), "shop/$(reboot)"), "nothing to trace"),
        (("trace",), "TARGET"),
        (("help", "chekc"), "did you mean 'check'?"),
        (("completion", "cmd"), "bash"),
    ],
)
def test_a_wrong_command_line_is_2(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    done = kdiag(*words, home=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert "Traceback" not in done.stderr


def test_no_command_at_all_shows_the_help_and_is_2(tmp_path: Path) -> None:
    done = kdiag(home=tmp_path)
    assert done.returncode == 2
    assert "examples:" in done.stdout


def test_a_server_that_cannot_be_reached_is_3(tmp_path: Path) -> None:
    with FakeAPI() as api:
        config = api.kubeconfig(tmp_path / "c")
    done = kdiag("check", "--kubeconfig", config, home=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    one_line(done, "refused")
    assert "no way to a node is known that could tell why: see --ssh-config, --local and kdiag doctor" in done.stderr
    alone = kdiag("check", "--no-nodes", "--kubeconfig", config, home=tmp_path)
    assert "no way to a node" not in alone.stderr


@pytest.mark.parametrize("answer", [Answer.text("404 page not found", 404), Answer.json({}), Answer.json({"ok": True})])
def test_a_server_that_is_none_of_kubernetes_is_3(tmp_path: Path, answer: Answer) -> None:
    with FakeAPI() as api:
        api.fault("/", Fault.answer(answer))
        done = kdiag("check", "--kubeconfig", api.kubeconfig(tmp_path / "c"), home=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    one_line(done, "is no Kubernetes API server")


@pytest.mark.parametrize("words", [(), ("-n", "shop")])
def test_a_server_that_has_nothing_at_all_is_no_cluster_and_3(tmp_path: Path, words: tuple[str, ...]) -> None:
    with FakeAPI() as api:
        api.fault("/api", Fault.answer(Answer.json({"kind": "List", "items": []})))
        done = kdiag("check", "--no-nodes", *words, "--kubeconfig", api.kubeconfig(tmp_path / "c"), home=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    one_line(done, "no cluster that could be examined")


def test_where_reading_takes_all_the_time_what_was_read_is_judged(tmp_path: Path) -> None:
    with healthy_api(lost_service()) as api:
        api.fault("/api/v1/events", Fault.silent())
        config = api.kubeconfig(tmp_path / "c")
        done = kdiag("check", "--timeout", "3s", "--kubeconfig", config, home=tmp_path)
    assert done.returncode == 1
    assert "shop/db" in done.stdout
    assert "no time was left" not in done.stdout


def test_a_refused_login_is_3(tmp_path: Path) -> None:
    with FakeAPI(users={"right": "alice"}, tls=True) as api:
        done = kdiag("check", "--kubeconfig", api.kubeconfig(tmp_path / "c", token="wrong"), home=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    one_line(done, "401")


def test_a_user_who_may_read_nothing_has_examined_nothing(tmp_path: Path) -> None:
    with healthy_api(rbac=lambda access: False) as api:
        done = kdiag("check", "--kubeconfig", api.kubeconfig(tmp_path / "c"), home=tmp_path)
    assert done.returncode == 3
    assert "nothing is wrong" not in done.stdout


def test_a_user_of_one_namespace_has_it_examined(tmp_path: Path) -> None:
    with healthy_api(lost_service(), rbac=[Rule(resources=("*",), groups=("*",), namespaces=("shop",))]) as api:
        config = api.kubeconfig(tmp_path / "c", namespace="shop")
        done = kdiag("check", "--kubeconfig", config, home=tmp_path)
    assert done.returncode == 1
    assert "only namespace shop is read" in done.stdout
    assert "network/service_selects_nothing" in done.stdout


def test_a_silent_server_ends_with_the_deadline(tmp_path: Path) -> None:
    with FakeAPI() as api:
        api.fault("/", Fault.silent())
        start = time.monotonic()
        done = kdiag("check", "--timeout", "1s", "--kubeconfig", api.kubeconfig(tmp_path / "c"), home=tmp_path)
    assert done.returncode == 3
    one_line(done, "did not finish within")
    assert time.monotonic() - start < 6


def test_one_silent_list_costs_its_checks_and_no_others(tmp_path: Path) -> None:
    with healthy_api(lost_service()) as api:
        api.fault("/api/v1/configmaps", Fault.silent())
        config = api.kubeconfig(tmp_path / "c")
        done = kdiag("check", "--timeout", "3s", "-o", "json", "--kubeconfig", config, home=tmp_path)
    report = json.loads(done.stdout)
    assert not report["complete"]
    assert any("configmaps" in u["reason"] for u in report["coverage"]["unknown"])
    assert "network/service_selects_nothing" in [c["check"] for c in report["causes"]] or any(
        u["check"] == "network/service_selects_nothing" for u in report["coverage"]["unknown"]
    )


def test_strict_makes_what_is_unknown_3(tmp_path: Path) -> None:
    with healthy_api(rbac=lambda access: access.resource != "configmaps") as api:
        config = api.kubeconfig(tmp_path / "c")
        assert kdiag("check", "--kubeconfig", config, home=tmp_path).returncode == 0
        assert kdiag("check", "--strict", "--kubeconfig", config, home=tmp_path).returncode == 3


# ---- signals


def interrupted(tmp_path: Path, number: int, *words: str) -> tuple[int, str, str, float]:
    """Send a signal while the server keeps the run waiting; give the exit code, the output and how long it took."""
    reached = threading.Event()

    def hang(exchange: Exchange) -> None:
        reached.set()
        exchange.pause(60)

    with FakeAPI() as api:
        api.fault("/", Fault(hang))
        process = started(*words, "--kubeconfig", api.kubeconfig(tmp_path / "c"), home=tmp_path)
        try:
            assert reached.wait(30)
            sent = time.monotonic()
            process.send_signal(number)
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
    return process.returncode, out, err, time.monotonic() - sent


@pytest.mark.parametrize("words", [("check",), ("trace", "shop/web"), ("doctor",)])
@pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_a_run_at_once(tmp_path: Path, words: tuple[str, ...], number: int, code: int, said: str) -> None:
    returned, out, err, took = interrupted(tmp_path, number, *words)
    assert (returned, out, err) == (code, "", f"kdiag: {said}\n")
    assert took < 1.5


def test_ctrl_c_while_several_lists_are_read(tmp_path: Path) -> None:
    reached = threading.Event()

    def hang(exchange: Exchange) -> None:
        reached.set()
        exchange.pause(60)

    with healthy_api() as api:
        api.fault("/apis/apps", Fault(hang))
        process = started("check", "--kubeconfig", api.kubeconfig(tmp_path / "c"), home=tmp_path)
        assert reached.wait(30)
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "kdiag: interrupted\n")
    assert time.monotonic() - sent < 1.5


_AT_IMPORT = """
import importlib.abc, os, signal, sys

class At(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.{signal})
        return None

sys.meta_path.insert(0, At())
sys.argv = ["kdiag", "check", "--snapshot", {snapshot!r}]
from kdiag.__main__ import main
main()
"""


@pytest.mark.parametrize(
    "module",
    ["kdiag.cli.main", "argparse", "kdiag.cli.commands", "kdiag.engine.library", "msgspec", "kdiag.checks.network",
     "kdiag.collect.snapshot", "kdiag.report.text"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_at_any_moment_of_a_run_leaves_no_traceback(tmp_path: Path, module: str, name: str) -> None:
    script = _AT_IMPORT.format(module=module, signal=name, snapshot=str(HEALTHY))
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    early = module in ("kdiag.cli.main", "argparse") and name == "SIGTERM"  # the system's own way to end a process
    assert done.returncode == ({"SIGINT": 130, "SIGTERM": 143}[name] if not early else -signal.SIGTERM)
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == (0 if early else 1)


# ---- where the output goes


@pytest.mark.parametrize(
    "words", [("list", "-o", "json"), ("explain",), ("man",), ("check", "--snapshot", str(HEALTHY))]
)
def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path, words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*KDIAG, *words], env=environment(tmp_path), stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_exit_code_outlives_the_reader(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with healthy_api(lost_service()) as api:
        config = str(api.kubeconfig(tmp_path / "c"))
        done = subprocess.run(
            [*KDIAG, "check", "service_selects_nothing", "--kubeconfig", config],
            env=environment(tmp_path), stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False,
        )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("words", [("list",), ("explain", "rollout_stuck"), ("--version",), ("man",), ("--help",)])
def test_a_full_disk_is_said_once(tmp_path: Path, words: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*KDIAG, *words], env=environment(tmp_path), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
            check=False,
        )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr == "kdiag: cannot write the output: No space left on device\n"


def test_what_cannot_be_kept_is_said_with_its_place(tmp_path: Path) -> None:
    script = 'ulimit -f 0; exec "$@"'
    done = subprocess.run(
        ["bash", "-c", script, "bash", *KDIAG, "check", "--snapshot", str(HEALTHY), "--on-change"],
        env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    place = tmp_path / ".local" / "state" / "kdiag"
    assert done.returncode == 2
    assert done.stderr == f"kdiag: --on-change cannot keep what was found: File too large ({place})\n"
    assert list(place.iterdir()) == []


def test_what_cannot_be_kept_is_printed_all_the_same(tmp_path: Path) -> None:
    (tmp_path / ".local").write_text("no folder")
    with healthy_api(lost_service()) as api:
        words = ("check", "--on-change", "--kubeconfig", api.kubeconfig(tmp_path / "c"))
        done = kdiag(*words, home=tmp_path)
    assert done.returncode == 2
    assert "Service shop/db selects no pod" in done.stdout
    assert done.stderr.startswith("kdiag: --on-change cannot keep what was found: ")


def test_what_stands_in_the_place_of_what_is_kept_is_named(tmp_path: Path) -> None:
    place = tmp_path / ".local" / "state" / "kdiag" / "last.json"
    place.mkdir(parents=True)
    done = kdiag("check", "--on-change", "--snapshot", HEALTHY, home=tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"kdiag: --on-change cannot keep what was found: Is a directory ({place})\n"


def test_what_is_kept_is_for_its_owner_alone(tmp_path: Path) -> None:
    script = 'umask 0; exec "$@"'
    with healthy_api(lost_service()) as api:
        words = ("check", "--on-change", "--kubeconfig", str(api.kubeconfig(tmp_path / "c")))
        subprocess.run(
            ["bash", "-c", script, "bash", *KDIAG, *words], env=environment(tmp_path), capture_output=True, timeout=60,
            check=False,
        )  # fmt: skip
    kept = list((tmp_path / ".local").rglob("*"))
    assert {path.name for path in kept} == {"state", "kdiag", "last.json", "inventory.json"}
    assert [path for path in (tmp_path / ".local", *kept) if path.stat().st_mode & 0o077] == []


def test_no_standard_output_at_all(tmp_path: Path) -> None:
    script = 'exec >&-; exec "$@"'
    done = subprocess.run(
        ["bash", "-c", script, "bash", *KDIAG, "check", "--snapshot", str(HEALTHY)],
        env=environment(tmp_path), stderr=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("closed", "words", "code"),
    [
        ("<&-", ("check", "--snapshot", str(HEALTHY)), 0),
        ("<&-", (), 2),
        ("<&- >&- 2>&-", ("check", "--snapshot", str(HEALTHY)), 0),
        ("<&- >&- 2>&-", ("doctor", "--kubeconfig", "/no/config"), 2),
    ],
)
def test_no_standard_stream_at_all(tmp_path: Path, closed: str, words: tuple[str, ...], code: int) -> None:
    done = subprocess.run(
        ["bash", "-c", f'exec "$@" {closed}', "bash", *KDIAG, *words],
        env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (code, "")


def test_no_standard_input_and_a_live_cluster(tmp_path: Path) -> None:
    with healthy_api() as api:
        config = api.kubeconfig(tmp_path / "c")
        words = (*KDIAG, "check", "--kubeconfig", str(config))
        done = subprocess.run(
            ["bash", "-c", 'exec "$@" <&-', "bash", *words],
            env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("fault", "told"),
    [("MemoryError()", "no more memory"), ('RuntimeError("can\'t start new thread")', "no more threads")],
)
def test_what_the_machine_does_not_give_is_no_fault_of_kdiags_own(tmp_path: Path, fault: str, told: str) -> None:
    script = f"""
from kdiag.cli import main, listing
def broken(options): raise {fault}
listing.run = broken
main.run(["list"])
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_output_that_knows_only_ascii(tmp_path: Path) -> None:
    with healthy_api(lost_service()) as api:
        config = api.kubeconfig(tmp_path / "c")
        env = {"PYTHONIOENCODING": "ascii"}
        done = kdiag("trace", "shop/db", "--kubeconfig", config, home=tmp_path, env=env)
    assert done.returncode == 1
    assert "X  endpoints" in done.stdout
    assert done.stdout.replace("\\xb7", "").isascii()


def test_a_fault_of_kdiags_own_is_one_line_and_3(tmp_path: Path) -> None:
    script = """
import sys
from kdiag.cli import main, listing
def broken(options): raise RuntimeError("a \\x1b[31mbug")
listing.run = broken
main.run(["list"])
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    assert done.stderr == "kdiag: a fault of kdiag's own: RuntimeError: a ␛[31mbug (KDIAG_DEBUG=1 shows where)\n"


def test_what_says_which_cluster_is_of_no_use_for_a_recording_and_that_is_said(tmp_path: Path) -> None:
    done = kdiag("check", "--context", "prod", "--local", "--snapshot", str(HEALTHY), home=tmp_path)
    assert (done.returncode, done.stderr) == (
        0,
        "kdiag: --context, --local: of no use here: a recording is read, and no cluster\n",
    )
    assert kdiag("check", "--snapshot", str(HEALTHY), home=tmp_path).stderr == ""


def test_where_no_check_applies_nothing_is_called_well(tmp_path: Path) -> None:
    done = kdiag("check", "kubelet_not_running", "--snapshot", HEALTHY, home=tmp_path)
    assert done.returncode == 0
    assert "nothing was looked at: no node was asked" in done.stdout
    assert "nothing is wrong" not in done.stdout


@pytest.mark.parametrize("spoil", [os.mkfifo, lambda path: os.symlink("/dev/zero", path)])
def test_what_lies_in_the_place_of_the_last_run_is_not_waited_for(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    folder = tmp_path / ".local" / "state" / "kdiag"
    folder.mkdir(parents=True)
    spoil(folder / "last.json")
    done = kdiag("check", "--on-change", "--snapshot", HEALTHY, home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((folder / "last.json").read_text())


def test_the_demo_has_a_recording_of_its_own(tmp_path: Path) -> None:
    told = kdiag("demo", "--help", home=tmp_path).stdout
    assert "--dead" in told
    assert "--snapshot" not in told
    assert "--kubeconfig" not in told

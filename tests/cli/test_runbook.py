"""``kdiag runbook`` and ``kdiag verify``: whole runs against a fake API, a recording, and nothing at all."""

from __future__ import annotations

import json
import os
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pexpect
import pytest
from markdown_it import MarkdownIt

from tests.cli.runner import HEALTHY, KDIAG, environment, healthy_api, kdiag, lab, lost_service, started
from tests.fakeapi import Answer, FakeAPI, Fault
from tests.sshd import wait_for

CHECK = "service_selects_nothing"
EVIL = "evil\x1b[31m</pre><script>alert(1)</script>```\n# x"


def run(home: Path, api: FakeAPI, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run it without kubectl on the PATH: our own client answers, whatever this machine has."""
    tools = home / "bin"
    if not tools.exists():
        tools.mkdir()
        for name in ("grep", "head", "tail", "sort", "uniq", "cut", "sed", "wc", "tr", "cat"):
            place = next(p for p in (Path("/usr/bin") / name, Path("/bin") / name) if p.exists())
            (tools / name).symlink_to(place)
    config = api.kubeconfig(home / "config")
    return kdiag(*words, "--kubeconfig", config, "--no-nodes", home=home, env={"PATH": str(tools), **env})


def test_walks_the_page_of_the_first_finding(tmp_path: Path) -> None:
    with healthy_api(lost_service()) as api:
        done = run(tmp_path, api, "runbook", CHECK)
    assert (done.returncode, done.stderr) == (1, "")
    assert "Service shop/db selects no pod: nothing has app=mysqll" in done.stdout
    assert "kubectl -n shop get service db -o wide" in done.stdout
    assert "kdiag runs none of this" in done.stdout
    assert "ClusterIP" not in done.stdout  # nothing was run


def test_runs_what_only_reads_and_marks_what_the_page_tells_to_look_for(tmp_path: Path) -> None:
    with healthy_api(lost_service()) as api:
        done = run(tmp_path, api, "runbook", CHECK, "shop/db", "--run")
        writes = {request.method for request in api.requests} - {"GET"}
    assert (done.returncode, done.stderr) == (1, "")
    assert not writes
    text = done.stdout
    assert re.search(r"\$? ?kubectl -n shop get pods --show-labels\n.*NAME", text)
    assert "app=mysql" in text
    assert "(from kdiag)" in text
    assert "not run" not in text
    assert "no answer" not in text


def test_an_object_that_is_well_is_0_and_an_object_that_is_none_is_2(tmp_path: Path) -> None:
    with healthy_api(lost_service()) as api:
        well = run(tmp_path, api, "runbook", CHECK, "service/shop/other")
        assert (well.returncode, well.stderr) == (0, "")
        assert "note: the check finds nothing about Service shop/other now" in well.stdout
        assert "kubectl -n shop get service other -o wide" in well.stdout
        assert "reads is called Service shop/other: is it spelt right?" in well.stdout
        nobody = run(tmp_path, api, "runbook", "kubelet_not_running", "node/w9")
        assert nobody.returncode == 3  # no node was asked: that is no all-clear
        assert "no node was asked" in nobody.stdout
        for word in ("other", "a/b/c/d", "shop/$(id)"):
            wrong = run(tmp_path, api, "runbook", CHECK, word)
            assert wrong.returncode == 2
            assert "names no object" in wrong.stderr
        unknown = run(tmp_path, api, "runbook", "service_selects_nothin")
        assert unknown.returncode == 2
        assert CHECK in unknown.stderr


def test_nothing_wrong_gives_the_page_with_its_own_names(tmp_path: Path) -> None:
    with healthy_api() as api:
        done = run(tmp_path, api, "runbook", CHECK)
    assert (done.returncode, done.stderr) == (0, "")
    assert "the commands hold the page's own examples" in done.stdout
    assert "NAMESPACE=shop" in done.stdout


def test_what_cannot_be_seen_is_3_and_the_page_is_there_all_the_same(tmp_path: Path) -> None:
    with healthy_api() as api:
        api.fault("/api/v1/services", Fault.status(403))
        done = run(tmp_path, api, "runbook", CHECK, "shop/db")
        assert done.returncode == 3
        assert "cannot see what it needs" in done.stdout
    dead = run(tmp_path, api, "runbook", CHECK, "shop/db", "--run")
    assert dead.returncode == 3
    assert "refused" in dead.stdout
    assert "kubectl -n shop get service db -o wide" in dead.stdout
    assert "Traceback" not in dead.stdout + dead.stderr


class Tags(HTMLParser):
    """Which tags and links a document has."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(value) for name, value in attrs if name in ("href", "src", "style", "onclick")]


def hostile() -> dict[str, list[dict[str, Any]]]:
    objects = lost_service()
    objects["/api/v1/pods"][0]["metadata"]["labels"]["note"] = EVIL
    return objects


def test_markdown_and_html_are_safe_to_paste(tmp_path: Path) -> None:
    with healthy_api(hostile()) as api:
        markdown = run(tmp_path, api, "runbook", CHECK, "--run", "-o", "markdown")
        page = run(tmp_path, api, "runbook", CHECK, "--run", "-o", "html")
        text = run(tmp_path, api, "runbook", CHECK, "--run", "--color", "always")
    for done in (markdown, page, text):
        assert (done.returncode, done.stderr) == (1, "")
        assert "\x1b[31m<" not in done.stdout
    assert "alert(1)" in markdown.stdout
    tokens = MarkdownIt("commonmark").parse(markdown.stdout)
    assert not [t for t in tokens if "script" in t.content and t.type != "fence"]
    assert [t.content for n, t in enumerate(tokens) if t.type == "inline" and tokens[n - 1].tag == "h2"] == [
        "Meaning",
        "Impact",
        "Diagnosis",
        "Mitigation",
    ]
    found = Tags()
    found.feed(page.stdout)
    assert "script" not in found.tags
    assert "&lt;script&gt;" in page.stdout
    assert all(link.startswith("https://kubernetes.io/") for link in found.links)
    assert "http-equiv" in page.stdout
    assert found.tags.count("html") == 1


def test_a_page_is_walked_from_a_recording_and_always_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "snap"
    with healthy_api(lost_service()) as api:
        assert run(tmp_path, api, "record", str(folder)).returncode == 0
    words = ("runbook", CHECK, "--run", "--snapshot", folder)
    first, second = kdiag(*words, home=tmp_path), kdiag(*words, home=tmp_path)
    assert first.returncode == 1
    assert first.stdout == second.stdout
    assert "(from recording)" in first.stdout
    assert "SELECTOR app=mysqll" in first.stdout
    healthy = kdiag("runbook", CHECK, "--snapshot", HEALTHY, home=tmp_path)
    assert (healthy.returncode, healthy.stderr) == (0, "")


def test_the_users_kubectl_is_run_where_there_is_one(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "kubectl").write_text('#!/bin/sh\necho "asked: $*"\n')
    (tools / "kubectl").chmod(0o755)
    with healthy_api(lost_service()) as api:
        path = f"{tools}:{os.environ['PATH']}"
        done = run(tmp_path, api, "runbook", CHECK, "--run", "--as", "ops", PATH=path)
    assert f"asked: --kubeconfig={tmp_path}/config --as=ops -n shop get service db -o wide" in done.stdout


# verify


def verify(home: Path, api: FakeAPI, *words: str) -> subprocess.CompletedProcess[str]:
    return run(home, api, "verify", CHECK, *words)


def test_is_0_when_it_is_gone_and_1_when_it_is_there(tmp_path: Path) -> None:
    with healthy_api(lost_service()) as api:
        there = verify(tmp_path, api, "shop/db", "--wait", "0")
        gone = verify(tmp_path, api, "shop/other", "--wait", "0")
        well = verify(tmp_path, api, "service/default/kubernetes", "--wait", "0")
    assert (there.returncode, there.stderr) == (1, "")
    assert there.stdout.startswith("still there after ")
    assert "kdiag runbook network/service_selects_nothing service/shop/db --run" in there.stdout
    assert (gone.returncode, gone.stderr) == (0, "")
    assert well.stdout.startswith("well: ")
    assert "note: nothing that network/service_selects_nothing reads is called shop/other" in gone.stdout
    assert "well: network/service_selects_nothing finds nothing about shop/other" in gone.stdout


def test_is_3_when_it_cannot_be_seen(tmp_path: Path) -> None:
    with healthy_api(lost_service()) as api:
        api.fault("/api/v1/services", Fault.status(403))
        done = verify(tmp_path, api, "shop/db", "--wait", "0")
        assert done.returncode == 3
        assert done.stdout.startswith("cannot see after ")
        assert "no all-clear" in done.stdout
    dead = verify(tmp_path, api, "shop/db", "--wait", "0.2", "--interval", "0.1")
    assert dead.returncode == 3
    assert "refused" in dead.stdout


def test_waits_until_it_clears(tmp_path: Path) -> None:
    broken = lost_service()
    with healthy_api(broken) as api:
        config = api.kubeconfig(tmp_path / "config")
        words = (
            "verify",
            CHECK,
            "shop/db",
            "--wait",
            "60s",
            "--interval",
            "0.1s",
            "--no-nodes",
            "--kubeconfig",
            config,
        )
        process = started(*words, home=tmp_path)
        # It has looked and found it when it asks again.
        wait_for(lambda: sum(request.path == "/api/v1/services" for request in list(api.requests)) > 1)
        service = broken["/api/v1/services"][0]
        mended = {**service, "spec": {**service["spec"], "selector": {"app": "mysql"}}}
        others = json.loads(lab()[0]["/api/v1/services"])
        api.set("/api/v1/services", [*others, mended])
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert out.startswith("cleared after ")
    assert "Service shop/db selects no pod" in out


def test_a_namespace_that_goes_takes_its_findings_along(tmp_path: Path) -> None:
    with healthy_api(lost_service()) as api:
        words = ("verify", CHECK, "-n", "shop", "--wait", "60s", "--interval", "0.1s", "--no-nodes")
        process = started(*words, "--kubeconfig", api.kubeconfig(tmp_path / "config"), home=tmp_path)
        wait_for(lambda: sum(r.path == "/api/v1/namespaces/shop/services" for r in list(api.requests)) > 1)
        for path in ("/api/v1/services", "/api/v1/pods", "/api/v1/namespaces"):
            api.set(path, json.loads(lab()[0][path]))
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert out.startswith("cleared after ")
    assert "namespace shop does not exist" in out


@pytest.mark.parametrize("words", [("--wait", "soon"), ("--interval", "x"), ("--wait", "-1s"), ("--interval", "0")])
def test_a_duration_that_is_none_is_2(tmp_path: Path, words: tuple[str, str]) -> None:
    with healthy_api() as api:
        done = verify(tmp_path, api, *words)
    assert done.returncode == 2
    assert "duration" in done.stderr or "expected one argument" in done.stderr or "without a pause" in done.stderr


def test_progress_is_on_a_terminal_only_and_leaves_no_trace(tmp_path: Path) -> None:
    with healthy_api(lost_service()) as api:
        config = api.kubeconfig(tmp_path / "config")
        words = [
            "verify",
            CHECK,
            "shop/db",
            "--wait",
            "1s",
            "--interval",
            "0.2s",
            "--no-nodes",
            "--kubeconfig",
            str(config),
        ]
        child = pexpect.spawn(
            KDIAG[0],
            [*KDIAG[1:], *words],
            env=environment(tmp_path, TERM="xterm"),
            cwd=str(tmp_path),
            encoding="utf-8",
            timeout=60,
            dimensions=(24, 120),
        )
        child.expect("still there: Service shop/db")
        child.expect("still there.* after")
        child.expect(pexpect.EOF)
        child.close()
    assert child.exitstatus == 1


def test_who_waits_on_a_terminal_is_told_for_what(tmp_path: Path) -> None:
    with healthy_api() as api:
        api.fault("/api/v1/events", Fault.silent())
        config = api.kubeconfig(tmp_path / "config")
        child = pexpect.spawn(
            KDIAG[0],
            [*KDIAG[1:], "check", "--no-nodes", "--timeout", "4s", "--kubeconfig", str(config)],
            env=environment(tmp_path, TERM="xterm"),
            cwd=str(tmp_path),
            encoding="utf-8",
            timeout=60,
            dimensions=(24, 120),
        )
        # The last list to end says so at once, and then nothing does for as long as the events are waited for.
        child.expect("\\d+ of \\d+ read: ")
        child.expect("not everything was seen")
        child.expect(pexpect.EOF)
        child.close()


def test_a_token_that_is_refused_does_not_wait(tmp_path: Path) -> None:
    with healthy_api() as api:
        api.fault("/version", Fault.answer(Answer.json({"message": "Unauthorized"}, 401)))
        done = verify(tmp_path, api, "--wait", "60s")
    assert done.returncode == 3
    assert "does not accept the credentials" in done.stderr

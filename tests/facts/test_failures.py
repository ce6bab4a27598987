"""What is said of a failing container: one fault each, in words that hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kdiag.facts import (
    Cluster,
    ConfigMaps,
    Events,
    Failures,
    Fault,
    Image,
    Jobs,
    LogLine,
    Logs,
    Owners,
    Terminated,
    edit_template,
    exit_text,
    lifetime,
    telling,
)
from kdiag.facts.logs import ContainerLog
from kdiag.model.result import Ref
from tests.facts.test_pods import pods, raw
from tests.recording import FIXTURES, fixture_facts


@pytest.mark.parametrize(
    "path", sorted(FIXTURES.glob("application/*/*.yaml")), ids=lambda p: f"{p.parent.name}-{p.stem}"
)
def test_judges_each_container_once(path: Path) -> None:
    facts = fixture_facts(path)
    failures = facts.get(Failures)
    assert failures is not None
    found = failures.all(facts.get(Events), facts.get(Logs), facts.get(ConfigMaps))
    places = [(f.pod.path, f.container) for f in found]
    assert len(places) == len(set(places))


def test_a_script_of_a_configmap_is_the_fault_only_where_the_configmap_is_seen() -> None:
    facts = fixture_facts(FIXTURES / "application/container_command_not_found/broken-mounted-script.yaml")
    failures, configmaps = facts.get(Failures), facts.get(ConfigMaps)
    assert failures is not None
    with_them = failures.all(facts.get(Events), facts.get(Logs), configmaps)
    without = failures.all(facts.get(Events), facts.get(Logs))
    assert {f.fault for f in with_them} == {Fault.SCRIPT}
    assert Fault.SCRIPT not in {f.fault for f in without}
    assert [(f.pod.path, f.container) for f in with_them] == [(f.pod.path, f.container) for f in without]
    assert all(f.script is not None and f.script.path == f.about for f in with_them)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("nginx", ("docker.io", "library/nginx", "latest", "")),
        ("nginx:1.27", ("docker.io", "library/nginx", "1.27", "")),
        ("shop/web", ("docker.io", "shop/web", "latest", "")),
        ("localhost/web:2", ("localhost", "web", "2", "")),
        ("registry.local:5000/a/b:3", ("registry.local:5000", "a/b", "3", "")),
        ("registry.local:5000/a/b", ("registry.local:5000", "a/b", "latest", "")),
        ("ghcr.io/a/b@sha256:12", ("ghcr.io", "a/b", "", "sha256:12")),
        ("", ("docker.io", "library/", "latest", "")),
    ],
)
def test_takes_image_names_apart(name: str, parts: tuple[str, str, str, str]) -> None:
    assert Image.parse(name) == parts


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        (["boot", "panic: no port", "goroutine 1 [running]:", "\t/app/main.go:3 +0x1"], "panic: no port"),
        (["Traceback (most recent call last):", '  File "a.py", line 1', "KeyError: 'PORT'"], "KeyError: 'PORT'"),
        (
            ["Error: Cannot find module 'x'", "    at Module._load (node:internal)", "", "Node.js v20.1.0"],
            "Error: Cannot find",
        ),
        (["I1122 09:42:21.804106       1 log.go:244] listening on :80"], "listening on :80"),
        (["one", "two", ""], "two"),
        (
            [
                "/etc/coredns/Corefile:13 - Error during parsing: Unknown directive 'forwrd'",
                "maxprocs: Leaving GOMAXPROCS=2: CPU quota undefined",
            ],
            "/etc/coredns/Corefile:13",
        ),
        (
            [
                "*** FATAL CONFIG FILE ERROR (Redis 7.2.4) ***",
                "Reading the configuration file, at line 2",
                ">>> 'bindd 0.0.0.0'",
                "Bad directive or wrong number of arguments",
            ],
            "Reading the configuration file, at line 2: 'bindd 0.0.0.0': Bad directive or wrong number of arguments",
        ),
        ([], ""),
        (
            [
                "Error: open /etc/app/config.yaml: no such file or directory",
                "Usage:",
                "  app serve [flags]",
                "",
                "Flags:",
            ],
            "Error: open /etc/app/config.yaml",
        ),
        (
            ["flag provided but not defined: -lisen", "Usage of /app:", "  -listen string", "    \taddress"],
            "flag provided but not defined: -lisen",
        ),
        (
            ["reading settings", "usage: app [-h]", "app: error: unrecognized arguments: --x"],
            "app: error: unrecognized",
        ),
    ],
)
def test_finds_the_line_that_tells(lines: list[str], line: str) -> None:
    assert telling([LogLine(text) for text in lines]).startswith(line)


def test_puts_exit_codes_into_words() -> None:
    assert exit_text(Terminated(exit_code=1)) == "exit code 1 (an error of the program)"
    assert exit_text(Terminated(exit_code=139)).startswith("exit code 139 (SIGSEGV:")
    assert exit_text(Terminated(exit_code=42)) == "exit code 42"


def test_knows_how_long_a_run_lived() -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    assert lifetime(Terminated(started_at=now, finished_at=now + timedelta(seconds=9))) == "9s"
    assert lifetime(Terminated(started_at=datetime(1970, 1, 1, tzinfo=UTC), finished_at=now)) == ""


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("Deployment", "kubectl -n shop edit deployment web   # env DB"),
        (
            "Pod",
            "kubectl -n shop get pod web -o yaml > web.yaml   # env DB, then: "
            "kubectl -n shop replace --force -f web.yaml",
        ),
        ("Job", "kubectl -n shop get job web -o yaml > web.yaml   # env DB, then: delete the Job and create it anew"),
        ("ConfigMap", "kubectl -n shop edit configmap web   # env DB"),
    ],
)
def test_what_cannot_be_edited_is_made_anew(kind: str, command: str) -> None:
    assert edit_template(Ref(kind, "web", "shop"), "env DB") == command


def test_a_log_that_was_read_of_one_pod_serves_the_others_of_its_controller_without_a_search() -> None:
    crashed = {"waiting": {"reason": "CrashLoopBackOff"}}
    end = {"terminated": {"exitCode": 1, "finishedAt": "2026-11-22T08:00:05Z"}}
    status = {"name": "c", "ready": False, "restartCount": 9, "state": crashed, "lastState": end}
    more: dict[str, Any] = {"conditions": [{"type": "Ready", "status": "False"}], "containerStatuses": [status]}
    seen = pods(*(raw(f"web-{n}", owner="u1" if n % 2 else "u2", **more) for n in range(40)))
    looked: list[str] = []

    class Watched(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            looked.append(key)
            return super().get(key, default)

    seen.__dict__["by_owner"] = Watched(seen.by_owner)
    lines = (LogLine("no database"),)
    logs = Logs(items=(ContainerLog(namespace="shop", pod="web-3", container="c", previous=True, lines=lines),))
    failures = Failures(pods=seen, owners=Owners(), jobs=Jobs(), cluster=Cluster()).all(None, logs)
    assert {(f.pod.owner.uid, f.log) for f in failures if f.pod.owner} == {("u1", lines), ("u2", ())}
    assert len(looked) < 5

"""Whatever a cluster, a server or a kubeconfig says, no byte of it drives a terminal."""

import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.runner import healthy_api, kdiag, lost_service
from tests.fakeapi import Answer, Fault

NASTY = (
    "\x1b]0;owned\x07\x1b[2J\x1b[31m\x9b31m\x9d52;c;aGk=\x9c\u202eevil\u202c\u2066x\u2069\u200b\ufeff\x00\x7f\r\b[/markup]"
    "[link=http://x]\u2028\u2029\U000e0041"
)


def assert_clean(text: str) -> None:
    """No character that moves a cursor, hides or reorders; line ends are kdiag's own."""
    bad = {c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp", "Co")}
    assert not bad, sorted(map(hex, map(ord, bad)))
    assert text.isascii() or text.encode("utf-8", "strict")


def hostile() -> dict[str, list[dict[str, Any]]]:
    """A cluster in which every free text is an attack, and something is wrong so that it is shown."""
    labels = {"app": "web", "note": NASTY}
    meta = {"namespace": "shop", "creationTimestamp": "2026-11-22T08:00:00Z", "annotations": {"a": NASTY}}
    container = {"name": "web", "image": f"nginx:{NASTY}", "env": [{"name": f"DB_HOST{NASTY}", "value": f"db{NASTY}"}]}
    waiting = {"reason": "ImagePullBackOff", "message": f"pull failed {NASTY}"}
    broken = {
        "metadata": {"name": f"web-{NASTY}", "labels": labels, "uid": "p1", **meta},
        "spec": {"nodeName": f"w1{NASTY}", "containers": [container]},
        "status": {
            "phase": "Pending",
            "message": NASTY,
            "conditions": [{"type": "Ready", "status": "False", "reason": NASTY, "message": NASTY}],
            "containerStatuses": [{"name": "web", "ready": False, "restartCount": 7, "state": {"waiting": waiting}}],
        },
    }
    ended = {"exitCode": 1, "reason": "Error", "message": NASTY, "finishedAt": "2026-11-22T08:00:00Z"}
    crashing = {
        "metadata": {"name": "crash-1", "labels": labels, "uid": "p2", **meta},
        "spec": {"nodeName": "w1", "containers": [{"name": "web", "image": "x"}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "False"}],
            "containerStatuses": [
                {
                    "name": "web",
                    "restartCount": 9,
                    "ready": False,
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": NASTY}},
                    "lastState": {"terminated": ended},
                }
            ],
        },
    }
    event = {
        "metadata": {"name": f"e{NASTY}", "namespace": "shop", "creationTimestamp": "2026-11-22T08:00:00Z"},
        "involvedObject": {"kind": "Pod", "namespace": "shop", "name": f"web-{NASTY}", "uid": "p1"},
        "type": "Warning",
        "reason": f"Failed{NASTY}",
        "message": f"Failed to pull image {NASTY}",
        "count": 3,
        "lastTimestamp": "2026-11-22T09:30:00Z",
    }
    node = {
        "metadata": {"name": f"n{NASTY}", "creationTimestamp": "2026-11-22T08:00:00Z"},
        "status": {"conditions": [{"type": "Ready", "status": "False", "reason": NASTY, "message": NASTY}]},
    }
    service = {
        "metadata": {"name": f"s{NASTY}", **meta},
        "spec": {"selector": {"app": f"webb{NASTY}"}, "ports": [{"name": NASTY, "port": 80, "targetPort": NASTY}]},
    }
    return {
        "/api/v1/pods": [broken, crashing],
        "/api/v1/events": [event],
        "/api/v1/nodes": [node],
        "/api/v1/services": [service],
        "/api/v1/namespaces": [{"metadata": {"name": "shop"}}],
    }


LOGS = {
    ("shop", "crash-1", "web", True): f"2026-11-22T08:00:00Z fatal: {NASTY} cannot open\n".encode(),
    ("shop", "crash-1", "web", False): b"2026-11-22T08:00:00Z \xff\xfe \x1b[31mraw\x9b\n",
}


@pytest.mark.parametrize("form", ["text", "wide", "json", "yaml"])
def test_check_over_a_hostile_cluster(tmp_path: Path, form: str) -> None:
    with healthy_api(hostile(), logs=LOGS, version=f"v1.36.3{NASTY}") as api:
        done = kdiag("check", "-o", form, "--kubeconfig", api.kubeconfig(tmp_path / "c"), home=tmp_path)
    assert done.returncode == 1, done.stderr
    assert_clean(done.stdout)
    assert_clean(done.stderr)
    assert "crash-1" in done.stdout  # it was looked at, not passed over
    if form == "json":
        assert done.stdout.isascii()
        for text in strings(json.loads(done.stdout)):
            assert_clean(text)
    if form == "yaml":
        for text in strings(yaml.safe_load(done.stdout)):
            assert_clean(text)


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


@pytest.mark.parametrize("form", ["text", "wide", "json"])
@pytest.mark.parametrize("target", ["shop/gone", "pod/shop/crash-1", "shop/db", "kube-system/kube-dns"])
def test_trace_over_a_hostile_cluster(tmp_path: Path, form: str, target: str) -> None:
    objects = hostile()
    for path, items in lost_service().items():
        objects[path] = [*objects[path], *items]
    with healthy_api(objects) as api:
        done = kdiag("trace", target, "-o", form, "--kubeconfig", api.kubeconfig(tmp_path / "c"), home=tmp_path)
    assert_clean(done.stdout)
    assert_clean(done.stderr)
    assert done.stdout


@pytest.mark.parametrize(
    "fault",
    [
        Fault.status(403, message=NASTY),
        Fault.status(500, message=NASTY),
        Fault.answer(Answer.text(NASTY, 503)),
        Fault.answer(Answer(body=NASTY.encode(), content_type="text/html")),
        Fault.answer(Answer.json({"kind": NASTY, "items": [{"metadata": {"name": NASTY}, "spec": NASTY}]})),
        Fault.redirect("http://x/%1b%5b31m"),
    ],
    ids=lambda f: f.name,
)
@pytest.mark.parametrize("words", [("check",), ("check", "-o", "wide"), ("check", "-o", "json"), ("doctor",)])
def test_a_hostile_answer_to_every_question(tmp_path: Path, fault: Fault, words: tuple[str, ...]) -> None:
    with healthy_api() as api:
        api.fault("/api/", fault)
        api.fault("/apis/", fault)
        config = api.kubeconfig(tmp_path / "c")
        done = kdiag(*words, "--timeout", "20s", "--kubeconfig", config, home=tmp_path)
    assert done.returncode == 3
    assert_clean(done.stdout)
    assert_clean(done.stderr)


@pytest.mark.parametrize("words", [("check",), ("check", "-o", "json"), ("doctor",), ("trace", "shop/x")])
def test_a_hostile_kubeconfig(tmp_path: Path, words: tuple[str, ...]) -> None:
    with healthy_api() as api:
        config = json.loads(api.kubeconfig(tmp_path / "c").read_text())
        config["current-context"] = config["contexts"][0]["name"] = f"ctx{NASTY}"
        config["contexts"][0]["context"]["user"] = config["users"][0]["name"] = f"user{NASTY}"
        (tmp_path / "c").write_text(json.dumps(config))
        done = kdiag(*words, "--kubeconfig", tmp_path / "c", home=tmp_path)
    assert "Traceback" not in done.stderr
    assert_clean(done.stdout)
    assert_clean(done.stderr)


def test_a_hostile_command_line(tmp_path: Path) -> None:
    for words in (("check", "\x1b[31mx"), ("explain", "\x1b]0;x\x07"), ("--context", "\x1b[2J", "check"), ("\x1b[2J",)):
        done = kdiag(*words, home=tmp_path)
        assert done.returncode == 2
        assert_clean(done.stdout + done.stderr)


def test_a_recording_under_a_hostile_name(tmp_path: Path) -> None:
    name = "\x1b]0;owned\x07\u202eevil"
    with healthy_api() as api:
        kubeconfig = api.kubeconfig(tmp_path / "config")
        ran = kdiag("record", name, "--kubeconfig", kubeconfig, home=tmp_path)
        assert ran.returncode == 0, ran.stderr
        assert_clean(ran.stdout)
        assert_clean(ran.stderr)
        assert (tmp_path / name / "kdiag-snapshot.json").exists()
        ran = kdiag("record", "", "--kubeconfig", kubeconfig, home=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "name a folder" in ran.stderr

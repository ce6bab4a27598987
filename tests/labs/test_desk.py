"""``kdiag lab`` as a user types it: a process of its own, against a cluster that takes writes."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.cli.runner import kdiag, started
from tests.labs.fakecluster import WritableAPI
from tests.labs.test_game import OBJECTS
from tests.sshd import wait_for

Lab = Callable[..., "CompletedProcess[str]"]


@pytest.fixture
def api() -> Iterator[WritableAPI]:
    with WritableAPI(OBJECTS) as found:
        yield found


@pytest.fixture
def lab(tmp_path: Path, api: WritableAPI) -> Lab:
    config = api.kubeconfig(tmp_path / "config")

    def run(*words: str) -> CompletedProcess[str]:
        return kdiag("lab", *words, home=tmp_path, env={"KUBECONFIG": str(config)})

    return run


def test_a_whole_session(lab: Lab, api: WritableAPI) -> None:
    before = api.everything()
    assert lab("enable", "--yes").returncode == 0
    begun = lab("start", "ingress_class_missing", "--seed", "3")
    assert begun.returncode == 0, begun.stderr
    assert "Ingress site in namespace" in begun.stdout
    assert "min left" in begun.stdout or "m" in begun.stdout
    assert "ingress_class_missing" not in begun.stdout
    assert lab("start", "--random").returncode == 2
    failing = lab("check", "--wait", "0")
    assert failing.returncode == 1
    assert failing.stdout.startswith("fail Ingress")
    assert "hint 1 of 3" in lab("hint").stdout
    state = json.loads(lab("status", "-o", "json").stdout)
    assert state["tasks"][0]["hints"] == 1
    [ingress] = api.store["/apis/networking.k8s.io/v1/ingresses"].values()
    ingress["spec"]["ingressClassName"] = ingress["spec"]["ingressClassName"] + "s"
    solved = lab("check", "--wait", "0")
    assert solved.returncode == 0
    assert "solved, 90 points" in solved.stdout
    assert "kdiag explain network/ingress_class_missing" in lab("solve").stdout
    assert lab("disable").returncode == 2, "not while a lab is under way"
    ended = lab("stop")
    assert (ended.returncode, ended.stdout) == (0, "the cluster is as it was; score 90 of 100\n")
    assert "network/ingress_class_missing, solved after" in lab("score").stdout
    assert json.loads(lab("score", "-o", "json").stdout)[0]["score"] == 90
    assert lab("disable").returncode == 0
    assert api.everything() == before


def test_a_cluster_without_the_mark_is_refused(lab: Lab, api: WritableAPI) -> None:
    before = api.everything()
    refused = lab("start", "--random")
    assert refused.returncode == 2
    assert "not marked for practice" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert api.everything() == before


def test_nobody_marks_a_cluster_by_accident(lab: Lab, api: WritableAPI) -> None:
    asked = lab("enable")
    assert asked.returncode == 2
    assert "nobody is there to be asked" in asked.stderr
    assert "workloads  0" in asked.stdout
    assert ("kube-system", "kdiag-practice") not in api.store["/api/v1/configmaps"]


def test_an_exam_that_is_too_large_is_refused(lab: Lab, api: WritableAPI) -> None:
    lab("enable", "--yes")
    refused = lab("start", "--exam", "500")
    assert refused.returncode == 2
    assert "can stand side by side" in refused.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("start",), "name scenarios, or write --random"),
        (("start", "--random", "--exam", "2"), "name scenarios, or write --random"),
        (("start", "no_such_thing"), "no scenario is called"),
        (("stop",), "no lab is under way"),
        (("check",), "no lab is under way"),
        (("hint", "7"), "no lab is under way"),
        (("enable", "--yes", "--image", "nginx"), "is not NAME=IMAGE"),
        (("start", "kubelet_stopped"), "not marked for practice"),
        (("bogus",), "is none of enable, disable"),
    ],
)
def test_what_makes_no_sense_is_one_line(lab: Lab, words: tuple[str, ...], says: str) -> None:
    done = lab(*words)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_the_list_names_no_fault_unless_asked(lab: Lab) -> None:
    plain = lab("list").stdout
    assert "selector" not in plain
    assert "network/service_selector_misses" in lab("list", "-o", "wide").stdout
    rows = json.loads(lab("list", "-o", "json", "--group", "network", "--difficulty", "easy").stdout)
    assert {(r["group"], r["difficulty"]) for r in rows} == {("network", "easy")}


def test_flags_of_the_cluster_may_stand_anywhere(tmp_path: Path, api: WritableAPI) -> None:
    config = str(api.kubeconfig(tmp_path / "config"))
    for words in (
        ("--kubeconfig", config, "lab", "enable", "--yes"),
        ("lab", "enable", "--yes", "--kubeconfig", config),
    ):
        done = kdiag(*words, home=tmp_path)
        assert done.returncode == 0, (words, done.stderr)


def test_without_docker_and_podman_it_says_what_to_install(tmp_path: Path) -> None:
    done = kdiag("lab", "up", home=tmp_path, env={"PATH": "/nowhere"})
    assert done.returncode == 2
    assert "kind" in done.stderr


def test_an_interrupt_leaves_a_record_that_stop_takes_back(tmp_path: Path, api: WritableAPI, lab: Lab) -> None:
    before = api.everything()
    lab("enable", "--yes")
    # Its set-up waits for a claim that nobody binds here.
    process = started("lab", "start", "volume_released", home=tmp_path, KUBECONFIG=str(tmp_path / "config"))
    with process:
        wait_for(lambda: bool(api.store["/api/v1/persistentvolumeclaims"]))
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert "did not come to its end" in lab("status").stdout
    assert lab("stop").returncode == 0
    lab("disable")
    assert api.everything() == before

"""``kdiag lab`` as a user types it: a process of its own, against a cluster that takes writes."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace

import pexpect
import pytest

from kdiag.lab.desk import Desk
from kdiag.lab.scenario import find
from tests.cli.runner import KDIAG, environment, kdiag, started
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
    assert "is set as the task wants it: not yet" in failing.stdout
    assert "ingressClassName" not in failing.stdout, "that would be the solution"
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


def test_a_risk_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    for scenario in ("disruption_budget_too_strict", "readiness_probe_port"):
        desk, found = Desk.__new__(Desk), find(scenario)
        one = SimpleNamespace(scenario=found, explain=found.explain)
        monkeypatch.setattr(desk, "_game", lambda one=one: SimpleNamespace(solve=lambda _: one), raising=False)
        monkeypatch.setattr(desk, "_number", lambda: 1, raising=False)
        monkeypatch.setattr(desk, "_width", 80, raising=False)
        monkeypatch.setattr(desk, "_say", lambda *words: said.extend(words), raising=False)
        assert desk._solve() == 0
    assert sum("kdiag check --risks" in text for text in said) == 1


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
        (("enable", "--yes", "--image", "ngnix=mine:1"), "names no image of the lab: nginx"),
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


KIND = """#!/bin/sh
# As kind 0.33: what there is on standard output, what it does on standard error, the context in the kubeconfig.
echo "$KIND_EXPERIMENTAL_PROVIDER $*" >> "$HOME/asked"
case "$1 $2" in
"get clusters") test -s "$HOME/cluster" && cat "$HOME/cluster" || echo 'No kind clusters found.' >&2 ;;
"create cluster")
  cat > "$HOME/config"
  test -z "$FAILS" || { echo 'ERROR: failed to create cluster: failed to pull image' >&2; exit 1; }
  echo "$4" > "$HOME/cluster" ;;
*) exit 1 ;;
esac
"""


def programs(folder: Path, **scripts: str) -> dict[str, str]:
    """A PATH with these programs and the shell, and nothing else."""
    folder.mkdir(exist_ok=True)
    for name, script in scripts.items():
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    for name in ("sh", "cat", "test"):
        if not (folder / name).exists():
            (folder / name).symlink_to(str(shutil.which(name)))
    return {"PATH": str(folder)}


RUNS = "#!/bin/sh\nexit 0\n"
DOWN = "#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2; exit 1\n"


def test_up_makes_a_cluster_with_kind_and_makes_it_once(tmp_path: Path) -> None:
    env = programs(tmp_path / "bin", docker=RUNS, kind=KIND)
    for _ in range(2):
        done = kdiag("lab", "up", home=tmp_path, env=env)
        assert (done.returncode, done.stderr.replace("No kind clusters found.", "").strip()) == (0, "")
        assert "kdiag lab enable --context kind-kdiag-practice" in done.stdout
    asked = (tmp_path / "asked").read_text().splitlines()
    assert [line.split()[:2] for line in asked] == [["get", "clusters"], ["create", "cluster"], ["get", "clusters"]]
    assert "--name kdiag-practice" in asked[1]
    assert (tmp_path / "config").read_text().count("role: worker") == 2


def test_up_takes_podman_where_docker_is_not_running(tmp_path: Path) -> None:
    done = kdiag("lab", "up", home=tmp_path, env=programs(tmp_path / "bin", docker=DOWN, podman=RUNS, kind=KIND))
    assert done.returncode == 0
    assert all(line.startswith("podman ") for line in (tmp_path / "asked").read_text().splitlines())


@pytest.mark.parametrize(
    ("scripts", "says"),
    [
        ({"docker": DOWN, "kind": KIND}, "docker is here and does not answer: see why with: docker ps"),
        ({"podman": RUNS}, "podman is here, and kind is not"),
        ({"docker": RUNS, "kind": DOWN}, "kind does not answer (exit 1): Cannot connect to the Docker daemon"),
        ({"docker": RUNS, "kind": KIND.replace("test -z", "false")}, "kind could not make the cluster (exit 1)"),
    ],
)
def test_what_keeps_up_from_a_cluster_is_one_line(tmp_path: Path, scripts: dict[str, str], says: str) -> None:
    done = kdiag("lab", "up", home=tmp_path, env=programs(tmp_path / "bin", **scripts))
    assert done.returncode == 2
    assert says in done.stderr.splitlines()[-1]


def test_the_prose_of_a_task_is_no_wider_than_the_terminal(tmp_path: Path, lab: Lab) -> None:
    lab("enable", "--yes")
    assert lab("start", "ingress_class_missing", "--seed", "3").returncode == 0
    env = environment(tmp_path, TERM="xterm", KUBECONFIG=str(tmp_path / "config"))
    child = pexpect.spawn(
        KDIAG[0], [*KDIAG[1:], "lab", "status"], env=env, cwd=str(tmp_path), encoding="utf-8", dimensions=(24, 70)
    )
    lines = str(child.read()).splitlines()
    child.close()
    assert "Repair it." in " ".join(lines)
    assert all(len(line) <= 70 for line in lines), lines
    lab("stop")


def test_a_lab_under_way_is_said_before_the_cluster_is_asked(tmp_path: Path, api: WritableAPI, lab: Lab) -> None:
    lab("enable", "--yes")
    assert lab("start", "ingress_class_missing").returncode == 0
    api.down = True
    again = lab("start", "--random")
    api.down = False
    assert (again.returncode, again.stdout) == (2, "")
    assert "a lab is under way already" in again.stderr
    lab("stop")


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

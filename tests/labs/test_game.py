"""A session against a cluster that takes writes and nodes that are folders: started, broken off, put back."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from kdiag.collect.inventory import Inventory
from kdiag.collect.kubeconfig import Overrides, load
from kdiag.errors import CollectError, LabError
from kdiag.lab import game as module
from kdiag.lab import ground as grounds
from kdiag.lab.game import Game, score, total
from kdiag.lab.hosts import Hosts
from kdiag.lab.proof import Witness, prove
from kdiag.lab.record import Store, Task
from kdiag.lab.scenario import Scenario, parse
from tests.fakeapi import Fault
from tests.labs.fakecluster import FolderHosts, WritableAPI

NODES = ("cp1", "w1", "w2")


def node(name: str) -> dict[str, Any]:
    labels = {
        "kubernetes.io/hostname": name,
        **({"node-role.kubernetes.io/control-plane": ""} if name == "cp1" else {}),
    }
    addresses = [{"type": "InternalIP", "address": "127.0.0.1"}]
    ready = [{"type": "Ready", "status": "True"}]
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {},
        "status": {"addresses": addresses, "conditions": ready},
    }


COREDNS = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "coredns", "namespace": "kube-system", "generation": 1},
    "spec": {"replicas": 2, "selector": {"matchLabels": {"k8s-app": "kube-dns"}}},
    "status": {"observedGeneration": 1, "replicas": 2, "readyReplicas": 2, "updatedReplicas": 2},
}
OBJECTS: dict[str, list[dict[str, Any]]] = {
    "/api/v1/nodes": [node(n) for n in NODES],
    "/api/v1/namespaces": [{"metadata": {"name": n}} for n in ("default", "kube-system")],
    "/apis/apps/v1/deployments": [COREDNS],
}
GROUND = grounds.Ground(
    server="https://x",
    context="x",
    nodes=tuple(map(node, NODES)),
    workloads=(),
    static=True,
    marked=True,
    accepted=frozenset(),
    images={},
)
MANIFEST = "/etc/kubernetes/manifests/kube-scheduler.yaml"


class Nobody:
    """No way to any node."""

    def reaches(self, node: str) -> bool:
        return False

    def run(self, node: str, script: str, *, seconds: float = 60) -> str:
        raise CollectError("no way")


class Place:
    """One user with one cluster."""

    def __init__(self, folder: Path, api: WritableAPI) -> None:
        self.api = api
        self.environ = {"HOME": str(folder), "XDG_STATE_HOME": str(folder / "state"), "PATH": os.environ["PATH"]}
        self.config = api.kubeconfig(folder / "config")
        self.hosts = FolderHosts(folder / "nodes", NODES)
        for name in NODES:
            self.hosts.file(name, "/var/lib/kubelet/config.yaml").write_text("authentication:\n  x509: pki/ca.crt\n")
            self.hosts.file(name, "/etc/cni/net.d/10-net.conflist").write_text('{"name": "net"}')
        self.hosts.file("cp1", MANIFEST).write_text("spec:\n    - kube-scheduler\n    - --leader-elect=true\n")
        self.hosts.file("cp1", MANIFEST).chmod(0o600)
        self.store = Store(self.environ)

    def game(self, hosts: Hosts | None = None) -> Game:
        """kdiag started anew: nothing is remembered but what is on disk."""

        def of(machines: Mapping[str, Sequence[str]]) -> Hosts:
            return hosts or self.hosts

        return Game(
            lambda: load(Overrides(kubeconfig=str(self.config)), self.environ), Inventory(self.environ),
            Store(self.environ), environ=self.environ, wait=lambda s: None, hosts=of,
        )  # fmt: skip

    def enable(self) -> None:
        game = self.game()
        grounds.enable(game.api, grounds.look(game.api), {})


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with WritableAPI(OBJECTS) as api:
        yield Place(tmp_path, api)


def scenario(breaks: str, proof: str = "[{absent: Namespace/kube-system}]", more: str = "") -> Scenario:
    """A scenario whose proof never holds unless it says otherwise."""
    return parse(
        "control_plane/made_up",
        "title: t\ntask: do\ndomain: storage\ndifficulty: easy\nminutes: 5\nhints: [first, second, third]\nexplain: e\n"
        f"cause: {{check: application/job_failed, object: Job/$ns/a}}\nproof: {proof}\n{more}\nbreak:\n{breaks}",
    )


EDIT = f"  - {{node: cp1, edit: {MANIFEST}, sed: 's/- kube-scheduler$$/- kube-schedulr/'}}\n"
REMOVE = "  - {node: w1, remove: /etc/cni/net.d, restart: containerd}\n"
STOP = "  - {node: w1, unit: kubelet, do: stop+disable}\n"
SCALE = "  - {scale: Deployment/kube-system/coredns, to: 0}\n"
CORDON = "  - {patch: Node/w1, merge: {spec: {unschedulable: true}}}\n"
WEBHOOK = "  - {kind: ValidatingWebhookConfiguration, metadata: {name: guard}, webhooks: []}\n"
OWN = "  - {app: workload, name: web}\n"
ALL = EDIT + REMOVE + STOP + SCALE + CORDON + WEBHOOK + OWN


@pytest.fixture(autouse=True)
def _shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenarios of this test are found beside those that are shipped."""
    from kdiag.lab.scenario import scenarios

    monkeypatch.setattr(module, "scenarios", lambda: {**scenarios(), "control_plane/made_up": scenario(ALL)})


def test_nothing_is_broken_on_a_cluster_without_the_mark(place: Place) -> None:
    before = place.api.everything()
    with pytest.raises(LabError, match="not marked for practice"):
        place.game().start([(scenario(ALL), 1)])
    assert place.api.everything() == before
    assert place.hosts.ran == []
    assert place.store.session() is None


def test_a_workload_that_was_not_there_before_ends_it(place: Place) -> None:
    place.enable()
    place.api.store["/apis/apps/v1/deployments"][("prod", "pay")] = {"metadata": {"name": "pay", "namespace": "prod"}}
    with pytest.raises(LabError, match="Deployment/prod/pay"):
        place.game().start([(scenario(ALL), 1)])
    place.enable()  # its owner says that it may be lost
    place.game().start([(scenario(SCALE), 1)])


def test_a_cluster_full_of_work_is_not_marked(place: Place) -> None:
    kept = place.api.store["/apis/apps/v1/deployments"]
    for number in range(61):
        kept[("prod", f"d{number}")] = {"metadata": {"name": f"d{number}", "namespace": "prod"}}
    with pytest.raises(LabError, match="61 workloads run here"):
        place.enable()


def test_everything_is_broken_and_everything_is_put_back(place: Place) -> None:
    place.enable()
    objects, files = place.api.everything(), {n: place.hosts.files(n) for n in NODES}
    session = place.game().start([(scenario(ALL), 1)])
    assert "kube-schedulr" in place.hosts.file("cp1", MANIFEST).read_text()
    assert not place.hosts.file("w1", "/etc/cni/net.d").exists()
    assert place.hosts.asked("w1")[-2:] == ["systemctl stop kubelet", "systemctl disable kubelet"]
    assert place.api.there("Deployment", "kube-system", "coredns")["spec"]["replicas"] == 0  # type: ignore[index]
    assert place.api.there("Node", "", "w1")["spec"]["unschedulable"] is True  # type: ignore[index]
    assert session.phase == "running"
    assert place.game().stop() == []
    assert {n: place.hosts.files(n) for n in NODES} == files
    assert place.hosts.file("cp1", MANIFEST).stat().st_mode & 0o777 == 0o600
    assert "systemctl enable kubelet" in place.hosts.asked("w1")
    assert place.hosts.asked("w1").count("systemctl start kubelet") == 1
    after = place.api.everything()
    assert not after["/api/v1/nodes /w1"]["spec"].pop("unschedulable", None)
    assert after == objects
    assert place.store.session() is None


@pytest.mark.parametrize("steps", range(5))
def test_a_crash_in_the_middle_is_put_back(place: Place, steps: int) -> None:
    place.enable()
    objects, files = place.api.everything(), {n: place.hosts.files(n) for n in NODES}
    place.hosts.fails_after = steps
    broken = SCALE + EDIT + CORDON + REMOVE + STOP + EDIT.replace("schedulr", "x") + WEBHOOK
    with pytest.raises((KeyboardInterrupt, LabError)):
        place.game().start([(scenario(broken), 1)])
    place.hosts.fails_after = -1
    with pytest.raises(LabError, match=r"kdiag lab stop (ends|takes) it"):
        place.game().start([(scenario(SCALE), 1)])
    assert place.game().stop() == []
    assert {n: place.hosts.files(n) for n in NODES} == files
    after = place.api.everything()
    after["/api/v1/nodes /w1"]["spec"] = {}
    assert after == objects


def test_a_start_that_fails_takes_back_what_it_did(place: Place) -> None:
    place.enable()
    objects, files = place.api.everything(), place.hosts.files("cp1")
    with pytest.raises(LabError, match="nothing to change"):
        place.game().start([(scenario(SCALE + EDIT + EDIT), 1)])
    assert place.api.everything() == objects
    assert place.hosts.files("cp1") == files
    assert place.store.session() is None


def test_every_change_is_on_disk_before_it_is_made(place: Place) -> None:
    place.enable()
    seen: list[int] = []

    class Watched(FolderHosts):
        def __init__(self) -> None:
            self.inner = place.hosts

        def reaches(self, node: str) -> bool:
            return True

        def run(self, node: str, script: str, *, seconds: float = 60) -> str:
            session = place.store.session()
            assert session
            seen.append(len([c for c in session.changes if c.node]))
            return self.inner.run(node, script, seconds=seconds)

    place.game(Watched()).start([(scenario(EDIT + REMOVE + STOP), 1)])
    assert seen == [1, 2, 3]


def test_no_pod_is_asked_where_a_quick_line_of_the_proof_shows_it(place: Place) -> None:
    place.enable()
    proof = "[{serves: 'Service/web:80'}, {schedules: true}, {absent: Namespace/kube-system}]"
    place.game().start([(scenario(SCALE, proof), 1)])
    assert not [r for r in place.api.requests if r.method == "POST" and r.path.endswith("/pods")]


def test_stopping_twice_and_a_dead_api_server_change_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_API_SECONDS", 0.0)
    place.enable()
    files = place.hosts.files("cp1")
    place.game().start([(scenario(EDIT + SCALE), 1)])
    place.api.down = True
    with pytest.raises(LabError, match="does not answer yet"):
        place.game().stop()
    assert place.hosts.files("cp1") == files, "the nodes are put back first"
    place.api.down = False
    assert place.game().stop() == []
    assert place.api.there("Deployment", "kube-system", "coredns")["spec"]["replicas"] == 2  # type: ignore[index]
    with pytest.raises(LabError, match="no lab is under way"):
        place.game().stop()


def test_what_crashed_without_an_api_server_does_not_wait_for_its_back_off(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = scenario(EDIT, more="api_dies: true")
    monkeypatch.setattr(module, "scenarios", lambda: {dead.id: dead})
    place.enable()
    place.game().start([(dead, 1)])
    assert place.game().stop() == []
    assert place.hosts.asked("cp1")[-1] == "systemctl restart kubelet"
    assert place.hosts.asked("w1") == []


def test_a_manifest_of_the_api_server_that_is_put_back_starts_it_anew_too(place: Place) -> None:
    manifest = "/etc/kubernetes/manifests/kube-apiserver.yaml"
    place.hosts.file("cp1", manifest).write_text("port: 6443\n")
    place.enable()
    place.game().start([(scenario(f"  - {{node: cp1, edit: {manifest}, sed: s/6443/6433/}}\n"), 1)])
    assert place.game().stop() == []
    assert place.hosts.asked("cp1")[-1] == "systemctl restart kubelet"


def test_an_api_server_that_restarts_in_the_midst_of_it_is_waited_for(place: Place) -> None:
    place.enable()
    objects = place.api.everything()
    place.game().start([(scenario(EDIT + SCALE + WEBHOOK), 1)])
    place.api.fault("/apis/", Fault.reset(), first=2)
    assert place.game().stop() == []
    assert place.api.everything() == objects


def test_a_node_that_cannot_be_reached_stays_in_the_record(place: Place) -> None:
    place.enable()
    files = place.hosts.files("w1")
    place.game().start([(scenario(REMOVE + SCALE), 1)])
    place.hosts.dead.add("w1")
    left = place.game().stop()
    assert len(left) == 1
    assert "no route to host" in left[0]
    place.hosts.dead.clear()
    assert place.game().stop() == []
    assert place.hosts.files("w1") == files


def test_what_the_student_repaired_is_left_alone(place: Place) -> None:
    place.enable()
    place.game().start([(scenario(EDIT), 1)])
    path = place.hosts.file("cp1", MANIFEST)
    path.write_text(path.read_text().replace("schedulr", "scheduler"))
    stamp = path.stat().st_ino, path.stat().st_mtime_ns
    assert place.game().stop() == []
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == stamp


def test_another_cluster_is_not_restored_by_mistake(place: Place, tmp_path: Path) -> None:
    place.enable()
    place.game().start([(scenario(SCALE), 1)])
    with WritableAPI(OBJECTS) as other:
        place.config = other.kubeconfig(tmp_path / "other")
        with pytest.raises(LabError, match="the lab runs on"):
            place.game().stop()


def test_hints_cost_points_and_a_solution_all_of_them(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.enable()
    made = scenario(SCALE, proof="[{ready: Deployment/kube-system/coredns, replicas: 2}, {api: true}]")
    monkeypatch.setattr(module, "scenarios", lambda: {made.id: made})
    place.game().start([(made, 1)])
    lines = place.game().check(patience=0)[0]
    assert [line.holds for line in lines] == [False, True]
    assert "expected" in lines[0].seen or "ready" in lines[0].seen
    assert place.game().hint()[0] == "first"
    assert place.game().hint()[0] == "second"
    deployment = place.api.store["/apis/apps/v1/deployments"][("kube-system", "coredns")]
    deployment["spec"]["replicas"] = 2
    assert all(line.holds for line in place.game().check(patience=0)[0])
    session = place.store.session()
    assert session
    assert total(session) == 80.0
    place.game().solve()
    session = place.store.session()
    assert session
    assert total(session) == 80.0, "solved before it was shown"
    assert session.tasks[0].held == [False, True]
    assert place.game().stop() == []
    assert [a.score for a in place.store.history()] == [80.0]


def test_partial_credit_late_and_shown() -> None:
    class Session:
        started, exam = 0.0, False

    def points(**task: Any) -> float:
        return score(Task(scenario="x", seed=1, values={}, **task), Session, 5).points  # type: ignore[arg-type]

    assert points() == 0
    assert points(passed=[True, False]) == 50
    assert points(passed=[True, True], solved=10.0) == 100
    assert points(passed=[True, True], solved=301.0) == 50
    assert points(passed=[True, True], solved=10.0, hints=3) == 70
    assert points(passed=[True, True], solved=10.0, shown=True) == 0


def test_what_held_all_the_time_gives_no_points() -> None:
    class Session:
        started, exam = 0.0, True

    def points(passed: list[bool], held: list[bool]) -> float:
        task = Task(scenario="x", seed=1, values={}, passed=passed, held=held)
        return score(task, Session, 5).points  # type: ignore[arg-type]

    assert points([False, True], [False, True]) == 0, "nothing was done"
    assert points([True, False], [False, True]) == 0, "mended by what the task forbids"
    assert points([True, True], [False, True]) == 100
    assert points([True, False, True], [False, False, True]) == 50
    assert points([True, True], [True, True]) == 100


@pytest.mark.parametrize("text", ['{"id": 1}', "not json", ""])
def test_a_record_that_cannot_be_read_is_said_and_not_overwritten(place: Place, text: str) -> None:
    place.store.folder.mkdir(parents=True)
    path = place.store.folder / "session.json"
    path.write_text(text)
    for act in (place.game().stop, place.game().check, lambda: place.game().start([(scenario(SCALE), 1)])):
        with pytest.raises(LabError, match="cannot be read"):
            act()
    assert path.read_text() == text


def test_no_secret_reaches_the_record(place: Place) -> None:
    place.enable()
    kept = "/etc/kubernetes/scheduler.conf"
    place.hosts.file("cp1", kept).write_text("server: https://x:6443\nclient-key-data: TOPSECRET\n")
    edit = f"  - {{node: cp1, edit: {kept}, sed: 's/:6443/:6445/'}}\n"
    secret = "  - {kind: Secret, metadata: {name: a}, stringData: {p: TOPSECRET}}\n"
    place.game().start([(scenario(edit + secret), 1)])
    assert "TOPSECRET" not in (place.store.folder / "session.json").read_text()
    assert (place.store.folder / "session.json").stat().st_mode & 0o777 == 0o600
    assert place.game().stop() == []
    assert "6443" in place.hosts.file("cp1", kept).read_text()


def test_a_secret_of_others_and_a_path_outside_are_refused(place: Place) -> None:
    place.enable()
    place.api.store["/api/v1/secrets"][("kube-system", "token")] = {
        "metadata": {"name": "token", "namespace": "kube-system"}
    }
    for step, why in (
        ("  - {patch: Secret/kube-system/token, merge: {data: {}}}\n", "does not touch Secret"),
        ("  - {node: cp1, remove: /etc/passwd}\n", "does not change /etc/passwd"),
        ("  - {node: cp1, remove: /etc/kubernetes/../passwd}\n", "does not change"),
        ("  - {node: cp1, unit: 'kubelet; reboot', do: stop}\n", "is no unit"),
        ("  - {node: cp1, unit: kubelet, do: reboot}\n", "is nothing that a lab does"),
    ):
        with pytest.raises(LabError, match=why):
            place.game().start([(scenario(step), 1)])


def test_two_commands_do_not_change_the_lab_at_once(place: Place) -> None:
    with place.store.alone(), pytest.raises(LabError, match="another kdiag lab command"), Store(place.environ).alone():
        pass


def test_a_finalizer_does_not_hold_what_is_put_back(place: Place) -> None:
    place.enable()
    step = "  - {kind: PersistentVolume, metadata: {name: v, finalizers: [example.com/x]}, spec: {}}\n"
    place.game().start([(scenario(step), 1)])
    assert place.game().stop() == []
    assert place.api.there("PersistentVolume", "", "v") is None


def test_an_old_namespace_of_the_same_name_is_not_taken_over(place: Place) -> None:
    place.enable()
    drawn = scenario(SCALE).resolve(1, {})
    place.api.store["/api/v1/namespaces"][("", drawn.values["ns"])] = {"metadata": {"name": drawn.values["ns"]}}
    with pytest.raises(LabError, match="exists already"):
        place.game().start([(scenario(SCALE), 1)])
    assert place.api.there("Namespace", "", drawn.values["ns"]) is not None


def test_a_session_of_another_version_can_still_be_stopped(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.enable()
    objects = place.api.everything()
    place.game().start([(scenario(SCALE), 1)])
    monkeypatch.setattr(module, "scenarios", dict)
    with pytest.raises(LabError, match="no scenario of this version"):
        place.game().check()
    assert place.game().stop() == []
    assert place.api.everything() == objects


def test_a_proof_holds_the_student_to_the_node_and_to_the_labels_of_the_task(place: Place) -> None:
    pods = place.api.store["/api/v1/pods"]
    witness = Witness(api=place.game().api, hosts=place.hosts, values={"ns": "a"}, machines={}, wait=lambda s: None)

    def stand(*where: str) -> None:
        pods.clear()
        for name, machine in enumerate(where):
            meta = {"name": f"dns-{name}", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}}
            ready = {"conditions": [{"type": "Ready", "status": "True"}]}
            pods["kube-system", f"dns-{name}"] = {"metadata": meta, "spec": {"nodeName": machine}, "status": ready}

    def seen(**item: Any) -> tuple[bool, str]:
        (line,) = prove(witness, [item], 0)
        return line.holds, line.seen

    stand("w1", "w1")
    assert seen(ready="Deployment/kube-system/coredns", node="w1") == (True, "")
    stand("w1", "cp1")
    assert seen(ready="Deployment/kube-system/coredns", node="w1") == (False, "it runs on cp1")
    assert seen(none="Node", label="disk") == (True, "")
    name = "kubernetes.io/hostname"
    assert seen(none="Node", label=name, **{"is": "w9"}) == (True, "")
    assert seen(none="Node", label=name, **{"is": "w1"}) == (False, f"w1 has {name}=w1")
    assert seen(none="Node", label=name) == (False, f"cp1, w1, w2 have {name}")


def test_a_rollout_that_is_not_over_says_what_is_still_there(place: Place) -> None:
    coredns = place.api.store["/apis/apps/v1/deployments"]["kube-system", "coredns"]
    coredns["status"] |= {"replicas": 3}
    witness = Witness(api=place.game().api, hosts=place.hosts, values={"ns": "a"}, machines={}, wait=lambda s: None)
    (line,) = prove(witness, [{"ready": "Deployment/kube-system/coredns"}], 0)
    assert line.seen == "2 of 2 ready, 1 of an older version still there"

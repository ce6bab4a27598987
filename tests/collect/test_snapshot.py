"""A recording holds what was seen, less the secrets, and says when it was cut short or changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kdiag.collect.snapshot import INDEX, Recorder, Snapshot
from kdiag.errors import SnapshotError
from kdiag.model.observation import Observation

CANARY = "c4nary-hunter2-value"
POD = {
    "metadata": {"name": "web", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": CANARY},
                 "managedFields": [{"manager": "kubectl", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:x": {}}}]},
    "spec": {"containers": [{
        "env": [{"name": "DB_PASSWORD", "value": CANARY}, {"name": "URL", "value": f"postgres://app:{CANARY}@db/x"}],
        "args": [f"--password={CANARY}", "--token", CANARY, "--listen=:80"],
        "command": ["sh", "-c", f"mysql --password={CANARY}"],
    }]},
}  # fmt: skip
CONFIG = {
    "metadata": {"name": "c"},
    "data": {"db-password": CANARY, "host": "db", "tls.key": f"-----BEGIN PRIVATE KEY-----\n{CANARY}"},
}


def record(folder: Path, *seen: Observation) -> Path:
    recorder = Recorder(folder)
    for one in seen:
        recorder.take(one)
    recorder.finish(["a note"])
    return folder


def page(*items: object, key: str = "pods") -> Observation:
    return Observation("api", key, body=json.dumps({"items": items}).encode())


def test_what_was_observed_comes_back_in_order(tmp_path: Path) -> None:
    seen = [
        page({"metadata": {"name": "a"}}), page({"metadata": {"name": "b"}}),
        Observation("api", "nodes", error="403 Forbidden"), Observation("api", "x", absent=True),
        Observation("api", "log", name="shop/a/c/previous", body=b"panic"),
    ]  # fmt: skip
    back = list(Snapshot(record(tmp_path / "s", *seen)).observations())
    assert [(o.key, o.error, o.absent, o.name) for o in back] == [(o.key, o.error, o.absent, o.name) for o in seen]
    assert json.loads(bytes(back[1].body))["items"][0]["metadata"]["name"] == "b"
    assert bytes(back[4].body) == b"panic"


def test_no_credential_reaches_the_disk_and_what_was_taken_out_is_counted(tmp_path: Path) -> None:
    log = Observation("api", "log", name="a/b/c/current", body=f"login with password={CANARY} failed".encode())
    secret = {"kind": "Secret", "metadata": {"name": "s"}, "data": {"x": CANARY}}
    folder = record(tmp_path / "s", page(POD), page(CONFIG, key="configmaps"), page(secret, key="others"), log)
    for path in folder.rglob("*"):
        assert path.is_dir() or CANARY not in path.read_text(), path
    assert json.loads((folder / INDEX).read_text())["redacted"] >= 9


@pytest.mark.parametrize("depth", [600, 100_000])
def test_what_is_nested_without_end_is_not_recorded_and_says_so(tmp_path: Path, depth: int) -> None:
    body = json.dumps({"items": [POD]}).replace('"web"', "[" * depth + "]" * depth, 1).encode()
    folder = record(tmp_path / "s", Observation("api", "pods", body=body), page(CONFIG, key="configmaps"))
    pods, configmaps = Snapshot(folder).observations()
    assert (bytes(pods.body), pods.error) == (b"", "it was not recorded: it is nested too deeply")
    assert not configmaps.error
    assert not any(CANARY in path.read_text() for path in folder.rglob("*") if path.is_file())


def test_equal_values_stay_equal_in_one_recording(tmp_path: Path) -> None:
    one = {"env": [{"name": "DB_PASSWORD", "value": CANARY}, {"name": "ROOT_PASSWORD", "value": CANARY}]}
    back = list(Snapshot(record(tmp_path / "s", page(one))).observations())
    first, second = json.loads(bytes(back[0].body))["items"][0]["env"]
    assert first["value"] == second["value"] != CANARY


def test_a_short_password_of_a_configmap_is_taken_out_and_equals_that_of_a_variable(tmp_path: Path) -> None:
    pod = {"env": [{"name": "MYSQL_ROOT_PASSWORD", "value": "pw"}]}
    seen = page(pod), page({"data": {"DB_PASSWORD": "pw", "DB_USER": "me"}}, key="configmaps")
    back = list(Snapshot(record(tmp_path / "s", *seen)).observations())
    (pod, config) = (json.loads(bytes(one.body))["items"][0] for one in back)
    assert config["data"]["DB_PASSWORD"] == pod["env"][0]["value"] != "pw"
    assert config["data"]["DB_USER"] == "me"


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    folder = record(tmp_path / "s", page(POD))
    assert all(p.stat().st_mode & 0o077 == 0 for p in [folder, *folder.rglob("*")])


def test_a_folder_that_holds_something_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(SnapshotError, match="not an empty folder"):
        Recorder(tmp_path)


def test_of_two_recordings_into_one_folder_the_first_to_write_has_it(tmp_path: Path) -> None:
    one, two, three = (Recorder(tmp_path / "s") for _ in range(3))
    one.take(page(POD))
    with pytest.raises(SnapshotError, match="not an empty folder"):
        two.take(page())
    one.finish([])
    with pytest.raises(SnapshotError, match="not an empty folder"):
        three.take(page())
    assert [seen.error for seen in Snapshot(tmp_path / "s").observations()] == [""]
    assert sorted(path.name for path in (tmp_path / "s").rglob("*")) == ["api", INDEX, "pods.0001.json"]


def test_a_folder_that_can_be_none_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="File name too long"):
        Recorder(tmp_path / ("x" * 300))


def test_a_file_of_an_impossible_name_costs_that_observation(tmp_path: Path) -> None:
    folder = record(tmp_path / "s", page(POD))
    index = json.loads((folder / INDEX).read_text())
    index["observations"][0]["file"] = "api/a\0b"
    (folder / INDEX).write_text(json.dumps(index))
    assert "names no file" in next(iter(Snapshot(folder).observations())).error


def test_a_list_that_was_read_again_is_recorded_once(tmp_path: Path) -> None:
    folder = record(tmp_path / "s", page({"a": 1}), Observation("api", "pods", restart=True), page({"b": 1}))
    back = list(Snapshot(folder).observations())
    assert len(back) == 1
    assert b'"b"' in bytes(back[0].body)


def test_a_recording_that_did_not_come_to_its_end_is_refused(tmp_path: Path) -> None:
    Recorder(tmp_path / "s").take(page(POD))
    with pytest.raises(SnapshotError, match="did not come to its end"):
        Snapshot(tmp_path / "s")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": "x"}',
        "\x00\xff",
        '{"format": 1, "observations": 5}',
        pytest.param('{"format": 1, "more": ' + "[" * 100_000, id="deep"),
    ],
)
def test_an_index_that_is_damaged_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    folder = record(tmp_path / "s", page(POD))
    (folder / INDEX).write_text(text)
    with pytest.raises(SnapshotError) as caught:
        Snapshot(folder)
    assert "\n" not in str(caught.value)


def test_a_recording_of_a_later_format_is_refused_with_both_versions(tmp_path: Path) -> None:
    folder = record(tmp_path / "s", page(POD))
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps({**index, "format": 99, "kdiag": "9.0"}))
    with pytest.raises(SnapshotError, match=r"later kdiag, 9\.0"):
        Snapshot(folder)
    (folder / INDEX).write_text(f'{{"format": {"9" * 400}}}')
    with pytest.raises(SnapshotError, match=r"a later kdiag, of an unknown version, in format 9{19}…; this is"):
        Snapshot(folder)


def test_fields_of_a_later_version_are_passed_over(tmp_path: Path) -> None:
    folder = record(tmp_path / "s", page(POD))
    index = json.loads((folder / INDEX).read_text())
    index["observations"][0]["new"] = True
    (folder / INDEX).write_text(json.dumps({**index, "more": {}}))
    assert len(list(Snapshot(folder).observations())) == 1


def test_a_file_that_was_changed_or_lost_is_an_error_of_that_observation_alone(tmp_path: Path) -> None:
    folder = record(tmp_path / "s", page(POD), page(CONFIG, key="configmaps"), page(POD, key="nodes"))
    (folder / "api" / "pods.0001.json").write_text('{"items": []}')
    (folder / "api" / "configmaps.0001.json").unlink()
    back = {o.key: o for o in Snapshot(folder).observations()}
    assert "not the file that was recorded" in back["pods"].error
    assert "missing" in back["configmaps"].error
    assert back["nodes"].error == ""


def test_files_of_another_recording_are_not_taken_for_its_own(tmp_path: Path) -> None:
    one = record(tmp_path / "one", page({"metadata": {"name": "one"}}))
    other = record(tmp_path / "other", page({"metadata": {"name": "other"}}))
    (one / "api" / "pods.0001.json").write_bytes((other / "api" / "pods.0001.json").read_bytes())
    assert next(iter(Snapshot(one).observations())).error


@pytest.mark.parametrize("file", ["../../../etc/passwd", "/etc/passwd", "api/../../x"])
def test_a_path_that_leaves_the_folder_is_not_followed(tmp_path: Path, file: str) -> None:
    folder = record(tmp_path / "s", page(POD))
    index = json.loads((folder / INDEX).read_text())
    index["observations"][0]["file"] = file
    (folder / INDEX).write_text(json.dumps(index))
    assert "outside of the snapshot" in next(iter(Snapshot(folder).observations())).error


def _link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize(
    ("put", "told"),
    [
        (_link_to_itself, "Too many levels of symbolic links"),
        (_sparse, "is larger than 512 MiB"),
        (os.mkfifo, "is missing"),
        (Path.mkdir, "is missing"),
        (lambda path: path.symlink_to("/etc/passwd"), "outside of the snapshot"),
        (lambda path: path.symlink_to("/dev/zero"), "outside of the snapshot"),
    ],
    ids=["circle", "sparse", "pipe", "folder", "elsewhere", "endless"],
)
def test_what_lies_in_the_place_of_a_file_costs_that_observation(
    tmp_path: Path, put: Callable[[Path], None], told: str
) -> None:
    folder = record(tmp_path / "s", page(POD), page(POD, key="nodes"))
    (folder / "api" / "pods.0001.json").unlink()
    put(folder / "api" / "pods.0001.json")
    back = {o.key: o for o in Snapshot(folder).observations()}
    assert told in back["pods"].error
    assert back["nodes"].error == ""


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="is not a folder"):
        Snapshot(tmp_path / "nothing")
    (tmp_path / "night.tgz").write_bytes(b"\x1f\x8b")
    with pytest.raises(SnapshotError, match="unpack it first"):
        Snapshot(tmp_path / "night.tgz")

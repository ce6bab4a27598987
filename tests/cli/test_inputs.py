"""Where the facts come from, and which of them are asked for: kubeconfigs, recordings, flags."""

import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from kdiag.cli.check import selector
from kdiag.errors import UsageError
from kdiag.session import seconds
from tests.cli.runner import HEALTHY, ROOT, healthy_api, kdiag, lost_service
from tests.fakeapi import FakeAPI, Fault, Rule

Done = subprocess.CompletedProcess[str]


CHECK = "service_selects_nothing"


def refused(done: Done, *words: str) -> None:
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout, len(lines)) == (2, "", 1), (done.stdout, done.stderr)
    for word in words:
        assert word in lines[0]


# ---- kubeconfigs


def test_a_kubeconfig_that_takes_all_the_time_is_what_took_it(tmp_path: Path) -> None:
    entries = "".join(f"- name: c{n}\n  context: {{cluster: c{n}, user: u}}\n" for n in range(12_000))
    clusters = "clusters: [{name: c0, cluster: {server: 'http://127.0.0.1:1'}}]\nusers: [{name: u, user: {}}]\n"
    config = tmp_path / "config"
    config.write_text(f"current-context: c0\n{clusters}contexts:\n{entries}")
    done = kdiag("check", "--no-nodes", "--kubeconfig", config, "--timeout", "0.1", home=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"{config} was read for all of the 0.1 s of this run" in done.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "does not exist"),
        ("", "is empty"),
        ("clusters: [", "c"),
        ("- a list", "c"),
        ("apiVersion: v1\nkind: Pod\n", "Pod"),
        ("apiVersion: v1\nkind: Config\ncurrent-context: gone\n", "gone"),
        ("contexts: [{name: a, context: {cluster: x, user: y}}]\ncurrent-context: a\n", "x"),
        ("a: &a [x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: [*b, *b, *b, *b, *b, *b]\n", "c"),
        ("\x00\xff", "c"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used(tmp_path: Path, text: str, told: str) -> None:
    config = tmp_path / "c"
    if text is not None:
        config.write_text(text)
    refused(kdiag("check", "--kubeconfig", config, home=tmp_path), told)
    doctor = kdiag("doctor", "--kubeconfig", config, home=tmp_path)
    assert doctor.returncode == 2
    assert doctor.stdout.startswith("✗ configuration")


def test_a_client_certificate_that_has_expired_is_named(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice")])
    end = datetime(2025, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(end - timedelta(days=365)).not_valid_after(end)
    (tmp_path / "crt").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    (tmp_path / "key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with healthy_api() as api:
        config = api.kubeconfig(tmp_path / "c")
        told = json.loads(config.read_text())
        told["users"][0]["user"] = {"client-certificate": "crt", "client-key": "key"}
        config.write_text(json.dumps(told))
        api.fault("/", Fault.status(401))
        done = kdiag("check", "--kubeconfig", config, home=tmp_path)
        asked = kdiag("doctor", "--kubeconfig", config, home=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert "the client certificate has expired on 2025-01-01; renew it" in done.stderr
    assert "it has expired on 2025-01-01" in asked.stdout


def test_no_kubeconfig_at_all(tmp_path: Path) -> None:
    refused(kdiag("check", home=tmp_path), "no kubeconfig", "KUBECONFIG")


def test_a_kubeconfig_of_others_is_not_needed_for_a_recording(tmp_path: Path) -> None:
    env = {"KUBECONFIG": str(tmp_path / "gone")}
    assert kdiag("check", "--snapshot", HEALTHY, home=tmp_path, env=env).returncode == 0


def test_the_first_file_says_which_context(tmp_path: Path) -> None:
    with healthy_api() as api:
        api.kubeconfig(tmp_path / "b")
        (tmp_path / "a").write_text("current-context: fake\n")
        other = json.loads((tmp_path / "b").read_text()) | {"current-context": "gone"}
        (tmp_path / "b").write_text(json.dumps(other))
        env = {"KUBECONFIG": f"{tmp_path / 'a'}:{tmp_path / 'b'}"}
        assert kdiag("check", CHECK, home=tmp_path, env=env).returncode == 0


def test_the_context_s_namespace_and_another_context(tmp_path: Path) -> None:
    with healthy_api() as api:
        config = api.kubeconfig(tmp_path / "c")
        refused(kdiag("check", "--context", "fakee", "--kubeconfig", config, home=tmp_path), "fakee", "fake")


def test_a_server_with_another_certificate(tmp_path: Path) -> None:
    with FakeAPI(tls=True) as api, FakeAPI(tls=True) as other:
        config = other.kubeconfig(tmp_path / "c", server=api.url)
        done = kdiag("check", "--kubeconfig", config, home=tmp_path)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (3, "", 1)
        assert "certificate" in done.stderr
        loose = kdiag("check", CHECK, "--insecure-skip-tls-verify", "--kubeconfig", config, home=tmp_path)
    assert "certificate" not in loose.stderr


def test_a_kubeconfig_that_skips_verification_is_not_overruled_by_a_flag_that_was_not_given(tmp_path: Path) -> None:
    with healthy_api(tls=True) as api:
        config = json.loads(api.kubeconfig(tmp_path / "c").read_text())
        del config["clusters"][0]["cluster"]["certificate-authority-data"]
        config["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = True
        (tmp_path / "c").write_text(json.dumps(config))
        assert kdiag("check", CHECK, "--kubeconfig", tmp_path / "c", home=tmp_path).returncode == 0


# ---- recordings


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    folder = tmp_path / "snap"
    shutil.copytree(HEALTHY, folder)
    return folder


def test_a_recording_that_was_cut_short(tmp_path: Path, recording: Path) -> None:
    (recording / "kdiag-snapshot.json").unlink()
    refused(kdiag("check", "--snapshot", recording, home=tmp_path), "snap")


@pytest.mark.parametrize("index", ["", "{", "[]", '{"format": 99, "observations": []}', "\x00"])
def test_a_broken_index(tmp_path: Path, recording: Path, index: str) -> None:
    (recording / "kdiag-snapshot.json").write_text(index)
    refused(kdiag("check", "--snapshot", recording, home=tmp_path))


def test_no_recording_there(tmp_path: Path) -> None:
    refused(kdiag("check", "--snapshot", tmp_path / "gone", home=tmp_path), "gone")
    refused(kdiag("check", "--snapshot", __file__, home=tmp_path))
    refused(kdiag("trace", "a/b", "--snapshot", tmp_path, home=tmp_path))


@pytest.mark.parametrize("harm", ["edited", "cut", "lost", "link"])
def test_a_file_that_is_not_what_was_recorded_is_no_all_clear(tmp_path: Path, recording: Path, harm: str) -> None:
    pods = recording / "api" / "pods.0001.json"
    body = pods.read_bytes()
    pods.unlink()
    if harm == "edited":
        pods.write_bytes(body.replace(b"Running", b"Pending", 1))
    elif harm == "cut":
        pods.write_bytes(body[: len(body) // 2])
    elif harm == "link":
        pods.symlink_to("/etc/passwd")
    done = kdiag("check", "-o", "json", "--snapshot", recording, home=tmp_path)
    report = json.loads(done.stdout)
    assert not report["complete"]
    assert any("pods" in u["reason"] for u in report["coverage"]["unknown"])
    assert done.returncode in (0, 3)
    assert kdiag("check", "--strict", "--snapshot", recording, home=tmp_path).returncode == 3
    assert "nothing is wrong" not in kdiag("check", "--snapshot", recording, home=tmp_path).stdout


def test_what_was_recorded_is_what_was_seen(tmp_path: Path) -> None:
    with healthy_api(lost_service()) as api:
        config = api.kubeconfig(tmp_path / "c")
        done = kdiag("record", tmp_path / "night", "--kubeconfig", config, home=tmp_path)
        assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'night'}\n")
        live = json.loads(kdiag("check", "-o", "json", "--kubeconfig", config, home=tmp_path).stdout)
        again = kdiag("record", tmp_path / "night", "--kubeconfig", config, home=tmp_path)
    refused(again, "not an empty folder")
    read = json.loads(kdiag("check", "-o", "json", "--snapshot", tmp_path / "night", home=tmp_path).stdout)
    assert [c["fingerprint"] for c in read["causes"]] == [c["fingerprint"] for c in live["causes"]]
    assert read["coverage"] == live["coverage"]
    traced = kdiag("trace", "shop/db", "--snapshot", tmp_path / "night", home=tmp_path)
    assert traced.returncode == 1
    assert "no pod has app=mysqll; 1 pod has app=mysql" in traced.stdout


# ---- flags


def causes(tmp_path: Path, config: Path, *words: str) -> list[str]:
    done = kdiag("check", CHECK, "-o", "json", *words, "--kubeconfig", config, home=tmp_path)
    return [c["object"]["name"] for c in json.loads(done.stdout)["causes"]]


def test_one_namespace_is_all_that_is_read(tmp_path: Path) -> None:
    extra = lost_service()
    for path, items in lost_service("cache", "prod").items():
        extra[path] = [*extra[path], *items]
    with healthy_api(extra) as api:
        config = api.kubeconfig(tmp_path / "c")
        assert sorted(causes(tmp_path, config)) == ["cache", "db"]
        assert sorted(causes(tmp_path, config, "-A")) == ["cache", "db"]
        api.requests.clear()
        assert causes(tmp_path, config, "-n", "prod") == ["cache"]
        lists = [r.path for r in api.requests if r.path.endswith(("/pods", "/services"))]
    assert lists
    assert all("/namespaces/prod/" in path for path in lists)


def test_one_namespace_of_a_recording(tmp_path: Path) -> None:
    demo = str(ROOT / "fixtures" / "clusters" / "demo")
    ran = kdiag("check", "-n", "shop", "--snapshot", demo, "-o", "json", home=tmp_path)
    assert {c["object"]["namespace"] for c in json.loads(ran.stdout)["causes"]} <= {"", "shop"}
    ran = kdiag("check", "-n", "shopp", "--snapshot", demo, home=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "namespace shopp does not exist in the recording" in ran.stderr


@pytest.mark.parametrize("words", [("-n", ".."), ("-n", "a/b"), ("-n", " "), ("-n", "x" * 300), ("--snapshot", "")])
def test_a_word_that_can_be_no_namespace_and_no_folder(tmp_path: Path, words: tuple[str, ...]) -> None:
    ran = kdiag("check", *words, home=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"kdiag: argument {words[0].replace('-n', '-n/--namespace')}")


@pytest.mark.parametrize("words", [("check",), ("record", "folder"), ("runbook", CHECK), ("verify", CHECK)])
def test_a_namespace_that_does_not_exist_is_not_a_healthy_one(tmp_path: Path, words: tuple[str, ...]) -> None:
    with healthy_api(lost_service("cache", "production")) as api:
        config = api.kubeconfig(tmp_path / "c")
        refused(
            kdiag(*words, "-n", "prodution", "--kubeconfig", config, home=tmp_path),
            "namespace prodution does not exist",
            "did you mean production?",
        )
        assert not (tmp_path / "folder").exists()
        assert causes(tmp_path, config, "-n", "default") == []


def test_who_may_not_ask_for_a_namespace_is_not_told_that_it_is_missing(tmp_path: Path) -> None:
    with healthy_api() as api:
        config = api.kubeconfig(tmp_path / "c")
        api.fault("/api/v1/namespaces/team", Fault.status(403))
        done = kdiag("check", "-n", "team", "--kubeconfig", config, home=tmp_path)
    assert "does not exist" not in done.stdout + done.stderr


def test_labels_choose_causes(tmp_path: Path) -> None:
    extra = lost_service()
    extra["/api/v1/services"][0]["metadata"]["labels"] = {"team": "shop", "tier": "db"}
    with healthy_api(extra) as api:
        config = api.kubeconfig(tmp_path / "c")
        for chosen in ("team=shop", "tier in (db,web)", "tier", "!gone", "team!=other,tier==db"):
            assert causes(tmp_path, config, "-l", chosen) == ["db"], chosen
        for other in ("team=other", "gone", "tier in (web)"):
            assert causes(tmp_path, config, "-l", other) == [], other


def test_labels_that_nothing_has_are_no_all_clear(tmp_path: Path) -> None:
    with healthy_api(lost_service()) as api:
        config = api.kubeconfig(tmp_path / "c")
        words = ("check", CHECK, "-q", "--no-nodes", "--kubeconfig", config)
        none = kdiag(*words, "-l", "app=nobody", home=tmp_path)
        other = kdiag("check", CHECK, "--no-nodes", "-l", "k8s-app", "--kubeconfig", config, home=tmp_path)
        told = json.loads(kdiag(*words, "-o", "json", "-l", "app=nobody", home=tmp_path).stdout)
    assert " labels app=nobody\n  nothing that was read has these labels · 1 other cause (without -l) ·" in none.stdout
    assert "labels k8s-app · nothing is wrong" in other.stdout
    assert "1 other cause (without -l)" in other.stdout
    assert told["notes"] == [
        "only what has the labels app=nobody: 1 cause of other objects left out; nothing that was read has these labels"
    ]


def test_the_labels_of_a_workload_s_pods_choose_it_too(tmp_path: Path) -> None:
    demo = Path(__file__).parents[2] / "fixtures" / "clusters" / "demo"
    done = kdiag("check", "--snapshot", demo, "-l", "name=webapp", "-o", "json", home=tmp_path)
    assert [c["check"] for c in json.loads(done.stdout)["causes"]] == ["network/service_selects_nothing"]


def test_no_blank_is_needed_before_a_parenthesis() -> None:
    assert selector("a in(b,c),d notin(e)") == selector("a in (b,c),d notin (e)")


def test_a_selector_of_any_length_is_told_in_a_line(tmp_path: Path) -> None:
    done = kdiag("check", CHECK, "--snapshot", HEALTHY, "-l", "a=" + "x" * 50_000, home=tmp_path)
    assert "nothing that was read has these labels" in done.stdout
    assert len(done.stdout) < 2000


@pytest.mark.parametrize("text", ["a b", "=x", "a=b=c", "a in b", "a,,b", "a in ()x", "*"])
def test_words_that_are_no_label_selector(text: str) -> None:
    with pytest.raises(UsageError):
        selector(text)


@pytest.mark.parametrize(
    ("text", "value"), [("90", 90), ("90s", 90), ("1m30s", 90), ("2m", 120), ("1h", 3600), ("0.5s", 0.5)]
)
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "s", "-1s", "1d", "1s1m", "nan", "1e9", "0", "99h"])
def test_words_that_are_no_duration(text: str) -> None:
    with pytest.raises(UsageError):
        seconds(text)


# ---- colour

ESC = "\x1b["


@pytest.mark.parametrize(
    ("words", "env", "colored"),
    [
        ((), {}, False),
        (("--color", "always"), {}, True),
        (("--color=always",), {"NO_COLOR": "1", "TERM": "dumb"}, True),
        (("--color", "never"), {"CLICOLOR_FORCE": "1"}, False),
        ((), {"CLICOLOR_FORCE": "1"}, True),
        ((), {"CLICOLOR_FORCE": "0"}, False),
        ((), {"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False),
    ],
)
@pytest.mark.parametrize("command", ["check", "trace"])
def test_colour(tmp_path: Path, command: str, words: tuple[str, ...], env: dict[str, str], colored: bool) -> None:
    target = ("default/kubernetes",) if command == "trace" else ()
    done = kdiag(command, *target, "--snapshot", HEALTHY, *words, home=tmp_path, env=env)
    assert (ESC in done.stdout) == colored
    assert ESC not in done.stderr


def test_programs_get_no_colour(tmp_path: Path) -> None:
    for form in ("json", "yaml"):
        done = kdiag("check", "-o", form, "--color", "always", "--snapshot", HEALTHY, home=tmp_path)
        assert ESC not in done.stdout


# ---- the doctor


def doctor(tmp_path: Path, api: FakeAPI, *words: str, **config: Any) -> tuple[int, dict[str, tuple[str, str]], str]:
    done = kdiag(
        "doctor", "-o", "json", *words, "--kubeconfig", api.kubeconfig(tmp_path / "c", **config), home=tmp_path
    )
    document = json.loads(done.stdout)
    return done.returncode, {s["title"]: (s["state"], s["detail"]) for s in document["steps"]}, document["state"]


def test_a_doctor_who_finds_nothing(tmp_path: Path) -> None:
    with healthy_api(tls=True, users={"t": "alice"}) as api:
        code, steps, state = doctor(tmp_path, api)
    assert (code, state) == (0, "ok")
    assert steps["login"] == ("ok", "as alice (groups system:authenticated)")
    assert "by token" in steps["context"][1]
    assert "certificate checked" in steps["server"][1]


def test_a_login_that_is_refused_and_one_that_is_nobody(tmp_path: Path) -> None:
    with healthy_api(tls=True, users={"t": "alice"}) as api:
        code, steps, _ = doctor(tmp_path, api, token="old")
        assert (code, steps["login"][0]) == (3, "broken")
        assert "401" in steps["login"][1]
        assert "rights" not in steps
        code, steps, _ = doctor(tmp_path, api, as_="")
    assert (code, steps["login"][0]) == (3, "broken")
    assert "sends no credential" in steps["login"][1]


def test_rights_that_are_missing_and_what_they_cost(tmp_path: Path) -> None:
    with healthy_api(rbac=lambda a: a.resource not in ("configmaps", "leases")) as api:
        code, steps, state = doctor(tmp_path, api)
    assert (code, state) == (3, "unknown")
    assert "unknown without it" in steps["may not list configmaps"][1]
    assert "may not list leases.coordination.k8s.io in namespace kube-system" in steps
    assert "may not list pods" not in steps


def test_rights_in_one_namespace(tmp_path: Path) -> None:
    rules = [Rule(resources=("*",), groups=("*",), namespaces=("shop",))]
    with healthy_api(rbac=rules) as api:
        code, steps, _ = doctor(tmp_path, api, namespace="shop")
    assert code == 3
    assert "only namespace shop" in steps["namespaces"][1]
    assert "may not list pods" not in steps
    assert "may not list nodes" in steps


def test_a_clock_that_is_off(tmp_path: Path) -> None:
    from datetime import timedelta

    with healthy_api(date=timedelta(minutes=-5)) as api:
        code, steps, _ = doctor(tmp_path, api)
    assert code == 0
    assert steps["clock"][0] == "unknown"
    assert "ahead of" in steps["clock"][1]


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with FakeAPI() as api:
        config = api.kubeconfig(tmp_path / "c")
    done = kdiag("doctor", "--kubeconfig", config, home=tmp_path)
    assert done.returncode == 3
    assert "✗ server" in done.stdout
    assert "refused" in done.stdout

"""Every way to log in, and one clear line for each way in which it fails."""

from __future__ import annotations

import base64
import json
import os
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import trustme

from kdiag.collect.credentials import Credentials
from kdiag.collect.deadline import Deadline
from kdiag.collect.fields import Fields, read_file
from kdiag.errors import AccessDenied, ConfigError, KdiagError

V1 = "client.authentication.k8s.io/v1"
V1BETA1 = "client.authentication.k8s.io/v1beta1"
ENVIRON = {"PATH": os.environ["PATH"], "SECRET_OF_CALLER": "inherited"}


def credentials(folder: Path, user: dict[str, Any], **options: Any) -> Credentials:
    return Credentials(Fields(user, 'user "u"', folder), environ=ENVIRON, **options)


def headers(found: Credentials, seconds: float = 10) -> dict[str, str]:
    return found.headers(Deadline(seconds))


def plugin(folder: Path, program: str, **fields: Any) -> dict[str, Any]:
    """A user whose plugin is this Python program."""
    path = folder / "plugin.py"
    path.write_text(textwrap.dedent(program), encoding="utf-8")
    section = {"apiVersion": V1, "command": sys.executable, "args": ["-S", str(path)], "interactiveMode": "Never"}
    return {"exec": section | fields}


def answering(folder: Path, status: dict[str, Any], version: str = V1, **fields: Any) -> dict[str, Any]:
    answer = json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status})
    return plugin(folder, f"print({answer!r})", apiVersion=version, **fields)


def failure(found: Credentials, kind: type[KdiagError], seconds: float = 10) -> str:
    with pytest.raises(kind) as caught:
        headers(found, seconds)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 500
    return text


# What the entry itself holds


def test_an_empty_entry_is_anonymous(tmp_path: Path) -> None:
    found = credentials(tmp_path, {})
    assert (found.method, headers(found), found.certificate(Deadline(1))) == ("none", {}, None)


def test_sends_a_token_and_never_shows_it(tmp_path: Path) -> None:
    found = credentials(tmp_path, {"token": "hunter2"})
    assert headers(found) == {"Authorization": "Bearer hunter2"}
    assert "hunter2" not in repr(found)


def test_sends_a_name_and_password(tmp_path: Path) -> None:
    found = credentials(tmp_path, {"username": "me", "password": "pä:ss"})
    assert headers(found) == {"Authorization": "Basic " + base64.b64encode("me:pä:ss".encode()).decode()}


def test_the_token_file_goes_before_the_token_and_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one\n")
    found = credentials(tmp_path, {"token": "static", "tokenFile": "token"})
    assert headers(found) == {"Authorization": "Bearer one"}
    path.write_text("two")
    assert headers(found) == {"Authorization": "Bearer two"}
    path.unlink()
    assert headers(found) == {"Authorization": "Bearer static"}


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ({"tokenFile": "no"}, "tokenFile .*no does not exist"),
        ({"tokenFile": "."}, "is a directory"),
        ({"token": 12345}, "token must be text, not the number 12345"),
        ({"token": "a", "username": "b"}, "only one of them"),
        ({"client-certificate-data": "x"}, "client-certificate-data is not whole base64"),
        ({"client-certificate-data": "eHh4"}, "client-certificate without a client-key"),
        ({"client-certificate-data": "eHh4", "client-key-data": "eHh4"}, "holds no PEM certificate"),
        ({"client-certificate": "a", "client-certificate-data": "eHh4"}, "leave one of them"),
        ({"exec": "aws"}, "exec must be a mapping, not text"),
        ({"exec": {"apiVersion": V1}}, "command is missing"),
        ({"exec": {"command": "c"}}, "apiVersion must be .*/v1 or v1beta1, not empty"),
        ({"exec": {"command": "c", "apiVersion": f"{V1}alpha1"}}, "not client.authentication.k8s.io/v1alpha1"),
        ({"exec": {"command": "c", "apiVersion": V1}}, "interactiveMode is missing"),
        ({"exec": {"command": "c", "apiVersion": V1, "interactiveMode": "never"}}, "interactiveMode must be Never"),
        ({"exec": {"command": "c", "apiVersion": V1BETA1, "args": "x"}}, "args must be a list, not text"),
        ({"exec": {"command": "c", "apiVersion": V1BETA1, "args": [1]}}, "args must be a list of texts"),
        ({"exec": {"command": "c", "apiVersion": V1BETA1, "env": [{"name": "A=B"}]}}, "no environment variable"),
        ({"exec": {"command": "c", "apiVersion": V1BETA1}, "auth-provider": {}}, "exec and auth-provider"),
    ],
)
def test_refuses_an_entry_that_makes_no_sense(tmp_path: Path, user: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        credentials(tmp_path, user)


@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "a b", "tök", ""])
def test_refuses_a_token_file_that_would_be_more_than_a_token(tmp_path: Path, token: str) -> None:
    (tmp_path / "token").write_text(token, encoding="utf-8")
    failure(credentials(tmp_path, {"tokenFile": "token"}), ConfigError)


def test_reads_a_client_certificate_from_files_or_data(tmp_path: Path) -> None:
    pair = trustme.CA().issue_cert("me")
    certificate, key = pair.cert_chain_pems[0].bytes(), pair.private_key_pem.bytes()
    (tmp_path / "cert").write_bytes(certificate)
    (tmp_path / "key").write_bytes(key)
    data = {"client-certificate-data": base64.b64encode(certificate).decode()}
    for user in ({"client-certificate": "cert", "client-key": "key"}, {**data, "client-key": "key"}):
        found = credentials(tmp_path, user)
        assert (found.method, found.certificate(Deadline(1))) == ("client certificate", (certificate, key))
        assert headers(found) == {}


def test_a_pipe_that_nobody_writes_to_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdiag.collect.fields._PIPE_SECONDS", 0.05)
    reads, writes = os.pipe()
    try:
        with pytest.raises(ConfigError, match="is a pipe that nothing was written to"):
            read_file(Path(f"/dev/fd/{reads}"), "kubeconfig")
    finally:
        os.close(reads)
        os.close(writes)


# Exec plugins


@pytest.mark.parametrize("version", [V1, V1BETA1])
def test_takes_the_token_of_a_plugin(tmp_path: Path, version: str) -> None:
    found = credentials(tmp_path, answering(tmp_path, {"token": "from-plugin"}, version))
    assert headers(found) == {"Authorization": "Bearer from-plugin"}
    assert found.certificate(Deadline(5)) is None


def test_takes_the_certificate_of_a_plugin(tmp_path: Path) -> None:
    status = {"clientCertificateData": "CERT", "clientKeyData": "KEY"}
    found = credentials(tmp_path, answering(tmp_path, status))
    assert headers(found) == {}
    assert found.certificate(Deadline(5)) == (b"CERT", b"KEY")


def test_tells_the_plugin_what_kubectl_tells_it(tmp_path: Path) -> None:
    program = """
        import json, os, sys
        told = {"env": dict(os.environ), "argv": sys.argv[2:], "stdin": sys.stdin.read()}
        told["sid"] = os.getsid(0) == os.getpid()
        open(sys.argv[1], "w").write(json.dumps(told))
        version = json.loads(os.environ["KUBERNETES_EXEC_INFO"])["apiVersion"]
        print(json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": {"token": "t"}}))
    """
    user = plugin(tmp_path, program, provideClusterInfo=True, env=[{"name": "EXTRA", "value": "$HOME; x"}])
    user["exec"]["args"] += [str(tmp_path / "told"), "a b", "$(id)"]
    cluster = {"server": "https://h:1", "config": {"audience": "x"}}
    headers(credentials(tmp_path, user, cluster=cluster))
    told = json.loads((tmp_path / "told").read_text())
    assert told["argv"] == ["a b", "$(id)"]
    assert (told["stdin"], told["sid"]) == ("", True)
    assert (told["env"]["EXTRA"], told["env"]["SECRET_OF_CALLER"]) == ("$HOME; x", "inherited")
    assert json.loads(told["env"]["KUBERNETES_EXEC_INFO"]) == {
        "apiVersion": V1,
        "kind": "ExecCredential",
        "spec": {"interactive": False, "cluster": cluster},
    }


def test_a_command_with_a_slash_starts_at_the_kubeconfig(tmp_path: Path) -> None:
    path = tmp_path / "bin" / "login"
    path.parent.mkdir()
    answer = json.dumps({"apiVersion": V1, "kind": "ExecCredential", "status": {"token": "t"}})
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    user = {"exec": {"command": "bin/login", "apiVersion": V1, "interactiveMode": "IfAvailable"}}
    assert "it is not an executable file" in failure(credentials(tmp_path, user), ConfigError)
    path.chmod(0o700)
    assert headers(credentials(tmp_path, user)) == {"Authorization": "Bearer t"}
    path.write_bytes(b"\x7fELF nonsense")
    assert "cannot be run: Exec format error" in failure(credentials(tmp_path, user), ConfigError)


def counting(folder: Path, status: str) -> dict[str, Any]:
    program = f"""
        import json, datetime
        open({str(folder / "runs")!r}, "a").write("x")
        soon = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=0.3)).isoformat()
        print(json.dumps({{"apiVersion": {V1!r}, "kind": "ExecCredential", "status": {status}}}))
    """
    return plugin(folder, program)


def runs(folder: Path) -> int:
    return len((folder / "runs").read_text())


def test_asks_a_plugin_once_for_all_threads_until_told_to_forget(tmp_path: Path) -> None:
    found = credentials(tmp_path, counting(tmp_path, '{"token": "t"}'))
    threads = [threading.Thread(target=headers, args=(found,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert runs(tmp_path) == 1
    assert found.forget()
    assert not found.forget()
    headers(found)
    assert runs(tmp_path) == 2


def test_asks_a_plugin_again_when_its_token_has_expired(tmp_path: Path) -> None:
    found = credentials(tmp_path, counting(tmp_path, '{"token": "t", "expirationTimestamp": soon}'))
    headers(found)
    time.sleep(0.35)
    headers(found)
    assert runs(tmp_path) == 2


def test_does_not_ask_a_plugin_that_has_just_failed(tmp_path: Path) -> None:
    found = credentials(tmp_path, counting(tmp_path, "{}"))
    first = failure(found, AccessDenied)
    assert failure(found, AccessDenied) == first
    assert runs(tmp_path) == 1


@pytest.mark.parametrize("own", [{"token": "t"}, {"username": "a", "password": "b"}])
def test_does_not_run_the_plugin_of_a_user_with_another_credential(tmp_path: Path, own: dict[str, str]) -> None:
    found = credentials(tmp_path, counting(tmp_path, '{"token": "p"}') | own)
    headers(found)
    found.certificate(Deadline(1))
    assert not (tmp_path / "runs").exists()


def test_says_how_to_install_a_plugin_that_is_not_there(tmp_path: Path) -> None:
    section = {"command": "kdiag-no-such-login", "apiVersion": V1, "interactiveMode": "Never"}
    assert "kdiag-no-such-login is not installed; is it on the PATH?" in failure(
        credentials(tmp_path, {"exec": section}), ConfigError
    )
    hinted = section | {"installHint": "\nGet it from\x1b[31m example.org\n"}
    text = failure(credentials(tmp_path, {"exec": hinted}), ConfigError)
    assert "is not installed; Get it from" in text


def test_shows_what_a_failing_plugin_complained_about(tmp_path: Path) -> None:
    program = "import sys; sys.stderr.write('login \\x1b]0;pwn\\x07expired\\n' + 'x' * 5000); sys.exit(3)"
    text = failure(credentials(tmp_path, plugin(tmp_path, program)), AccessDenied)
    assert "failed (exit code 3): login" in text
    assert "expired xxx" in text
    telling = plugin(tmp_path, "import sys; sys.exit('+ curl -H Authorization: Bearer q2VwdGhpc2lz --token=hunter2')")
    text = failure(credentials(tmp_path, telling), AccessDenied)
    assert "curl -H Authorization" in text
    assert "q2Vw" not in text
    assert "hunter2" not in text
    silent = plugin(tmp_path, "import os; os.kill(os.getpid(), 9)")
    assert "failed (killed by signal 9): it said nothing" in failure(credentials(tmp_path, silent), AccessDenied)


def test_ends_a_plugin_that_hangs_together_with_its_children(tmp_path: Path) -> None:
    program = f"""
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
        open({str(tmp_path / "child")!r}, "w").write(str(child.pid))
        time.sleep(60)
    """
    found = credentials(tmp_path, plugin(tmp_path, program), exec_seconds=0.7)
    assert "did not answer within 0.7 s" in failure(found, AccessDenied)
    child = int((tmp_path / "child").read_text())
    for _ in range(200):
        stat = Path(f"/proc/{child}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.01)
    pytest.fail("the child of the plugin is still there")


def test_the_deadline_of_the_run_ends_a_plugin_too(tmp_path: Path) -> None:
    found = credentials(tmp_path, plugin(tmp_path, "import time; time.sleep(60)"))
    assert "did not answer within 0.2 s" in failure(found, AccessDenied, seconds=0.2)


def test_does_not_wait_for_what_a_plugin_leaves_running(tmp_path: Path) -> None:
    program = f"""
        import json, subprocess, sys
        subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(5)"])
        print(json.dumps({{"apiVersion": {V1!r}, "kind": "ExecCredential", "status": {{"token": "t"}}}}))
    """
    assert headers(credentials(tmp_path, plugin(tmp_path, program), exec_seconds=4)) == {"Authorization": "Bearer t"}


def test_ends_a_plugin_that_floods(tmp_path: Path) -> None:
    program = "import sys\nwhile True: sys.stdout.write('x' * 65536)"
    assert "more than 1 MiB" in failure(credentials(tmp_path, plugin(tmp_path, program)), AccessDenied)


def test_reads_a_megabyte_of_complaints_without_hanging(tmp_path: Path) -> None:
    program = f"""
        import json, sys
        sys.stderr.write("x" * 3_000_000)
        print(json.dumps({{"apiVersion": {V1!r}, "kind": "ExecCredential", "status": {{"token": "t"}}}}))
    """
    assert headers(credentials(tmp_path, plugin(tmp_path, program))) == {"Authorization": "Bearer t"}


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("", "wrote no credential but: nothing"),
        ("Please log in: \x1b[2J", "wrote no credential but: Please log in"),
        ("[" * 100_000, "wrote no credential but: 100001 bytes that are no JSON"),
        ("q2Vw-a-token-alone", "wrote no credential but: 19 bytes that are no JSON"),
        ('{"status": {"token": "q2Vw-cut', "wrote no credential but: 31 bytes that are no JSON"),
        ("your token: q2VwdGhpc2lzYXRva2Vu is good", "wrote no credential but: your token: <redacted:"),
        ("use this: " + "q2Vw" * 8, "wrote no credential but: 43 bytes that are no JSON"),
        ("[]", "JSON that is not an ExecCredential"),
        (json.dumps({"kind": "Status"}), "JSON that is not an ExecCredential"),
        (json.dumps({"kind": "ExecCredential", "apiVersion": V1}), "neither a token nor a client certificate"),
        (json.dumps({"kind": "ExecCredential", "apiVersion": V1, "status": 5}), "status must be a mapping"),
        (json.dumps({"kind": "ExecCredential", "apiVersion": V1, "status": {"token": 5}}), "token must be text"),
        (json.dumps({"kind": "ExecCredential", "apiVersion": V1, "status": {"token": "a\nb"}}), "a token with blanks"),
        (
            json.dumps({"kind": "ExecCredential", "apiVersion": V1, "status": {"clientKeyData": "k"}}),
            "without its key, or a key alone",
        ),
        (
            json.dumps(
                {
                    "kind": "ExecCredential",
                    "apiVersion": V1,
                    "status": {"token": "t", "expirationTimestamp": "2020-01-01T00:00:00Z"},
                }
            ),
            "expired at 2020-01-01T00:00:00Z",
        ),
        (
            json.dumps(
                {"kind": "ExecCredential", "apiVersion": V1, "status": {"token": "t", "expirationTimestamp": "soon"}}
            ),
            "expirationTimestamp that is no time: soon",
        ),
    ],
)
def test_names_what_is_wrong_with_the_answer_of_a_plugin(tmp_path: Path, output: str, expected: str) -> None:
    (tmp_path / "output").write_text(output, encoding="utf-8")
    user = plugin(tmp_path, f"print(open({str(tmp_path / 'output')!r}).read())")
    assert expected in failure(credentials(tmp_path, user), AccessDenied)


def test_a_plugin_that_answers_in_another_version_is_misconfigured(tmp_path: Path) -> None:
    user = answering(tmp_path, {"token": "t"}, V1BETA1)
    user["exec"] |= {"apiVersion": V1, "interactiveMode": "Never"}
    assert f"answered in apiVersion {V1BETA1}" in failure(credentials(tmp_path, user), ConfigError)


def test_a_plugin_that_needs_a_terminal_is_not_run(tmp_path: Path) -> None:
    user = answering(tmp_path, {"token": "t"}, interactiveMode="Always")
    assert "wants a terminal" in failure(credentials(tmp_path, user), AccessDenied)


# Legacy auth providers


def jwt(expires: float) -> str:
    def part(value: dict[str, Any]) -> str:
        # Padded by blanks, for the official client takes no token whose parts need padding of their own.
        text = json.dumps(value)
        return base64.urlsafe_b64encode((text + " " * (-len(text) % 3)).encode()).decode()

    return f"{part({'alg': 'none'})}.{part({'exp': int(expires)})}.c2ln"


def test_takes_the_token_of_oidc_while_it_is_good(tmp_path: Path) -> None:
    token = jwt(time.time() + 3600)
    found = credentials(tmp_path, {"auth-provider": {"name": "oidc", "config": {"id-token": token}}})
    assert headers(found, 60) == {"Authorization": f"Bearer {token}"}
    assert found.method == "auth-provider"


def test_takes_the_token_of_gcp_while_it_is_good(tmp_path: Path) -> None:
    config = {"access-token": "ya29.x", "expiry": "2999-01-01T00:00:00Z"}
    found = credentials(tmp_path, {"auth-provider": {"name": "gcp", "config": config}})
    assert headers(found, 60) == {"Authorization": "Bearer ya29.x"}


@pytest.mark.parametrize(
    "provider",
    [
        {},
        {"name": "oidc"},
        {"name": "oidc", "config": {}},
        {"name": "oidc", "config": {"id-token": "not.a.jwt"}},
        {"name": "oidc", "config": {"id-token": jwt(0)}},
        {"name": "oidc", "config": {"id-token": jwt(0), "idp-issuer-url": "http://127.0.0.1:1"}},
        {"name": "azure", "config": {}},
    ],
)
def test_says_in_one_line_that_a_provider_failed(tmp_path: Path, provider: dict[str, Any]) -> None:
    assert "auth-provider" in failure(credentials(tmp_path, {"auth-provider": provider}), AccessDenied, seconds=60)


def test_names_what_took_the_place_of_a_provider_that_kubectl_has_no_more(tmp_path: Path) -> None:
    provider = {"name": "gcp", "config": {"x": "y"}}
    told = failure(credentials(tmp_path, {"auth-provider": provider}), AccessDenied, seconds=60)
    assert told.endswith("kubectl knows it no more since 1.26; use the exec plugin gke-gcloud-auth-plugin")

"""The same cluster as kubectl, always; and one clear line when there is none."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trustme
import yaml

from kdiag.collect.deadline import Deadline
from kdiag.collect.http import Client
from kdiag.collect.kubeconfig import Overrides, Target, load
from kdiag.errors import ConfigError

KUBECTL = shutil.which("kubectl")
needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="kubectl is the oracle, and is not installed")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def document(
    *,
    context: str | None = "one",
    cluster: Mapping[str, object] | None = None,
    user: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.1:6443", **(cluster or {})}}],
        "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": dict(user or {})}],
    }
    return found | ({"current-context": context} if context else {})


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return path


def read(path: Path, home: Path, **flags: Any) -> Target:
    return load(Overrides(kubeconfig=str(path), **flags), {}, home=home)


def failure(path: Path, home: Path, **flags: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read(path, home, **flags)
    text = str(caught.value)
    assert "\n" not in text
    return text


def token(target: Target) -> str:
    return target.credentials.headers(Deadline(5)).get("Authorization", "")


# Which files


def test_says_what_was_looked_for_when_there_is_no_kubeconfig(home: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(Overrides(), {}, home=home)
    text = str(caught.value)
    for part in (str(home / ".kube" / "config"), "KUBECONFIG is not set", "--kubeconfig"):
        assert part in text


def test_says_which_files_of_kubeconfig_do_not_exist(home: Path) -> None:
    with pytest.raises(ConfigError, match=r"KUBECONFIG names /no/a, /no/b, and none of them exists"):
        load(Overrides(), {"KUBECONFIG": "/no/a:/no/b"}, home=home)
    with pytest.raises(ConfigError, match=r"KUBECONFIG names /no/a, which does not exist"):
        load(Overrides(), {"KUBECONFIG": "/no/a"}, home=home)


def test_many_files_are_named_by_the_first(home: Path) -> None:
    files = [write(home / f"c{n}", {"contexts": [{"name": f"x{n}", "context": {}}]}) for n in range(9)]
    with pytest.raises(ConfigError, match=r"set in \S+c0, \S+c1, \S+c2, \S+c3, \S+c4 and 4 more; there is x0"):
        load(Overrides(), {"KUBECONFIG": ":".join(map(str, files))}, home=home)


@pytest.mark.parametrize(
    "named", [Overrides(certificate_authority="x"), Overrides(client_key="x"), Overrides(client_certificate="x")]
)
def test_a_folder_that_is_gone_makes_a_path_of_the_command_line_no_fault_of_the_output(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: Overrides
) -> None:
    config = write(home / ".kube" / "config", document())
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match="x does not exist: the folder that kdiag was started in is gone"):
        load(named, {"KUBECONFIG": str(config)}, home=home)
    assert load(Overrides(server="https://10.0.0.1", token="t"), {}, home=tmp_path).host == "10.0.0.1"


@pytest.mark.parametrize("listed", [":", " ", " : "])
def test_says_that_kubeconfig_names_no_file(home: Path, listed: str) -> None:
    with pytest.raises(ConfigError, match=r"^no kubeconfig: KUBECONFIG names no file; give one"):
        load(Overrides(), {"KUBECONFIG": listed}, home=home)


# As a folder of others is to who is not root.
UNREADABLE = "/" + "x" * 300


def test_a_file_that_may_not_be_looked_at_is_not_called_missing(home: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: File name too long"):
        load(Overrides(), {"KUBECONFIG": UNREADABLE}, home=home)
    with pytest.raises(ConfigError, match="cannot be read: File name too long and KUBECONFIG is not set"):
        load(Overrides(), {}, home=Path(UNREADABLE))


def test_a_home_of_others_does_not_matter_in_a_pod(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    environ = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443", "HOME": UNREADABLE}
    assert load(Overrides(), environ, service_account=tmp_path).in_cluster


def test_says_that_the_only_file_is_empty(home: Path) -> None:
    path = write(home / ".kube" / "config", "# nothing\n---\n")
    with pytest.raises(ConfigError, match=f"{path} is empty"):
        load(Overrides(), {}, home=home)


def test_takes_the_file_in_the_home_folder_when_kubeconfig_is_empty(home: Path) -> None:
    path = write(home / ".kube" / "config", document())
    target = load(Overrides(), {"KUBECONFIG": "", "HOME": str(home)})
    assert target.origin == str(path)
    assert (target.context, target.cluster, target.user, target.namespace) == ("one", "c", "u", "default")
    assert (target.server, target.host, target.port, target.in_cluster) == (
        "https://10.0.0.1:6443",
        "10.0.0.1",
        6443,
        False,
    )


def test_passes_over_missing_empty_and_dangling_files_of_a_list(home: Path) -> None:
    (home / "dangling").symlink_to(home / "nowhere")
    write(home / "empty", "")
    last = write(home / "last", document())
    names = f"{home}/no:{home}/empty::{home}/dangling:{last}:{last}"
    assert load(Overrides(), {"KUBECONFIG": names}, home=home).origin == str(last)


def test_refuses_a_broken_file_of_a_list_as_kubectl_does(home: Path) -> None:
    broken, whole = write(home / "broken", "a: ["), write(home / "whole", document())
    with pytest.raises(ConfigError, match="broken, line"):
        load(Overrides(), {"KUBECONFIG": f"{whole}:{broken}"}, home=home)


def test_reads_json_a_byte_order_mark_and_utf_16(home: Path) -> None:
    text = json.dumps(document())
    for name, encoding in (("json", "utf-8"), ("bom", "utf-8-sig"), ("wide", "utf-16")):
        (home / name).write_text(text, encoding=encoding)
        assert read(home / name, home).host == "10.0.0.1"


def test_reads_a_pipe_such_as_the_shell_gives(home: Path) -> None:
    reads, writes = os.pipe()
    with open(writes, "w", encoding="utf-8") as file:
        yaml.safe_dump(document(), file)
    try:
        assert load(Overrides(kubeconfig=f"/dev/fd/{reads}"), {}, home=home).host == "10.0.0.1"
    finally:
        os.close(reads)


def test_never_writes_the_file(home: Path) -> None:
    path = write(home / "config", document(user={"auth-provider": {"name": "oidc", "config": {"id-token": "a.b.c"}}}))
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    path.chmod(0o400)
    read(path, home)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert [each.name for each in home.iterdir()] == ["config"]


# Broken files


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "is empty"),
        ("clusters:\n- name: x\n  cluster: {", "line 3: this is not YAML"),
        ("a: b\n\tc: d\n", "line 2: this is not YAML"),
        ("just text", "it holds text, not a mapping"),
        ("- 1\n- 2\n", "it holds a list, not a mapping"),
        ("17", "it holds the number 17"),
        ("kind: Secret\napiVersion: v1\n", "is no kubeconfig: it is of kind v1 Secret"),
        ("clusters: 5", "clusters must be a list, not the number 5"),
        ("clusters: [5]", "item 1 of clusters must be a mapping"),
        ("contexts: [{name: yes}]", "name must be text, not true (put quotes around it if it is text)"),
        ("contexts: [{name: a, context: 1}]", "context must be a mapping"),
        ("contexts: [{name: a}, {name: a}]", 'two contexts have the name "a"'),
        ("current-context: 2\n", "current-context must be text"),
        ("{}", "no current-context is set"),
        ("clusters:\nusers: ~\ncontexts: null\n", "no current-context is set"),
        ("current-context: a\ncontexts: [null]", 'current-context "a" does not exist'),
        ("current-context: a\ncontexts: [{name: a}]", 'context "a" of'),
        ("current-context: a\ncontexts: [{name: a, context: {cluster: 3}}]", "cluster must be text, not the number 3"),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: b}}]",
            'names cluster "b", which does not exist in',
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: b}}]\nclusters: [{name: b}]",
            "has no server; it must name one",
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: b, user: d}}]\n"
            "clusters: [{name: b, cluster: {server: 'https://h'}}]\nusers: [{name: dd}]",
            'names user "d", which does not exist in',
        ),
        ("a: &a [*a]\n", "no current-context is set"),
    ],
)
def test_names_the_file_and_what_is_wrong_with_it(home: Path, content: str, expected: str) -> None:
    path = write(home / "config", content)
    text = failure(path, home)
    assert str(path) in text
    assert expected in text


def test_names_the_line_of_a_binary_file(home: Path) -> None:
    path = home / "config"
    path.write_bytes(b"kind: Config\n\x80\x81")
    assert "line 2: this is not text" in failure(path, home)
    path.write_bytes(b"kind: Config\n\x00\x01")
    assert "line 2: there is a character that YAML forbids" in failure(path, home)


def test_refuses_directories_huge_files_and_unreadable_ones(home: Path) -> None:
    assert "is a directory" in failure(home, home)
    assert "does not exist" in failure(home / "no", home)
    assert "larger than 16 MiB" in failure(Path("/dev/zero"), home)
    with open(home / "huge", "wb") as file:
        file.truncate(17 << 20)
    assert "larger than 16 MiB" in failure(home / "huge", home)
    assert "cannot be read: Not a directory" in failure(write(home / "file", "x") / "below", home)
    if os.geteuid() != 0:
        path = write(home / "secret", document())
        path.chmod(0)
        assert "cannot be read: Permission denied" in failure(path, home)


def test_cleans_names_that_would_drive_the_terminal(home: Path) -> None:
    path = write(home / "config", document(context="evil\x1b]0;x\x07\nname"))
    text = failure(path, home)
    assert text.isprintable()


def test_survives_deep_nesting_and_a_bomb_of_aliases(home: Path) -> None:
    assert "nested more than 100 deep" in failure(write(home / "deep", "[" * 200_000), home)
    assert "nested more than 100 deep" in failure(write(home / "dashes", "- " * 200_000), home)
    steps = "\n".join(f"{' ' * level}a:" for level in range(120))
    assert "nested more than 100 deep" in failure(write(home / "steps", steps), home)
    levels = ["a0: &a0 {k: v}"]
    levels += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 40)]
    assert "too many YAML aliases" in failure(write(home / "merges", "\n".join(levels)), home)
    levels = ["a0: &a0 [x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    assert "no current-context is set" in failure(write(home / "lists", "\n".join(levels)), home)


def test_allows_the_anchors_that_people_use(home: Path) -> None:
    path = write(
        home / "config",
        "base: &base {server: 'https://h:1'}\n"
        "clusters: [{name: c, cluster: {<<: *base, tls-server-name: n}}]\n"
        "contexts: [{name: 2024-01-01, context: {cluster: c}}]\ncurrent-context: 2024-01-01\n",
    )
    target = read(path, home)
    assert (target.server, target.tls_server_name, target.context) == ("https://h:1", "n", "2024-01-01")


# The choice of context, cluster and user


def test_lists_the_contexts_when_the_one_asked_for_does_not_exist(home: Path) -> None:
    content = document()
    content["contexts"] += [{"name": f"ctx-{n}", "context": {}} for n in range(20)]
    text = failure(write(home / "config", content), home, context="onne")
    assert 'context "onne" does not exist' in text
    assert 'did you mean "one"? there is one, ctx-0, ctx-1' in text
    assert "and 13 more" in text


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"cluster": "x"}, 'cluster "x" does not exist'),
        ({"user": "x"}, 'user "x" does not exist'),
        ({"context": "x"}, 'context "x" does not exist'),
        ({"client_certificate": "/no/cert"}, "client-certificate without a client-key"),
        ({"certificate_authority": "/no/ca"}, "certificate-authority /no/ca does not exist"),
        ({"as_groups": ("g",)}, "needs a user to go with it (--as)"),
        ({"server": "ftp://x"}, "only https and http can be spoken"),
    ],
)
def test_explains_a_flag_that_cannot_be_followed(home: Path, flags: dict[str, Any], expected: str) -> None:
    assert expected in failure(write(home / "config", document()), home, **flags)


def test_a_server_on_the_command_line_needs_no_kubeconfig(home: Path) -> None:
    target = load(Overrides(server="localhost:8080", token="t"), {}, home=home)
    assert (target.server, target.context, target.origin) == ("http://localhost:8080", "", "the command line")
    assert token(target) == "Bearer t"


def test_flags_go_before_the_file(home: Path) -> None:
    authority = trustme.CA().cert_pem.bytes()
    (home / "ca").write_bytes(authority)
    path = write(
        home / "config",
        document(cluster={"insecure-skip-tls-verify": True, "tls-server-name": "inner"}, user={"token": "file"}),
    )
    target = read(
        path,
        home,
        namespace="ns",
        server="https://other",
        token="hunter2",
        certificate_authority=str(home / "ca"),
        as_user="me",
    )
    assert (target.namespace, target.server, target.port, target.tls_server_name) == ("ns", "https://other", 443, "")
    assert (target.insecure, target.ca_data, target.impersonate) == (False, authority, {"Impersonate-User": ("me",)})
    assert token(target) == "Bearer hunter2"
    assert "hunter2" not in repr(target)
    assert "hunter2" not in repr(Overrides(token="hunter2"))


def test_insecure_on_the_command_line_puts_the_authority_aside(home: Path) -> None:
    authority = base64.b64encode(trustme.CA().cert_pem.bytes()).decode()
    path = write(home / "config", document(cluster={"certificate-authority-data": authority}))
    target = read(path, home, insecure_skip_tls_verify=True)
    assert (target.insecure, target.ca_data) == (True, None)
    assert not read(path, home).insecure


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("10.0.0.1:6443", ("http", "10.0.0.1", 6443, "")),
        ("https://[fd00::1]:6443/", ("https", "fd00::1", 6443, "")),
        ("https://rancher.example/k8s/clusters/c-1/?x#y", ("https", "rancher.example", 443, "/k8s/clusters/c-1")),
        ("http://h", ("http", "h", 80, "")),
        ("HTTPS://H", ("https", "h", 443, "")),
        ("https://bücher.example", ("https", "xn--bcher-kva.example", 443, "")),
    ],
)
def test_reads_the_parts_of_a_server_url(home: Path, server: str, expected: tuple[str, str, int, str]) -> None:
    target = read(write(home / "config", document(cluster={"server": server})), home)
    assert ("https" if target.tls else "http", target.host, target.port, target.base_path) == expected


def test_the_zone_of_an_address_is_read_as_a_url_writes_it(home: Path) -> None:
    path = write(home / "config", document(cluster={"server": "https://[fe80::1%25lo]:6443"}))
    assert read(path, home).host == "fe80::1%lo"


@pytest.mark.parametrize("name", ["a" * 64, "a..b", "a\0b", "a b"])
def test_refuses_a_tls_server_name_that_no_certificate_can_bear(home: Path, name: str) -> None:
    text = failure(write(home / "config", document(cluster={"tls-server-name": name})), home)
    assert "is no name that a certificate can bear" in text


@pytest.mark.parametrize("name", ["kubernetes", "*.example", "10.0.0.1", "::1", "a_b.example"])
def test_takes_a_tls_server_name(home: Path, name: str) -> None:
    path = write(home / "config", document(cluster={"tls-server-name": name}))
    assert read(path, home).tls_server_name == name


def test_a_number_without_end_is_told_in_words(home: Path) -> None:
    text = failure(write(home / "config", f"current-context: {'9' * 5000}\n"), home)
    assert "a number of more digits than a number may have" in text


def test_a_server_without_scheme_is_https_when_tls_is_configured(home: Path) -> None:
    path = write(home / "config", document(cluster={"server": "h:1", "insecure-skip-tls-verify": True}))
    assert read(path, home).server == "https://h:1"


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("https://h:99999", "is not a URL"),
        ("https://h:0", "port 0"),
        ("https://h:port", "port port is none: it is a number up to 65535"),
        ("https://h:-1", "port -1 is none"),
        ("https://a..b", "a part of it is empty or too long"),
        ("https://.", "a part of it is empty or too long"),
        (f"https://{'a' * 64}.example", "a part of it is empty or too long"),
        ("https://[::1", "is not a URL"),
        ("https://", "names no host"),
        ("unix:///run/x", "only https and http"),
        ("h:1/path", "the https:// is missing"),
        ("https://h o st", "blank"),
        ("https://h\r\nX: y", "blank or unprintable"),
        ("https://user:hunter2@h", "a user name belongs into the user entry"),
    ],
)
def test_refuses_a_server_that_is_no_url(home: Path, server: str, expected: str) -> None:
    text = failure(write(home / "config", document(cluster={"server": server})), home)
    assert expected in text
    assert "hunter2" not in text


# What a cluster entry says


def test_relative_paths_start_at_the_file_that_names_them(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA().cert_pem.bytes()
    path = write(
        home / "deep" / "config", document(cluster={"certificate-authority": "../ca"}, user={"tokenFile": "t"})
    )
    (home / "ca").write_bytes(authority)
    write(home / "deep" / "t", "from-file\n")
    monkeypatch.chdir(home)
    target = load(Overrides(), {"KUBECONFIG": "deep/config"}, home=home)
    assert target.ca_data == authority
    assert token(target) == "Bearer from-file"
    assert read(path, home, client_certificate="", certificate_authority="ca").ca_data == authority


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        ({"certificate-authority": "no"}, "no does not exist"),
        ({"certificate-authority-data": "!!!"}, "is not whole base64"),
        ({"certificate-authority-data": "aGVsbG8="}, "holds no whole PEM certificate"),
        ({"certificate-authority-data": "aGVsbG8=", "certificate-authority": "x"}, "leave one of them"),
        ({"insecure-skip-tls-verify": "yes"}, "insecure-skip-tls-verify must be true or false, not text"),
        ({"proxy-url": "socks5://h:1"}, "is not supported: only http:// proxies are, not socks5"),
        ({"proxy-url": "http://u:hunter2@h:x"}, "proxy-url"),
        ({"tls-server-name": ["a"]}, "tls-server-name must be text, not a list"),
    ],
)
def test_explains_a_cluster_entry_that_cannot_be_used(home: Path, cluster: dict[str, object], expected: str) -> None:
    text = failure(write(home / "config", document(cluster=cluster)), home)
    assert expected in text
    assert "hunter2" not in text


def test_refuses_an_authority_together_with_insecure_as_kubectl_does(home: Path) -> None:
    authority = base64.b64encode(trustme.CA().cert_pem.bytes()).decode()
    cluster = {"certificate-authority-data": authority, "insecure-skip-tls-verify": True}
    assert "leave one of them" in failure(write(home / "config", document(cluster=cluster)), home)


def test_an_authority_that_was_cut_short_is_named(home: Path) -> None:
    authority = base64.b64encode(trustme.CA().cert_pem.bytes()).decode()
    for length in (len(authority) // 2, len(authority) // 2 // 4 * 4):
        cluster = {"certificate-authority-data": authority[:length]}
        text = failure(write(home / "config", document(cluster=cluster)), home)
        assert "certificate-authority" in text
        assert "whole" in text


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ({"https_proxy": "p:1"}, "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, ""),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "a.example, 10.0.0.0/8"}, ""),
        ({"HTTPS_PROXY": "http://p:1", "no_proxy": "10.0.0.1"}, ""),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.0.0.1:6443"}, ""),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.0.0.1:443,0.0.1"}, "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.0.0.1:²"}, "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, ""),
    ],
)
def test_takes_the_proxy_of_the_environment_by_gos_rules(home: Path, environ: dict[str, str], expected: str) -> None:
    path = write(home / "config", document())
    assert load(Overrides(kubeconfig=str(path)), environ, home=home).proxy_url == expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("example.org", ""), (".example.org", ""), ("*.example.org", ""), ("api.example.org", ""), ("ample.org", "p")],
)
def test_no_proxy_covers_a_name_and_those_below_it(home: Path, rule: str, expected: str) -> None:
    path = write(home / "config", document(cluster={"server": "https://api.example.org"}))
    environ = {"HTTPS_PROXY": "http://p", "NO_PROXY": rule}
    assert load(Overrides(kubeconfig=str(path)), environ, home=home).proxy_url.removeprefix("http://") == expected


def test_the_proxy_of_the_cluster_goes_before_the_environment(home: Path) -> None:
    path = write(home / "config", document(cluster={"proxy-url": "http://mine:3128"}))
    environ = {"HTTPS_PROXY": "socks5://other", "NO_PROXY": "*"}
    assert load(Overrides(kubeconfig=str(path)), environ, home=home).proxy_url == "http://mine:3128"


# Impersonation


def test_reads_and_overrides_whom_to_impersonate(home: Path) -> None:
    user = {"as": "a", "as-uid": "1", "as-groups": ["g", "h"], "as-user-extra": {"Example.org/Reason": ["x", "y"]}}
    path = write(home / "config", document(user=user))
    assert read(path, home).impersonate == {
        "Impersonate-User": ("a",),
        "Impersonate-Uid": ("1",),
        "Impersonate-Group": ("g", "h"),
        "Impersonate-Extra-Example.org%2FReason": ("x", "y"),
    }
    over = read(path, home, as_user="b", as_groups=("i",), as_uid="2", as_user_extra=(("k", "v"), ("k", "w")))
    assert over.impersonate["Impersonate-User"] == ("b",)
    assert over.impersonate["Impersonate-Group"] == ("i",)
    assert over.impersonate["Impersonate-Extra-k"] == ("v", "w")


def test_refuses_a_name_to_impersonate_that_would_be_a_second_header(home: Path) -> None:
    path = write(home / "config", document())
    assert "unprintable" in failure(path, home, as_user="a\r\nImpersonate-Group: system:masters")


# In a pod


@pytest.fixture
def account(tmp_path: Path) -> Path:
    folder = tmp_path / "serviceaccount"
    write(folder / "token", "pod-token\n")
    write(folder / "namespace", "shop\n")
    (folder / "ca.crt").write_bytes(trustme.CA().cert_pem.bytes())
    return folder


IN_POD = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}


def test_uses_the_service_account_in_a_pod(home: Path, account: Path) -> None:
    target = load(Overrides(), IN_POD, home=home, service_account=account)
    assert (target.server, target.host, target.namespace) == ("https://[fd00::1]:443", "fd00::1", "shop")
    assert (target.in_cluster, target.origin) == (True, f"in-cluster ({account})")
    assert token(target) == "Bearer pod-token"
    write(account / "token", "rotated")
    assert token(target) == "Bearer rotated"


def test_a_kubeconfig_goes_before_the_service_account(home: Path, account: Path) -> None:
    write(home / ".kube" / "config", document())
    assert not load(Overrides(), IN_POD, home=home, service_account=account).in_cluster


def test_is_not_in_a_pod_without_a_token(home: Path, account: Path) -> None:
    (account / "token").unlink()
    with pytest.raises(ConfigError, match="no kubeconfig"):
        load(Overrides(), IN_POD, home=home, service_account=account)


# kubectl as the oracle


def ask_kubectl(arguments: list[str], environ: Mapping[str, str], home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [KUBECTL or "kubectl", *arguments],
        env={"HOME": str(home), "PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def generated(seed: int) -> dict[str, Any]:
    """A kubeconfig with a few of few names, so that several of them clash."""
    dice = random.Random(seed)

    def some(names: str) -> list[str]:
        return sorted(dice.sample(names, dice.randint(0, len(names))))

    content: dict[str, Any] = {
        "clusters": [
            {"name": name, "cluster": {"server": f"https://{name}{seed}.example:{dice.randint(1, 999)}"}}
            | (
                {"cluster": {"server": f"https://{name}:1", "tls-server-name": f"n{seed}"}}
                if dice.random() < 0.3
                else {}
            )
            for name in some("cd")
        ],
        "users": [{"name": name, "user": {"token": f"{name}{seed}"}} for name in some("uv")],
        "contexts": [
            {
                "name": name,
                "context": {"cluster": dice.choice("cd"), "user": dice.choice("uv")}
                | ({"namespace": f"ns{seed}"} if dice.random() < 0.5 else {}),
            }
            for name in some("xwz")
        ],
    }
    if dice.random() < 0.7:
        content["current-context"] = dice.choice("xwz")
    return content


@needs_kubectl
@pytest.mark.parametrize("seed", range(24))
def test_merges_several_files_as_kubectl_does(home: Path, seed: int) -> None:
    names = []
    for number in range(3):
        content = "" if random.Random(seed * 10 + number).random() < 0.15 else generated(seed * 10 + number)
        names.append(str(write(home / f"f{number}", content)))
    environ = {"KUBECONFIG": ":".join([names[0], str(home / "missing"), *names[1:]])}
    told = ask_kubectl(["config", "view", "--minify", "--raw", "-o", "json"], environ, home)
    view = json.loads(told.stdout) if told.returncode == 0 else {}
    # kubectl shows a context whose cluster or user is missing, and fails only when it uses it.
    if not (view.get("contexts") and view.get("clusters") and view.get("users")):
        with pytest.raises(ConfigError):
            load(Overrides(), environ, home=home)
        return
    target = load(Overrides(), environ, home=home)
    context, cluster, user = view["contexts"][0], view["clusters"][0], view["users"][0]
    assert (target.context, target.cluster, target.user) == (context["name"], cluster["name"], user["name"])
    assert target.server == cluster["cluster"]["server"]
    assert target.tls_server_name == cluster["cluster"].get("tls-server-name", "")
    assert target.namespace == context["context"].get("namespace", "default")
    assert token(target) == f"Bearer {user['user']['token']}"


class _Recorder(BaseHTTPRequestHandler):
    requests: ClassVar[list[tuple[str, list[tuple[str, str]]]]]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        type(self).requests.append((self.path, sorted((name.lower(), text) for name, text in self.headers.items())))
        body = b"{}"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@dataclass
class Recorder:
    server: str
    authority: str
    requests: list[tuple[str, list[tuple[str, str]]]]


@pytest.fixture(params=["https", "http"])
def recorder(request: pytest.FixtureRequest) -> Iterator[Recorder]:
    class Handler(_Recorder):
        requests: ClassVar[list[tuple[str, list[tuple[str, str]]]]] = []

    authority = trustme.CA()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if request.param == "https":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("127.0.0.1").configure_cert(context)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        data = base64.b64encode(authority.cert_pem.bytes()).decode()
        yield Recorder(f"{request.param}://127.0.0.1:{server.server_port}", data, Handler.requests)
        server.shutdown()
        thread.join()


IMPERSONATED = {"as": "a b", "as-uid": "1", "as-groups": ["g", "h"], "as-user-extra": {"Ex/R%": ["x"]}, "token": "t"}


@needs_kubectl
@pytest.mark.parametrize(
    ("user", "flags", "arguments"),
    [
        ({"token": "t"}, {}, []),
        ({"username": "me", "password": "p:ü"}, {}, []),
        ({"token": "t"}, {"token": "f"}, ["--token=f"]),
        ({"token": "t", "tokenFile": "file"}, {}, []),
        ({"token": "t", "tokenFile": "gone"}, {}, []),
        (IMPERSONATED, {}, []),
        (IMPERSONATED, {"as_user": "b"}, ["--as=b"]),
        (
            IMPERSONATED,
            {"as_user": "b", "as_groups": ("i", "j"), "as_uid": "2"},
            ["--as=b", "--as-group=i", "--as-group=j", "--as-uid=2"],
        ),
    ],
)
def test_sends_who_we_are_as_kubectl_does(
    home: Path,
    recorder: Recorder,
    user: dict[str, object],
    flags: dict[str, Any],
    arguments: list[str],
) -> None:
    write(home / "file", "from-file\n")
    cluster = {"server": recorder.server, "certificate-authority-data": recorder.authority}
    path = write(home / "config", document(cluster=cluster, user=user))
    told = ask_kubectl(["--kubeconfig", str(path), *arguments, "get", "--raw", "/version"], {}, home)
    assert told.returncode == 0, told.stderr
    with Client(read(path, home, **flags), deadline=Deadline(10)) as client:
        client.get("/version")
    theirs, ours = recorder.requests[-2], recorder.requests[-1]
    assert (theirs[0].partition("?")[0], ours[0]) == ("/version", "/version")

    def identity(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return [pair for pair in headers if pair[0].startswith(("authorization", "impersonate"))]

    assert identity(ours[1]) == identity(theirs[1])


Change = Callable[[dict[str, Any]], object]


@needs_kubectl
@pytest.mark.parametrize(
    ("change", "arguments", "flags"),
    [
        (lambda c: c, ["--context=no"], {"context": "no"}),
        (lambda c: c, ["--cluster=no"], {"cluster": "no"}),
        (lambda c: c, ["--user=no"], {"user": "no"}),
        (lambda c: c.update(kind="Secret"), [], {}),
        (lambda c: c["clusters"].append(c["clusters"][0]), [], {}),
        (lambda c: c["users"][0]["user"].update(token="t", username="a"), [], {}),
        (lambda c: c["users"][0]["user"].update({"as-groups": ["g"]}), [], {}),
        (lambda c: c["clusters"][0]["cluster"].update(server="https://h:1:1"), [], {}),
        (lambda c: c["clusters"][0]["cluster"].update({"proxy-url": "ftp://h"}), [], {}),
        (lambda c: c["users"][0].update(user={"exec": {"command": "true", "apiVersion": "x/v1"}}), [], {}),
        (lambda c: c["users"][0].update(user={"client-certificate": "no", "client-key": "no"}), [], {}),
    ],
)
def test_refuses_what_kubectl_refuses(home: Path, change: Change, arguments: list[str], flags: dict[str, Any]) -> None:
    content = document()
    change(content)
    path = write(home / "config", content)
    told = ask_kubectl(["--kubeconfig", str(path), *arguments, "--request-timeout=2s", "version"], {}, home)
    assert told.returncode != 0
    failure(path, home, **flags)

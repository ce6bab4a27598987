"""Where a user's files are, also for a user without a home, and what lies there and is no file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kdiag.collect import kubeconfig, settings, ssh_config
from kdiag.collect.paths import expanded, home_of, user_folder
from kdiag.errors import ConfigError


def test_home_is_what_the_variable_says(tmp_path: Path) -> None:
    assert home_of({"HOME": str(tmp_path)}) == tmp_path


@pytest.mark.parametrize("environ", [{}, {"HOME": ""}, {"HOME": "here"}, {"HOME": "../.."}])
def test_without_the_variable_it_is_what_the_system_knows(environ: dict[str, str]) -> None:
    assert home_of(environ).is_absolute()


def test_a_user_without_an_entry_has_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # The numbers of users in containers are made up.
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    assert home_of({}) == Path("/nonexistent")
    assert ssh_config.load(None, {}).lookup("cp1").user == str(2**31 - 7)
    with pytest.raises(ConfigError, match="no kubeconfig"):
        kubeconfig.load(kubeconfig.Overrides(), {})


@pytest.mark.parametrize("named", ["", "state", "../..", "./x"])
def test_a_relative_folder_is_none(tmp_path: Path, named: str) -> None:
    environ = {"HOME": str(tmp_path), "XDG_STATE_HOME": named}
    assert user_folder(environ, "XDG_STATE_HOME", ".local", "state") == tmp_path / ".local" / "state"
    assert settings.state_folder(environ) == tmp_path / ".local" / "state" / "kdiag"


def test_what_lies_in_the_present_folder_is_not_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = tmp_path / ".config" / "kdiag"
    planted.mkdir(parents=True)
    (planted / "config.yaml").write_text("ssh_config: /tmp/planted\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "")
    assert settings.load({"HOME": "", "XDG_CONFIG_HOME": ".config"}).ssh_config != "/tmp/planted"


def test_the_home_of_nobody_is_told() -> None:
    with pytest.raises(ConfigError, match="~nobody-here is the home of no user here"):
        expanded("~nobody-here/x", {})
    with pytest.raises(ConfigError, match="home of no user"):
        settings.load({"KDIAG_CONFIG": "~nobody-here/config.yaml"})
    with pytest.raises(ConfigError, match="home of no user"):
        ssh_config.load(Path("~nobody-here/config"), {})


def test_a_tilde_is_the_home_of_this_environment(tmp_path: Path) -> None:
    assert expanded("~/x", {"HOME": str(tmp_path)}) == tmp_path / "x"
    assert expanded("~", {"HOME": str(tmp_path)}) == tmp_path
    assert expanded("/x", {}) == Path("/x")


def config(folder: Path, content: bytes) -> dict[str, str]:
    file = folder / "config.yaml"
    file.write_bytes(content)
    return {"KDIAG_CONFIG": str(file)}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"nodes: [2026-02-30]", "day is out of range"),
        (b"nodes: [!!int x]", "is no YAML"),
        (b"nodes: [!!bool x]", "is no YAML"),
        (b"nodes: \xff\xfe", "is no YAML"),
        (b"[" * 5000, "is no YAML"),
        (b"x" * (1 << 21), "larger than 1 MiB"),
    ],
    ids=["day", "number", "truth", "bytes", "deep", "large"],
)
def test_a_configuration_that_cannot_be_read_is_told_in_one_line(tmp_path: Path, content: bytes, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings.load(config(tmp_path, content))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_configuration_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert settings.load(config(tmp_path, b"\xef\xbb\xbfssh_config: /x\n")).ssh_config == "/x"


def test_a_home_of_others_holds_no_configuration() -> None:
    away = "/" + "x" * 300  # fails to be looked at, as a home of others does for who is not root
    assert settings.load({"HOME": away}) == settings.Settings()
    with pytest.raises(ConfigError, match=r"KDIAG_CONFIG names .*and it cannot be read: File name too long"):
        settings.load({"KDIAG_CONFIG": away})


def test_what_is_no_file_is_no_configuration(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, told in (
        (tmp_path, "is a directory"),
        (pipe, "pipe that nothing was written to"),
        ("/dev/zero", "larger"),
    ):
        with pytest.raises(ConfigError, match=told):
            settings.load({"KDIAG_CONFIG": str(path)})

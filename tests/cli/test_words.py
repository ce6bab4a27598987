"""Help, manual, completion, version: what kdiag says of itself."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kdiag import __version__
from kdiag.cli.commands import COMMANDS
from kdiag.cli.completion import SCRIPTS, candidates
from kdiag.cli.parser import parser, subcommands
from kdiag.engine.library import checks
from tests.cli.runner import KDIAG, environment, kdiag


def test_the_version(tmp_path: Path) -> None:
    for words in (("--version",), ("version",), ("check", "--version")):
        done = kdiag(*words, home=tmp_path)
        assert (done.stdout, done.returncode) == ((f"kdiag {__version__}\n", 0) if words[0] != "check" else ("", 2))


@pytest.mark.parametrize("name", [c.name for c in COMMANDS])
def test_every_command_has_help_with_examples(tmp_path: Path, name: str) -> None:
    done = kdiag(name, "--help", home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    if name not in ("version", "help"):
        assert "examples:" in done.stdout
    assert kdiag("help", name, home=tmp_path).stdout == done.stdout
    # What is longer is one word of a choice; no line breaks where the terminal ends.
    narrow = kdiag(name, "--help", home=tmp_path, env={"COLUMNS": "80"}).stdout.splitlines()
    assert [line for line in narrow if len(line) > 80 and "{" not in line] == []


def test_every_example_is_a_command_line_that_parses(capsys: pytest.CaptureFixture[str]) -> None:
    top = parser()
    for command in COMMANDS:
        for line in command.examples.splitlines():
            match = re.match(r"\s+(?:\{prog\}|kdiag) (.*?)(?:\s\s+\S.*|\s[>|]\s.*)?$", line)
            if match:
                top.parse_args(shlex.split(match[1]))
    assert capsys.readouterr().err == ""


def test_as_a_plugin_of_kubectl_it_is_called_so(tmp_path: Path) -> None:
    plugin = tmp_path / "kubectl-kdiag"
    plugin.write_text(f"#!{sys.executable}\nfrom kdiag.__main__ import main\nmain()\n")
    plugin.chmod(0o755)
    done = subprocess.run(
        [plugin, "check", "--help"], env=environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("usage: kubectl kdiag check")
    assert "kubectl kdiag check -n shop" in done.stdout


def test_cluster_flags_may_stand_before_the_command() -> None:
    top = parser()
    before = top.parse_args(["-n", "shop", "--context", "prod", "--as-group", "a", "check", "-o", "json"])
    behind = top.parse_args(["check", "-n", "shop", "--context", "prod", "--as-group", "a", "-o", "json"])
    assert vars(before) == vars(behind)
    assert top.parse_args(["--context", "a", "check", "--context", "b"]).context == "b"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("check", "--snapshto", "x"),
            "flag --snapshto does not exist; did you mean --snapshot?\nsee: kdiag check --help",
        ),
        (("--contxt", "x", "check"), "flag --contxt does not exist; did you mean --context?\nsee: kdiag --help"),
        (("lab", "start", "--exm=5"), "flag --exm does not exist; did you mean --exam?\nsee: kdiag lab start --help"),
        (("check", "-v"), "unrecognized arguments: -v\nsee: kdiag check --help"),
        (("check", "--zzz", "--token", "hunter2"), "flag --zzz does not exist\nsee: kdiag check --help"),
        (("lab", "start", "--exam", "-1"), "argument --exam: '-1' is no number from 1\nsee: kdiag lab start --help"),
        (
            ("lab", "start", "--minutes", "0"),
            "argument --minutes: '0' is no number from 1\nsee: kdiag lab start --help",
        ),
    ],
)
def test_a_flag_that_is_none_is_told_with_its_neighbour(
    words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parser(words).parse_args(words)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"kdiag: {told}\n"


@pytest.mark.parametrize("command", ["runbook", "verify", "explain"])
def test_an_object_may_stand_behind_the_flags(command: str) -> None:
    flag = ("--wait", "0") if command == "verify" else ("-o", "markdown")
    words = (command, "rollout_stuck", *flag, "shop/web")
    options = parser(words).parse_args(words)
    assert (options.check, options.object) == ("rollout_stuck", "shop/web")
    assert parser(words).parse_args(words[:-1]).object == ""


def test_help_of_a_verb(tmp_path: Path) -> None:
    assert kdiag("help", "lab", "start", home=tmp_path).stdout == kdiag("lab", "start", "--help", home=tmp_path).stdout
    assert "did you mean 'start'?" in kdiag("help", "lab", "strat", home=tmp_path).stderr


def test_the_manual_names_everything(tmp_path: Path) -> None:
    text = kdiag("man", home=tmp_path).stdout
    plain = text.replace("\\-", "-")
    for name, sub in subcommands(parser()).items():
        assert f".SS kdiag {name}" in text
        for action in sub._actions:
            for flag in action.option_strings:
                assert flag in plain or action.dest == "help"
        codes = " ".join((sub.epilog or "").partition("exit codes:")[2].split())
        assert not codes or f"Exit codes: {codes}." in plain
    for variable in ("KDIAG_SSH_CONFIG", "KDIAG_CONFIG", "KDIAG_THEME", "KDIAG_ASCII", "XDG_STATE_HOME"):
        assert variable in plain
    for verb in ("start", "hint", "stop", "score"):
        assert f".B kdiag lab {verb}" in plain
    assert "--exam" in plain
    assert not [line for line in text.splitlines() if line.startswith("'")]


def test_the_manual_is_ascii(tmp_path: Path) -> None:
    assert kdiag("man", home=tmp_path).stdout.isascii()


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
def test_the_manual_is_well_formed(tmp_path: Path) -> None:
    text = kdiag("man", home=tmp_path).stdout
    lint = subprocess.run(["mandoc", "-Tlint", "-Wwarning"], input=text, capture_output=True, text=True, check=False)
    # It has no date, so that the same sources make the same page.
    assert [line for line in lint.stdout.splitlines() if "missing date" not in line] == []


# ---- completion


def words(*line: str) -> list[str]:
    return [c.partition("\t")[0] for c in candidates(line)]


def test_candidates() -> None:
    assert words("") == [c.name for c in COMMANDS]
    assert words("che") == ["check"]
    assert words("check", "--fail-on", "") == ["info", "warning", "error", "critical"]
    assert words("check", "-o", "j") == ["json"]
    assert words("check", "--output=y") == ["--output=yaml"]
    assert words("check", "-o", "=", "y") == ["yaml"]  # as bash takes it apart
    assert words("check", "--fail") == ["--fail-on"]
    assert words("--kubeconfig", "") == words("check", "--snapshot", "") == [":files"]
    assert words("check", "service_selects_n") == ["service_selects_nothing"]
    assert words("check", "network/service_selects_n") == ["network/service_selects_nothing"]
    assert "network" in words("check", "")
    assert "endpoints" in words("check", "dns", "")  # tags, and as many as one likes
    assert "network" not in words("explain", "")
    assert words("explain", "service_selects_nothing", "n") == ["namespace/", "node/"]
    assert words("--context", "x", "help", "tr") == ["trace"]
    assert words("completion", "") == ["bash", "zsh", "fish"]
    assert words("trace", "") == ["ingress/", "pod/", "service/"]
    assert words("nonsense", "") == words("version", "") == []
    assert {c.partition("/")[2] for c in checks()} <= set(words("explain", ""))


def test_contexts_come_from_the_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "c"
    config.write_text("contexts: [{name: prod, context: {}}, {name: dev, context: {}}]\n")
    monkeypatch.setenv("KUBECONFIG", str(config))
    assert words("check", "--context", "") == ["prod", "dev"]
    config.write_text("contexts: [")
    assert words("check", "--context", "") == []
    other = tmp_path / "other"
    names = ("arn:aws:eks:eu:1:cluster/a", "default/api:6443/me", "esc\x1b[2J\n--token=x")
    other.write_text(json.dumps({"contexts": [{"name": name} for name in names]}))
    for flag in ((f"--kubeconfig={other}",), ("--kubeconfig", str(other)), ("--kubeconfig", "=", str(other))):
        assert words(*flag, "check", "--context", "") == list(names[:2])


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_scripts_parse(tmp_path: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_text(kdiag("completion", shell, home=tmp_path).stdout)
    done = subprocess.run([shell, "-n", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def on_path(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "kdiag").write_text(f'#!/bin/sh\nexec {" ".join(KDIAG)} "$@"\n')
    (folder / "kdiag").chmod(0o755)
    return environment(tmp_path, PATH=f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_bash_completes(tmp_path: Path) -> None:
    script = """
source <(kdiag completion bash)
COMP_WORDS=(kdiag check --fail-on "") COMP_CWORD=3 COMP_LINE="kdiag check --fail-on " COMP_POINT=22
compopt() { :; }
_kdiag
printf '%s\\n' "${COMPREPLY[@]}"
complete -p kdiag
"""
    done = subprocess.run(["bash", "-c", script], env=on_path(tmp_path), capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["info", "warning", "error", "critical", "complete -F _kdiag kdiag"]
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("typed", "replies"),
    [
        # bash takes the words apart at colons, and replaces what stands behind the last one.
        (("a",), [r"arn:aws:eks:eu:1:cluster/a", r"a\;reboot\ \$\(id\)"]),
        (("arn", ":", "aws", ":", "ek"), ["eks:eu:1:cluster/a"]),
        (("arn", ":", "aws", ":"), ["eks:eu:1:cluster/a"]),
    ],
)
def test_bash_completes_names_with_colons_and_quotes_what_it_would_take_for_a_command(
    tmp_path: Path, typed: tuple[str, ...], replies: list[str]
) -> None:
    (tmp_path / "c").write_text("contexts: [{name: 'arn:aws:eks:eu:1:cluster/a'}, {name: 'a;reboot $(id)'}]\n")
    given = " ".join(map(shlex.quote, ("kdiag", "check", "--context", *typed)))
    script = f"""
source <(kdiag completion bash)
COMP_WORDS=({given}) COMP_CWORD={2 + len(typed)}
compopt() {{ :; }}
_kdiag
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    env = {**on_path(tmp_path), "KUBECONFIG": str(tmp_path / "c")}
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=False)
    assert (done.stdout.splitlines(), done.stderr) == (replies, "")


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes(tmp_path: Path) -> None:
    script = "kdiag completion fish | source; complete -C 'kdiag check --fail-on '"
    done = subprocess.run(["fish", "-c", script], env=on_path(tmp_path), capture_output=True, text=True, check=False)
    assert set(done.stdout.split()) >= {"info", "warning", "error", "critical"}


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes(tmp_path: Path) -> None:
    script = """
compdef() { :; }
compadd() { print -l -- "${names[@]}"; }
source <(kdiag completion zsh)
words=(kdiag check --fail-on "") CURRENT=4
_kdiag
"""
    done = subprocess.run(["zsh", "-fc", script], env=on_path(tmp_path), capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["info", "warning", "error", "critical"], done.stderr


def test_kubectl_asks_for_its_plugins_candidates(tmp_path: Path) -> None:
    asked = tmp_path / "kubectl_complete-kdiag"
    asked.write_text(f"#!{sys.executable}\nfrom kdiag.__main__ import main\nmain()\n")
    asked.chmod(0o755)
    done = subprocess.run(
        [asked, "check", "--fail-on", ""], env=environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert done.stdout.split()[:2] == ["info", "warning"]


@pytest.mark.parametrize(("columns", "widest"), [("60", 60), ("5000", 100), ("", 100), ("many", 100), ("-1", 100)])
def test_a_text_is_as_wide_as_columns_says_also_into_a_pipe(tmp_path: Path, columns: str, widest: int) -> None:
    text = kdiag("explain", "service_selects_nothing", home=tmp_path, env={"COLUMNS": columns}).stdout
    prose = [line for line in text.splitlines() if line[:1].isalpha()]
    assert widest - 15 < max(map(len, prose)) <= widest

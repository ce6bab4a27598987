"""What is asked often and says little must start at once: nothing is imported before it is needed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.runner import HEALTHY, environment

_PROBE = """
import atexit, json, os, sys
from kdiag import __main__
sys.argv = ["kdiag", *{words!r}]
leave = os._exit
def told(code):
    sys.stdout.flush()
    print("\\nMODULES " + json.dumps(sorted(sys.modules)), file=sys.stderr, flush=True)
    leave(code)
os._exit = told
__main__.main()
told(0)
"""
HEAVY = ("msgspec", "yaml", "ssl", "http.client", "socket", "subprocess", "textual", "rich", "kubernetes", "paramiko")


def modules(tmp_path: Path, *words: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", _PROBE.format(words=list(words))],
        env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return set(json.loads(done.stderr.rpartition("MODULES ")[2]))


@pytest.mark.parametrize(
    "words",
    [("--version",), ("version",), ("--help",), ("check", "--help"), ("help", "trace"), ("chek",), ("man",),
     ("completion", "bash"), ("__complete", "--", "che"), ("__complete", "--", "check", "--fail-on", "")],
)  # fmt: skip
def test_words_about_kdiag_itself_load_nothing_heavy(tmp_path: Path, words: tuple[str, ...]) -> None:
    loaded = modules(tmp_path, *words)
    assert not loaded.intersection(HEAVY)
    assert not [name for name in loaded if name.startswith(("kdiag.facts", "kdiag.collect", "kdiag.checks"))]


def test_the_version_does_not_even_load_the_parser(tmp_path: Path) -> None:
    assert not {"argparse", "kdiag.cli", "dataclasses", "typing"} & modules(tmp_path, "--version") - _bare(tmp_path)


def _bare(tmp_path: Path) -> set[str]:
    """What the interpreter and this test's own probe load."""
    script = "import json, os, sys, atexit; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(tmp_path), capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    "words",
    [("check", "--snapshot", str(HEALTHY)), ("check", "-o", "yaml", "--snapshot", str(HEALTHY)), ("list",),
     ("explain", "service_selects_nothing"), ("trace", "--snapshot", str(HEALTHY), "default/kubernetes"), ("doctor",)],
)  # fmt: skip
def test_no_command_without_a_screen_loads_the_screen(tmp_path: Path, words: tuple[str, ...]) -> None:
    loaded = modules(tmp_path, *words)
    assert not {"textual", "rich", "kubernetes", "paramiko", "asyncio"} & loaded


def test_a_recording_needs_no_network_code(tmp_path: Path) -> None:
    assert not {"ssl", "kdiag.collect.http"} & modules(tmp_path, "check", "--snapshot", str(HEALTHY))

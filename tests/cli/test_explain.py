"""The runbook pages on a terminal."""

import re
from pathlib import Path
from typing import Any

import pexpect
import pytest

from kdiag.cli.explain import page, with_names
from kdiag.engine.library import GROUPS, checks
from kdiag.errors import UsageError
from kdiag.report.markdown import render_markdown
from kdiag.report.style import Style, visible_length
from tests.cli.runner import KDIAG, ROOT, environment, kdiag

NAME = "service_selects_nothing"
ID = f"network/{NAME}"


def test_a_page(tmp_path: Path) -> None:
    done = kdiag("explain", NAME, home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "Service selects no pod"
    assert [line for line in lines if line.isupper()][:4] == ["MEANING", "IMPACT", "DIAGNOSIS", "MITIGATION"]
    assert '    kubectl -n "$NAMESPACE" get pods --show-labels' in lines
    assert "kdiag explain network/service_target_port_wrong" in done.stdout


def test_markdown_is_the_file_itself(tmp_path: Path) -> None:
    assert kdiag("explain", ID, "-o", "markdown", home=tmp_path).stdout == page(ID)


def test_words_are_looked_for_in_all_pages(tmp_path: Path) -> None:
    done = kdiag("explain", "--search", "no space left on device", home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Disk is full for a container  application/disk_full_in_container" in done.stdout
    assert "no space left on device" in done.stdout
    none = kdiag("explain", "--search", "zzz yyy", home=tmp_path)
    assert (none.returncode, none.stdout) == (2, "")
    assert "no runbook page has all of: zzz yyy" in none.stderr
    assert kdiag("explain", NAME, "--search", "x", home=tmp_path).returncode == 2


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("prod/db", "NAMESPACE=prod NAME=db   # the Service of the finding"),
        ("service/prod/db", "NAMESPACE=prod NAME=db   # the Service of the finding"),
        ("node/w1", "NAMESPACE=shop NAME=w1   # the Service of the finding"),
        ("ns/prod", "NAMESPACE=prod NAME=prod   # the Service of the finding"),
    ],
)
def test_the_names_of_an_object(tmp_path: Path, word: str, line: str) -> None:
    assert line in kdiag("explain", NAME, word, home=tmp_path).stdout
    assert line in kdiag("explain", NAME, word, "-o", "markdown", home=tmp_path).stdout


def test_only_the_first_block_is_filled_and_the_kind_with_it() -> None:
    text = "```sh\nNAMESPACE=a KIND=x NAME=b NODE=n OTHER=y   # c\nX=$(date)\n```\n```sh\nNAME=b\n```\n"
    filled = with_names(text, "deployment/shop/web")
    assert "NAMESPACE=shop KIND=deployment NAME=web NODE=n OTHER=y   # c" in filled
    assert "X=$(date)" in filled
    assert filled.endswith("```sh\nNAME=b\n```\n")
    assert "NODE=w1" in with_names(text, "node/w1")


@pytest.mark.parametrize("word", ["web", "a/b/c/d", "shop/$(reboot)", "shop/a b", "shop/;x", "/x", "shop/'"])
def test_words_that_name_no_object(word: str) -> None:
    with pytest.raises(UsageError):
        with_names("```sh\nNAME=x\n```", word)


def test_all_pages_by_group(tmp_path: Path) -> None:
    lines = kdiag("explain", home=tmp_path).stdout.splitlines()
    assert [line for line in lines if line in GROUPS] == list(GROUPS)
    assert sum(line.startswith("  ") for line in lines) == len(checks())


@pytest.mark.parametrize("width", [40, 72, 100])
def test_every_page_fits_but_for_commands(width: int) -> None:
    for file in sorted((ROOT / "runbooks").glob("*/*.md")):
        where, text = f"{file.parent.name}/{file.stem}", file.read_text()
        for line in render_markdown(text, Style(color=True, width=width), group=file.parent.name).splitlines():
            plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
            assert "\x00" not in plain
            code = plain.startswith("    ") or len(plain.split()) <= 4  # a command, or one long word
            assert visible_length(line) <= width or code, (where, plain)
            assert line.count("\x1b[0m") == len(re.findall(r"\x1b\[[1-9]", line)), (where, line)


def test_markdown_of_other_kinds() -> None:
    text = """# A *title* with `code`

| a | b |
|---|---|
| 1 | two words |

> said

1. one
   - nested

     ```sh
     run it
     ```
2. two **strong** [there](https://x.test/) [page](../application/pod_not_ready.md) <b>

---
"""
    lines = render_markdown(text, Style(width=60), group="network").splitlines()
    assert [line for line in lines if line] == [
        "A title with code",
        "a  b",
        "─  ────────────────────",
        "1  two words",
        "│ said",
        "  1. one",
        "       • nested",
        "             run it",
        "  2. two strong there <https://x.test/> page",
        "     (kdiag explain application/pod_not_ready) <b>",
        "────────────────────",
    ]


def screen(tmp_path: Path, *words: str, rows: int = 24, **env: str) -> Any:
    child = pexpect.spawn(
        KDIAG[0], [*KDIAG[1:], *words], env=environment(tmp_path, TERM="xterm", **env), dimensions=(rows, 90),
        timeout=30,
        encoding="utf-8", cwd=str(tmp_path),
    )  # fmt: skip
    return child


def test_a_pager_where_the_page_is_longer_than_the_screen(tmp_path: Path) -> None:
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\necho PAGED; cat >/dev/null\n")
    pager.chmod(0o755)
    child = screen(tmp_path, "explain", NAME, PAGER=str(pager))
    child.expect("PAGED")
    child.expect(pexpect.EOF)
    assert child.wait() == 0
    tall = screen(tmp_path, "explain", NAME, rows=400, PAGER=str(pager))
    tall.expect(pexpect.EOF)
    assert "PAGED" not in tall.before
    assert "\x1b[1m" in tall.before


def test_no_pager_when_the_user_says_so(tmp_path: Path) -> None:
    child = screen(tmp_path, "explain", NAME, PAGER="cat")
    child.expect("Service selects no pod")
    child.expect(pexpect.EOF)
    assert child.wait() == 0

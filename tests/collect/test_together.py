"""Commands that run as one process give the same answers as each by itself: with the programs of this machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from kdiag.collect.batch import Section, State, observe
from kdiag.collect.deadline import Deadline
from kdiag.collect.shell import Output
from kdiag.collect.together import Group, apart, gathered
from kdiag.facts.base import NodeCommand
from kdiag.facts.nodefiles import CERTIFICATES

LONG = 60.0


class Here:
    """A shell of this machine with a PATH of its own; counts what it was given to run."""

    def __init__(self, path: str = "/usr/bin:/bin") -> None:
        self.path = path
        self.scripts: list[bytes] = []

    def run(self, script: bytes, *, argument: str, deadline: Deadline, limit: int) -> Output:
        self.scripts.append(script)
        environ = {"PATH": self.path, "LC_ALL": "C"}
        done = subprocess.run(["/bin/sh", "-s"], input=script, capture_output=True, env=environ, timeout=LONG)
        return Output(done.stdout, done.returncode)

    def close(self) -> None:
        pass


def cat(path: Path | str, **more: object) -> NodeCommand:
    return NodeCommand(key="file", argv=("cat", str(path)), name=str(path), **more)  # type: ignore[arg-type]


def seen(commands: Sequence[NodeCommand], known: Sequence[NodeCommand] = ()) -> list[tuple[str, bytes, str, bool]]:
    found = observe(Here(), "n1", commands, Deadline(LONG), known=known)
    return [(o.name, bytes(o.body), o.error, o.absent) for o in found]


def test_files_shown_together_are_those_shown_one_by_one(tmp_path: Path) -> None:
    texts = {
        "plain": b"a\nb\n",
        "empty": b"",
        "blank": b"\n\n",
        "crlf": b"a\r\nb\r\n",
        "binary": b"\x00\xff\x1b[31m\n\x01\n",
        "forged": f"{tmp_path}/plain:x\ngrep: {tmp_path}/plain: No such file or directory\n==> x <==\n".encode(),
    }
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text)
    (tmp_path / "folder").mkdir()
    commands = [cat(tmp_path / name) for name in ("absent", *texts, "folder")]
    assert [type(job) for job in gathered(commands, commands)] == [Group]
    assert seen(commands, commands) == [one for command in commands for one in seen([command])]


def test_a_last_line_without_its_end_is_given_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b\n")
    commands = [cat(tmp_path / "a"), cat(tmp_path / "b")]
    assert [body for _, body, _, _ in seen(commands, commands)] == [b"a\n", b"b\n"]


@settings(max_examples=25)
@given(st.lists(st.binary(max_size=200), min_size=2, max_size=4))
def test_whatever_files_hold_none_is_taken_for_another(contents: list[bytes]) -> None:
    paths = [f"/f{number}" for number in range(len(contents))]
    commands = [cat(path) for path in paths]
    (group,) = gathered(commands, commands)
    assert isinstance(group, Group)
    # What grep -aH "" prints of them.
    output = b"".join(
        b"".join(
            path.encode() + b":" + line + b"\n" for line in (text.split(b"\n")[: -1 if text[-1:] == b"\n" else None])
        )
        for path, text in zip(paths, contents, strict=True)
        if text
    )
    bodies = [s.body for s in apart(group, Section(key="file", status=0, body=output))]
    assert bodies == [text if not text or text.endswith(b"\n") else text + b"\n" for text in contents]


def test_a_file_that_is_too_long_is_cut_and_the_others_are_whole(tmp_path: Path) -> None:
    for name, size in (("a", 10), ("b", 5000), ("c", 10)):
        (tmp_path / name).write_bytes(b"x" * size + b"\n")
    commands = [cat(tmp_path / name, limit=100) for name in "abc"]
    found = seen(commands, commands)
    assert [(len(body), error) for _, body, error, _ in found] == [
        (11, ""),
        (100, "output cut at 100 bytes"),
        (0, "output cut at 100 bytes"),
    ]


def test_one_file_that_hangs_costs_the_others_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a\n")
    os.mkfifo(tmp_path / "b")
    (tmp_path / "c").write_text("c\n")
    commands = [cat(tmp_path / name, seconds=1) for name in "abc"]
    a, b, c = seen(commands, commands)
    assert a[1:] == (b"a\n", "", False)
    assert "did not finish" in b[2]
    assert c[1:] == (b"c\n", "", False)


def test_a_connection_that_breaks_leaves_the_files_that_came() -> None:
    commands = [cat("/a"), cat("/b"), cat("/c")]
    (group,) = gathered(commands, commands)
    assert isinstance(group, Group)
    found = apart(group, Section(key="file", body=b"/a:one\n/b:tw", state=State.SHORT))
    assert [(s.body, s.state) for s in found] == [(b"one\n", State.ENDED), (b"tw\n", State.SHORT), (b"", State.SHORT)]


def test_a_file_that_two_commands_name_is_whole_for_neither_when_the_connection_breaks_in_it() -> None:
    shown = [
        NodeCommand(key=key, argv=("grep", "-azoHE", "-e", CERTIFICATES, path), name=path)
        for key, path in (("manifest", "/a"), ("manifest", "/b"), ("pki", "/a"), ("pki", "/b"), ("pki", "/c"))
    ]
    (group,) = gathered(shown)
    assert isinstance(group, Group)
    found = apart(group, Section(key="manifest", body=b"/a:-----BEGIN\0/b:-----BEG", state=State.SHORT))
    short = [one.state is State.SHORT for one in found]
    assert short == [False, True, False, True, True]


def test_the_process_is_the_same_whichever_two_are_asked_for() -> None:
    known = [cat(f"/{name}") for name in "abcd"]
    whole = gathered(known, known)
    assert gathered(known[1:3], known) == whole
    assert gathered(known[1:2], known) == [known[1]]
    assert len(seen(known[1:3], known)) == 2


def test_what_a_node_names_is_not_shown_whole_together() -> None:
    named = [cat("/a"), cat("/b")]
    assert gathered(named) == named


def test_only_what_is_alike_goes_together() -> None:
    def grep(*words: str, **more: object) -> NodeCommand:
        return NodeCommand(key="k", argv=("grep", *words), **more)  # type: ignore[arg-type]

    apart_each = [
        grep("-n", "x", "/a"),
        grep("-n", "y", "/a"),
        grep("-Hn", "x", "/b"),
        grep("-n", "x", "/c", sudo=True),
        grep("-rHn", "", "/etc"),
        grep("-rHn", "", "/run"),
        grep("-sHn", "x", "/d"),  # with -s nobody would say which of them is not there
        grep("-sHn", "x", "/e"),
        grep("-n", "x", "/with:colon"),
        grep("-n", "x", "/with:another"),
    ]
    assert gathered(apart_each) == apart_each


def test_matches_keep_their_form(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("server: x\nother\nserver: y\n")
    (tmp_path / "b").write_text("nothing\n")
    names = ("a", "b", "absent")
    for words in (("-n", "-e", "server:", "-e", "x"), ("-Hn", "server:")):
        commands = [NodeCommand(key="k", name=n, argv=("grep", *words, str(tmp_path / n))) for n in names]
        assert [type(job) for job in gathered(commands)] == [Group]
        assert seen(commands) == [one for command in commands for one in seen([command])]


def test_of_certificates_only_what_is_public_is_shown(tmp_path: Path) -> None:
    block = "-----BEGIN CERTIFICATE-----\nMIIB\nAAA=\n-----END CERTIFICATE-----\n"
    key = "-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----\n"
    for name, text in (("one", block + key + block), ("none", key), ("cut", block[:40]), ("empty", "")):
        (tmp_path / name).write_text(text)
    names = ("one", "absent", "none", "cut", "empty")
    argv = ("grep", "-azoHE", "-e", CERTIFICATES)
    commands = [NodeCommand(key="k", name=n, argv=(*argv, str(tmp_path / n)), answers=(0, 1, 2)) for n in names]
    assert [type(job) for job in gathered(commands)] == [Group]
    found = {name: body for name, body, _, _ in seen(commands)}
    assert found["one"].count(b"MIIB\nAAA=\n-----END CERTIFICATE-----\0") == 2
    assert b"No such file" in found["absent"]
    assert found["none"] == found["empty"] == b""
    assert found["cut"] == f"{tmp_path}/cut:-----BEGIN CERTIFICATE-----\0".encode()
    assert b"SECRET" not in b"".join(found.values())


def test_the_ends_of_logs_are_told_apart(tmp_path: Path) -> None:
    texts = {"a": "1 x\n2 x\n3 x\n", "b": "", "c": f"1 ==> {tmp_path}/a <==\n2 y\n", "d": "1 z\n\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    names = ("a", "absent", "b", "c", "d")
    commands = [NodeCommand(key="k", name=n, argv=("tail", "-n", "2", str(tmp_path / n))) for n in names]
    assert [type(job) for job in gathered(commands)] == [Group]
    assert seen(commands) == [one for command in commands for one in seen([command])]

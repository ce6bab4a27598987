"""The screen in a real terminal: what reaches it, and what it is left like."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import shlex
import shutil
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pyte
import pytest

from kdiag.collect.snapshot import Snapshot, write
from kdiag.model.observation import Observation
from tests.cli.runner import KDIAG, environment, kdiag
from tests.sshd import Place, needs_sshd, wait_for
from tests.sshd import keys as keys
from tests.sshd import place as place
from tests.tui.pilot import DEMO

_ESCAPE = re.compile(r"\x1b(?:\[[0-9:;<=>?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[=>78cDEHMNO]|[()][A-Z0-9])")
_EVIL = "\\u001b]0;pwned\\u0007\\u001b]52;c;cHduZWQ=\\u0007\\u001b[2J\\u009b31m\\u202e[/foo][@click=app.bell]\\u0000\\r"


class Terminal:
    """A terminal of some size with a program in it."""

    def __init__(self, command: list[str], home: Path, *, size: tuple[int, int] = (120, 40), **env: str) -> None:
        columns, rows = size
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.child: Any = pexpect.spawn(
            command[0], command[1:], dimensions=(rows, columns), timeout=60, cwd=str(home),
            env=environment(home, **{"TERM": "xterm-256color", **env}),
        )  # fmt: skip
        self.before = termios.tcgetattr(self.child.child_fd)

    @property
    def text(self) -> str:
        """What stands on the screen."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Read until the condition holds."""
        end = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end, f"{what} did not come; the screen says\n{self.text}"
            self._read()

    def shows(self, words: str) -> None:
        """Read until these words are on the screen."""
        self.until(lambda: words in self.text, repr(words))
        self.settle()

    def settle(self) -> None:
        """Read until nothing comes for a moment: a picture reaches a terminal piece by piece."""
        before = -1
        while len(self.raw) != before:
            before = len(self.raw)
            self._read()

    def _read(self) -> bool:
        try:
            data = self.child.read_nonblocking(65536, 0.1)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += data
        self._stream.feed(data)
        return True

    def end(self) -> int:
        """Read to the end; the exit code as a shell has it."""
        end = time.monotonic() + 30
        while self._read():
            assert time.monotonic() < end, "it does not end"
        self.child.wait()
        return int(128 + self.child.signalstatus if self.child.signalstatus else self.child.exitstatus)

    def left_clean(self) -> None:
        """The terminal is as it was found: its own screen, a cursor, no mouse, echo."""
        text = self.raw.decode("utf-8", "replace")
        for mode in ("?1049", "?1000", "?1003", "?1006", "?2004", "?1004"):
            on, off = text.rfind(f"\x1b[{mode}h"), text.rfind(f"\x1b[{mode}l")
            assert off > on, f"{mode} is left on"
        assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l"), "the cursor is left hidden"


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Opens terminals, and ends what is still in them."""
    made: list[Terminal] = []

    def open_(*words: str | Path, command: list[str] | None = None, **named: Any) -> Terminal:
        made.append(Terminal([*(command or KDIAG), *map(str, words)], tmp_path, **named))
        return made[-1]

    yield open_
    for one in made:
        one.child.close(force=True)


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """The demo recording, with escapes wherever a cluster may put text of its own."""
    folder = tmp_path / "hostile"

    def evil(seen: Observation) -> Observation:
        body = bytes(seen.body)
        if body.startswith(b"{"):
            for field in (b"message", b"reason", b"image", b"value"):
                body = body.replace(b'"' + field + b'":"', b'"' + field + b'":"' + _EVIL.encode())
        elif body:
            body = b"\x1b]0;pwned\x07\x1b[2J\xc2\x9b31m" + body.replace(b"ERROR", b"\x1b[31mERROR [/foo]\xe2\x80\xae")
        return Observation(seen.source, seen.key, seen.host, seen.scope, seen.name, body, seen.error, seen.absent)

    write(folder, map(evil, Snapshot(DEMO).observations()))
    return folder


def test_nothing_from_a_hostile_cluster_drives_the_terminal(terminals: Callable[..., Terminal], hostile: Path) -> None:
    terminal = terminals("tui", "--snapshot", hostile)
    terminal.shows("checks:")
    home = "runbook  / filter"
    for key, words in (
        ("j", "SELECTOR"), ("\r", "DIAGNOSIS"), ("X", "recording,"), ("\x1b", home), ("T", "newest first"),
        ("\x1b", home),
        ("u", "WHY UNKNOWN"), ("\x1b", home), (":node w1\r", "conditions"), ("\x1b", home), ("/foo\r", "filter foo"),
        ("\x1b", home),
    ):  # fmt: skip
        terminal.child.send(key)
        terminal.shows(words)
    terminal.child.send("q")
    assert terminal.end() == 0
    text = terminal.raw.decode("utf-8")
    assert "pwned" in text, "the text itself is shown"
    assert "\x1b]0;" not in text, "a title"
    assert "\x1b]52;" not in text, "the clipboard"
    rest = _ESCAPE.sub("", text)
    assert "\x1b" not in rest
    rest = rest.replace("\x0f", "").replace("\r\n", "")
    assert not re.findall("[\x00-\x07\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b-\u200f]", rest)
    terminal.left_clean()


@pytest.mark.parametrize(
    ("leave", "code"),
    [
        (lambda t: t.child.send("q"), 0),
        (lambda t: t.child.send(":q\r"), 0),
        (lambda t: t.child.send("\x03"), 130),
        (lambda t: t.child.kill(signal.SIGTERM), 143),
        (lambda t: t.child.kill(signal.SIGHUP), 129),
        (lambda t: t.child.kill(signal.SIGINT), 130),
    ],
)
def test_the_terminal_is_left_clean(
    terminals: Callable[..., Terminal], leave: Callable[[Terminal], object], code: int
) -> None:
    terminal = terminals("--snapshot", DEMO, command=[*KDIAG, "tui"])
    terminal.shows("node w1 is not Ready")
    leave(terminal)
    assert terminal.end() == code
    terminal.left_clean()
    assert "Traceback" not in terminal.raw.decode("utf-8", "replace")


def _ends_in_one_line(terminal: Terminal) -> None:
    assert terminal.end() == 3
    text = terminal.raw.decode("utf-8", "replace")
    assert "kdiag: a fault of kdiag's own: ZeroDivisionError: on purpose" in text
    assert "Traceback" not in text
    terminal.left_clean()


def test_a_crash_is_one_line_and_leaves_the_terminal_clean(terminals: Callable[..., Terminal]) -> None:
    script = (
        "import sys, kdiag.tui.screens.verdict as v; from kdiag.__main__ import main\n"
        "def broken(self): raise ZeroDivisionError('on purpose')\n"
        "v.VerdictScreen.show_verdict = broken\n"
        f"sys.argv = ['kdiag', 'tui', '--snapshot', {str(DEMO)!r}]; main()"
    )
    _ends_in_one_line(terminals(command=[sys.executable, "-c", script]))


def test_bytes_that_are_no_text_are_no_key(terminals: Callable[..., Terminal]) -> None:
    terminal = terminals("tui", "--snapshot", DEMO)
    terminal.shows("node w1 is not Ready")
    terminal.child.send(b"\xff\xfe\xc3(\x80\xed\xa0\x80\x00")  # Meta of an old terminal, a cut character, a surrogate
    terminal.settle()
    terminal.child.send(b"q")
    assert terminal.end() == 0
    terminal.left_clean()
    assert "Traceback" not in terminal.raw.decode("utf-8", "replace")


def test_a_thread_that_reads_keys_and_dies_is_one_line(terminals: Callable[..., Terminal]) -> None:
    script = (
        "import sys, textual.drivers.linux_driver as d; from kdiag.__main__ import main\n"
        "def broken(self): raise ZeroDivisionError('on purpose')\n"
        "d.LinuxDriver.run_input_thread = broken\n"
        f"sys.argv = ['kdiag', 'tui', '--snapshot', {str(DEMO)!r}]; main()"
    )
    _ends_in_one_line(terminals(command=[sys.executable, "-c", script]))


def test_a_terminal_that_is_closed_leaves_no_process(terminals: Callable[..., Terminal]) -> None:
    terminal = terminals("tui", "--snapshot", DEMO)
    terminal.shows("node w1 is not Ready")
    children = Path(f"/proc/{terminal.child.pid}/task/{terminal.child.pid}/children").read_text().split()
    terminal.child.ptyproc.fileobj.close()
    wait_for(lambda: os.waitpid(terminal.child.pid, os.WNOHANG)[0] != 0)
    terminal.child.ptyproc.terminated = True
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
    terminal.child.closed = terminal.child.ptyproc.closed = True


def test_a_console_without_colour_and_signs_gets_neither(terminals: Callable[..., Terminal]) -> None:
    terminal = terminals("tui", "--snapshot", DEMO, TERM="linux", NO_COLOR="1")
    terminal.shows("node w1 is not Ready")
    terminal.child.send("\r")
    terminal.shows("DIAGNOSIS")
    terminal.child.send("q")
    assert terminal.end() == 0
    text = terminal.raw.decode("utf-8")
    assert _ESCAPE.sub("", text).isascii()
    assert not re.search(r"\x1b\[[0-9;]*\b(?:3[0-7]|4[0-7]|38|48|9[0-7])\b[0-9;]*m", text)


def test_kdiag_alone_is_the_screen_on_a_terminal_and_the_help_elsewhere(
    terminals: Callable[..., Terminal], tmp_path: Path
) -> None:
    terminal = terminals(KUBECONFIG=str(tmp_path / "none"))
    terminal.shows("nothing could be read")
    terminal.child.send("q")
    assert terminal.end() == 0
    done = kdiag(home=tmp_path)
    assert done.returncode == 2
    assert done.stdout.startswith("usage: kdiag")
    refused = kdiag("tui", home=tmp_path)
    assert refused.returncode == 2
    assert "needs a terminal" in refused.stderr


def test_the_demo_needs_no_cluster(terminals: Callable[..., Terminal]) -> None:
    terminal = terminals("demo", "--dead")
    terminal.shows("etcd-cp1 cannot start")
    terminal.child.send("q")
    assert terminal.end() == 0


def test_sixteen_colours_are_all_that_is_used_where_there_are_no_more(terminals: Callable[..., Terminal]) -> None:
    terminal = terminals("tui", "--snapshot", DEMO, TERM="xterm")
    terminal.shows("node w1 is not Ready")
    assert terminal.screen.buffer[2][5].reverse, "the cursor is seen without a shade of its own"
    terminal.child.send("q")
    assert terminal.end() == 0
    codes = set(re.findall(rb"\x1b\[([0-9;]*)m", terminal.raw))
    assert not [code for code in codes if re.search(rb"\b[34]8\b", code)]


@needs_sshd
def test_over_ssh_it_works_copies_and_ends_with_the_connection(
    terminals: Callable[..., Terminal], place: Place, tmp_path: Path
) -> None:
    port = place.serve("SetEnv SHLVL=9")  # else bash reads this machine's ~/.bashrc
    place.known(port)
    place.node(port)
    mark = f"KDIAG_MARK={tmp_path}"
    remote = shlex.join(["env", mark, f"HOME={tmp_path}", *KDIAG, "tui", "--snapshot", str(DEMO)])
    ssh = ["ssh", "-tt", "-F", str(tmp_path / "config"), "node", remote]
    terminal = terminals(command=ssh)
    terminal.shows("node w1 is not Ready")
    terminal.child.setwinsize(30, 90)
    terminal.screen.resize(30, 90)
    terminal.shows("checks unknown")  # what ninety columns have room for
    terminal.child.send("y")
    terminal.shows("copied: kubectl describe node w1")
    terminal.child.send("q")
    assert terminal.end() == 0
    copied = base64.b64encode(b"kubectl describe node w1")
    assert b"\x1b]52;c;" + copied in terminal.raw, "the clipboard is that of the terminal at this end"
    terminal.left_clean()

    def alive() -> list[str]:
        found = []
        for process in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark.encode() in process.read_bytes().split(b"\0"):
                    found.append(process.parent.name)
        return found

    wait_for(lambda: not alive())
    lost = terminals(command=ssh)
    lost.shows("node w1 is not Ready")
    assert len(alive()) >= 2, "the screen and the process that reads"
    lost.child.kill(signal.SIGKILL)
    wait_for(lambda: not alive())


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_inside_tmux_it_works_and_leaves_the_pane_as_it_was(terminals: Callable[..., Terminal], tmp_path: Path) -> None:
    settings = tmp_path / "tmux.conf"
    settings.write_text("set -g set-clipboard on\nset -sg escape-time 10\n")
    tmux = ["tmux", "-S", str(tmp_path / "socket"), "-f", str(settings)]
    terminal = terminals(command=[*tmux, "new-session", "sh"])
    terminal.child.send("echo be''fore\r")
    terminal.shows("before")
    terminal.child.send(shlex.join([*KDIAG, "tui", "--snapshot", str(DEMO)]) + "\r")
    terminal.shows("node w1 is not Ready")
    terminal.child.send("y")
    terminal.shows("copied: kubectl describe node w1")
    terminal.child.send("\r")
    terminal.shows("DIAGNOSIS")
    terminal.child.send("\x1b")
    terminal.shows("runbook  / filter")
    terminal.child.send("q")
    terminal.until(lambda: "before" in terminal.text and "DIAGNOSIS" not in terminal.text, "the pane as it was")
    terminal.child.send("echo left $?\r")
    terminal.shows("left 0")
    assert base64.b64encode(b"kubectl describe node w1") in terminal.raw
    terminal.child.send("exit\r")
    assert terminal.end() == 0

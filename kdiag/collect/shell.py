"""A shell that is fed one script and gives back what it printed: what any way to a node is, and the one right here."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
from dataclasses import dataclass
from typing import Protocol

from kdiag.collect.deadline import Deadline
from kdiag.collect.fields import in_seconds, one_line
from kdiag.errors import BadAnswer, CollectError

#: All that a script finds in its environment, wherever it runs.
ENVIRONMENT = (
    "LC_ALL=C",
    "TZ=UTC",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/",
)
_ARGUMENT = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_NAMELESS = re.compile(rb"sudo: unable to resolve host ([A-Za-z0-9.-]{1,63})")
#: How much is read or written at once, in bytes.
CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Output:
    """What a script printed. ``status`` is None where it was cut: nobody waited for its end then."""

    stdout: bytes
    status: int | None
    cut: bool = False


class CutShort(BadAnswer):
    """The script had begun to answer and did not come to its end; ``stdout`` is what there was."""

    def __init__(self, message: str, stdout: bytes) -> None:
        super().__init__(message)
        self.stdout = stdout


class Shell(Protocol):
    """A place to run a script in."""

    def run(self, script: bytes, *, argument: str, deadline: Deadline, limit: int) -> Output:
        """Run a POSIX shell script with one argument; keep at most ``limit`` bytes of what it prints."""

    def close(self) -> None:
        """Let go of it."""


class LocalShell:
    """A shell on this very host."""

    def run(self, script: bytes, *, argument: str, deadline: Deadline, limit: int) -> Output:
        """As ``Shell.run``; what is still running when the time is up is killed, with all that it started."""
        check_argument(argument)
        try:
            process = subprocess.Popen(  # noqa: S603
                ["/usr/bin/env", "-i", *ENVIRONMENT, "sh", "-s", "--", argument],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
        except OSError as exc:
            raise BadAnswer(f"no shell can be started here: {one_line(str(exc), 120)}") from exc
        try:
            return _conversed(process, script, deadline, limit)
        finally:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            process.wait()

    def close(self) -> None:
        """Nothing is held."""


def _conversed(process: subprocess.Popen[bytes], script: bytes, deadline: Deadline, limit: int) -> Output:
    if process.stdin is None or process.stdout is None:
        raise BadAnswer("the local shell has no pipes")
    received = bytearray()
    left = memoryview(script)
    os.set_blocking(process.stdin.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdin, selectors.EVENT_WRITE)
        selector.register(process.stdout, selectors.EVENT_READ)
        while process.stdout in {key.fileobj for key in selector.get_map().values()}:
            ready = selector.select(deadline.remaining())
            if not deadline.remaining():
                raise late("the script", deadline, received)
            for key, _ in ready:
                if key.fileobj is process.stdout:
                    chunk = os.read(key.fd, CHUNK)
                    received += chunk
                    if not chunk:
                        selector.unregister(process.stdout)
                    continue
                with contextlib.suppress(BrokenPipeError, BlockingIOError):
                    left = left[os.write(key.fd, left[:CHUNK]) :]
                    if left:
                        continue
                selector.unregister(process.stdin)
                process.stdin.close()
            if len(received) > limit:
                return Output(bytes(received[:limit]), None, cut=True)
    try:
        status = process.wait(deadline.remaining())
    except subprocess.TimeoutExpired:
        raise late("the script", deadline, received) from None
    if status < 0:
        raise CutShort(f"the script was killed by signal {-status}", bytes(received))
    return Output(bytes(received), status)


def late(what: str, deadline: Deadline, received: bytes | bytearray) -> CutShort:
    """The error of what did not come to its end in time, with what it had said by then."""
    seconds = in_seconds(deadline.seconds)
    named = _NAMELESS.search(received)
    why = f": sudo waits for DNS each time, /etc/hosts there has no line for {named[1].decode()}" if named else ""
    return CutShort(f"{what} did not finish within {seconds} ({len(received):,} bytes received){why}", bytes(received))


def check_argument(argument: str) -> None:
    """Raise CollectError for an argument that some login shell may not pass on as it is."""
    if not _ARGUMENT.fullmatch(argument):
        raise CollectError(f"kdiag does not send the argument {one_line(argument, 80)} to a shell")

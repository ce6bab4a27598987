"""A child process of the screen: talked to over two pipes, and unable to write on the screen."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Child:
    """A process that runs: its number, and our ends of the pipes from and to it. Whoever started it reaps it."""

    pid: int
    reads: int
    writes: int


def started(module: str) -> Child:
    """Run a module of kdiag in a process of its own. Raises OSError."""
    ours_in, theirs_out = os.pipe()
    theirs_in, ours_out = os.pipe()
    nowhere = os.open(os.devnull, os.O_RDWR)
    try:
        pid = os.posix_spawn(
            sys.executable,
            # -P: what lies in the folder where the user stands is not to be taken for kdiag.
            [sys.executable, "-P", "-m", module],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, theirs_in, 0),
                (os.POSIX_SPAWN_DUP2, theirs_out, 1),
                (os.POSIX_SPAWN_DUP2, nowhere, 2),
            ],
            setpgroup=0,  # Ctrl-C is for the screen
        )
    finally:
        for end in (theirs_in, theirs_out, nowhere):
            os.close(end)
    return Child(pid, ours_in, ours_out)

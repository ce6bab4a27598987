"""``kdiag tui``, ``kdiag demo``, and ``kdiag`` alone on a terminal: the incident screen."""

from __future__ import annotations

import argparse
import importlib
import os
import sys

from kdiag.cli.exits import Exit
from kdiag.errors import UsageError


def on_terminal() -> bool:
    """Whether somebody sits in front of all three streams."""
    return all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)) and os.environ.get("TERM") != "dumb"


def run(options: argparse.Namespace) -> int:
    """Show the screen. The exit code is 0 however it was left by a key; 130 for Ctrl-C."""
    if not on_terminal():
        raise UsageError("the screen needs a terminal for input and output: kdiag check prints the same")
    if options.command == "demo":
        if options.snapshot:
            raise UsageError("the demo has a recording of its own; for another: kdiag tui --snapshot DIR")
        from kdiag.demo import recording

        options.snapshot = str(recording(options.which))
    # The only way from here to the screen, and only now: no other command is to load it.
    code: int = importlib.import_module("kdiag.tui.main").run(options)
    return Exit(code) if code in set(Exit) else code

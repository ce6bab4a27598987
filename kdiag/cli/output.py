"""What goes to standard output, and how a terminal wants it."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kdiag.report.style import Style


def emit(text: str) -> None:
    """Write to standard output. A reader that has seen enough (head, a pager) is no error."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        silence()


def silence() -> None:
    """Send what is still to be written to standard output nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def style(options: argparse.Namespace, *, most: int = 140, plain: int = 120) -> Style:
    """Colour and width for standard output as it is now."""
    from kdiag.report.style import Style, wants_color

    terminal = sys.stdout.isatty()
    color = wants_color(getattr(options, "color", "auto"), terminal=terminal, environ=os.environ)
    width = min(shutil.get_terminal_size((100, 24)).columns, most) if terminal else plain
    return Style(color, max(40, width))


def signs() -> bool:
    """Whether standard output can show a check mark."""
    try:
        "✓✗".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True

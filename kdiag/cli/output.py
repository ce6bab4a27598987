"""What goes to standard output, and how a terminal wants it; what is said beside it."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys

TYPE_CHECKING = False  # true for a type checker: the help must not wait for the module typing (3 ms)
if TYPE_CHECKING:
    from kdiag.report.style import Style


def emit(text: str) -> bool:
    """Write to standard output; False where the reader had seen enough before the end (head, a pager): no error."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        silence()
        return False
    return True


def say(text: str, lead: str = "kdiag: ") -> None:
    """A line on standard error."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{lead}{text}\n")


def silence() -> None:
    """Send what is still to be written to standard output nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def columns(otherwise: int) -> int:
    """How wide standard output is: as COLUMNS says (``watch`` sets it for what it shows), as the terminal is, or else.

    Not shutil's function: that module brings three compressors along (3 ms of every start).
    """
    try:
        told = int(os.environ.get("COLUMNS", "0"))
    except ValueError:
        told = 0
    if told > 0:
        return told
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or otherwise
    except (ValueError, OSError, AttributeError):
        return otherwise


def style(options: argparse.Namespace, *, most: int = 140, plain: int = 120) -> Style:
    """Colour and width for standard output as it is now."""
    from kdiag.report.style import Style, wants_color

    terminal = sys.stdout.isatty()
    color = wants_color(getattr(options, "color", "auto"), terminal=terminal, environ=os.environ)
    return Style(color, max(40, min(columns(100 if terminal else plain), most)))


def signs() -> bool:
    """Whether standard output can show a check mark."""
    try:
        "✓✗".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True

"""``kdiag version`` and ``kdiag help``."""

from __future__ import annotations

import argparse

from kdiag.cli.exits import Exit
from kdiag.cli.output import emit


def run(options: argparse.Namespace) -> int:
    """Print the version, or the help of a command."""
    if options.command == "version":
        from kdiag import __version__

        emit(f"kdiag {__version__}\n")
        return Exit.CLEAN
    from kdiag.cli.parser import parser, subcommands

    found = parser()
    for word in options.topic:
        below = subcommands(found)
        if word not in below:
            from kdiag.errors import UsageError
            from kdiag.model.text import nearest

            close = nearest(word, list(below))
            raise UsageError(f"no command is called {word!r}" + (f"; did you mean {close!r}?" if close else ""))
        found = below[word]
    emit(found.format_help())
    return Exit.CLEAN

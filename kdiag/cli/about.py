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

    top = parser()
    if not options.topic:
        emit(top.format_help())
        return Exit.CLEAN
    found = subcommands(top).get(options.topic)
    if found is None:
        from kdiag.errors import UsageError
        from kdiag.model.text import nearest

        close = nearest(options.topic, list(subcommands(top)))
        raise UsageError(f"no command is called {options.topic!r}" + (f"; did you mean {close!r}?" if close else ""))
    emit(found.format_help())
    return Exit.CLEAN

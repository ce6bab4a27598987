"""The parser, and the way from an exception to one line and an exit code."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn

from kdiag.cli.exits import Exit

_EXAMPLES = """\
examples:
  kdiag check                        what is broken in this cluster, and why
  kdiag check -n shop                only namespace shop
  kdiag check network                only the checks of one group
  kdiag check rollout                what the next rollout may break
  kdiag check -o json --fail-on warning
  kdiag explain service_selects_nothing
  kdiag trace shop/web               follow the way of a request, hop by hop
  kdiag record /tmp/night && kdiag check --snapshot /tmp/night
  kdiag doctor                       can kdiag see what it needs?

exit codes: 0 nothing at or above --fail-on, 1 findings, 2 usage or configuration, 3 could not examine,
130 interrupted, 143 terminated
"""


def program() -> str:
    """How the user calls us: as a kubectl plugin when the name says so."""
    name = os.path.basename(sys.argv[0]) if sys.argv else ""
    return "kubectl kdiag" if name.startswith("kubectl-") else "kdiag"


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog=program(),
        description="What is broken in this Kubernetes cluster, why, and what to do now. Looking changes nothing.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="store_true", help="print the version")
    commands = top.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    from kdiag.cli import commands as table

    for command in table.COMMANDS:
        sub = commands.add_parser(
            command.name,
            help=command.help,
            description=command.description or command.help,
            epilog=command.examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.arguments(sub)
        sub.set_defaults(run=command.run)
    return top


def run(argv: Sequence[str]) -> NoReturn:
    """Run one command and end the process: without waiting for a thread that hangs in a read."""
    signal.signal(signal.SIGTERM, _terminated)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    if hasattr(sys.stderr, "reconfigure"):
        sys.stderr.reconfigure(errors="backslashreplace")
    code = int(_guarded(argv))
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = code or int(Exit.CLEAN)
    os._exit(code)


def _guarded(argv: Sequence[str]) -> int:
    try:
        return _dispatch(argv)
    except KeyboardInterrupt:
        _say("interrupted")
        return Exit.INTERRUPTED
    except _Terminated:
        _say("terminated")
        return Exit.TERMINATED
    except BrokenPipeError:
        # Whoever read us (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.CLEAN
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else Exit.USAGE
    except Exception as exc:
        from kdiag.errors import CollectError, KdiagError

        if isinstance(exc, KdiagError):
            from kdiag.model.text import clean

            _say(clean(str(exc)))
            return Exit.BLIND if isinstance(exc, CollectError) else Exit.USAGE
        if os.environ.get("KDIAG_DEBUG"):
            raise
        _say(f"a fault of kdiag's own: {type(exc).__name__}: {exc} (KDIAG_DEBUG=1 shows where)")
        return Exit.BLIND


def _dispatch(argv: Sequence[str]) -> int:
    top = parser()
    options = top.parse_args(list(argv))
    if options.version:
        from kdiag import __version__

        sys.stdout.write(f"kdiag {__version__}\n")
        return Exit.CLEAN
    if options.command is None:
        top.print_help()
        return Exit.USAGE if not argv else Exit.CLEAN
    command: Callable[[argparse.Namespace], int] = options.run
    return command(options)


class _Terminated(Exception):
    pass


def _terminated(signum: int, frame: FrameType | None) -> None:
    raise _Terminated


def _say(text: str) -> None:
    import contextlib

    with contextlib.suppress(OSError):
        sys.stderr.write(f"kdiag: {text}\n")

"""One command from its words to its exit code: an exception is one line."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType

from kdiag.cli.exits import Exit
from kdiag.cli.output import say, silence
from kdiag.cli.parser import parser

TYPE_CHECKING = False  # true for a type checker: the help must not wait for the module typing (3 ms)
if TYPE_CHECKING:
    from typing import NoReturn


#: What says which cluster or node is read, and so nothing of a recording.
_LIVE = (
    *(("--kubeconfig", "kubeconfig"), ("--context", "context"), ("--cluster", "cluster"), ("--user", "user")),
    *(("--server", "server"), ("--as", "as_user"), ("--token", "token")),
    *(("--ssh-config", "ssh_config"), ("--local", "local")),
)


def run(argv: Sequence[str]) -> NoReturn:
    """Run one command and end the process: without waiting for a thread that hangs in a read."""
    signal.signal(signal.SIGTERM, _terminated)
    _hold_closed_streams()
    for name in ("stdout", "stderr"):
        with contextlib.suppress(AttributeError):
            getattr(sys, name).reconfigure(errors="backslashreplace")
    code = _guarded(argv)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        pass  # whoever read us (head, less) has seen enough
    except OSError as exc:
        say(_unwritten(exc))
        code = code or Exit.BLIND
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(code)


def _hold_closed_streams() -> None:
    """Open a standard stream that whoever started us has closed, to nowhere: no socket may get its number."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            with contextlib.suppress(OSError):
                nowhere = os.open(os.devnull, os.O_RDWR)
                if nowhere != number:
                    os.dup2(nowhere, number)
                    os.close(nowhere)
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def _guarded(argv: Sequence[str]) -> int:
    try:
        return _dispatch(argv)
    except KeyboardInterrupt:
        say("interrupted")
        return Exit.INTERRUPTED
    except Terminated:
        say("terminated")
        return Exit.TERMINATED
    except BrokenPipeError:
        return Exit.CLEAN
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else Exit.CLEAN if exc.code is None else Exit.USAGE
    except Exception as exc:
        return _explained(exc)


def _explained(exc: Exception) -> int:
    """Say what ended the run, in a line, and choose the exit code."""
    from kdiag.errors import CollectError, KdiagError
    from kdiag.model.text import clean_line, shorten

    if isinstance(exc, KdiagError):
        say(clean_line(str(exc)))
        return Exit.BLIND if isinstance(exc, CollectError) else Exit.USAGE
    if isinstance(exc, OSError) and exc.filename is None:
        say(_unwritten(exc))
        silence()  # what is left of it would be tried again
        return Exit.BLIND
    if isinstance(exc, MemoryError) or str(exc) == "can't start new thread":
        what = "memory" if isinstance(exc, MemoryError) else "threads"
        say(f"this machine gives kdiag no more {what}: see ulimit -a, or the limits of its container")
        return Exit.BLIND
    if os.environ.get("KDIAG_DEBUG"):
        import traceback

        traceback.print_exception(exc)
    else:
        text = shorten(clean_line(f"{type(exc).__name__}: {exc}"), 300)
        say(f"a fault of kdiag's own: {text} (KDIAG_DEBUG=1 shows where)")
    return Exit.BLIND


def _unwritten(exc: OSError) -> str:
    return f"cannot write the output: {exc.strerror or type(exc).__name__}"


def _dispatch(argv: Sequence[str]) -> int:
    if argv[:1] == ["__complete"]:  # what a shell asks at TAB, not for people
        from kdiag.cli.completion import answer

        return answer(argv[1:])
    top = parser(argv)
    options = top.parse_args(list(argv))
    if options.version:
        from kdiag import __version__

        sys.stdout.write(f"kdiag {__version__}\n")
        return Exit.CLEAN
    if options.command is None:
        from kdiag.cli.tui import on_terminal

        if on_terminal():
            words = [*argv, "tui"]
            options = parser(words).parse_args(words)
            return int(options.run(options))
        top.print_help()
        return Exit.USAGE if not argv else Exit.CLEAN
    if getattr(options, "snapshot", "") and (idle := [flag for flag, dest in _LIVE if getattr(options, dest, None)]):
        say(f"{', '.join(idle)}: of no use here: a recording is read, and no cluster")
    command: Callable[[argparse.Namespace], int] = options.run
    return command(options)


class Terminated(BaseException):
    """SIGTERM came. Not an Exception: what saves a run from a broken check must not save it from this."""


def _terminated(signum: int, frame: FrameType | None) -> None:
    raise Terminated

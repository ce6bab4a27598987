"""The parser, and the way from an exception to one line and an exit code."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import FrameType

from kdiag.cli.exits import Exit
from kdiag.cli.output import columns, silence

TYPE_CHECKING = False  # true for a type checker: the help must not wait for the module typing (3 ms)
if TYPE_CHECKING:
    from typing import NoReturn

_DESCRIPTION = "What is broken in this Kubernetes cluster, why, and what to do now. Looking changes nothing."
_EXAMPLES = """\
examples:
  {prog} check                        what is broken in this cluster, and why
  {prog} check -n shop                only namespace shop
  {prog} check network                only the checks of one group
  {prog} check rollout                what the next rollout may break
  {prog} check -o json --fail-on warning
  {prog} explain service_selects_nothing
  {prog} trace shop/web               follow the way of a request, hop by hop
  {prog} record /tmp/night && kdiag check --snapshot /tmp/night
  {prog} doctor                       can kdiag see what it needs?

{prog} COMMAND --help says more. Flags that say which cluster and namespace may stand before the command, too.

exit codes: 0 nothing at or above --fail-on, 1 findings, 2 usage or configuration, 3 could not examine,
130 interrupted, 143 terminated
"""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are two lines, with the nearest of what can be chosen."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where the help is; exit code 2."""
        match = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if match:
            from kdiag.model.text import nearest

            choices = [c.strip(" '") for c in match[2].split(",")]
            close = nearest(match[1], choices)
            what = "command" if "COMMAND" in message or "command" in message.partition(":")[0] else "choice"
            said = f"{what} {match[1]!r} does not exist"
            hint = f"; did you mean {close!r}?" if close else ""
            flag = re.match(r"argument ([^:]+):", message)
            named = f"{flag[1]}: " if flag and what == "choice" else ""
            message = f"{named}{said}{hint}"
            if not close and what == "choice":
                message = f"{named}{match[1]!r} is none of {', '.join(choices)}"
        _say(message)
        _say(f"see: {self.prog} --help", lead="")
        raise SystemExit(int(Exit.USAGE))


def program() -> str:
    """How the user calls us: as a kubectl plugin when the name says so."""
    name = os.path.basename(sys.argv[0]) if sys.argv else ""
    return "kubectl kdiag" if name.startswith(("kubectl-", "kubectl_")) else "kdiag"


class Layout(argparse.RawDescriptionHelpFormatter):
    """Help as wide as the terminal."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=columns(80) - 2)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """As it is written, where the lines fit: a longer one goes on below where its last column begins."""
        return "".join(line for one in text.splitlines(keepends=True) for line in _folded(indent + one, width + 2))


def _folded(line: str, width: int) -> Iterator[str]:
    """The line, broken at its blanks. A command line of an example is left whole: it is there to be copied."""
    column = re.match(r"\s+\S.*?\S {2,}(?=\S)", line)
    start = len(column[0]) if column else 0
    while len(line.rstrip()) > width and (column or not line.startswith(" ")):
        cut = line.rfind(" ", start + 1, width + 1)
        if cut < 0:
            break
        yield line[:cut].rstrip() + "\n"
        line = " " * start + line[cut:].lstrip(" ")
    yield line


def parser(words: Collection[str] | None = None) -> argparse.ArgumentParser:
    """The whole command line.

    With ``words``, the arguments of no other commands than are among them: to make those of all takes 20 ms.
    """
    from kdiag.cli import commands as table

    prog = program()
    top = Parser(
        prog=prog,
        usage="%(prog)s [-h] [--version] COMMAND ...",
        description=_DESCRIPTION,
        epilog=_EXAMPLES.format(prog=prog),
        formatter_class=Layout,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="store_true", help="print the version")
    # What kubectl takes before the command as well as after it.
    table.connection(top)
    table.scope(top)
    _hide(top)
    commands = top.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", prog=prog, parser_class=Parser, required=False
    )
    for command in table.COMMANDS:
        sub = commands.add_parser(
            command.name,
            help=command.help,
            description=command.description or f"{command.help[:1].upper()}{command.help[1:]}.",
            epilog=command.examples.format(prog=prog) if "{prog}" in command.examples else command.examples,
            formatter_class=Layout,
            allow_abbrev=False,
        )
        if words is None or command.name in words:
            command.arguments(sub)
            _leave_to(top, sub)
        sub.set_defaults(run=command.run)
    return top


def subcommands(top: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """The parser of each command."""
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _hide(top: argparse.ArgumentParser) -> None:
    for action in top._actions:
        if action.dest not in ("help", "version"):
            action.help = argparse.SUPPRESS


def _leave_to(top: argparse.ArgumentParser, sub: argparse.ArgumentParser) -> None:
    """A flag that stood before the command is not to be undone by the default of the same flag behind it."""
    known = {action.dest for action in top._actions}
    for action in sub._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in dict.fromkeys(action.choices.values()):
                _leave_to(top, inner)
        elif action.dest in known and action.dest != "help":
            action.default = argparse.SUPPRESS


def run(argv: Sequence[str]) -> NoReturn:
    """Run one command and end the process: without waiting for a thread that hangs in a read."""
    signal.signal(signal.SIGTERM, _terminated)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        with contextlib.suppress(AttributeError):
            getattr(sys, name).reconfigure(errors="backslashreplace")
    code = _guarded(argv)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        pass  # whoever read us (head, less) has seen enough
    except OSError as exc:
        _say(_unwritten(exc))
        code = code or Exit.BLIND
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(code)


def _guarded(argv: Sequence[str]) -> int:
    try:
        return _dispatch(argv)
    except KeyboardInterrupt:
        _say("interrupted")
        return Exit.INTERRUPTED
    except Terminated:
        _say("terminated")
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
        _say(clean_line(str(exc)))
        return Exit.BLIND if isinstance(exc, CollectError) else Exit.USAGE
    if isinstance(exc, OSError) and exc.filename is None:
        _say(_unwritten(exc))
        silence()  # what is left of it would be tried again
        return Exit.BLIND
    if os.environ.get("KDIAG_DEBUG"):
        import traceback

        traceback.print_exception(exc)
    else:
        text = shorten(clean_line(f"{type(exc).__name__}: {exc}"), 300)
        _say(f"a fault of kdiag's own: {text} (KDIAG_DEBUG=1 shows where)")
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
    command: Callable[[argparse.Namespace], int] = options.run
    return command(options)


class Terminated(BaseException):
    """SIGTERM came. Not an Exception: what saves a run from a broken check must not save it from this."""


def _terminated(signum: int, frame: FrameType | None) -> None:
    raise Terminated


def _say(text: str, lead: str = "kdiag: ") -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{lead}{text}\n")

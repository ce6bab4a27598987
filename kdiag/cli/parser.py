"""The command line as a parser: its help, its errors, and flags that may stand before the command."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence

from kdiag.cli.exits import Exit
from kdiag.cli.output import columns, say

TYPE_CHECKING = False  # true for a type checker: the help must not wait for the module typing (3 ms)
if TYPE_CHECKING:
    from typing import Any, NoReturn

_DESCRIPTION = "What is broken in this Kubernetes cluster, why, and what to do now. Looking changes nothing."
_EXAMPLES = """\
examples:
  {prog} check                        what is broken in this cluster, and why
  {prog} check -n shop                only namespace shop
  {prog} check network                the checks of one group or tag
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

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse what is not known here, where its neighbours are known: the top would name no command's help."""
        first = args[0].partition("=")[0] if args else ""
        # Else its value would be taken for the command.
        if first.startswith("--") and first != "--" and self._subparsers and first not in self._option_string_actions:
            self.error(f"unrecognized arguments: {first}")
        found, others = super().parse_known_args(args, namespace)
        if others:
            self.error(f"unrecognized arguments: {' '.join(others)}")
        return found, others

    def _match_arguments_partial(self, actions: Sequence[argparse.Action], arg_strings_pattern: str) -> list[int]:
        """As many words for each; a word that may be left out may still come behind the flags."""
        counts: list[int] = super()._match_arguments_partial(actions, arg_strings_pattern)
        while "O" in arg_strings_pattern and counts and not counts[-1]:
            counts.pop()
        return counts

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where the help is; exit code 2."""
        unknown = re.match(r"unrecognized arguments: (--[^\s=]+)", message)
        if unknown:
            from kdiag.model.text import nearest

            close = nearest(unknown[1], [flag for flag in self._option_string_actions if flag.startswith("--")])
            message = f"flag {unknown[1]} does not exist" + (f"; did you mean {close}?" if close else "")
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
        say(message)
        say(f"see: {self.prog} --help", lead="")
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

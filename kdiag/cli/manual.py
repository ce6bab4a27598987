"""``kdiag man``: the manual page, made of the parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from kdiag import __version__
from kdiag.cli.exits import Exit
from kdiag.cli.output import emit

_CLUSTER = "which cluster, as kubectl has it"
#: What is said once, and not again of each verb of the lab.
_SHARED = frozenset({_CLUSTER, "the nodes, when the API alone cannot tell"})
_FILES = (
    ("~/.kube/config", "the kubeconfig, where neither --kubeconfig nor KUBECONFIG names another"),
    ("~/.config/kdiag/config.yaml", "which nodes there are, and the way to them, where the cluster does not say"),
    ("~/.ssh/config", "the way to the nodes, where neither --ssh-config nor the file above names another"),
    ("~/.local/state/kdiag", "the nodes seen last, what check --on-change found last, and the practice lab's record"),
    ("/var/lib/kdiag-practice", "on a node: what a scenario of the practice lab has changed there, until it is back"),
    ("DIR/kdiag-snapshot.json", "the index of a recording; written last, so that one without it was cut short"),
)
_ENVIRONMENT = (
    ("KUBECONFIG", "kubeconfigs, separated by colons; the first to set a value wins, as for kubectl"),
    ("KDIAG_SSH_CONFIG", "the SSH configuration with an entry for each node, as --ssh-config"),
    ("KDIAG_CONFIG", "the file to read in the place of ~/.config/kdiag/config.yaml"),
    ("KDIAG_THEME, KDIAG_ASCII", "the screen: dark, light or contrast; no sign that is not ASCII"),
    ("XDG_CONFIG_HOME, XDG_STATE_HOME", "in the place of ~/.config and ~/.local/state"),
    ("HTTPS_PROXY, NO_PROXY", "the way to the API server, as for kubectl"),
    ("NO_COLOR", "when not empty: no colour, unless --color=always"),
    ("CLICOLOR_FORCE", "when not 0: colour also where the output is no terminal"),
    ("COLUMNS", "how wide to write, also into a pipe"),
    ("PAGER", "shows a page of kdiag explain that is longer than the screen; less where it is not set"),
    ("KDIAG_DEBUG", "when not empty: show where a fault of kdiag's own came from"),
)
_EXITS = (
    ("0", "nothing at or above --fail-on was found"),
    ("1", "something was"),
    ("2", "the command line or the configuration makes no sense"),
    ("3", "the cluster could not be examined; with --strict: not all of it"),
    ("130, 143", "interrupted, terminated"),
)


def run(options: argparse.Namespace) -> int:
    """Print the page as roff."""
    from kdiag.cli.parser import parser

    emit("\n".join(page(parser())) + "\n")
    return Exit.CLEAN


def page(top: argparse.ArgumentParser) -> Iterator[str]:
    """The lines of kdiag(1) in the man macros."""
    from kdiag.cli.commands import COMMANDS
    from kdiag.cli.parser import subcommands

    yield f'.TH KDIAG 1 "" "kdiag {__version__}" "User Commands"'
    yield ".SH NAME"
    yield "kdiag \\- say what is broken in a Kubernetes cluster, why, and what to do"
    yield ".SH SYNOPSIS"
    yield ".B kdiag"
    yield ".I COMMAND"
    yield "[options]"
    yield ".br"
    yield ".B kubectl kdiag"
    yield ".I COMMAND"
    yield "[options]"
    yield ".SH DESCRIPTION"
    yield _text(top.description or "")
    parsers = subcommands(top)
    yield ".SH COMMANDS"
    for command in COMMANDS:
        sub = parsers[command.name]
        yield f".SS kdiag {command.name}"
        for line in (sub.description or "").splitlines():
            yield _text(line)
        for group in sub._action_groups:
            if group.title != _CLUSTER:
                for action in group._group_actions:
                    yield from _action(action)
        if sub.epilog:
            examples, _, codes = sub.epilog.partition("exit codes:")
            yield from _literal(examples)
            if codes:
                yield from (".PP", _text(f"Exit codes: {' '.join(codes.split())}."))
    yield ".SH CLUSTER OPTIONS"
    yield "Of every command that asks a cluster; they may stand before the command, too."
    for group in parsers["check"]._action_groups:
        if group.title == _CLUSTER:
            for action in group._group_actions:
                yield from _action(action)
    for title, items in (("EXIT STATUS", _EXITS), ("ENVIRONMENT", _ENVIRONMENT), ("FILES", _FILES)):
        yield f".SH {title}"
        for name, text in items:
            yield from (".TP", f".B {_text(name)}", _text(text))
    yield ".SH SEE ALSO"
    yield ".BR kubectl (1)"


def _action(action: argparse.Action) -> Iterator[str]:
    if action.help == argparse.SUPPRESS or action.dest == "help":
        return
    if isinstance(action, argparse._SubParsersAction):
        for verb in action._choices_actions:
            yield from (".TP", f".B kdiag lab {_text(verb.dest)}", _text(verb.help or ""))
            yield ".RS"
            for group in action.choices[verb.dest]._action_groups:
                for one in group._group_actions if group.title not in _SHARED else ():
                    yield from _action(one)
            yield ".RE"
        return
    value = action.metavar or ("{" + ",".join(map(str, action.choices)) + "}" if action.choices else "")
    value = value if isinstance(value, str) else " ".join(value)
    if not value and action.option_strings and action.nargs is None:
        value = action.dest.upper()
    yield ".TP"
    if action.option_strings:
        flags = ", ".join(f"\\fB{_text(flag)}\\fR" for flag in action.option_strings)
        yield flags + (f" \\fI{_text(value)}\\fR" if value else "")
    else:
        yield f"\\fI{_text(value or action.dest)}\\fR"
    yield _text(action.help or "")


def _literal(text: str) -> Iterator[str]:
    lines = text.strip("\n").splitlines()
    if lines and lines[0].endswith(":"):
        yield ".PP"
        yield _text(lines[0][:1].upper() + lines[0][1:])
        lines = lines[1:]
    yield ".PP"
    yield ".nf"
    for line in lines:
        yield _text(line) if line.strip() else ".sp"
    yield ".fi"


def _text(text: str) -> str:
    """Text that roff prints as it is: its own signs escaped, and no line that looks like a request."""
    # No character that a troff without UTF-8 would warn of.
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("%%", "%").replace("…", "...")
    return f"\\&{text}" if text[:1] in (".", "'") else text

"""``kdiag completion``: scripts for shells, and the candidates that they ask for.

The scripts hold no word of their own: at each TAB the shell asks ``kdiag __complete WORD...``, which walks the parser.
So they stay right when kdiag changes. No cluster is asked. A line ``:files`` says that the shell should offer files.
"""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Iterator, Sequence

from kdiag.cli.exits import Exit
from kdiag.cli.output import emit

FILES = ":files"
_FILE_OPTIONS = {"kubeconfig", "snapshot", "certificate_authority", "client_certificate", "client_key", "folder"}

_BASH = """\
# bash completion of kdiag: source <(kdiag completion bash)
_kdiag() {
    local word before="" given=()
    COMPREPLY=()
    # bash takes names apart at colons, and replaces only what stands behind the last one.
    for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
        if [[ ${#given[@]} -gt 0 && ( $word == :* || ${given[${#given[@]}-1]} == *: ) ]]; then
            given[${#given[@]}-1]+=$word
        else
            given+=("$word")
        fi
    done
    [[ $COMP_WORDBREAKS == *:* ]] && before=${given[${#given[@]}-1]} && before=${before%"${before##*:}"}
    while IFS= read -r word; do
        if [[ $word == :files ]]; then
            compopt -o default 2>/dev/null
        else
            word=${word%%$'\\t'*}
            printf -v word %q "${word#"$before"}"
            COMPREPLY+=("$word")
        fi
    done < <("${COMP_WORDS[0]}" __complete -- "${given[@]}" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == */ ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -F _kdiag kdiag
"""
_ZSH = """\
#compdef kdiag
# zsh completion of kdiag: source <(kdiag completion zsh), after compinit
_kdiag() {
    local line
    local -a names shown
    for line in "${(@f)$("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        if [[ $line == :files ]]; then
            _files
            return
        fi
        [[ -n $line ]] || continue
        names+=("${line%%$'\\t'*}")
        shown+=("${line/$'\\t'/  -- }")
    done
    compadd -l -d shown -a names
}
compdef _kdiag kdiag
"""
_FISH = """\
# fish completion of kdiag: kdiag completion fish > ~/.config/fish/completions/kdiag.fish
function __kdiag_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in ($words[1] __complete -- $words[2..-1] 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end
complete -c kdiag -f -a '(__kdiag_complete)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def run(options: argparse.Namespace) -> int:
    """Print the script of a shell."""
    emit(SCRIPTS[options.shell])
    return Exit.CLEAN


def answer(words: Sequence[str]) -> int:
    """Print the candidates for the last of the words."""
    emit("".join(f"{line}\n" for line in candidates(words[words[:1] == ["--"] :] or [""])))
    return Exit.CLEAN


def candidates(words: Sequence[str]) -> list[str]:
    """What may stand in the place of the last word: ``word`` or ``word<TAB>what it is``."""
    from kdiag.cli.parser import parser, subcommands

    *before, current = words
    # bash takes --output=json apart.
    before = [w for w in before if w != "="] if current != "=" else before
    if current == "=":
        current = ""
    top = parser()
    commands = subcommands(top)
    here: argparse.ArgumentParser = top
    positionals: list[str] = []
    waiting: argparse.Action | None = None
    for word in before:
        if waiting is not None:
            waiting = None
        elif word.startswith("-") and word != "-":
            action = _option(here, word.partition("=")[0])
            waiting = action if action is not None and action.nargs is None and "=" not in word else None
        elif here is top:
            if word not in commands:
                return []
            here = commands[word]
        elif word in (verbs := subcommands(here)):
            here = verbs[word]
        else:
            positionals.append(word)
    if waiting is None and current.startswith("--") and "=" in current:
        flag, _, current = current.partition("=")
        waiting = _option(here, flag)
        return [f"{flag}={v}" for v in _matching(_values(waiting, current, before), current)] if waiting else []
    if waiting is not None:
        return _matching(_values(waiting, current, before), current)
    if current.startswith("-"):
        return _matching(_flags(here), current)
    if here is top:
        from kdiag.cli.commands import COMMANDS

        return _matching((f"{c.name}\t{c.help}" for c in COMMANDS), current)
    places = [a for a in here._actions if not a.option_strings]
    if len(positionals) >= len(places) and not (places and places[-1].nargs in ("*", argparse.PARSER)):
        return []
    return _matching(_values(places[min(len(positionals), len(places) - 1)], current, before), current)


def _option(here: argparse.ArgumentParser, word: str) -> argparse.Action | None:
    return next((a for a in here._actions if word in a.option_strings), None)


def _flags(here: argparse.ArgumentParser) -> Iterator[str]:
    for action in here._actions:
        if action.help != argparse.SUPPRESS:
            for flag in action.option_strings:
                if flag.startswith("--"):
                    yield f"{flag}\t{action.help or ''}"


def _values(action: argparse.Action, current: str, before: Sequence[str]) -> Iterator[str]:
    if action.choices is not None:
        yield from map(str, action.choices)
    elif action.dest in _FILE_OPTIONS:
        yield FILES
    elif action.dest in ("checks", "check"):
        yield from _checks(with_groups=action.dest == "checks", with_ids="/" in current)
    elif action.dest == "scenario":
        for scenario in importlib.import_module("kdiag.lab.scenario").scenarios().values():
            yield f"{scenario.code}\t{scenario.title}"
    elif action.dest == "topic":
        from kdiag.cli.commands import COMMANDS

        yield from (f"{c.name}\t{c.help}" for c in COMMANDS)
    elif action.dest == "target":
        yield from ("ingress/", "pod/", "service/")
    elif action.dest == "object":
        yield from ("deployment/", "ingress/", "namespace/", "node/", "pod/", "service/", "statefulset/")
    elif action.dest in ("context", "cluster", "user"):
        yield from _configured(f"{action.dest}s", before)


def _checks(*, with_groups: bool, with_ids: bool) -> Iterator[str]:
    """Groups, tags and names. A check's full id is offered once its group is being typed: before, its name will do."""
    from kdiag.engine.library import GROUPS, checks, tags

    library = checks()
    if with_groups:
        yield from (f"{group}\tgroup" for group in GROUPS)
        yield from (f"{tag}\ttag of {count}" for tag, count in tags().items() if tag not in GROUPS)
    for check in library.values():
        if with_ids:
            yield f"{check.id}\t{check.title}"
        yield f"{check.id.partition('/')[2]}\t{check.title}"


def _configured(kind: str, before: Sequence[str]) -> Iterator[str]:
    """The names in the user's kubeconfig, or in that which the line names; none when it cannot be read."""
    from kdiag.collect.kubeconfig import Overrides, names
    from kdiag.errors import KdiagError

    file = ""
    for word, after in zip(before, [*before[1:], ""], strict=True):
        flag, equals, value = word.partition("=")
        if flag == "--kubeconfig":
            file = value if equals else after
    try:
        found = names(Overrides(kubeconfig=os.path.expanduser(file)), os.environ)[kind]
    except KdiagError:
        return
    yield from (name for name in found if name.isprintable())


def _matching(lines: Iterator[str], current: str) -> list[str]:
    return [line for line in dict.fromkeys(lines) if line == FILES or line.startswith(current)]

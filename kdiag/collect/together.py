"""Commands that one process can answer as well.

To start a program, with a time limit and through sudo, costs a node more than what the program does. So files that
are shown whole or searched alike go to one ``grep``, the ends of logs to one ``tail``; and what comes is taken apart
again, so that nobody who reads an answer can tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kdiag.collect.command import Section, State
from kdiag.facts.base import NodeCommand

# More operands than that are left to another process.
_MOST = 64
_LARGEST = 16 << 20


@dataclass(frozen=True, slots=True)
class Group:
    """Several commands, and the one that is run in their place."""

    command: NodeCommand
    parts: tuple[NodeCommand, ...]


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a command has in common with those that may run with it; ``head`` is the command less its operands."""

    head: tuple[str, ...]
    sudo: bool
    answers: tuple[int, ...]


def gathered(commands: Sequence[NodeCommand], known: Sequence[NodeCommand] = ()) -> list[NodeCommand | Group]:
    """What to run for these commands. A group holds all of ``known`` that go together if two of them are asked for."""
    shapes = {command: _shape(command) for command in (*commands, *known)}
    asked: dict[_Shape, int] = {}
    for command in dict.fromkeys(commands):
        if shape := shapes[command]:
            asked[shape] = asked.get(shape, 0) + 1
    jobs: list[NodeCommand | Group] = []
    done: set[NodeCommand] = set()
    for command in commands:
        shape = shapes[command]
        if command in done:
            continue
        # Files to show whole that a node names may be of any kind; a sudoers file tells them apart.
        if shape is None or asked[shape] < 2 or (shape.head == ("cat",) and command not in known):
            jobs.append(command)
            done.add(command)
            continue
        # The same order, and so the same process, whatever is asked for.
        members = [c for c in dict.fromkeys((*known, *commands)) if shapes[c] == shape and c not in done]
        mine = [c for c in dict.fromkeys(known) if shapes[c] == shape] if command in known else members
        parts = tuple(mine[:_MOST])
        if command not in parts or len(parts) < 2:
            jobs.append(command)
            done.add(command)
            continue
        jobs.append(Group(_merged(shape, parts), parts))
        done.update(parts)
    return jobs


def apart(group: Group, section: Section) -> list[Section]:
    """The answer of each part, as if it had been run by itself."""
    blank = [replace(section, key=part.key, name=part.name, body=b"") for part in group.parts]
    if section.state not in (State.ENDED, State.SHORT):
        return blank
    if section.state is State.ENDED and not section.cut and section.status not in (0, 1, 2):
        return [replace(one, body=section.body) for one in blank]
    bodies = _BODIES[group.command.argv[0]](group, section.body)
    # Where the files of each stand in the one process: two commands may name the same file, and both have a part of it.
    operands = [_split(part.argv)[1] for part in group.parts]
    order = {word: at for at, word in enumerate(dict.fromkeys(word for words in operands for word in words))}
    places = [[order[word] for word in words] for words in operands]
    last = max((min(place) for place, (body, _) in zip(places, bodies, strict=True) if body), default=0)
    whole = section.state is State.ENDED and not section.cut
    found: list[Section] = []
    for one, part, place, (body, status) in zip(blank, group.parts, places, bodies, strict=True):
        if whole or max(place) < last:
            cut = len(body) > part.limit
            found.append(replace(one, body=body[: part.limit], status=status, cut=cut, state=State.ENDED))
        else:
            found.append(replace(one, body=body[: part.limit]))
    return found


# What goes together


def _shape(command: NodeCommand) -> _Shape | None:
    argv = command.argv
    head, operands = _split(argv)
    if not operands or any(":" in word or not word.startswith("/") for word in operands):
        return None
    if argv[0] == "grep" and 2 not in command.answers and "s" in _letters(head):
        return None  # it would not say which file is not there
    return _Shape(head, command.sudo, command.answers)


def _split(argv: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A command less its operands, and these; none where it must run by itself."""
    match argv:
        case ("cat", path):
            return ("cat",), (path,)
        case ("tail", "-n", count, path):
            return ("tail", "-n", count), (path,)
        case ("grep", *_):
            return _split_grep(argv)
        case _:
            return argv, ()


def _split_grep(argv: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    at = 1
    patterns = 0
    while at < len(argv) and argv[at].startswith("-"):
        word = argv[at]
        at += 1
        if word == "--":
            break
        if word == "-e":
            at += 1
            patterns += 1
        elif not re.fullmatch(r"-[HaszonEFP]+", word):
            return argv, ()
    at += 0 if patterns else 1
    return argv[:at], argv[at:]


def _letters(head: tuple[str, ...]) -> str:
    return "".join(word[1:] for word in head if re.fullmatch(r"-[A-Za-z]+", word) and word != "-e")


def _merged(shape: _Shape, parts: Sequence[NodeCommand]) -> NodeCommand:
    operands = tuple(dict.fromkeys(word for part in parts for word in _split(part.argv)[1]))
    match shape.head:
        case ("cat",):
            argv: tuple[str, ...] = ("grep", "-aH", "", *operands)
        case ("tail", "-n", count):
            argv = ("tail", "-v", "-n", count, *operands)
        case ("grep", *rest):
            argv = ("grep", *(() if "H" in _letters(shape.head) else ("-H",)), *rest, *operands)
        case head:
            argv = (*head, *operands)
    limit = min(_LARGEST, 2 * sum(part.limit for part in parts))
    seconds = max(part.seconds for part in parts)
    return NodeCommand(key=parts[0].key, argv=argv, sudo=shape.sudo, seconds=seconds, limit=limit, answers=(0, 1, 2))


# What comes

# A body and the exit code that goes with it, for each part.
_Bodies = list[tuple[bytes, int | None]]


def _of_grep(group: Group, output: bytes) -> _Bodies:
    """``PATH:line`` and ``grep: PATH: reason``; with -z it is NUL that ends a line."""
    letters = _letters(group.command.argv)
    end = b"\0" if "z" in letters else b"\n"
    lines: dict[bytes, list[bytes]] = {}
    failed: dict[bytes, bytes] = {}
    for piece in output.split(end):
        rest = piece
        # Errors end with a line end in any case.
        while error := re.match(rb"grep: (/[^:\n]*): ([^\n]*)\n?", rest):
            if b"matches" in error[2]:
                lines.setdefault(error[1], []).append(error[0].rstrip(b"\n"))
            else:
                failed[error[1]] = error[2]
            rest = rest[error.end() :]
        path, colon, _ = rest.partition(b":")
        if binary := re.match(rb"Binary file (/[^:\n]*) matches", rest):
            path, colon = binary[1], b":"
        if colon:
            lines.setdefault(path, []).append(rest)
    return [_one_of_grep(part, lines, failed, end, letters) for part in group.parts]


def _one_of_grep(
    part: NodeCommand, lines: dict[bytes, list[bytes]], failed: dict[bytes, bytes], end: bytes, letters: str
) -> tuple[bytes, int | None]:
    head, operands = _split(part.argv)
    names = [word.encode() for word in operands]
    bare = head == ("cat",) or ("H" not in _letters(head) and len(names) == 1)
    program = part.argv[0].encode()
    errors = b"".join(program + b": " + name + b": " + failed[name] + b"\n" for name in names if name in failed)
    found = [line for name in names for line in lines.get(name, ())]
    if bare:
        found = [line.removeprefix(names[0] + b":") for line in found]
    body = errors + b"".join(line + end for line in found)
    if head == ("cat",):
        return body, 1 if errors else 0
    return body, 2 if errors else 0 if found else 1


def _of_tail(group: Group, output: bytes) -> _Bodies:
    """``==> PATH <==`` before each; what a log says cannot look so, for each of its lines begins with a time."""
    names = [part.argv[-1].encode() for part in group.parts]
    places: list[tuple[int, int, bytes]] = []
    at = 0
    failed: dict[bytes, bytes] = {}
    for name in names:
        if heading := re.compile(rb"(?:\A|(?<=\n))==> " + re.escape(name) + rb" <==\n").search(output, at):
            places.append((heading.start(), heading.end(), name))
            at = heading.end()
    bodies: dict[bytes, bytes] = {}
    for number, (_, start, name) in enumerate(places):
        following = places[number + 1][0] if number + 1 < len(places) else len(output)
        text = output[start:following]
        # An empty line stands before the next heading.
        bodies[name] = text.removesuffix(b"\n") if number + 1 < len(places) else text
    for match in _NOT_OPENED.finditer(output):
        failed[match[1]] = match[0]
        bodies = {name: body.replace(match[0], b"") for name, body in bodies.items()}
    found: _Bodies = []
    for name in names:
        whole = name in bodies and name not in failed
        found.append((failed.get(name, b"") + bodies.get(name, b""), 0 if whole else 1))
    return found


_NOT_OPENED = re.compile(rb"^tail: (?:cannot open|can't open|error reading) '?(/[^'\n:]*)'?[^\n]*\n?", re.MULTILINE)


_BODIES: dict[str, Callable[[Group, bytes], _Bodies]] = {"grep": _of_grep, "tail": _of_tail}

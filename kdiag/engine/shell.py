"""The part of the shell's language that runbook pages are written in, read without a shell.

A line is taken apart into commands, pipes and words; what is not understood is refused, never guessed. What is
looked at is exactly what runs: no text of a page or a cluster is ever handed to a shell as it is.
"""

from __future__ import annotations

import enum
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=")
_GLOB = frozenset("*?[")
_BLANK = " \t"
_RESERVED = frozenset(
    ("if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac", "select", "in")
) | {"function", "coproc", "time", "!", "{", "}", "[[", "]]"}
_DEPTH = 4
_LONGEST = 8192


class ShellError(Exception):
    """A line that is not understood; one sentence on why."""


class Errors(enum.Enum):
    """Where a command's standard error goes."""

    KEPT = ""
    MERGED = "2>&1"
    DROPPED = "2>/dev/null"


@dataclass(frozen=True, slots=True)
class Text:
    """Characters that stand for themselves; unquoted, ``*``, ``?`` and ``[`` are for file names."""

    text: str
    quoted: bool


@dataclass(frozen=True, slots=True)
class Variable:
    """``$NAME``, ``${NAME}``; ``${NAME#strip}`` takes a beginning away. Unquoted, its value is split at blanks."""

    name: str
    quoted: bool
    strip: str = ""


@dataclass(frozen=True, slots=True)
class Substitution:
    """``$(…)``: what other commands print."""

    script: Script
    quoted: bool


Part = Text | Variable | Substitution
Word = tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One program with its arguments, or only assignments."""

    words: tuple[Word, ...] = ()
    sets: tuple[tuple[str, Word], ...] = ()
    errors: Errors = Errors.KEPT


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands of which each reads what the one before printed. ``after`` is ``;``, ``&&`` or ``||``."""

    after: str
    commands: tuple[Command, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """Pipelines, one after the other."""

    pipelines: tuple[Pipeline, ...]

    def commands(self) -> Iterator[Command]:
        """Every command on the surface, without those in substitutions."""
        for pipeline in self.pipelines:
            yield from pipeline.commands

    def substitutions(self) -> Iterator[Script]:
        """What its words ask for first."""
        for command in self.commands():
            for word in (*command.words, *(value for _, value in command.sets)):
                for part in word:
                    if isinstance(part, Substitution):
                        yield part.script

    def variables(self) -> Iterator[str]:
        """The variables that it reads, also in substitutions."""
        for command in self.commands():
            for word in (*command.words, *(value for _, value in command.sets)):
                for part in word:
                    if isinstance(part, Variable):
                        yield part.name
                    elif isinstance(part, Substitution):
                        yield from part.script.variables()


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a program. ``shell`` writes it for a shell: quoted, but for signs that stand for file names."""

    text: str
    shell: str

    @property
    def glob(self) -> bool:
        """Whether it stands for file names that only the node knows."""
        return self.shell != shlex.quote(self.text)


def parse(text: str) -> Script:
    """The commands of a line or of several. Raises ShellError for what it does not understand."""
    if len(text) > _LONGEST:
        raise ShellError("it is too long to be a command")
    for char in text:
        if not char.isprintable() and char not in "\n\t":
            raise ShellError("it holds a control character")
    reader = _Reader(text)
    script = reader.script(end="")
    if not script.pipelines:
        raise ShellError("it holds no command")
    return script


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def _peek(self, count: int = 1) -> str:
        return self._text[self._at : self._at + count]

    def _take(self, count: int = 1) -> str:
        taken = self._peek(count)
        self._at += count
        return taken

    def _skip(self) -> None:
        """Pass over blanks, continued lines and a comment."""
        while True:
            if self._peek() and self._peek() in _BLANK:
                self._at += 1
            elif self._peek(2) == "\\\n":
                self._at += 2
            elif self._peek() == "#":
                while self._peek() not in ("", "\n"):
                    self._at += 1
            else:
                return

    def script(self, end: str) -> Script:
        """Pipelines until ``end``, which is passed over."""
        found: list[Pipeline] = []
        after = ";"
        while True:
            self._skip()
            sign = self._peek()
            if sign == end and (end or self._at >= len(self._text)):
                self._at += len(end)
                if after != ";":
                    raise ShellError(f"nothing follows {after}")
                return Script(tuple(found))
            if not sign:
                raise ShellError("$( has no end")
            if sign == "\n":
                self._at += 1
                continue
            found.append(Pipeline(after, tuple(self._pipeline())))
            after = self._joint(end)

    def _joint(self, end: str) -> str:
        two = self._peek(2)
        if two in ("&&", "||"):
            self._at += 2
            self._newlines()
            return two
        one = self._peek()
        if one == ";":
            if two == ";;":
                raise ShellError("';;' is not understood")
            self._at += 1
            return ";"
        if one in ("", "\n") or one == end:
            return ";"
        raise ShellError(f"{one!r} is not understood here")

    def _newlines(self) -> None:
        self._skip()
        while self._peek() == "\n":
            self._at += 1
            self._skip()

    def _pipeline(self) -> Iterator[Command]:
        while True:
            yield self._command()
            if self._peek() != "|" or self._peek(2) == "||":
                return
            self._at += 1
            if self._peek() == "&":
                raise ShellError("'|&' is not understood")
            self._newlines()

    def _command(self) -> Command:
        words: list[Word] = []
        sets: list[tuple[str, Word]] = []
        errors = Errors.KEPT
        while True:
            self._skip()
            if (redirected := self._redirection()) is not None:
                errors = redirected
                continue
            sign = self._peek()
            if sign in ("", "\n", ";", "|", ")") or self._peek(2) == "&&":
                break
            start = self._at
            name = _ASSIGNMENT.match(self._text, self._at) if not words else None
            if name:
                self._at = name.end()
                sets.append((name[1], self._word(value=True)))
                continue
            word = self._word()
            if not words and self._text[start : self._at] in _RESERVED:
                raise ShellError(f"{self._text[start : self._at]!r} is more than a command")
            words.append(word)
        if not words and not sets:
            raise ShellError(
                f"a command is missing before {self._peek()!r}" if self._peek() else "a command is missing"
            )
        if words and sets:
            raise ShellError("a setting before a command is not understood")
        return Command(words=tuple(words), sets=tuple(sets), errors=errors)

    def _redirection(self) -> Errors | None:
        for kind in (Errors.MERGED, Errors.DROPPED):
            text = kind.value
            if self._peek(len(text)) == text and (self._text[self._at + len(text) :][:1] or " ") in " \t\n;|)":
                self._at += len(text)
                return kind
        number = re.compile(r"[0-9]*[<>]").match(self._text, self._at)
        if number or self._peek(2) == "&>":
            raise ShellError("it reads or writes a file by '<' or '>'")
        return None

    def _word(self, *, value: bool = False) -> Word:
        parts: list[Part] = []
        start = self._at
        while True:
            sign = self._peek()
            if sign in ("", " ", "\t", "\n", ";", "|", ")"):
                break
            if sign == "&" and self._peek(2) == "&&":
                break
            if sign in "&(`<>{}":
                raise ShellError(f"{sign!r} is not understood here")
            # bash takes it for a home directory behind "=" and ":", too
            if sign == "~" and (self._at == start or self._text[self._at - 1] in "=:"):
                raise ShellError("'~' is not understood")
            parts.extend(self._part(quoted=False))
        if not parts and not value and self._at == start:
            raise ShellError(f"{self._peek()!r} is not understood here")
        return tuple(parts)

    def _part(self, *, quoted: bool) -> Iterator[Part]:
        sign = self._take()
        if sign == "'" and not quoted:
            end = self._text.find("'", self._at)
            if end < 0:
                raise ShellError("a quote has no end")
            yield Text(self._text[self._at : end], quoted=True)
            self._at = end + 1
        elif sign == '"' and not quoted:
            yield Text("", quoted=True)
            while self._peek() != '"':
                if not self._peek():
                    raise ShellError("a quote has no end")
                yield from self._part(quoted=True)
            self._at += 1
        elif sign == "\\":
            following = self._take()
            if not following:
                raise ShellError("nothing follows '\\'")
            if following == "\n":
                return
            if quoted and following not in '$`"\\':
                yield Text("\\", quoted=True)
            yield Text(following, quoted=True)
        elif sign == "`":
            raise ShellError("'`' is not understood")
        elif sign == "$":
            yield self._dollar(quoted=quoted)
        else:
            yield Text(sign, quoted=quoted)

    def _dollar(self, *, quoted: bool) -> Part:
        if self._peek() == "(":
            if self._peek(2) == "((":
                raise ShellError("'$((' is not understood")
            if self._depth >= _DEPTH:
                raise ShellError("$( is nested too deep")
            self._at += 1
            self._depth += 1
            script = self.script(end=")")
            self._depth -= 1
            if not script.pipelines:
                raise ShellError("$() holds no command")
            return Substitution(script, quoted)
        if self._peek() == "{":
            match = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?:#([A-Za-z0-9_./:-]+))?\}").match(self._text, self._at)
            if not match:
                raise ShellError("'${' is not understood here")
            self._at = match.end()
            return Variable(match[1], quoted, match[2] or "")
        if name := _NAME.match(self._text, self._at):
            self._at = name.end()
            return Variable(name[0], quoted)
        if not quoted and self._peek() in ("'", '"'):
            raise ShellError(f"'${self._peek()}' is not understood")
        if self._peek() and self._peek() in "0123456789@*#?$!-":
            raise ShellError(f"'${self._peek()}' is not understood")
        return Text("$", quoted)


#: What a substitution prints, given its commands.
Ask = Callable[[Script], str]


def expand(command: Command, values: Mapping[str, str], ask: Ask) -> tuple[Argument, ...]:
    """The arguments of a command. Raises ShellError for a variable that is not set."""
    found: list[Argument] = []
    for word in command.words:
        found.extend(_expanded(word, values, ask))
    return tuple(found)


def expand_value(word: Word, values: Mapping[str, str], ask: Ask) -> str:
    """The value of an assignment: never split."""
    return "".join(part.text if isinstance(part, Text) else _value(part, values, ask) for part in word)


def _value(part: Variable | Substitution, values: Mapping[str, str], ask: Ask) -> str:
    if isinstance(part, Substitution):
        return ask(part.script).rstrip("\n")
    if part.name not in values:
        raise ShellError(f"{part.name} is not set")
    return values[part.name].removeprefix(part.strip)


def _expanded(word: Word, values: Mapping[str, str], ask: Ask) -> Iterator[Argument]:
    """One argument mostly; an unquoted variable may make none or several of it."""
    bare = any(isinstance(p, Text) and p.text == "$" and not p.quoted for p in word)
    if bare and any(not isinstance(p, Text) and not p.quoted for p in word):
        raise ShellError("a bare '$' beside a variable is not understood")  # shells differ on where they split then
    text, shell, there = "", "", False
    for part in word:
        if isinstance(part, Text):
            text += part.text
            shell += part.text if not part.quoted and part.text in _GLOB else _quoted(part.text)
            there = True
            continue
        value = _value(part, values, ask)
        if part.quoted:
            text, shell, there = text + value, shell + _quoted(value), True
            continue
        pieces = value.split()
        if pieces and value[:1].isspace() and there:
            yield Argument(text, shell or "''")
            text, shell = "", ""
        for number, piece in enumerate(pieces):
            if number:
                yield Argument(text, shell or "''")
                text, shell = "", ""
            text, shell, there = text + piece, shell + _quoted(piece), True
    if there:
        yield Argument(text, shlex.quote(text) if _plain(word) else shell or "''")


def _plain(word: Word) -> bool:
    """Whether no sign of the word stands for file names."""
    return not any(isinstance(p, Text) and not p.quoted and p.text in _GLOB for p in word)


def _quoted(text: str) -> str:
    return shlex.quote(text) if text else ""


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with the values in the place of their variables, as a person would have typed it.

    Only values that need no quotes are put in; what stands in single quotes stays as it is.
    """
    found: list[str] = []
    at, double = 0, False
    while at < len(text):
        char = text[at]
        if char == "\\":
            found.append(text[at : at + 2])
            at += 2
        elif char == "'" and not double:
            end = text.find("'", at + 1)
            end = len(text) if end < 0 else end + 1
            found.append(text[at:end])
            at = end
        elif (whole := _WHOLE.match(text, at)) and not double and _simple(values.get(whole[1])):
            found.append(values[whole[1]])
            at = whole.end()
        elif char == '"':
            double = not double
            found.append(char)
            at += 1
        elif (name := _READ.match(text, at)) and _simple(values.get(name[1] or name[2])):
            found.append(values[name[1] or name[2]])
            at = name.end()
        else:
            found.append(char)
            at += 1
    return "".join(found)


_WHOLE = re.compile(r'"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?"(?=[\s;|)]|$)')
_READ = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")
_SIMPLE = re.compile(r"[A-Za-z0-9_./:@%+,=-]+")


def _simple(value: str | None) -> bool:
    return value is not None and bool(_SIMPLE.fullmatch(value))

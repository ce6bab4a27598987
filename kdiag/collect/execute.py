"""Run the steps of a runbook page: kubectl as the user has it, commands on nodes over our own way to them.

No shell of this machine ever sees a line. Each is taken apart (``kdiag.engine.shell``), looked at whole
(``kdiag.engine.readonly``) and run program by program, with standard input closed, a time limit and a bound on what is
kept. What comes back is cleaned and has its credentials taken out before anybody sees it.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kdiag.collect.deadline import Deadline
from kdiag.collect.shell import CutShort, Shell
from kdiag.engine import readonly
from kdiag.engine.guard import Refusal
from kdiag.engine.readonly import Place
from kdiag.engine.runbook import Kind, Outcome, Step
from kdiag.engine.shell import Argument, Errors, Script, ShellError, expand, expand_value, filled, parse
from kdiag.errors import KdiagError
from kdiag.model.redact import RUN
from kdiag.model.text import clean, clean_line, shorten

STEP_SECONDS = 20.0
#: How much a command may print before it is stopped; a filter behind it may make little of much.
_LIMIT = 32 << 20
_NODE_LIMIT = 4 << 20
_CHUNK = 1 << 16
MOST_LINES = 400
_LONGEST = 2000
_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:@-]{0,252}")


class Kubectl(Protocol):
    """Answers kubectl's commands without kubectl."""

    def answer(self, argv: Sequence[str], deadline: Deadline) -> tuple[bytes, int]:
        """What ``kubectl ARGV`` would print, and its exit code. Raises KdiagError for what it cannot answer."""

    def close(self) -> None:
        """Let the connection go."""


class NoAnswer(Exception):
    """Why a command has no answer; one line."""


@dataclass(slots=True)
class _Said:
    """What a script printed, as it goes."""

    output: bytearray = field(default_factory=bytearray)
    status: int = 0
    via: dict[str, None] = field(default_factory=dict)


class Executor:
    """Runs steps against the cluster. One step at a time; ``close`` when done.

    ``flags`` name the cluster to kubectl as they do to kdiag. ``stand_in`` answers where there is no kubectl.
    ``node`` gives the shell of a node, or raises KdiagError with the reason why there is none. ``kubectl`` is the
    program, found on the PATH where it is not said and not used where it is empty; ``label`` says who answers then.
    """

    def __init__(
        self,
        *,
        flags: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        stand_in: Callable[[], Kubectl] | None = None,
        node: Callable[[str], Shell] | None = None,
        seconds: float = STEP_SECONDS,
        kubectl: str | None = None,
        label: str = "kdiag",
    ) -> None:
        self._environ = dict(os.environ if environ is None else environ)
        self._flags = list(flags)
        self._stand_in = stand_in
        self._kubectl: Kubectl | None = None
        self._node = node
        self._shells: dict[str, Shell] = {}
        self._seconds = seconds
        found = shutil.which("kubectl", path=self._environ.get("PATH", "")) if kubectl is None else kubectl
        self._program = found or ""
        self._label = label

    def close(self) -> None:
        """Let the connections go."""
        for shell in self._shells.values():
            shell.close()
        self._shells.clear()
        if self._kubectl:
            self._kubectl.close()
            self._kubectl = None

    def run(self, step: Step, values: Mapping[str, str]) -> Outcome:
        """Run one step; a step that may not run is refused whatever the caller thinks."""
        if step.kind is Kind.SET:
            return Outcome(status=0, sets={name: values[name] for name in step.sets if name in values})
        if step.by_hand:
            return Outcome(refused=step.refused)
        begin = time.monotonic()
        said, error, sets = _Said(), "", {}
        try:
            script = parse(filled(step.command, values))
            _known(script, values, step.sets)
            readonly.examine(script, {**dict.fromkeys(step.sets, readonly.UNKNOWN), **values}, Place.HERE)
        except (ShellError, Refusal) as exc:
            return Outcome(refused=str(exc))
        try:
            sets = self._script(script, values, Deadline(self._seconds), said)
        except (NoAnswer, ShellError, Refusal, KdiagError) as exc:
            error = shorten(clean_line(str(exc)), 300)
        took = time.monotonic() - begin
        lines, left = shown(bytes(said.output))
        return Outcome(
            lines=lines,
            status=None if error else said.status,
            took=took,
            error=error,
            via=", ".join(said.via),
            left=left,
            sets=sets,
        )

    # On this machine

    def _script(self, script: Script, values: Mapping[str, str], deadline: Deadline, said: _Said) -> dict[str, str]:
        """Run one pipeline after the other; the variables that were set."""
        known, sets = dict(values), dict[str, str]()
        memory: dict[Script, str] = {}

        def ask(inner: Script) -> str:
            if inner not in memory:
                heard = _Said(via=said.via)
                self._script(inner, known, deadline, heard)
                memory[inner] = _word(bytes(heard.output))
            return memory[inner]

        for pipeline in script.pipelines:
            if (pipeline.after == "&&" and said.status) or (pipeline.after == "||" and not said.status):
                continue
            if pipeline.commands[0].sets:
                for name, word in pipeline.commands[0].sets:
                    known[name] = sets[name] = expand_value(word, known, ask)
                    said.output += f"{name}={sets[name]}\n".encode()
                continue
            data = b""
            for number, command in enumerate(pipeline.commands):
                arguments = expand(command, known, ask)
                argv = [a.text for a in arguments]
                # Looked at once more, now that every value is known.
                why = readonly.readonly(argv, Place.HERE, fed=number > 0)
                if why is not None:
                    raise Refusal(why)
                data, status = self._stage(argv, data if number else None, deadline, said, command.errors)
                said.status = status
            said.output += data
        return sets

    def _stage(
        self, argv: Sequence[str], fed: bytes | None, deadline: Deadline, said: _Said, errors: Errors
    ) -> tuple[bytes, int]:
        """One program of a pipeline: what it printed, and its exit code."""
        if fed is not None:
            return self._process(argv, fed, deadline, said, errors, local=True)
        match argv[0]:
            case "ssh":
                said.via[argv[1]] = None
                return self._on_node(argv[1], " ".join(argv[2:]), deadline)
            case "kubectl" if self._program:
                said.via["kubectl"] = None
                told = [self._program, *self._flags, *argv[1:]]
                return self._process(told, b"", deadline, said, errors, local=False)
            case "kubectl":
                said.via[self._label] = None
                return self._without_kubectl(argv[1:], deadline)
            case _:
                return self._process(argv, b"", deadline, said, errors, local=True)

    def _without_kubectl(self, words: Sequence[str], deadline: Deadline) -> tuple[bytes, int]:
        if self._stand_in is None:
            raise NoAnswer("there is no kubectl on this machine")
        if self._kubectl is None:
            self._kubectl = self._stand_in()
        return self._kubectl.answer(words, deadline)

    def _process(
        self, argv: Sequence[str], fed: bytes, deadline: Deadline, said: _Said, errors: Errors, *, local: bool
    ) -> tuple[bytes, int]:
        # kubectl needs the user's own environment for its credentials; a filter needs none of it.
        own = {"PATH": self._environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        environ = own if local else {**self._environ, "KUBERC": "off", "KUBECTL_KUBERC": "false"}
        try:
            process = subprocess.Popen(  # noqa: S603
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr={Errors.DROPPED: subprocess.DEVNULL, Errors.MERGED: subprocess.STDOUT}.get(
                    errors, subprocess.PIPE
                ),
                env=environ,
                start_new_session=True,
                cwd="/" if local else None,
            )
        except OSError as exc:
            raise NoAnswer(f"{os.path.basename(argv[0])}: {exc.strerror or exc}") from exc
        name = os.path.basename(argv[0])
        try:
            output, complaint = _talked(process, fed, deadline)
            status = process.wait(deadline.remaining())
        except (TimeoutError, subprocess.TimeoutExpired):
            raise NoAnswer(f"{name} did not finish within {self._seconds:g} s") from None
        except OverflowError:
            raise NoAnswer(f"{name} prints more than {_LIMIT >> 20} MiB") from None
        finally:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            process.wait()
        said.output += complaint
        return output, status

    # On a node

    def _on_node(self, host: str, text: str, deadline: Deadline) -> tuple[bytes, int]:
        shell = self._shell(host)
        script = parse(text)
        memory: dict[Script, str] = {}

        def ask(inner: Script) -> str:
            if inner not in memory:
                # What it complains of is no word of its answer.
                written = render(inner, ask, deadline.remaining(), errors=Errors.DROPPED)
                output, _ = _spoken(shell, written, deadline)
                memory[inner] = _word(output)
            return memory[inner]

        readonly.examine(script, {}, Place.NODE, ask)
        return _spoken(shell, render(script, ask, deadline.remaining()), deadline)

    def _shell(self, host: str) -> Shell:
        if host not in self._shells:
            if self._node is None:
                raise NoAnswer(f"no way to {host} is known")
            self._shells[host] = self._node(host)
        return self._shells[host]


def _talked(process: subprocess.Popen[bytes], fed: bytes, deadline: Deadline) -> tuple[bytes, bytes]:
    """Feed a process and take what it prints and complains. TimeoutError, or OverflowError where that is too much."""
    output, complaint = bytearray(), bytearray()
    left = memoryview(fed)
    with selectors.DefaultSelector() as selector:
        for pipe, kept in ((process.stdout, output), (process.stderr, complaint)):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ, kept)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE)
        while selector.get_map():
            ready = selector.select(deadline.remaining())
            if not deadline.remaining():
                raise TimeoutError
            for key, _ in ready:
                if key.data is None:
                    with contextlib.suppress(BrokenPipeError, BlockingIOError):
                        left = left[os.write(key.fd, left[:_CHUNK]) :] if left else left
                        if left:
                            continue
                    selector.unregister(key.fileobj)
                    if process.stdin is not None:
                        process.stdin.close()
                    continue
                chunk = os.read(key.fd, _CHUNK)
                if not chunk:
                    selector.unregister(key.fileobj)
                # What a program complains of is short, or not worth more.
                elif key.data is output or len(complaint) < _CHUNK:
                    key.data.extend(chunk)
                if len(output) > _LIMIT:
                    raise OverflowError
    return bytes(output), bytes(complaint)


def _known(script: Script, values: Mapping[str, str], sets: Sequence[str]) -> None:
    lacking = [name for name in dict.fromkeys(script.variables()) if name not in values and name not in sets]
    if lacking:
        raise ShellError(f"{', '.join(lacking)}: not known; set it, or run the step that does")


def _word(output: bytes) -> str:
    """What a substitution printed, which has to be one plain word."""
    text = output.decode("utf-8", "replace").strip()
    if not text:
        raise NoAnswer("the command in $(…) printed nothing")
    if not _VALUE.fullmatch(text):
        raise NoAnswer(f"the command in $(…) printed more than one plain word: {shorten(clean_line(text), 60)}")
    return text


def _spoken(shell: Shell, script: bytes, deadline: Deadline) -> tuple[bytes, int]:
    try:
        output = shell.run(script, argument="kdiag", deadline=deadline, limit=_NODE_LIMIT)
    except CutShort as exc:
        raise NoAnswer(str(exc)) from exc
    if output.cut or output.status is None:
        raise NoAnswer(f"it prints more than {_NODE_LIMIT >> 20} MiB")
    return output.stdout, output.status


#: What a shell does itself, and no time limit can be put before.
_BUILT_IN = frozenset({"command", "true"})
_START = r"""
kdiag_all() {
kdiag_t=
if timeout -k 1 9 sh -c :; then kdiag_t='timeout -k 2 @'; elif timeout 9 sh -c :; then kdiag_t='timeout @'; fi
if [ "$(id -u)" = 0 ]; then kdiag_s=; else kdiag_s='sudo -n --'; fi
{
"""
_END = r"""
} @
}
kdiag_all </dev/null
exit $?
"""


def render(script: Script, ask: Callable[[Script], str], seconds: float, *, errors: Errors = Errors.MERGED) -> bytes:
    """A POSIX sh script that does what this one says, every word quoted; nothing runs unless all of it has arrived."""
    start, end = _START.replace("@", str(max(1, int(seconds)))), _END.replace("@", errors.value)
    return (start + _lines(script, ask, limited=True) + end).encode()


def _lines(script: Script, ask: Callable[[Script], str], *, limited: bool) -> str:
    text = ""
    for number, pipeline in enumerate(script.pipelines):
        joint = "" if not number else "\n" if pipeline.after == ";" else f" {pipeline.after} "
        stages = []
        for command in pipeline.commands:
            arguments = expand(command, {}, ask)
            stages.append(_stage(arguments, ask, limited=limited) + (f" {command.errors.value}").rstrip())
        text += joint + " | ".join(stages)
    return text


def _stage(arguments: Sequence[Argument], ask: Callable[[Script], str], *, limited: bool) -> str:
    words = list(arguments)
    root = words[0].text == "sudo"
    if root:
        words = words[1:]
    if words[0].text == "sh":
        written = ["sh", "-c", shlex.quote(_lines(parse(words[2].text), ask, limited=False))]
    else:
        written = [word.shell for word in words]
    lead = ["$kdiag_t"] if limited and words[0].text not in _BUILT_IN else []
    return " ".join([*lead, *(["$kdiag_s"] if root else []), *written])


# What is shown


def shown(output: bytes) -> tuple[tuple[str, ...], int]:
    """The lines of an output, cleaned and without credentials, and how many more there were."""
    text = output.decode("utf-8", "replace")
    lines = text.split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    kept = lines[:MOST_LINES]
    cleaned = clean(RUN.listing("\n".join(shorten(line.rstrip("\r"), _LONGEST) for line in kept)))
    return tuple(cleaned.split("\n")) if kept else (), len(lines) - len(kept)


__all__ = ["Executor", "Kubectl", "NoAnswer", "Outcome", "render", "shown"]

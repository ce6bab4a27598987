"""One batch a node: read-only commands in one script, and their answers taken apart again.

A command is a list of arguments that ``refuse_writes`` has let through; no shell ever sees a value unquoted. The script
runs each under a time limit, those that wait for a daemon beside the others, keeps each answer's exit code, cuts what
is too long, and frames them with lines that only who wrote the script can know.

What becomes of an answer (``observe``):

- the command ended with a status that is an answer: ``body``, no ``error``;
- it did not, or was cut, or was not reached: ``error`` says why in one line, and ``body`` holds what there was. So a
  reader that looks only at ``error`` takes a part for a gap and never for the whole;
- every file that it was to read is not there: ``error`` and ``absent``, for that is knowledge.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

from kdiag.collect.command import Section as Section
from kdiag.collect.command import State as State
from kdiag.collect.deadline import Deadline
from kdiag.collect.fields import one_line
from kdiag.collect.shell import CutShort, Shell
from kdiag.collect.together import Group, apart, gathered
from kdiag.engine.guard import PROGRAMS as PROGRAMS
from kdiag.engine.guard import refuse_writes as refuse_writes
from kdiag.errors import BadAnswer, CheckDefinitionError, KdiagError
from kdiag.facts.base import NodeCommand
from kdiag.model.observation import Observation

_NONCE = re.compile(r"[0-9a-f]{16,64}")
_SECONDS = range(1, 301)
_LIMITS = range(1, (16 << 20) + 1)
_BATCH_LIMIT = 64 << 20
# How much the frames of one command may add.
_FRAME = 4096


# The script

# Runs one command between its frames; kdiag_w is what bounds its time, if it is to be bounded by itself. Who the user
# is, matters where sudo may have refused, and is told then. The timeout of BusyBox ends a program and not what it has
# started: with it no limit is shared, for a shell would be ended and what hangs would stay.
_ONE = r"""
kdiag_one() {
kdiag_i=$1 kdiag_r=
printf '%s begin %s\n' "$kdiag_n" "$kdiag_i"
if [ "$2" = sudo ] && [ "$kdiag_uid" != 0 ]; then
if command -v sudo >/dev/null; then kdiag_r='sudo -n --'; else printf '\n%s end %s nosudo\n' "$kdiag_n" "$1"; return; fi
fi
shift 2
if [ -z "$kdiag_r" ] && ! command -v "$1" >/dev/null; then
printf '\n%s end %s 127\n' "$kdiag_n" "$kdiag_i"; return
fi
$kdiag_w $kdiag_r "$@" </dev/null 2>&1
kdiag_s=$?
printf '\n%s end %s %s\n' "$kdiag_n" "$kdiag_i" "$kdiag_s"
if [ "$kdiag_s" = 1 ] && [ -n "$kdiag_r" ] && [ -z "$kdiag_u" ]; then
kdiag_u=told
printf '%s user %s\n' "$kdiag_n" "$(${kdiag_t:+$kdiag_t 3} id -un 2>/dev/null)"
fi
}
"""
_PROLOGUE = r"""
eval "$kdiag_f"
kdiag_u= kdiag_t='timeout -k 2'
if ! kdiag_uid=$(timeout -k 1 9 id -u 2>/dev/null); then
if timeout 9 sh -c :; then kdiag_t=timeout; else kdiag_t=; fi
kdiag_uid=$(id -u 2>/dev/null)
fi
kdiag_g=$kdiag_t kdiag_p=$(command -v timeout)
if [ -L "$kdiag_p" ] || [ "$kdiag_p" = timeout ]; then
case $(timeout --help 2>&1) in *BusyBox*) kdiag_g= ;; esac
fi
if head -c 1 </dev/null; then kdiag_h='head -c'; else kdiag_h=; fi
kdiag_cut() {
${kdiag_h:-cat} ${kdiag_h:+"$1"}
}
kdiag_for() {
kdiag_w=${kdiag_t:+$kdiag_t $1}
shift
kdiag_one "$@"
}
kdiag_late=
kdiag_wait() {
if [ -n "$kdiag_late" ]; then printf '%s begin %s\n\n%s end %s hung\n' "$kdiag_n" "$2" "$kdiag_n" "$2"; return; fi
kdiag_b=$(date +%s)
kdiag_for "$@"
[ "$kdiag_s" = 0 ] || [ $(($(date +%s) - ${kdiag_b:-0})) -lt 4 ] || kdiag_late=1
}
kdiag_quick() {
kdiag_w=
if [ -n "$kdiag_g" ]; then
kdiag_p="kdiag_n=$kdiag_n kdiag_uid=$kdiag_uid kdiag_t='$kdiag_t' kdiag_u= kdiag_w="
printf '%s\n' "$kdiag_p" "$kdiag_f" "$2" | $kdiag_t "$1" sh -s
else
kdiag_w=${kdiag_t:+$kdiag_t $1}
eval "$2"
fi
}
"""
# What goes through the pipe beside an answer, at most.
_FRAMES = 512
# Programs that wait for a daemon, or compute, run beside those that only read files: by the lane that they are in.
_LANES = {"crictl": 1, "etcdctl": 2, "timedatectl": 2, "openssl": 3}
# In these lanes nothing waits for anybody: one limit of time does for all, which spares a process or two for each.
_QUICK_LANES = {0, 3}
_QUICK_SECONDS = 6
# Here all wait for the same daemon: once one has failed after four seconds, it is not asked again.
_WAITING_LANE = 1
# What may be longer than this does not share its room with the short ones: one endless answer would fill it.
_SHORT_LIMIT = 1 << 20


def render(commands: Sequence[NodeCommand], nonce: str, *, singly: bool = False) -> bytes:
    """One POSIX sh script that runs these commands; CheckDefinitionError for one that is not allowed.

    Nothing runs unless all of the script has arrived. The nonce is not among the arguments of any process. ``singly``
    has each command bounded by itself, in time and in length; else one that says too much takes those behind it in its
    lane with it, and so does a quick one that hangs.
    """
    if not _NONCE.fullmatch(nonce):
        raise ValueError("a nonce is 16 to 64 hexadecimal digits")
    # Written as a list of lines: the arguments of a command are the only thing that varies, and are quoted.
    plan = [
        f"{nonce} plan {number} {c.limit} {'sudo' if c.sudo else 'plain'} {_field(c.key)} {_field(c.name)}"
        for number, c in enumerate(commands)
    ]
    lines = ["kdiag_all() {", f"kdiag_n={nonce}", f"kdiag_f={shlex.quote(_ONE.strip())}"]
    lines += [f"printf '%s\\n' {shlex.quote(line)}" for line in plan]
    lines.append(_PROLOGUE.strip())
    lanes: dict[int, list[tuple[int, NodeCommand]]] = {0: []}
    for number, command in enumerate(commands):
        refuse_writes(command.argv)
        if command.seconds not in _SECONDS or command.limit not in _LIMITS:
            raise CheckDefinitionError(f"{one_line(str(command), 120)}: its limits are out of range")
        lanes.setdefault(_LANES.get(command.argv[0], 0), []).append((number, command))
    # Where sudo hangs (it asks DNS for the node's own name), what needs none has been said by then.
    lanes = {lane: sorted(ones, key=lambda one: one[1].sudo) for lane, ones in lanes.items()}
    lines += _side_by_side([_lane(lane, ones, singly=singly) for lane, ones in sorted(lanes.items())])
    lines += [_frame("done"), "}", "kdiag_all", "exit 0"]
    return "\n".join([*lines, ""]).encode()


def _lane(lane: int, ones: Sequence[tuple[int, NodeCommand]], *, singly: bool) -> list[str]:
    """The lines that run these commands one after the other."""
    calls = [f"{number} {'sudo' if c.sudo else 'plain'} {shlex.join(c.argv)}" for number, c in ones]
    rooms = [c.limit + _FRAMES for _, c in ones]
    if singly:
        return [
            line
            for (number, c), call, room in zip(ones, calls, rooms, strict=True)
            for line in (f"kdiag_for {c.seconds} {call} | kdiag_cut {room}", _frame(f"over {number}"))
        ]
    if lane not in _QUICK_LANES:
        runs = "kdiag_wait" if lane == _WAITING_LANE else "kdiag_for"
        lines = [f"{runs} {c.seconds} {call}" for (_, c), call in zip(ones, calls, strict=True)]
        return ["{", *lines, f"}} | kdiag_cut {min(sum(rooms), _BATCH_LIMIT)}", _frame("stop -")]
    found: list[str] = []
    for short in (True, False):
        here = [n for n, (_, c) in enumerate(ones) if (c.limit <= _SHORT_LIMIT) is short]
        if here:
            seconds = min(max(ones[n][1].seconds for n in here), _QUICK_SECONDS)
            script = shlex.quote("\n".join(f"kdiag_one {calls[n]}" for n in here))
            room = min(sum(rooms[n] for n in here), _BATCH_LIMIT)
            found += [f"kdiag_quick {seconds} {script} | kdiag_cut {room}", _frame("stop -")]
    return found


def _frame(text: str) -> str:
    return f"printf '\\n%s {text}\\n' \"$kdiag_n\""


def _side_by_side(lanes: Sequence[list[str]]) -> list[str]:
    """Lanes that run at the same time, and whose answers come one lane after the other: a pipe holds them back.

    The first one's come at once. Should it hang, all is late; so it is the one that waits for nobody.
    """
    first, *others = lanes
    lines = first or [":"]
    for lane in others:
        lines = ["{", *lane, "} | {", *lines, "cat", "}"]
    return lines


def _field(text: str) -> str:
    """One word of a frame, without anything that a shell or a line reader could take for something else."""
    return quote(text, safe="/:.,_-") or "-"


def _unfield(text: bytes) -> str:
    word = text.decode("ascii", "replace")
    return "" if word == "-" else unquote(word)


# A refusal of sudo: all that it printed is sentences of sudo.
_REFUSAL = re.compile(
    r"sudo: |Sorry, (?:user|try)|sorry, you must|\S+ is not (?:in the sudoers|allowed to run)|This incident |\s*$"
    r"|We trust you|For security reasons|usage: sudo"
)
_REASONS = (
    (
        re.compile(r"password is required|no password was provided|askpass|a terminal is required"),
        "a password is required",
    ),
    (re.compile(r"must have a tty|no tty present"), "it demands a terminal (requiretty)"),
    (re.compile(r"not allowed to execute"), "this command is not allowed"),
    (re.compile(r"not in the sudoers"), "the user is not in the sudoers file"),
    (re.compile(r"not allowed to run sudo"), "the user may not run sudo there"),
    (
        re.compile(r"no new privileges|nosuid|must be owned by uid 0|must be setuid"),
        "it has no right to change the user there",
    ),
    (re.compile(r"account validation|account is locked|expired"), "the account is locked or has expired"),
    (re.compile(r"sudoers|plugin|PERM_|parse error|syntax error"), "its configuration is broken"),
)
_SUDO_MISSING = re.compile(rb"sudo: [^:\n]+: command not found\s*")
_SUDO_NOISE = re.compile(rb"\A(?:sudo: unable to resolve host [^\n]*\n)+")
_LIMIT_BYTES = 1024


@dataclass(frozen=True, slots=True)
class _Planned:
    """What the script said of a command before it ran the first one."""

    key: str
    name: str
    limit: int
    sudo: bool


def parse(output: bytes, nonce: str) -> list[Section]:
    """The answers in an output, which may have been cut anywhere, in the order of the batch.

    What comes before the first frame is passed over. A command of which not even the announcement arrived is not there.
    """
    frame_of = re.compile(
        rb"(?:(?<=\n)|\A)" + re.escape(nonce.encode()) + rb" (?P<kind>plan|begin|end|over|stop|user) (?P<rest>[^\n]*)\n"
    )
    user = ""
    planned: dict[int, _Planned] = {}
    begun: dict[int, int] = {}
    ended: dict[int, tuple[bytes, bytes]] = {}
    # Where the answer that is being read stops, whatever comes of it.
    stops: dict[int, int] = {}
    reading: int | None = None
    for frame in frame_of.finditer(output):
        words = frame["rest"].split()
        if reading is not None:
            stops[reading] = frame.start()
            reading = None
        match frame["kind"], words:
            case b"user", [name]:
                user = one_line(name.decode("utf-8", "replace"), 40)
            case b"plan", [number, limit, who, key, name]:
                planned[int(number)] = _Planned(_unfield(key), _unfield(name), int(limit), who == b"sudo")
            case b"begin", [number]:
                reading = int(number)
                begun[reading] = frame.end()
            case b"end", [number, *status] if int(number) in begun:
                # The line end before the frame is the frame's.
                ended[int(number)] = (output[begun[int(number)] : frame.start() - 1], b"".join(status))
            case b"over", [number] if int(number) in begun and int(number) not in ended:
                # What came was cut, and with it the frame that tells the exit code.
                ended[int(number)] = (output[begun[int(number)] : frame.start() - 1], b"")
            case _:
                continue
    sections: list[Section] = []
    for number, plan in sorted(planned.items()):
        if number in ended:
            sections.append(_section(plan, *ended[number], user))
        elif number in begun:
            stop = stops.get(number, len(output) + 1) - 1  # the line end before a frame is the frame's
            body = _without_partial_frame(output[begun[number] : stop], nonce.encode())
            late = Section(key=plan.key, name=plan.name, body=body[: plan.limit], state=State.SHORT)
            sections.append(replace(late, state=State.ENDED, cut=True) if len(body) > plan.limit else late)
        else:
            sections.append(Section(key=plan.key, name=plan.name, state=State.UNREACHED))
    return sections


def _without_partial_frame(body: bytes, nonce: bytes) -> bytes:
    """What is left of a body when its closing frame came in part."""
    place = body.rfind(b"\n")
    if place >= 0:
        last = body[place + 1 :]
        if last.startswith(nonce) or (last and nonce.startswith(last)):
            return body[:place]
    return body


def _section(plan: _Planned, body: bytes, said: bytes, user: str) -> Section:
    section = Section(key=plan.key, name=plan.name)
    if said == b"nosudo":
        return replace(section, body=b"", state=State.NO_SUDO, reason="there is no sudo there")
    if said == b"hung":
        return replace(section, body=b"", state=State.SPARED)
    if len(body) > plan.limit:
        # It was stopped by us; its exit code says so and nothing else.
        return replace(section, body=body[: plan.limit], cut=True)
    if plan.sudo:
        body = _SUDO_NOISE.sub(b"", body)
    status = int(said) if said.isdigit() else None
    section = replace(section, body=body, status=status)
    if plan.sudo and status == 1:
        if _SUDO_MISSING.fullmatch(body):
            return replace(section, body=b"", state=State.MISSING)
        if reason := _refusal(body):
            whom = f" for user {user}" if user else ""
            return replace(section, body=b"", state=State.NO_SUDO, reason=f"sudo is refused{whom}: {reason}")
    match status:
        case None:
            return replace(section, state=State.SHORT)
        case 127:
            return replace(section, body=b"", state=State.MISSING)
        case 126:
            return replace(section, state=State.DENIED)
        case 124:
            return replace(section, state=State.LATE)
        case 137 | 143:
            return replace(section, state=State.KILLED)
        case _:
            return section


def _refusal(body: bytes) -> str:
    """Why sudo refused, when all that came is sentences of sudo; empty otherwise."""
    if not body.strip() or len(body) > _LIMIT_BYTES:
        return ""
    lines = body.decode("utf-8", "replace").splitlines()
    if not all(_REFUSAL.match(line) for line in lines):
        return ""
    text = " ".join(lines)
    return next((reason for pattern, reason in _REASONS if pattern.search(text)), one_line(lines[0], 80))


# Observations

_NOT_THERE = re.compile(rb"(?:[a-z0-9]+: [^\n]*: No such file or directory\n?)+")


def observe(
    shell: Shell,
    host: str,
    commands: Sequence[NodeCommand],
    deadline: Deadline,
    *,
    known: Sequence[NodeCommand] = (),
    nonce: str = "",
) -> list[Observation]:
    """Run the commands on a node and say of each what came of it; CollectError where the node cannot be read at all.

    Commands that one process can answer are run as one; ``known`` are all that there may ever be, and make that process
    the same whichever of them are asked for. A connection that breaks in the middle costs the commands from there on
    and none before.
    """
    if not commands:
        return []
    jobs = gathered(commands, known)
    asked = [job.command if isinstance(job, Group) else job for job in jobs]
    sections, why = _asked(shell, host, asked, deadline, nonce)
    found: dict[NodeCommand, Section] = {}
    stuck: list[NodeCommand] = []
    for job, section in zip(jobs, sections, strict=True):
        parts = [part for part in job.parts if part in commands] if isinstance(job, Group) else [job]
        if isinstance(job, Group):
            found.update(zip(job.parts, apart(job, section), strict=True))
        else:
            found[job] = section
        hung = isinstance(job, Group) and section.state in (State.LATE, State.KILLED)
        if hung or (section.state in (State.SHORT, State.UNREACHED) and not why):
            stuck += parts
    if stuck:
        # One that hangs must not cost those that ran with it: now each by itself.
        why = "the node is slow"
        with contextlib.suppress(KdiagError):
            again, why = _asked(shell, host, stuck, deadline, "", singly=True)
            found.update(zip(stuck, again, strict=True))
    why = why or "the answer ended early"
    return [_observation(host, command, found[command], why) for command in commands]


def _asked(
    shell: Shell, host: str, commands: Sequence[NodeCommand], deadline: Deadline, nonce: str, *, singly: bool = False
) -> tuple[list[Section], str]:
    """A section for each command, and why some are not whole: empty when that is not the connection's fault."""
    nonce = nonce or secrets.token_hex(16)
    limit = min(_BATCH_LIMIT, sum(command.limit + _FRAME for command in commands) + _FRAME)
    why = ""
    try:
        output = shell.run(render(commands, nonce, singly=singly), argument="kdiag", deadline=deadline, limit=limit)
    except CutShort as exc:
        stdout, why = exc.stdout, str(exc)
        if not _has_any(stdout, nonce):
            raise
    else:
        stdout = output.stdout
        if output.cut:
            why = f"all answers together are larger than {limit >> 20} MiB"
        elif not _has_any(stdout, nonce):
            said = one_line(stdout[:200].decode("utf-8", "replace"), 120)
            raise BadAnswer(f"the shell of {host} did not run the commands (exit code {output.status}): {said}")
        elif f"\n{nonce} done\n".encode() not in stdout:
            why = "the answer ended early"
    sections = parse(stdout, nonce)
    lost = [Section(key=c.key, name=c.name, state=State.UNREACHED) for c in commands[len(sections) :]]
    return [*sections, *lost], why


def _has_any(stdout: bytes, nonce: str) -> bool:
    return f"{nonce} begin ".encode() in stdout


def _observation(host: str, command: NodeCommand, section: Section, why: str) -> Observation:
    error = _error(command, section, why)
    absent = section.state is State.ENDED and bool(error) and bool(_NOT_THERE.fullmatch(section.body))
    return Observation("node", command.key, host=host, name=command.name, body=section.body, error=error, absent=absent)


def _error(command: NodeCommand, section: Section, why: str) -> str:
    """One line on why the answer is not a whole one; empty when it is."""
    program = command.argv[0]
    match section.state:
        case State.MISSING:
            return f"{program}: command not found"
        case State.NO_SUDO:
            return section.reason
        case State.DENIED:
            return f"{program}: cannot be executed: {_first_line(section.body)}"
        case State.LATE:
            return f"{program} did not finish within {command.seconds} s"
        case State.KILLED:
            return f"{program} was killed: it did not finish within {command.seconds} s, or the node has no memory left"
        case State.SPARED:
            return f"not asked: the {program} before it got no answer in time"
        case State.SHORT:
            return f"cut short: {why}"
        case State.UNREACHED:
            return f"not asked: {why}"
    if section.cut:
        return f"output cut at {_size(command.limit)}"
    if not _is_answer(command, section):
        said = _first_line(section.body)
        return f"{said or program} (exit code {section.status})"
    return ""


def _is_answer(command: NodeCommand, section: Section) -> bool:
    """Whether a program's exit code is one of those with which it answers."""
    status = section.status
    if status == 0 or command.answers:
        return status in (command.answers or (0,))
    match command.argv[0]:
        case "grep":
            return status == 1
        case "journalctl":
            return status == 1 and not section.body.strip()
        case "systemctl":
            said = section.body.startswith((b"Failed to", b"System has not been booted"))
            return status in (1, 3, 4) and not said and any(w.startswith("is-") for w in command.argv)
        case _:
            return False


def _first_line(body: bytes) -> str:
    lines = body[:2000].decode("utf-8", "replace").splitlines()
    return one_line(next((line for line in lines if line.strip()), ""), 160)


def _size(count: int) -> str:
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"


def readable(commands: Sequence[NodeCommand]) -> list[str]:
    """The commands as a person would type them, for sudoers and for those who want to know; each once."""
    for command in commands:
        refuse_writes(command.argv)
    return list(dict.fromkeys(map(str, commands)))

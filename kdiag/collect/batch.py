"""One batch a node: read-only commands in one script, and their answers taken apart again.

A command is a list of arguments that ``refuse_writes`` has let through; no shell ever sees a value unquoted. The script
runs one after the other under a time limit, keeps each answer's exit code, cuts what is too long, and frames them with
lines that only who wrote the script can know.

What becomes of an answer (``observe``):

- the command ended with a status that is an answer: ``body``, no ``error``;
- it did not, or was cut, or was not reached: ``error`` says why in one line, and ``body`` holds what there was. So a
  reader that looks only at ``error`` takes a part for a gap and never for the whole;
- every file that it was to read is not there: ``error`` and ``absent``, for that is knowledge.
"""

from __future__ import annotations

import posixpath
import re
import secrets
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from urllib.parse import quote, unquote

from kdiag.collect.credentials import one_line
from kdiag.collect.http import Deadline
from kdiag.collect.ssh import CutShort, Shell
from kdiag.errors import BadAnswer, CheckDefinitionError
from kdiag.model.observation import Observation

_NONCE = re.compile(r"[0-9a-f]{16,64}")
_SECONDS = range(1, 301)
_LIMITS = range(1, (16 << 20) + 1)
_BATCH_LIMIT = 64 << 20
# How much the frames of one command may add.
_FRAME = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command to run on a node. ``key`` and ``name`` go into the observation."""

    key: str
    argv: tuple[str, ...]
    sudo: bool = False
    seconds: int = 5
    limit: int = 262144
    name: str = ""
    # The exit codes that are answers; empty for what is usual for the program (0, and for grep 1 as well).
    answers: tuple[int, ...] = ()

    def __str__(self) -> str:
        return shlex.join([*(("sudo",) if self.sudo else ()), *self.argv])


class State(Enum):
    """What became of a command."""

    ENDED = "ended"
    MISSING = "missing"
    NO_SUDO = "no sudo"
    DENIED = "cannot be executed"
    LATE = "late"
    KILLED = "killed"
    # The connection ended in the middle of it, or before it began.
    SHORT = "short"
    UNREACHED = "unreached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """The answer of one command, in the order of the batch."""

    key: str
    name: str = ""
    status: int | None = None
    body: bytes = b""
    cut: bool = False
    state: State = State.ENDED
    # For NO_SUDO: why, as sudo says it. Otherwise empty.
    reason: str = ""


# What may be run. Options that are not named are refused: it is the unknown one that writes.


@dataclass(frozen=True, slots=True)
class _Rule:
    """What may follow a program or its subcommand."""

    flags: frozenset[str] = frozenset()
    # Those that take a value, as the next argument, after "=" or, for one letter, right behind it.
    valued: frozenset[str] = frozenset()
    # What an operand has to look like; None for any.
    operand: str | None = None
    most: int = 1000
    # Options of which one must be there.
    needs: frozenset[str] = frozenset()
    # What the value of an option has to look like; None for any.
    value: str | None = None
    reads_content: bool = False
    # Short options that may be written together, as in -ltn.
    letters: str = ""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NOTHING = _Rule(most=0)
_VERSION = _Rule(flags=_words("--version"), most=0, needs=_words("--version"))
_UNIT = r"[A-Za-z0-9@:_.\\*?-]{1,256}"
_SYSTEMD = _Rule(
    flags=_words("--no-pager --value --all -a --plain --no-legend --full -l --quiet -q --failed"),
    valued=_words("-p --property -t --type --state -o --output"),
    operand=_UNIT,
)
_ETCD = _Rule(
    flags=_words("--cluster"),
    valued=_words("--endpoints --cacert --cert --key --write-out -w --command-timeout --dial-timeout"),
    most=0,
)
_CRI_LIST = _Rule(
    flags=_words("-a --all -q --quiet --no-trunc -v --verbose"),
    valued=_words("-o --output --name --state -s --namespace --label --pod -p --id --image --last -n"),
    operand=r"[A-Za-z0-9./:@_-]{1,256}",
)
_CRI_SHOW = _Rule(flags=_words("-q --quiet"), valued=_words("-o --output"), operand=r"[A-Za-z0-9./:@_-]{1,256}")
_CRI_LOGS = _Rule(
    flags=_words("-t --timestamps -p --previous"),
    valued=_words("--tail --since --limit-bytes"),
    operand=r"[A-Za-z0-9]{1,128}",
    most=1,
)
_IP = _Rule(operand=r"[A-Za-z0-9._:/@-]{1,128}")
_IP_NOUNS = ("addr", "address", "link", "route", "rule", "neigh", "neighbor", "neighbour")
_IP_FLAGS = _words("-j -json -d -details -s -statistics -4 -6 -o -oneline -br -brief -p -pretty")

_IP_SHOWS: Mapping[tuple[str, ...], _Rule] = {
    **{(noun, verb): _IP for noun in _IP_NOUNS for verb in ("show", "list")},
    ("route", "get"): _IP,
    ("netns", "list"): _NOTHING,
}

# Program -> rule, or the subcommands that it has.
_RULES: Mapping[str, _Rule | Mapping[tuple[str, ...], _Rule]] = {
    "systemctl": {
        ("show",): _SYSTEMD,
        ("cat",): _SYSTEMD,
        ("is-active",): _SYSTEMD,
        ("is-enabled",): _SYSTEMD,
        ("list-units",): _SYSTEMD,
    },
    "journalctl": _Rule(
        flags=_words(
            "--no-pager -q --quiet --utc -a --all -k --dmesg -r --reverse --no-hostname --no-full -b --boot "
            "--list-boots --disk-usage --header -x --catalog"
        ),
        valued=_words(
            "-u --unit -n --lines -o --output --output-fields -S --since -U --until -p --priority -g --grep "
            "-t --identifier -b --boot --case-sensitive -F --field"
        ),
        operand=r"[A-Z_][A-Z0-9_]*=[^\n]*|\+",
    ),
    "crictl": {
        ("ps",): _CRI_LIST,
        ("pods",): _CRI_LIST,
        ("images",): _CRI_LIST,
        ("stats",): _CRI_LIST,
        ("statsp",): _CRI_LIST,
        ("inspect",): _CRI_SHOW,
        ("inspectp",): _CRI_SHOW,
        ("inspecti",): _CRI_SHOW,
        ("info",): _CRI_SHOW,
        ("imagefsinfo",): _CRI_SHOW,
        ("version",): _CRI_SHOW,
        ("logs",): _CRI_LOGS,
    },
    "cat": _Rule(reads_content=True),
    "head": _Rule(flags=_words("-q -v"), valued=_words("-n -c --lines --bytes"), reads_content=True),
    "tail": _Rule(flags=_words("-q -v"), valued=_words("-n -c --lines --bytes"), reads_content=True),
    "grep": _Rule(
        flags=_words("--count --quiet --no-messages --with-filename --no-filename --line-number --recursive"),
        valued=_words("-e --regexp -m --max-count -A -B -C --include --exclude --exclude-dir"),
        letters="hHnEFGPivwxcslLoqaIrz",
        reads_content=True,
    ),
    "find": _Rule(),
    "stat": _Rule(
        flags=_words("--file-system --dereference --terse"), valued=_words("-c --format --printf"), letters="Lft"
    ),
    "ls": _Rule(
        flags=_words("--full-time --time-style=full-iso --time-style=long-iso --color=never --all"),
        letters="lahnditrSRZ1FsQ",
    ),
    "openssl": {
        ("x509",): _Rule(
            flags=_words(
                "-noout -text -subject -issuer -enddate -startdate -dates -serial -fingerprint -sha256 -pubkey "
                "-subject_hash -issuer_hash -hash -email -purpose"
            ),
            valued=_words("-in -inform -ext -nameopt -dateopt -certopt -checkend -checkhost -checkip"),
            most=0,
        ),
        ("pkey",): _Rule(
            flags=_words("-pubout -noout -text_pub"), valued=_words("-in -inform"), most=0, needs=_words("-pubout")
        ),
    },
    "ss": _Rule(letters="atunlpeomisxw460HO", operand=r"[A-Za-z0-9:.,()\[\]*=<>!_/-]{1,128}", most=30),
    "df": _Rule(
        flags=_words("--output --local"),
        valued=_words("-t --type -x --exclude-type -B --block-size --output"),
        letters="hPTiklamH",
    ),
    "ip": _IP_SHOWS,
    "iptables-save": _Rule(
        flags=_words("-c --counters"),
        valued=_words("-t --table"),
        # Another name would have the kernel load a module.
        value="filter|nat|mangle|raw",
        most=0,
    ),
    "nft": {("list",): _Rule(operand=r"[A-Za-z0-9_.-]{1,128}", most=6)},
    "sysctl": _Rule(
        flags=_words("-n --values -a --all -e --ignore -N --names"), operand=r"[A-Za-z0-9_*][A-Za-z0-9_./*-]{0,255}"
    ),
    "lsmod": _NOTHING,
    "uname": _Rule(letters="asnrvmpio", most=0),
    "date": _Rule(flags=_words("-u --utc -R"), valued=_words("--rfc-3339 --iso-8601"), operand=r"\+[^\n]*", most=1),
    "id": _Rule(letters="ugGnrz", operand=r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", most=1),
    "timedatectl": {
        ("show",): _Rule(flags=_words("--no-pager --value --all -a"), valued=_words("-p --property"), most=0)
    },
    "etcdctl": {
        ("endpoint", "status"): _ETCD,
        ("endpoint", "health"): _ETCD,
        ("member", "list"): _ETCD,
        ("alarm", "list"): _ETCD,
    },
    "readlink": _Rule(letters="femnqsvz"),
    "sha256sum": _Rule(letters="bt", reads_content=True),
    "mount": _NOTHING,
    "dmesg": _Rule(
        flags=_words("--ctime --decode --kernel --raw --notime --json"),
        valued=_words("-l --level --time-format -f --facility --since --until"),
        letters="TxkrtJ",
        most=0,
    ),
    "getenforce": _NOTHING,
    "containerd": _VERSION,
    "kubelet": _VERSION,
    "crio": _VERSION,
    "conntrack": _Rule(flags=_words("-C --count -S --stats"), most=0, needs=_words("-C --count -S --stats")),
    "nproc": _Rule(flags=_words("--all"), most=0),
    "free": _Rule(letters="bkmghwtl", most=0),
}
PROGRAMS = frozenset(_RULES)
# Options that may stand before the subcommand: (flags, those with a value).
_GLOBAL: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "systemctl": (_SYSTEMD.flags, _SYSTEMD.valued),
    "timedatectl": (_words("--no-pager"), frozenset()),
    "crictl": (frozenset(), _words("-r --runtime-endpoint -i --image-endpoint -t --timeout")),
    "ip": (_IP_FLAGS, frozenset()),
    "nft": (_words("-a --handle -j --json -n --numeric -nn -s --stateless -t --terse"), frozenset()),
    "etcdctl": (_ETCD.flags, _ETCD.valued),
}
_FIND = _words(
    "-maxdepth -mindepth -type -name -iname -path -ipath -newer -newermt -mmin -mtime -cmin -ctime -size -empty "
    "-printf -print -print0 -perm -user -group -links -not -o -or -a -and -xdev -mount -prune -readable -writable "
    "-executable -L -H -P -ls -quit -nouser -nogroup -regex -regextype -lname -inum -true -false"
)
# Files whose content is a credential, is consumed by being read, or has no end.
_NOT_READ = re.compile(
    r"\.(?:key|p12|pfx|jks)$|^/etc/g?shadow|_history$|/\.(?:ssh|kube|docker|aws)/|ssh_host_[a-z0-9]+_key"
    r"|^/dev/|^/proc/(?:kmsg|kcore|kpage)|^/proc/[^/]+/(?:root|cwd|fd|mem|environ|task|exe)(?:/|$)"
    r"|trace_pipe|^/sys/kernel/(?:debug|tracing)"
    r"|^/etc/kubernetes/[^/]*\.conf$|/(?:super-)?admin\.conf$|kubeconfig|/(?:k3s|rke2)\.yaml$"
    r"|/kubelet-(?:client|server)-[^/]*\.pem$|/etcd/member(?:/|$)"
    r"|encrypt|/secrets?(?:/|$)|kubernetes\.io~(?:secret|projected)|/(?:node-)?token$|tokens?\.csv$|/credentials?(?:/|$)",
    re.IGNORECASE,
)
# Folders of which grep may read every file.
_PLAIN_FOLDERS = re.compile(
    r"/etc/kubernetes/manifests"
    r"|/(?:etc|run|usr/lib|lib)/(?:systemd|sysctl\.d|modules-load\.d|modprobe\.d|sysconfig|default)(?:/.*)?"
)
_KUBECONFIG = re.compile(r"^/etc/kubernetes/[A-Za-z0-9_-]+\.conf$")
# Lines of a kubeconfig that say where it leads, and that grep may show.
_PLACES = _words(
    "server: certificate-authority: client-certificate: client-key: current-context: cluster: user: tokenFile:"
)
# What of a kubeconfig is public, its certificates included. Only with -o, which shows no more than what matches.
_PUBLIC_PARTS = (
    r"(server|tls-server-name|insecure-skip-tls-verify|certificate-authority|certificate-authority-data|client-certificate|client-certificate-data"
    r"|client-key)\"?: *\"?[A-Za-z0-9+/=:._@-]+"
)


def refuse_writes(argv: Sequence[str]) -> None:
    """Raise unless the command can only read, and reads nothing that is a credential."""
    shown = one_line(shlex.join(argv), 160)

    def refused(why: str) -> CheckDefinitionError:
        return CheckDefinitionError(f"kdiag does not run {shown}: {why}")

    if not argv or argv[0] not in PROGRAMS:
        raise refused("the program is not among those that only read")
    if any(not word.isprintable() for word in argv):
        raise refused("an argument holds a control character")
    program, rest = argv[0], list(argv[1:])
    if program == "find":
        _check_find(rest, refused)
        return
    rule = _RULES[program]
    if not isinstance(rule, _Rule):
        rule, rest = _subcommand(program, rest, rule, refused)
    options, operands = _taken_apart(rest, rule.flags, rule.valued, rule.letters, refused)
    if len(operands) > rule.most:
        raise refused("it takes fewer arguments")
    for operand in operands:
        if rule.operand is not None and not re.fullmatch(rule.operand, operand):
            raise refused(f"{one_line(operand, 60)} is not an argument that only reads")
    for value in [value for values in options.values() for value in values]:
        if rule.value is not None and not re.fullmatch(rule.value, value):
            raise refused(f"{one_line(value, 60)} is not a value that only reads")
    if rule.needs and not rule.needs & set(options):
        raise refused(f"without {' or '.join(sorted(rule.needs))} it does more than read")
    if rule.reads_content:
        _check_files(program, options, operands, refused)


_Refused = Callable[[str], CheckDefinitionError]


def _subcommand(
    program: str, words: list[str], rules: Mapping[tuple[str, ...], _Rule], refused: _Refused
) -> tuple[_Rule, list[str]]:
    """The rule of the subcommand, and what follows it."""
    flags, valued = _GLOBAL.get(program, (frozenset(), frozenset()))
    rest = list(words)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word in flags or (word.partition("=")[0] in valued and "=" in word and word.startswith("--")):
            continue
        if word not in valued or not rest:
            raise refused(f"{one_line(word, 40)} is not among the options that only read")
        rest.pop(0)
    for length in (2, 1):
        rule = rules.get(tuple(rest[:length]))
        if rule is not None:
            return rule, rest[length:]
    raise refused(f"{one_line(' '.join(rest[:2]), 40) or 'nothing'} is not among its subcommands that only read")


def _taken_apart(
    words: list[str], flags: frozenset[str], valued: frozenset[str], letters: str, refused: _Refused
) -> tuple[dict[str, list[str]], list[str]]:
    """Options with their values, and operands; an option that is not allowed is refused."""
    options: dict[str, list[str]] = {}
    operands: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if word == "--":
            return options, operands + rest
        if not word.startswith("-") or word == "-":
            operands.append(word)
        elif word in flags:
            options.setdefault(word, [])
        elif word in valued:
            if not rest:
                raise refused(f"{word} has no value")
            options.setdefault(word, []).append(rest.pop(0))
        elif equals and name in valued and name.startswith("--"):
            options.setdefault(name, []).append(value)
        elif not word.startswith("--") and word[:2] in valued and len(word) > 2:
            options.setdefault(word[:2], []).append(word[2:])
        elif not word.startswith("--") and letters and set(word[1:]) <= set(letters):
            options.update({f"-{letter}": [] for letter in word[1:]})
        else:
            raise refused(f"{one_line(word, 40)} is not among the options that only read")
    return options, operands


def _check_find(words: list[str], refused: _Refused) -> None:
    for word in words:
        if word.startswith("-") and word not in _FIND and not re.fullmatch(r"-[0-9]+[a-zA-Z]?", word):
            raise refused(f"{one_line(word, 40)} is not among the tests that only read")


def _check_files(program: str, options: Mapping[str, list[str]], operands: list[str], refused: _Refused) -> None:
    """Refuse to print what is a credential, or no plain file."""
    files = list(operands)
    patterns = [value for name in ("-e", "--regexp") for value in options.get(name, [])]
    if program == "grep" and not patterns and files:
        patterns = [files.pop(0)]
    if not files:
        raise refused("it names no file")
    if any(not file.startswith("/") for file in files):
        raise refused("a file needs its whole path")
    places = ["/" + posixpath.normpath(file).lstrip("/") for file in files]
    if options.keys() & {"-r", "--recursive"}:
        only = options.get("--include", [])
        networks = bool(only) and all(re.fullmatch(r"[^/]*\.conf(?:list)?", name) for name in only)
        for place in places:
            if not (_PLAIN_FOLDERS.fullmatch(place) or (networks and place == "/etc/cni/net.d")):
                raise refused(f"not every file below {one_line(place, 60)} may be read")
    closed = [place for place in places if _NOT_READ.search(place)]
    only_places = program == "grep" and _shows_places(options, patterns) and all(map(_KUBECONFIG.match, closed))
    if closed and not only_places:
        raise refused(f"{one_line(closed[0], 80)} may hold a credential, or is no file")


def _shows_places(options: Mapping[str, list[str]], patterns: Sequence[str]) -> bool:
    """Whether grep shows of a kubeconfig only where it leads, or what of it is public."""
    if list(patterns) == [_PUBLIC_PARTS] and options.keys() == {"-H", "-o", "-E"}:
        return True
    words = {re.sub(r"^\^?(?:\\s\*|\[\[:space:\]\]\*|\[ \]\*|\s)*", "", pattern) for pattern in patterns}
    return words <= _PLACES and options.keys() <= _words("-h -H -n -s -m --max-count -e --regexp -i -F -E -w")


# The script

_PROLOGUE = r"""
kdiag_user=$(id -un 2>/dev/null)
kdiag_uid=$(id -u 2>/dev/null)
if timeout -k 1 9 sh -c :; then kdiag_t='timeout -k 2'; elif timeout 9 sh -c :; then kdiag_t=timeout; else kdiag_t=; fi
if [ "$(printf ab | head -c 1)" = a ]; then kdiag_h='head -c'; else kdiag_h=; fi
exec 4>&1
kdiag_run() {
kdiag_i=$1 kdiag_l=$2 kdiag_s=$3 kdiag_r=
printf '%s begin %s\n' "$kdiag_n" "$kdiag_i"
if [ "$4" = sudo ] && [ "$kdiag_uid" != 0 ]; then
if command -v sudo >/dev/null; then kdiag_r='sudo -n --'; else printf '\n%s end %s nosudo\n' "$kdiag_n" "$1"; return; fi
fi
shift 4
if [ -z "$kdiag_t" ] && [ -z "$kdiag_r" ] && ! command -v "$1" >/dev/null; then
printf '\n%s end %s 127\n' "$kdiag_n" "$kdiag_i"; return
fi
kdiag_e=$( { { ${kdiag_t:+$kdiag_t $kdiag_s} $kdiag_r "$@" </dev/null 2>&1 3>&- 4>&-; echo $? >&3; } |
{ if [ -n "$kdiag_h" ]; then head -c "$kdiag_l"; else cat; fi; } >&4 3>&-; } 3>&1 )
printf '\n%s end %s %s\n' "$kdiag_n" "$kdiag_i" "$kdiag_e"
}
"""


def render(commands: Sequence[Command], nonce: str) -> bytes:
    """One POSIX sh script that runs these commands; CheckDefinitionError for one that is not allowed.

    Nothing runs unless all of the script has arrived. The nonce is not among the arguments of any process.
    """
    if not _NONCE.fullmatch(nonce):
        raise ValueError("a nonce is 16 to 64 hexadecimal digits")
    # Written as a list of lines: the arguments of a command are the only thing that varies, and are quoted.
    plan = [
        f"{nonce} plan {number} {c.limit} {'sudo' if c.sudo else 'plain'} {_field(c.key)} {_field(c.name)}"
        for number, c in enumerate(commands)
    ]
    lines = ["kdiag_all() {", f"kdiag_n={nonce}", _PROLOGUE.strip()]
    lines.append('printf \'%s user %s\\n\' "$kdiag_n" "$kdiag_user"')
    lines += [f"printf '%s\\n' {shlex.quote(line)}" for line in plan]
    for number, command in enumerate(commands):
        refuse_writes(command.argv)
        if command.seconds not in _SECONDS or command.limit not in _LIMITS:
            raise CheckDefinitionError(f"{one_line(str(command), 120)}: its limits are out of range")
        sudo = "sudo" if command.sudo else "plain"
        # One byte more than is kept tells a cut answer from a whole one.
        lines.append(f"kdiag_run {number} {command.limit + 1} {command.seconds} {sudo} {shlex.join(command.argv)}")
    lines += ["}", "kdiag_all", "exit 0"]
    return "\n".join([*lines, ""]).encode()


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
        rb"(?:(?<=\n)|\A)" + re.escape(nonce.encode()) + rb" (?P<kind>plan|begin|end|user) (?P<rest>[^\n]*)\n"
    )
    user = ""
    planned: dict[int, _Planned] = {}
    begun: dict[int, int] = {}
    ended: dict[int, tuple[bytes, bytes]] = {}
    for frame in frame_of.finditer(output):
        words = frame["rest"].split()
        match frame["kind"], words:
            case b"user", [name]:
                user = one_line(name.decode("utf-8", "replace"), 40)
            case b"plan", [number, limit, who, key, name]:
                planned[int(number)] = _Planned(_unfield(key), _unfield(name), int(limit), who == b"sudo")
            case b"begin", [number]:
                begun[int(number)] = frame.end()
            case b"end", [number, *status] if int(number) in begun:
                # The line end before the frame is the frame's.
                ended[int(number)] = (output[begun[int(number)] : frame.start() - 1], b"".join(status))
            case _:
                continue
    sections: list[Section] = []
    for number, plan in sorted(planned.items()):
        if number in ended:
            sections.append(_section(plan, *ended[number], user))
        elif number in begun:
            body = _without_partial_frame(output[begun[number] :], nonce.encode())[: plan.limit]
            sections.append(Section(key=plan.key, name=plan.name, body=body, state=State.SHORT))
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
    shell: Shell, host: str, commands: Sequence[Command], deadline: Deadline, *, nonce: str = ""
) -> list[Observation]:
    """Run the commands on a node and say of each what came of it; CollectError where the node cannot be read at all.

    A connection that breaks in the middle costs the commands from there on and none before.
    """
    if not commands:
        return []
    nonce = nonce or secrets.token_hex(16)
    limit = min(_BATCH_LIMIT, sum(command.limit + _FRAME for command in commands) + _FRAME)
    why = ""
    try:
        output = shell.run(render(commands, nonce), argument="kdiag", deadline=deadline, limit=limit)
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
        else:
            why = "the answer ended early"
    sections = parse(stdout, nonce)
    lost = [Section(key=c.key, name=c.name, state=State.UNREACHED) for c in commands[len(sections) :]]
    return [
        _observation(host, command, section, why) for command, section in zip(commands, [*sections, *lost], strict=True)
    ]


def _has_any(stdout: bytes, nonce: str) -> bool:
    return f"{nonce} begin 0\n".encode() in stdout


def _observation(host: str, command: Command, section: Section, why: str) -> Observation:
    error = _error(command, section, why)
    absent = section.state is State.ENDED and bool(error) and bool(_NOT_THERE.fullmatch(section.body))
    return Observation("node", command.key, host=host, name=command.name, body=section.body, error=error, absent=absent)


def _error(command: Command, section: Section, why: str) -> str:
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


def _is_answer(command: Command, section: Section) -> bool:
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


def readable(commands: Sequence[Command]) -> list[str]:
    """The commands as a person would type them, for sudoers and for those who want to know; each once."""
    for command in commands:
        refuse_writes(command.argv)
    return list(dict.fromkeys(map(str, commands)))

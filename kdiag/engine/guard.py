"""What may be run on a node: an allow-list of programs, their options and the files that they may show.

Options that are not named are refused: it is the unknown one that writes.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from kdiag.errors import CheckDefinitionError
from kdiag.facts.nodefiles import DROP_IN_PATH
from kdiag.model.text import clean, shorten


@dataclass(frozen=True, slots=True)
class Rule:
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
    # Whether a count may be written as an option, as in head -20.
    count: bool = False


def wordset(text: str) -> frozenset[str]:
    """The words of a line."""
    return frozenset(text.split())


_NOTHING = Rule(most=0)
_VERSION = Rule(flags=wordset("--version"), most=0, needs=wordset("--version"))
_UNIT = r"[A-Za-z0-9@:_.\\*?-]{1,256}"
_SYSTEMD = Rule(
    flags=wordset("--no-pager --value --all -a --plain --no-legend --full -l --quiet -q --failed"),
    valued=wordset("-p --property -t --type --state -o --output"),
    operand=_UNIT,
)
_ETCD = Rule(
    flags=wordset("--cluster"),
    valued=wordset("--endpoints --cacert --cert --key --write-out -w --command-timeout --dial-timeout"),
    most=0,
)
_CRI_LIST = Rule(
    flags=wordset("-a --all -q --quiet --no-trunc -v --verbose"),
    valued=wordset("-o --output --name --state -s --namespace --label --pod -p --id --image --last -n"),
    operand=r"[A-Za-z0-9./:@_-]{1,256}",
)
_CRI_SHOW = Rule(flags=wordset("-q --quiet"), valued=wordset("-o --output"), operand=r"[A-Za-z0-9./:@_-]{1,256}")
_CRI_LOGS = Rule(
    flags=wordset("-t --timestamps -p --previous"),
    valued=wordset("--tail --since --limit-bytes"),
    operand=r"[A-Za-z0-9]{1,128}",
    most=1,
)
_IP = Rule(operand=r"[A-Za-z0-9._:/@-]{1,128}")
_IP_NOUNS = ("addr", "address", "link", "route", "rule", "neigh", "neighbor", "neighbour")
_IP_FLAGS = wordset("-j -json -d -details -s -statistics -4 -6 -o -oneline -br -brief -p -pretty")

_IP_SHOWS: Mapping[tuple[str, ...], Rule] = {
    **{(noun, verb): _IP for noun in _IP_NOUNS for verb in ("show", "list")},
    ("route", "get"): _IP,
    ("netns", "list"): _NOTHING,
}

#: Program -> rule, or the subcommands that it has.
Rules = Mapping[str, Rule | Mapping[tuple[str, ...], Rule]]
RULES: Rules = {
    "systemctl": {
        ("show",): _SYSTEMD,
        ("cat",): _SYSTEMD,
        ("is-active",): _SYSTEMD,
        ("is-enabled",): _SYSTEMD,
        ("list-units",): _SYSTEMD,
    },
    "journalctl": Rule(
        flags=wordset(
            "--no-pager -q --quiet --utc -a --all -k --dmesg -r --reverse --no-hostname --no-full -b --boot "
            "--list-boots --disk-usage --header -x --catalog"
        ),
        valued=wordset(
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
    "cat": Rule(reads_content=True),
    "head": Rule(flags=wordset("-q -v"), valued=wordset("-n -c --lines --bytes"), reads_content=True),
    "tail": Rule(flags=wordset("-q -v"), valued=wordset("-n -c --lines --bytes"), reads_content=True),
    "grep": Rule(
        flags=wordset("--count --quiet --no-messages --with-filename --no-filename --line-number --recursive"),
        valued=wordset("-e --regexp -m --max-count -A -B -C --include --exclude --exclude-dir"),
        letters="hHnEFGPivwxcslLoqaIrz",
        reads_content=True,
    ),
    "find": Rule(),
    "stat": Rule(
        flags=wordset("--file-system --dereference --terse"), valued=wordset("-c --format --printf"), letters="Lft"
    ),
    "ls": Rule(
        flags=wordset("--full-time --time-style=full-iso --time-style=long-iso --color=never --all"),
        letters="lahnditrSRZ1FsQ",
    ),
    "openssl": {
        ("x509",): Rule(
            flags=wordset(
                "-noout -text -subject -issuer -enddate -startdate -dates -serial -fingerprint -sha256 -pubkey "
                "-subject_hash -issuer_hash -hash -email -purpose"
            ),
            valued=wordset("-in -inform -ext -nameopt -dateopt -certopt -checkend -checkhost -checkip"),
            most=0,
        ),
        ("pkey",): Rule(
            flags=wordset("-pubout -noout -text_pub"), valued=wordset("-in -inform"), most=0, needs=wordset("-pubout")
        ),
    },
    "ss": Rule(letters="atunlpeomisxw460HO", operand=r"[A-Za-z0-9:.,()\[\]*=<>!_/-]{1,128}", most=30),
    "df": Rule(
        flags=wordset("--output --local"),
        valued=wordset("-t --type -x --exclude-type -B --block-size --output"),
        letters="hPTiklamH",
    ),
    "ip": _IP_SHOWS,
    "iptables-save": Rule(
        flags=wordset("-c --counters"),
        valued=wordset("-t --table"),
        # Another name would have the kernel load a module.
        value="filter|nat|mangle|raw",
        most=0,
    ),
    "nft": {("list",): Rule(operand=r"[A-Za-z0-9_.-]{1,128}", most=6)},
    "sysctl": Rule(
        flags=wordset("-n --values -a --all -e --ignore -N --names"), operand=r"[A-Za-z0-9_*][A-Za-z0-9_./*-]{0,255}"
    ),
    "lsmod": _NOTHING,
    "uname": Rule(letters="asnrvmpio", most=0),
    "date": Rule(flags=wordset("-u --utc -R"), valued=wordset("--rfc-3339 --iso-8601"), operand=r"\+[^\n]*", most=1),
    "id": Rule(letters="ugGnrz", operand=r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", most=1),
    "timedatectl": {
        ("show",): Rule(flags=wordset("--no-pager --value --all -a"), valued=wordset("-p --property"), most=0)
    },
    "etcdctl": {
        ("endpoint", "status"): _ETCD,
        ("endpoint", "health"): _ETCD,
        ("member", "list"): _ETCD,
        ("alarm", "list"): _ETCD,
    },
    # Neither arguments nor environment: either may hold a credential.
    "ps": Rule(
        flags=wordset("-e -ww"),
        valued=wordset("-o -p"),
        value=r"(?:pid|ppid|stat|wchan|comm|cgroup)(?::[0-9]{1,3})?=(?:,(?:pid|ppid|stat|wchan|comm|cgroup)(?::[0-9]{1,3})?=)*"
        r"|[0-9]{1,10}(?:,[0-9]{1,10})*",
        most=0,
        needs=wordset("-o"),
    ),
    "readlink": Rule(letters="femnqsvz"),
    "sha256sum": Rule(letters="bt", reads_content=True),
    "mount": _NOTHING,
    "dmesg": Rule(
        flags=wordset("--ctime --decode --kernel --raw --notime --json"),
        valued=wordset("-l --level --time-format -f --facility --since --until"),
        letters="TxkrtJ",
        most=0,
    ),
    "getenforce": _NOTHING,
    "containerd": _VERSION,
    "kubelet": _VERSION,
    "crio": _VERSION,
    "conntrack": Rule(flags=wordset("-C --count -S --stats"), most=0, needs=wordset("-C --count -S --stats")),
    "nproc": Rule(flags=wordset("--all"), most=0),
    "free": Rule(letters="bkmghwtl", most=0),
}
PROGRAMS = frozenset(RULES)
# Options that may stand before the subcommand: (flags, those with a value).
GLOBAL: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "systemctl": (_SYSTEMD.flags, _SYSTEMD.valued),
    "timedatectl": (wordset("--no-pager"), frozenset()),
    "crictl": (frozenset(), wordset("-r --runtime-endpoint -i --image-endpoint -t --timeout")),
    "ip": (_IP_FLAGS, frozenset()),
    "nft": (wordset("-a --handle -j --json -n --numeric -nn -s --stateless -t --terse"), frozenset()),
    "etcdctl": (_ETCD.flags, _ETCD.valued),
}
_FIND = wordset(
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
    r"/etc/kubernetes/manifests|/sys/fs/cgroup/freezer"
    r"|/(?:etc|run|usr/lib|lib)/(?:systemd|sysctl\.d|modules-load\.d|modprobe\.d|sysconfig|default)(?:/.*)?"
)
# And those of which it may read what ends in .conf: of network plugins, and a kubelet's --config-dir.
_SETTINGS = re.compile(rf"/etc/cni/net\.d|{DROP_IN_PATH}")
_KUBECONFIG = re.compile(r"^/etc/kubernetes/[A-Za-z0-9_-]+\.conf$")
# A certificate, and where one begins that does not end. With -o and -z grep shows no more of a file than that.
_CERTIFICATES = "-----BEGIN (TRUSTED )?CERTIFICATE-----([^-]*-----END (TRUSTED )?CERTIFICATE-----)?"
# Lines of a kubeconfig that say where it leads, and that grep may show.
_PLACES = wordset(
    "server: certificate-authority: client-certificate: client-key: current-context: cluster: user: name: tokenFile:"
)
# What of a kubeconfig is public, its certificates included. Only with -o, which shows no more than what matches.
_PUBLIC_PARTS = (
    r"(server|tls-server-name|insecure-skip-tls-verify|certificate-authority|certificate-authority-data|client-certificate|client-certificate-data"
    r"|client-key)\"?: *\"?[A-Za-z0-9+/=:._@-]+"
)


class Refusal(Exception):
    """Why a command is not run; half a sentence."""


def refuse_writes(argv: Sequence[str]) -> None:
    """Raise CheckDefinitionError unless a check's command can only read, and reads nothing that is a credential."""
    if why := _refusal(tuple(argv)):
        raise CheckDefinitionError(f"kdiag does not run {_line(shlex.join(argv), 160)}: {why}")


@lru_cache(maxsize=1024)  # every node is asked the same
def _refusal(argv: tuple[str, ...]) -> str:
    try:
        examine(argv, RULES)
    except Refusal as exc:
        return str(exc)
    return ""


def examine(argv: Sequence[str], rules: Rules, *, fed: bool = False) -> None:
    """Raise Refusal unless these rules let the command through.

    ``fed`` says that it reads what another command printed: then it may name no file.
    """
    if not argv or argv[0] not in rules:
        raise Refusal("the program is not among those that only read")
    if any(not word.isprintable() for word in argv):
        raise Refusal("an argument holds a control character")
    program, rest = argv[0], list(argv[1:])
    if program == "find":
        _check_find(rest)
        return
    rule = rules[program]
    if not isinstance(rule, Rule):
        rule, rest = _subcommand(program, rest, rule)
    if rule.count:
        rest = [word for word in rest if not re.fullmatch(r"-[0-9]{1,6}", word)]
    options, operands = taken_apart(rest, rule.flags, rule.valued, rule.letters)
    if len(operands) > rule.most:
        raise Refusal("it takes fewer arguments")
    for operand in operands:
        if rule.operand is not None and not re.fullmatch(rule.operand, operand):
            raise Refusal(f"{_line(operand, 60)} is not an argument that only reads")
    for value in [value for values in options.values() for value in values]:
        if rule.value is not None and not re.fullmatch(rule.value, value):
            raise Refusal(f"{_line(value, 60)} is not a value that only reads")
    if rule.needs and not rule.needs & set(options):
        raise Refusal(f"without {' or '.join(sorted(rule.needs))} it does more than read")
    if rule.reads_content and not _reads_input(program, options, operands, fed=fed):
        check_files(program, options, operands)


def _subcommand(program: str, words: list[str], rules: Mapping[tuple[str, ...], Rule]) -> tuple[Rule, list[str]]:
    """The rule of the subcommand, and what follows it."""
    flags, valued = GLOBAL.get(program, (frozenset(), frozenset()))
    rest = list(words)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word in flags or (word.partition("=")[0] in valued and "=" in word and word.startswith("--")):
            continue
        if word not in valued or not rest:
            raise Refusal(f"{_line(word, 40)} is not among the options that only read")
        rest.pop(0)
    for length in (2, 1):
        rule = rules.get(tuple(rest[:length]))
        if rule is not None:
            return rule, rest[length:]
    raise Refusal(f"{_line(' '.join(rest[:2]), 40) or 'nothing'} is not among its subcommands that only read")


def taken_apart(
    words: list[str], flags: frozenset[str], valued: frozenset[str], letters: str
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
                raise Refusal(f"{word} has no value")
            options.setdefault(word, []).append(rest.pop(0))
        elif equals and name in valued and name.startswith("--"):
            options.setdefault(name, []).append(value)
        elif not word.startswith("--") and word[:2] in valued and len(word) > 2:
            options.setdefault(word[:2], []).append(word[2:])
        elif not word.startswith("--") and letters and set(word[1:]) <= set(letters):
            options.update({f"-{letter}": [] for letter in word[1:]})
        else:
            raise Refusal(f"{_line(word, 40)} is not among the options that only read")
    return options, operands


def _check_find(words: list[str]) -> None:
    for word in words:
        if word.startswith("-") and word not in _FIND and not re.fullmatch(r"-[0-9]+[a-zA-Z]?", word):
            raise Refusal(f"{_line(word, 40)} is not among the tests that only read")


def _reads_input(program: str, options: Mapping[str, list[str]], operands: list[str], *, fed: bool) -> bool:
    """Whether it shows only what it is fed. Raises Refusal for a file beside that."""
    if not fed:
        return False
    pattern = program == "grep" and not options.keys() & {"-e", "--regexp"}
    if len(operands) > int(pattern) or options.keys() & {"-r", "-R", "--recursive"}:
        raise Refusal("it reads what it is fed, and no file beside")
    return True


def check_files(program: str, options: Mapping[str, list[str]], operands: list[str]) -> None:
    """Refuse to print what is a credential, or no plain file."""
    files = list(operands)
    patterns = [value for name in ("-e", "--regexp") for value in options.get(name, [])]
    if program == "grep" and not patterns and files:
        patterns = [files.pop(0)]
    if not files:
        raise Refusal("it names no file")
    if any(not file.startswith("/") for file in files):
        raise Refusal("a file needs its whole path")
    places = ["/" + posixpath.normpath(file).lstrip("/") for file in files]
    if options.keys() & {"-r", "--recursive"}:
        only = options.get("--include", [])
        settings = bool(only) and all(re.fullmatch(r"[^/]*\.conf(?:list)?", name) for name in only)
        for place in places:
            if not (_PLAIN_FOLDERS.fullmatch(place) or (settings and _SETTINGS.fullmatch(place))):
                raise Refusal(f"not every file below {_line(place, 60)} may be read")
    closed = [place for place in places if _NOT_READ.search(place)]
    if program == "grep" and patterns == [_PUBLIC_PARTS] and {"-o", "-E"} <= options.keys() <= wordset("-H -n -o -E"):
        return  # likewise
    if program == "grep" and patterns == [_CERTIFICATES] and options.keys() == wordset("-a -z -o -H -E -e"):
        return  # whatever else may be in the files is not shown
    only_places = program == "grep" and _shows_places(options, patterns) and all(map(_KUBECONFIG.match, closed))
    if closed and not only_places:
        raise Refusal(f"{_line(closed[0], 80)} may hold a credential, or is no file")


def _shows_places(options: Mapping[str, list[str]], patterns: Sequence[str]) -> bool:
    """Whether grep shows of a kubeconfig only where it leads."""
    words = {re.sub(r"^\^?(?:\\s\*|\[\[:space:\]\]\*|\[ \]\*|\s)*", "", pattern) for pattern in patterns}
    return words <= _PLACES and options.keys() <= wordset("-h -H -n -s -m --max-count -e --regexp -i -F -E -w")


def _line(text: str, width: int) -> str:
    return shorten(clean(" ".join(text.split())), width)

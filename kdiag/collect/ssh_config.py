"""The user's ssh_config, read as OpenSSH reads it: patterns, Include, several identities, chains of jump hosts.

No process is started, neither ``ssh -G`` for a host nor a ``Match exec``: a Match that asks for anything but host,
originalhost, user or all counts as not matching, and the entry notes it. Keywords that kdiag has no use for are passed
over.
"""

from __future__ import annotations

import glob
import os
import pwd
import re
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from kdiag.collect.fields import one_line, read_file
from kdiag.collect.paths import expanded, home_of
from kdiag.errors import ConfigError
from kdiag.model.result import present

VARIABLE = "KDIAG_SSH_CONFIG"
SYSTEM_FILE = Path("/etc/ssh/ssh_config")
_INCLUDE_DEPTH = 16
_FILES = 1000
_IDENTITIES = ("id_rsa", "id_ecdsa", "id_ed25519")
# Keyword -> the most arguments that it takes; of the others nothing is read.
_KEYWORDS = {
    "hostname": 1,
    "user": 1,
    "port": 1,
    "identityfile": 1,
    "certificatefile": 1,
    "identityagent": 1,
    "identitiesonly": 1,
    "hostkeyalias": 1,
    "connecttimeout": 1,
    "proxyjump": 1,
    "userknownhostsfile": 100,
    "globalknownhostsfile": 100,
}
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_ADDED_UP = frozenset({"identityfile", "certificatefile"})
# A login or host name that may stand on a command line or in a message; the rest is a mistake or an attack.
_HOST = re.compile(r"[A-Za-z0-9_.:%-]{1,255}")
_JUMP = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^@\s]+)@)?(?:\[(?P<bracketed>[^\]]+)\]|(?P<host>[^\[\]:\s]+))(?::(?P<port>[0-9]+))?/?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostEntry:
    """All that the configuration says about one host, with OpenSSH's defaults where it says nothing."""

    alias: str
    hostname: str
    user: str
    port: int = 22
    identity_files: tuple[Path, ...] = ()
    # Whether a file was named; the default ones may well be absent.
    identities_named: bool = False
    certificate_files: tuple[Path, ...] = ()
    # A socket's path; "none" for no agent at all; empty for that of SSH_AUTH_SOCK.
    identity_agent: str = ""
    identities_only: bool = False
    # As written: [USER@]HOST[:PORT], nearest to us first.
    proxy_jump: tuple[str, ...] = ()
    # Where a ProxyCommand stands, which kdiag does not run.
    proxy_command: str = ""
    user_known_hosts_files: tuple[Path, ...] = ()
    global_known_hosts_files: tuple[Path, ...] = ()
    host_key_alias: str = ""
    # Seconds in which the connection must stand; 0 where nothing is said.
    connect_seconds: int = 0
    # What was passed over and may matter.
    notes: tuple[str, ...] = ()

    @property
    def endpoint(self) -> str:
        """``host:port``, with brackets where the host has colons."""
        return f"[{self.hostname}]:{self.port}" if ":" in self.hostname else f"{self.hostname}:{self.port}"


@dataclass(frozen=True, slots=True)
class _Criterion:
    """One ``Host`` line or one criterion of a ``Match`` line."""

    where: str
    kind: str
    patterns: tuple[str, ...] = ()
    negated: bool = False


_Block = tuple[_Criterion, ...]


@dataclass(frozen=True, slots=True)
class _Line:
    where: str
    # All of them must match: those of the files that include this one, then its own.
    conditions: _Block
    keyword: str
    arguments: tuple[str, ...]


class SshConfig:
    """A configuration that was read; asks for no file any more."""

    def __init__(self, lines: Sequence[_Line], environ: Mapping[str, str], home: Path) -> None:
        self._lines = tuple(lines)
        self._environ = dict(environ)
        self._home = home

    def lookup(self, name: str, *, user: str = "", port: int = 0) -> HostEntry:
        """What holds for ``ssh NAME``; ``user`` and ``port`` as if given on its command line."""
        return _Lookup(self._lines_for(name), self._environ, self._home, name, user, port).entry()

    def _lines_for(self, name: str) -> Iterator[_Line]:
        """The lines that may hold for a name, in their order: those that stand below other names cannot."""
        general, named = self._located
        return (self._lines[n] for n in sorted({*general, *named.get(name, ())}))

    @cached_property
    def _located(self) -> tuple[Sequence[int], Mapping[str, Sequence[int]]]:
        """The numbers of the lines that may hold for any name, and of those that hold for single names alone."""
        general: list[int] = []
        named: dict[str, list[int]] = {}
        for number, line in enumerate(self._lines):
            plain = (c.patterns for c in line.conditions if c.kind == "alias" and not any(map(_wild, c.patterns)))
            names = next(plain, None)
            if names is None:
                general.append(number)
            else:
                for name in dict.fromkeys(names):
                    named.setdefault(name, []).append(number)
        return general, named

    def hosts(self) -> list[str]:
        """The aliases of Host lines that are names and not patterns, in the order of the file."""
        return list(self._aliases)

    @cached_property
    def _aliases(self) -> dict[str, None]:
        return {
            pattern: None
            for line in self._lines
            for criterion in line.conditions
            if criterion.kind == "alias"
            for pattern in criterion.patterns
            if not _wild(pattern)
        }

    @cached_property
    def _by_alias(self) -> dict[str, str]:
        return {alias.lower(): alias for alias in self._aliases}

    @cached_property
    def _by_hostname(self) -> dict[str, str]:
        """The first alias that leads to each host name or address."""
        found: dict[str, str] = {}
        for alias in self._aliases:
            found.setdefault(self.lookup(alias).hostname.lower(), alias)
        return found

    def for_node(self, names: Sequence[str], addresses: Sequence[str]) -> HostEntry | None:
        """The entry meant for a node: by its name, its short name, or where a HostName leads to one of them.

        None where no Host line but ``Host *`` is about it.
        """
        full = [name for name in names if name]
        for name in dict.fromkeys([*full, *(name.partition(".")[0] for name in full)]):
            if name.lower() in self._by_alias:
                return self.lookup(self._by_alias[name.lower()])
        for place in [*addresses, *full]:
            if place.lower() in self._by_hostname:
                return self.lookup(self._by_hostname[place.lower()])
        for place in [*full, *addresses]:
            if any(self._is_about(line, place) for line in self._lines_for(place)):
                return self.lookup(place)
        return None

    @staticmethod
    def _is_about(line: _Line, name: str) -> bool:
        """Whether a Host line singles this name out; one whose patterns are all bare wildcards does not."""
        return bool(line.keyword) and any(
            _matches(name, [pattern for pattern in criterion.patterns if pattern.strip("*?")])
            for criterion in line.conditions
            if criterion.kind == "alias"
        )

    def route(self, entry: HostEntry) -> tuple[HostEntry, ...]:
        """The hosts to go through one after the other, ``entry`` being the last."""
        return self._route(entry, (entry.alias.lower(),))

    def _route(self, entry: HostEntry, seen: tuple[str, ...]) -> tuple[HostEntry, ...]:
        hops: list[HostEntry] = []
        for number, jump in enumerate(entry.proxy_jump):
            hop = self._jump(jump)
            if (hop.hostname, hop.port, hop.user) == (entry.hostname, entry.port, entry.user):
                continue  # as OpenSSH does: "Host *" may name a jump host without excepting it
            if hop.alias.lower() in seen:
                raise ConfigError(f"ProxyJump goes in a circle: {one_line(' -> '.join([*seen, hop.alias]), 200)}")
            if number == 0:
                # Only the first hop follows its own ProxyJump; each further one is reached through the one before.
                hops += self._route(hop, (*seen, hop.alias.lower()))
            else:
                hops.append(replace(hop, proxy_jump=()))
        return (*hops, entry)

    def _jump(self, spec: str) -> HostEntry:
        match = _JUMP.fullmatch(spec)
        if match is None:
            raise ConfigError(f"ProxyJump {one_line(spec, 80)} is not [USER@]HOST[:PORT]")
        port = int(match["port"]) if match["port"] else 0
        return self.lookup(match["bracketed"] or match["host"], user=match["user"] or "", port=port)


def load(path: Path | None, environ: Mapping[str, str]) -> SshConfig:
    """Read the file given, or that of KDIAG_SSH_CONFIG, or ~/.ssh/config and then the system's.

    One that is named must exist; ``none`` names no file at all.
    """
    home = home_of(environ)
    named = path or (Path(environ[VARIABLE]) if environ.get(VARIABLE) else None)
    reader = _Reader(environ, home)
    if named is not None:
        if str(named).lower() != "none":
            reader.read(expanded(named, environ), (), home / ".ssh", 0)
        return SshConfig(reader.lines, environ, home)
    for file, folder in ((home / ".ssh" / "config", home / ".ssh"), (SYSTEM_FILE, SYSTEM_FILE.parent)):
        if file.exists():
            reader.read(file, (), folder, 0)
    return SshConfig(reader.lines, environ, home)


class _Reader:
    """Turns files into lines that know under which conditions they hold."""

    def __init__(self, environ: Mapping[str, str], home: Path) -> None:
        self.lines: list[_Line] = []
        self._environ = environ
        self._home = home
        self._files = 0

    def read(self, path: Path, outer: _Block, folder: Path, depth: int) -> None:
        """Read one file and what it includes; ``outer`` are the conditions around its Include line."""
        self._files += 1
        if self._files > _FILES:
            raise ConfigError(f"{one_line(str(path))}: more than {_FILES:,} files are included")
        text = read_file(path, "SSH configuration").decode("utf-8", "replace")
        own: _Block = ()
        for number, raw in enumerate(text.splitlines(), 1):
            where = f"{path}:{number}"
            keyword, arguments = _split(raw, where)
            match keyword:
                case "":
                    continue
                case "host":
                    own = (_Criterion(where, "alias", _some(arguments, "Host", where)),)
                    # A block without a line that kdiag reads still names its host.
                    self.lines.append(_Line(where, (*outer, *own), "", ()))
                case "match":
                    own = _match_line(arguments, where)
                    self.lines.append(_Line(where, (*outer, *own), "", ()))
                case "include":
                    for pattern in _some(arguments, "Include", where):
                        self._include(pattern, (*outer, *own), folder, depth, where)
                case "proxycommand":
                    given = _some(arguments, "ProxyCommand", where)
                    self.lines.append(_Line(where, (*outer, *own), keyword, given))
                case _ if keyword in _KEYWORDS:
                    given = _some(arguments, keyword, where)
                    if len(given) > _KEYWORDS[keyword]:
                        raise ConfigError(f"{one_line(where)}: {keyword} takes one value, not {len(given)}")
                    self.lines.append(_Line(where, (*outer, *own), keyword, given))

    def _include(self, pattern: str, conditions: _Block, folder: Path, depth: int, where: str) -> None:
        if depth >= _INCLUDE_DEPTH:
            raise ConfigError(f"{one_line(where)}: files include each other, or more than {_INCLUDE_DEPTH} deep")
        place = _tilde(_variables(pattern, self._environ, where), self._home)
        for name in sorted(glob.glob(str(folder / place), include_hidden=False)):
            if not Path(name).is_dir():
                self.read(Path(name), conditions, folder, depth + 1)


def _some(arguments: Sequence[str], keyword: str, where: str) -> tuple[str, ...]:
    if not arguments or not all(arguments):
        raise ConfigError(f"{one_line(where)}: {keyword} has no value")
    return tuple(arguments)


def _split(raw: str, where: str) -> tuple[str, list[str]]:
    """The keyword in lower case and its arguments; quotes, escapes, ``=`` and comments as OpenSSH has them."""
    text = raw.strip(" \t\r\f\n")
    if not text or text.startswith("#"):
        return "", []
    match = re.match(r'"?([A-Za-z0-9]+)"?[ \t]*=?[ \t]*', text)
    if match is None:
        raise ConfigError(f"{one_line(where)}: {one_line(text, 40)} is no line of an SSH configuration")
    keyword, rest = match[1].lower(), text[match.end() :]
    if keyword not in _KEYWORDS and keyword not in ("host", "match", "include"):
        return keyword, [rest]
    return keyword, _words(rest, where)


def _words(text: str, where: str) -> list[str]:
    words: list[str] = []
    position = 0
    while position < len(text):
        if text[position] in " \t":
            position += 1
            continue
        if text[position] == "#":
            break
        word, quote = "", ""
        while position < len(text) and (quote or text[position] not in " \t"):
            char = text[position]
            if char == "\\" and text[position + 1 : position + 2] in present(
                "'", '"', "\\", " " if not quote else None
            ):
                position += 1
                word += text[position : position + 1]
            elif quote and char == quote:
                quote = ""
            elif not quote and char in "'\"":
                quote = char
            else:
                word += char
            position += 1
        if quote:
            raise ConfigError(f"{one_line(where)}: a quote is not closed")
        words.append(word)
    return words


def _match_line(arguments: list[str], where: str) -> _Block:
    criteria: list[_Criterion] = []
    words = [part for word in arguments for part in ([word] if "=" not in word else word.split("=", 1))]
    while words:
        name = words.pop(0).lower()
        negated, name = name.startswith("!"), name.removeprefix("!")
        if name in ("all", "canonical", "final"):
            criteria.append(_Criterion(where, name, (), negated))
            continue
        if not words:
            raise ConfigError(f"{one_line(where)}: Match {one_line(name, 40)} has no value")
        criteria.append(_Criterion(where, name, tuple(words.pop(0).split(",")), negated))
    if not criteria:
        raise ConfigError(f"{one_line(where)}: Match has no criterion")
    if any(criterion.kind == "all" for criterion in criteria) and len(criteria) > 1:
        kinds = {criterion.kind for criterion in criteria}
        if not kinds <= {"all", "canonical", "final"}:
            raise ConfigError(f"{one_line(where)}: Match all stands alone")
    return tuple(criteria)


def _wild(pattern: str) -> bool:
    """Whether it is a pattern, and no name."""
    return any(sign in pattern for sign in "*?!")


def _matches(name: str, patterns: Sequence[str]) -> bool:
    """As OpenSSH: one pattern matches and none of the negated ones does."""
    found = False
    for pattern in patterns:
        wanted = pattern.removeprefix("!")
        if fnmatchcase(name, wanted.replace("[", "[[]")) if "*" in wanted or "?" in wanted else name == wanted:
            if pattern.startswith("!"):
                return False
            found = True
    return found


class _Lookup:
    """One walk down the lines for one name; the first value of a keyword holds."""

    def __init__(
        self, lines: Iterable[_Line], environ: Mapping[str, str], home: Path, name: str, user: str, port: int
    ) -> None:
        self._name = name
        self._environ = environ
        self._home = home
        self._notes: dict[str, None] = {}
        self._values: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._lists: dict[str, dict[str, str]] = {keyword: {} for keyword in _ADDED_UP}
        self._local_user = _local_user(environ)
        if user:
            self._values["user"] = ("", (user,))
        if port:
            self._values["port"] = ("", (str(port),))
        # A condition is looked at where its block begins: what the block sets does not change it.
        self._decided: dict[int, bool] = {}
        for line in lines:
            if all([self._holds(criterion) for criterion in line.conditions]) and line.keyword:
                self._take(line)

    def _holds(self, criterion: _Criterion) -> bool:
        if id(criterion) not in self._decided:
            self._decided[id(criterion)] = self._evaluated(criterion)
        return self._decided[id(criterion)]

    def _evaluated(self, criterion: _Criterion) -> bool:
        match criterion.kind:
            case "alias":
                return _matches(self._name, criterion.patterns)
            case "all":
                return not criterion.negated
            case "originalhost":
                found = _matches(self._name, criterion.patterns)
            case "host":
                found = _matches(self._hostname(), criterion.patterns)
            case "user":
                found = _matches(self._one("user") or self._local_user, criterion.patterns)
            case other:
                self._notes[f"{criterion.where}: Match {one_line(other, 20)} is not evaluated"] = None
                return False
        return found != criterion.negated

    def _take(self, line: _Line) -> None:
        keyword = line.keyword
        if keyword in _ADDED_UP:
            self._lists[keyword].setdefault(line.arguments[0], line.where)
        elif keyword in ("proxyjump", "proxycommand"):
            if not {"proxyjump", "proxycommand"} & self._values.keys():
                self._values[keyword] = (line.where, line.arguments)
        else:
            self._values.setdefault(keyword, (line.where, line.arguments))

    def _one(self, keyword: str) -> str:
        return self._values[keyword][1][0] if keyword in self._values else ""

    def _where(self, keyword: str) -> str:
        return one_line(self._values[keyword][0]) if keyword in self._values else ""

    def _hostname(self) -> str:
        named = self._one("hostname")
        host = _tokens(named, {"h": self._name}, self._where("hostname")) if named else self._name
        return host.lower()

    def entry(self) -> HostEntry:
        hostname = self._hostname()
        if not _HOST.fullmatch(hostname) or hostname.startswith("-"):
            place = self._where("hostname")
            raise ConfigError(f"{place}{': ' if place else ''}{one_line(hostname, 80) or 'nothing'} is no host name")
        port = self._port()
        user = self._one("user") or self._local_user
        if not user.isprintable():
            place = self._where("user")
            raise ConfigError(f"{place}{': ' if place else ''}{one_line(user, 80)} is no user name")
        local = socket.gethostname()
        self._expansions = {
            "h": hostname,
            "n": self._name,
            "k": self._one("hostkeyalias") or self._name,
            "p": str(port),
            "r": user,
            "u": self._local_user,
            "d": str(self._home),
            "i": str(os.getuid()),
            "l": local,
            "L": local.partition(".")[0],
        }
        ssh = self._home / ".ssh"
        named = bool(self._lists["identityfile"])
        return HostEntry(
            alias=self._name,
            hostname=hostname,
            user=user,
            port=port,
            identity_files=self._paths("identityfile") if named else tuple(ssh / name for name in _IDENTITIES),
            identities_named=named,
            certificate_files=self._paths("certificatefile"),
            identity_agent=self._agent(),
            identities_only=self._flag("identitiesonly"),
            proxy_jump=self._jumps(),
            proxy_command=self._proxy_command(),
            user_known_hosts_files=self._files("userknownhostsfile", [ssh / "known_hosts", ssh / "known_hosts2"]),
            global_known_hosts_files=self._files(
                "globalknownhostsfile", [Path("/etc/ssh/ssh_known_hosts"), Path("/etc/ssh/ssh_known_hosts2")]
            ),
            host_key_alias=self._one("hostkeyalias").lower(),
            connect_seconds=self._connect_seconds(),
            notes=tuple(self._notes),
        )

    def _port(self) -> int:
        text = self._one("port") or "22"
        if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
            place = self._where("port")
            raise ConfigError(f"{place}{': ' if place else ''}{one_line(text, 40)} is no port")
        return int(text)

    def _connect_seconds(self) -> int:
        text = self._one("connecttimeout").lower()
        parts = re.findall(r"([0-9]{1,6})([smhdw]?)", text)
        if text in ("", "none"):
            return 0
        if "".join(number + unit for number, unit in parts) != text:
            raise ConfigError(f"{self._where('connecttimeout')}: {one_line(text, 40)} is no time")
        return sum(int(number) * _UNITS[unit] for number, unit in parts)

    def _flag(self, keyword: str) -> bool:
        text = self._one(keyword).lower()
        if text not in ("", "yes", "true", "no", "false"):
            raise ConfigError(f"{self._where(keyword)}: {keyword} is yes or no, not {one_line(text, 40)}")
        return text in ("yes", "true")

    def _agent(self) -> str:
        text = self._one("identityagent")
        if text in ("", "SSH_AUTH_SOCK"):
            return ""
        if text.lower() == "none":
            return "none"
        if match := re.fullmatch(r"\$([A-Za-z0-9_]+)", text):
            return self._environ.get(match[1]) or "none"
        return str(self._path(text, self._where("identityagent")))

    def _jumps(self) -> tuple[str, ...]:
        text = self._one("proxyjump")
        if not text or text.lower() == "none":
            return ()
        where = self._where("proxyjump")
        jumps = tuple(part.strip() for part in text.split(","))
        for jump in jumps:
            match = _JUMP.fullmatch(jump)
            if match is None or not _HOST.fullmatch(match["bracketed"] or match["host"]):
                raise ConfigError(f"{where}: ProxyJump {one_line(jump, 80)} is not [USER@]HOST[:PORT]")
            if match["port"] and not 0 < int(match["port"]) < 65536:
                raise ConfigError(f"{where}: ProxyJump {one_line(jump, 80)} has no valid port")
        return tuple(_tokens(jump, self._expansions, where) for jump in jumps)

    def _proxy_command(self) -> str:
        command = self._one("proxycommand")
        return self._where("proxycommand") if command and command.strip().lower() != "none" else ""

    def _files(self, keyword: str, otherwise: Sequence[Path]) -> tuple[Path, ...]:
        if keyword not in self._values:
            return tuple(otherwise)
        where, names = self._values[keyword]
        return tuple(self._path(name, one_line(where)) for name in names if name.lower() != "none")

    def _paths(self, keyword: str) -> tuple[Path, ...]:
        named = self._lists[keyword].items()
        return tuple(self._path(name, one_line(where)) for name, where in named if name.lower() != "none")

    def _path(self, text: str, where: str) -> Path:
        return Path(_tilde(_tokens(_variables(text, self._environ, where), self._expansions, where), self._home))


def _tokens(text: str, values: Mapping[str, str], where: str) -> str:
    def expand(match: re.Match[str]) -> str:
        if match[1] == "%":
            return "%"
        if match[1] not in values:
            raise ConfigError(f"{where}: %{one_line(match[1], 1)} in {one_line(text, 80)} is not understood")
        return values[match[1]]

    return re.sub(r"%(.?)", expand, text)


def _variables(text: str, environ: Mapping[str, str], where: str) -> str:
    def expand(match: re.Match[str]) -> str:
        if match[1] not in environ:
            raise ConfigError(f"{one_line(where)}: the variable {one_line(match[1], 40)} is not set")
        return environ[match[1]]

    return re.sub(r"\$\{([^}]*)\}", expand, text)


def _tilde(text: str, home: Path) -> str:
    if text == "~" or text.startswith("~/"):
        return str(home) + text[1:]
    return os.path.expanduser(text) if text.startswith("~") else text


def _local_user(environ: Mapping[str, str]) -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return environ.get("USER") or environ.get("LOGNAME") or str(os.getuid())

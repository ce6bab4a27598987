"""What systemd's journal holds of the kubelet and of the container runtime."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import groupby
from typing import Any

from kdiag.facts.base import NodeCommand
from kdiag.facts.hosts import Answer, HostFact
from kdiag.facts.logs import whole_messages
from kdiag.facts.system import plain
from kdiag.facts.units import RUNTIMES
from kdiag.model.jsontext import read_object
from kdiag.model.redact import RUN
from kdiag.model.text import clean

_FIELDS = "MESSAGE,PRIORITY,_PID,SYSLOG_IDENTIFIER,UNIT,_SYSTEMD_UNIT"
_LONGEST = 4000
#: How a Go program says why it ends, in order of how much that tells.
_FATAL = (
    re.compile(r'"command failed" err='),
    re.compile(r"^Error: |^error: unknown (?:shorthand )?flag|^unknown (?:shorthand )?flag"),
    re.compile(r"^F\d{4} "),
    re.compile(r"^(?:panic|fatal error): "),
    re.compile(r"Failed to run kubelet", re.IGNORECASE),
    re.compile(r"level=fatal|level=panic"),
    re.compile(r"Failed to listen and serve"),
)
_DAEMONS = ("containerd", "crio", "dockerd", "cri-dockerd")
_UNITS = tuple(w for unit in RUNTIMES for w in ("-u", unit))
_OWN = tuple(w for daemon in _DAEMONS for w in ("-t", daemon))
_DIED = re.compile(
    r"^(?:containerd|crio|dockerd|cri-dockerd): |\blevel=(?:fatal|panic)\b|^FATA|^panic: |failed to start"
)
_ERROR = re.compile(r"^[EF]\d{4} |\blevel=(?:error|fatal|panic)\b")
#: What a kubelet without a folder for static pods writes as an error every 20 seconds, and says that it ignores it.
_NO_ERROR = re.compile(r"Unable to read config path.*path does not exist, ignoring")
_ENDED = re.compile(r"Main process exited|Failed with result|Scheduled restart")
#: Of a program that was killed, its last words are not why.
_KILLED = re.compile(r"Main process exited, code=(?:killed|dumped), status=(\d{1,3})/")
_RESULT = re.compile(r"Failed with result '([a-z-]{1,20})'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of the journal. ``source`` is who wrote it (kubelet, systemd); ``pid`` is 0 where it is not known."""

    text: str
    when: datetime | None = None
    pid: int = 0
    priority: int = 6
    source: str = ""

    @property
    def said(self) -> str:
        """The message without the header of klog or of logfmt."""
        logfmt = re.search(r'\bmsg="((?:[^"\\]|\\.)*)"(?:.*?\berror="((?:[^"\\]|\\.)*)")?', self.text)
        if logfmt and re.search(r"\blevel=", self.text):
            return ": ".join(part.replace('\\"', '"') for part in logfmt.groups() if part)
        return plain(self.text)

    @property
    def error(self) -> bool:
        """Whether its writer calls it an error, and it is one."""
        return bool(self.priority <= 3 or _ERROR.search(self.text)) and not _NO_ERROR.search(self.text)


@dataclass(frozen=True)
class JournalLog:
    """The newest entries of one part of the journal, oldest first. No entry means that nothing is known."""

    entries: tuple[Entry, ...] = ()

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __bool__(self) -> bool:
        return bool(self.entries)

    @cached_property
    def runs(self) -> tuple[tuple[Entry, ...], ...]:
        """What each run of the daemon wrote, the last run last; systemd's own lines are in none."""
        own = [e for e in self.entries if e.source != "systemd" and e.pid > 1]
        return tuple(tuple(group) for _, group in groupby(own, key=lambda e: e.pid))

    @property
    def last_run(self) -> tuple[Entry, ...]:
        """What the last run wrote."""
        return self.runs[-1] if self.runs else ()

    def since(self, moment: datetime | None) -> tuple[Entry, ...]:
        """The entries from that moment on; all when it is not known."""
        return tuple(e for e in self.entries if moment is None or e.when is None or e.when >= moment)

    def fatal(self) -> Entry | None:
        """Why the last run that ended says that it ended; of a run that may still be under way, the one before.

        One that is older than the run before that is not looked for: it may be mended.
        """
        for run in reversed(self.runs[-2:]):
            for pattern in _FATAL:
                for entry in reversed(run):
                    if pattern.search(entry.text):
                        return entry
            if self._ended(run) and (last := next((e for e in reversed(run[-3:]) if e.error), None)):
                return last  # a program that calls exit has an error as its last line but one or two
        return None

    def _ended(self, run: tuple[Entry, ...]) -> bool:
        """Whether systemd says behind a run that it ended, and not well."""
        at = max(n for n, e in enumerate(self.entries) if e is run[-1])
        behind = [e.text for e in self.entries[at + 1 : at + 8] if e.source == "systemd"]
        return any(map(_ENDED.search, behind)) and not any(map(_KILLED.search, behind))

    @property
    def killed(self) -> tuple[Entry, int, str] | None:
        """How systemd says that the last run that ended was killed: the line, the signal and systemd's result."""
        ended = self.systemd(r"Main process exited")
        signal = _KILLED.search(ended.text) if ended else None
        if ended is None or signal is None:
            return None
        result = next((r[1] for e in self.since(ended.when) if (r := _RESULT.search(e.text))), "signal")
        return ended, int(signal[1]), result

    def find(self, pattern: str | re.Pattern[str], entries: tuple[Entry, ...] | None = None) -> Entry | None:
        """The newest entry that matches, of all or of these."""
        compiled = re.compile(pattern)
        chosen = self.entries if entries is None else entries
        return next((e for e in reversed(chosen) if compiled.search(e.text)), None)

    def systemd(self, pattern: str) -> Entry | None:
        """The newest line in which systemd itself says so of the unit."""
        compiled = re.compile(pattern)
        return next((e for e in reversed(self.entries) if e.source == "systemd" and compiled.search(e.text)), None)


class _Journal(HostFact[JournalLog]):
    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> JournalLog:
        """One JSON object a line; what is none is passed over, and journald's hints are no entries."""
        found = [e for a in answers for line in a.text.splitlines() if (e := _entry(line))]
        if len(answers) > 1:
            found = list({(e.when, e.pid, e.text): e for e in found}.values())
            found.sort(key=lambda e: e.when or datetime.fromtimestamp(0, UTC))
        return JournalLog(whole_messages(found))


def _command(key: str, *words: str, lines: int, name: str = "") -> NodeCommand:
    argv = ("journalctl", *words, "-o", "json", f"--output-fields={_FIELDS}", "--all", "-n", str(lines))
    return NodeCommand(key, (*argv, "--no-pager", "-q"), sudo=True, seconds=10, limit=1_048_576, name=name)


class KubeletJournal(_Journal):
    """The kubelet's last lines, and systemd's about it."""

    sources = (_command("journal-kubelet", "-u", "kubelet.service", lines=300),)


class RuntimeJournal(_Journal):
    """The container runtime's last lines, and systemd's about it."""

    # At each start systemd names every shim that was left over, so the runtime's own lines are asked for once more.
    sources = (
        _command("journal-runtime", *_UNITS, lines=100),
        _command("journal-runtime", *_UNITS, *_OWN, lines=60, name="own"),
    )

    @staticmethod
    def last_error(log: JournalLog) -> Entry | None:
        """Why the runtime says that it ended: none when it has come up since."""
        for entry in reversed(log.entries):
            if entry.source == "systemd" and entry.text.startswith("Started "):
                return None
            if entry.source in _DAEMONS and _DIED.search(entry.text):
                return entry
        return None


def _entry(line: str) -> Entry | None:
    if not line.startswith("{"):
        return None
    record = read_object(line)
    if not (text := _field(record.get("MESSAGE"))):
        return None
    return Entry(
        text=RUN.text(clean(text))[:_LONGEST],
        when=_when(record.get("__REALTIME_TIMESTAMP")),
        pid=_number(record.get("_PID"), 0),
        priority=_number(record.get("PRIORITY"), 6),
        source=_field(record.get("SYSLOG_IDENTIFIER")),
    )


def _field(value: Any) -> str:
    """A field as text: a string, the bytes of one that is no UTF-8, or the last of several."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value:
        if all(isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 256 for v in value):
            return bytes(value).decode("utf-8", "replace")
        return _field(value[-1]) if not isinstance(value[-1], list) else ""
    return ""


def _number(value: Any, default: int) -> int:
    text = _field(value)
    return int(text) if re.fullmatch(r"\d{1,10}", text) else default


def _when(value: Any) -> datetime | None:
    text = _field(value)
    if not re.fullmatch(r"\d{10,18}", text):
        return None
    try:
        return datetime.fromtimestamp(int(text) / 1_000_000, UTC)
    except (ValueError, OverflowError, OSError):
        return None

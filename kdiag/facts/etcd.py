"""etcd as its node shows it: its log, its data directory, and what it answers to etcdctl."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from kdiag.facts.base import NodeCommand, NodeFollow
from kdiag.facts.filelist import LISTED, FileInfo, listed
from kdiag.facts.hosts import Answer, HostFact, answer, safe_path
from kdiag.facts.logs import LogLine
from kdiag.facts.manifests import Manifests
from kdiag.facts.nodefiles import READ_LISTENERS
from kdiag.facts.runtime import Containers, log_lines
from kdiag.model.jsontext import read_json, read_object

DATA = "/var/lib/etcd"
_LINES = 400
_PKI = "/etc/kubernetes/pki/etcd"
_CTL_EXITS = (0, 1, 2, 3, 4, 5, 128)
_ACCESS = (
    *("--endpoints=https://127.0.0.1:2379", f"--cacert={_PKI}/ca.crt", f"--cert={_PKI}/healthcheck-client.crt"),
    f"--key={_PKI}/healthcheck-client.key",
)
CTL = (*_ACCESS, "--command-timeout=1500ms", "--dial-timeout=1s", "-w", "json")
#: As a person types it on a control-plane node.
ETCDCTL = " ".join(("etcdctl", *_ACCESS))


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdLine:
    """One line of etcd's log. ``level`` is debug, info, warn, error, panic or fatal."""

    level: str
    message: str
    error: str = ""
    when: datetime | None = None
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The message, with the error that belongs to it."""
        return f"{self.message}: {self.error}" if self.error else self.message


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdLog:
    """The end of one log file of etcd. ``attempt`` is the number in its name."""

    path: str
    attempt: int = 0
    lines: tuple[EtcdLine, ...] = ()

    @property
    def fatal(self) -> EtcdLine | None:
        """The line with which it ended, when it ended by itself."""
        return next((x for x in reversed(self.lines) if x.level in ("fatal", "panic")), None)

    @property
    def told_to_stop(self) -> bool:
        """Whether somebody stopped it: the kubelet, systemd, a person."""
        return any("received signal" in x.message or "received terminated signal" in x.message for x in self.lines)

    def since(self, moment: datetime) -> tuple[EtcdLine, ...]:
        """The lines from a moment on."""
        return tuple(x for x in self.lines if x.when and x.when >= moment)


class EtcdLogs(HostFact[tuple[EtcdLog, ...]]):
    """The log files of etcd's container on each node, the one written last first; empty where there is none."""

    sources = (
        *(s for s in Containers.sources if isinstance(s, NodeCommand) and s.key == "pod-logs"),
        NodeFollow("etcd-log"),
    )

    @staticmethod
    def follow(node: str, answers: tuple[Answer, ...]) -> Iterable[NodeCommand]:
        """More lines of them than of other containers: etcd says much, and rates count."""
        for path, lines in zip(_log_paths(answers), (_LINES, 120), strict=False):
            yield NodeCommand("etcd-log", ("tail", "-n", str(lines), path), sudo=True, name=path, limit=524_288)

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> tuple[EtcdLog, ...]:
        """Both forms of etcd's log: JSON, and the text of 3.4 and before."""
        texts = {a.name: a.text for a in answers if a.key == "etcd-log" and not a.absent}
        found: list[EtcdLog] = []
        for path in _log_paths(answers):
            if path in texts:
                attempt = re.search(r"/(\d{1,9})\.log$", path)
                lines = _with_place(tuple(_line(x) for x in log_lines(texts[path])))
                found.append(EtcdLog(path=path, attempt=int(attempt[1]) if attempt else 0, lines=lines))
        return tuple(found)


def _log_paths(answers: tuple[Answer, ...]) -> list[str]:
    logs = Containers.parse("", tuple(a for a in answers if a.key == "pod-logs")).log("etcd")
    return [g.path for g in logs if safe_path(g.path)][:2]


_OLD = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.\d+)? ([DINWEC]) \| (.*)", re.DOTALL)
_LEVELS = {"D": "debug", "I": "info", "N": "info", "W": "warn", "E": "error", "C": "fatal"}


def _line(line: LogLine) -> EtcdLine:
    text = line.text
    if text.startswith("{") and (record := read_object(text)):
        fields = {
            str(k): v if isinstance(v, str) else json.dumps(v)
            for k, v in record.items()
            if k not in ("level", "ts", "caller", "msg", "error", "stacktrace")
        }
        return EtcdLine(
            level=str(record.get("level", "")),
            message=str(record.get("msg", "")),
            error=str(record.get("error", "") or ""),
            when=line.when,
            fields=fields,
        )
    if match := _OLD.match(text):
        when = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        return EtcdLine(level=_LEVELS[match[2]], message=match[3], when=line.when or when)
    if re.match(r"panic: |fatal error: ", text):
        return EtcdLine(level="panic", message=text, when=line.when)
    return EtcdLine(level="", message=text, when=line.when)


def _with_place(lines: tuple[EtcdLine, ...]) -> tuple[EtcdLine, ...]:
    """Where a program ends with a signal, the signal and the function stand in lines of their own below."""
    at = next((i for i, x in enumerate(lines) if x.message.startswith("fatal error: fault")), None)
    if at is None:
        return lines
    below = [x.message for x in lines[at + 1 : at + 40]]
    signal = next((m[0] for text in below[:3] if (m := re.match(r"\[signal \w+: [\w ]{1,40}?(?= code=)", text))), "")
    frame = next((text for text in below if re.match(r"(?:go\.etcd\.io|github\.com)/[\w./-]+\.\(?", text)), "")
    place = f" in {frame.rpartition('(')[0] or frame}" if frame else ""
    named = replace(lines[at], message=f"{lines[at].message}{f' {signal}]' if signal else ''}{place}")
    return (*lines[:at], named, *lines[at + 1 :])


@dataclass(frozen=True, kw_only=True)
class EtcdFiles:
    """The data directories of a node.

    ``folders``: by path, itself and what is in it; ``databases``: every database that was found.
    """

    folders: Mapping[str, Mapping[str, FileInfo]] = field(default_factory=dict)
    databases: tuple[FileInfo, ...] = ()


#: Where a data directory has its database.
DATABASE = "/member/snap/db"
#: What a member says of a peer that it does not reach.
PEER_AWAY = re.compile(
    r"prober detected unhealthy status|failed to reach the peer ?URL|lost (?:the )?TCP streaming connection"
    r"|health check for peer .* could not connect|peer became inactive"
)
DATABASES = (
    *("find", "/var/lib", "/opt", "/root", "/tmp", "-maxdepth", "5", "("),  # noqa: S108
    *("-path", "/var/lib/containerd", "-o", "-path", "/var/lib/containers", "-o", "-path"),
    *("/var/lib/docker", "-o", "-path", "/var/lib/kubelet", ")", "-prune", "-o"),
    *("-path", f"*{DATABASE}", "-printf", LISTED),
)


class EtcdData(HostFact[EtcdFiles]):
    """etcd's data directory on each node: the usual one and the one that its manifest names."""

    sources = (
        *(s for s in Manifests.sources if isinstance(s, NodeCommand) and s.key in ("manifest-files", "manifests")),
        NodeFollow("etcd-data"),
        NodeFollow("etcd-databases"),
    )

    @staticmethod
    def follow(node: str, answers: tuple[Answer, ...]) -> Iterable[NodeCommand]:
        """The usual folder, the one that the manifest names, and every database, where etcd is at home."""
        manifests = Manifests.parse(node, answers)
        if manifests.tree and "etcd" not in manifests.meant and not manifests.all_of("etcd"):
            return
        found = manifests.of("etcd")
        host = found.on_host(found.value("data-dir", DATA))[1].rstrip("/") if found else ""
        # A data-dir that no volume holds leaves the volume that held the old one.
        held = (v.path.rstrip("/") for v in found.host_volumes() if not v.path.startswith("/etc/")) if found else ()
        for folder in dict.fromkeys((DATA, host, *held)):
            if safe_path(folder):
                argv = ("find", folder, "-maxdepth", "3", "-printf", LISTED)
                yield NodeCommand("etcd-data", argv, sudo=True, name=folder, answers=(0, 1), limit=65536)
        yield NodeCommand("etcd-databases", DATABASES, sudo=True, answers=(0, 1), limit=65536)

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> EtcdFiles:
        """What ``find`` listed; a folder that is not there is empty."""
        folders = {a.name: {i.path: i for i in listed(a.text)} for a in answers if a.key == "etcd-data" and not a.error}
        found = {i.path: i for i in listed(answer(answers, "etcd-databases"))}
        found |= {p: i for folder in folders.values() for p, i in folder.items() if p.endswith(DATABASE)}
        return EtcdFiles(folders=folders, databases=tuple(found.values()))


@dataclass(frozen=True, slots=True)
class EtcdMember:
    """A member as the cluster lists it."""

    id: str
    name: str
    peers: tuple[str, ...] = ()
    learner: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdAnswer:
    """What the member on this node answered to etcdctl; ``error`` is what it said instead."""

    version: str = ""
    member: str = ""
    leader: str = ""
    size: int = 0
    in_use: int = 0
    quota: int = 0
    errors: tuple[str, ...] = ()
    members: tuple[EtcdMember, ...] = ()
    alarms: tuple[str, ...] = ()
    error: str = ""

    @property
    def answered(self) -> bool:
        """Whether it gave its status."""
        return bool(self.member)


class EtcdAnswers(HostFact[EtcdAnswer]):
    """etcdctl on each node that has it, with the certificate that kubeadm made for health checks."""

    sources = (
        READ_LISTENERS,
        NodeFollow("etcdctl-status"),
        NodeFollow("etcdctl-members"),
        NodeFollow("etcdctl-alarms"),  # of older recordings; the status tells them as well
    )
    beside = frozenset({"listeners"})

    @staticmethod
    def follow(node: str, answers: tuple[Answer, ...]) -> Iterable[NodeCommand]:
        """Its status and members, where somebody listens at its port, or that is not known."""
        heard = next((a for a in answers if a.key == "listeners"), None)
        if heard is None or heard.error or re.search(r":2379\s", heard.text):
            for key, *words in (("etcdctl-status", "endpoint", "status"), ("etcdctl-members", "member", "list")):
                yield NodeCommand(key, ("etcdctl", *words, *CTL), sudo=True, seconds=4, answers=_CTL_EXITS)

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> EtcdAnswer:
        """The JSON answers; anything else is an error of etcd or of etcdctl."""
        said = answer(answers, "etcdctl-status")
        status = _json(said)
        one = _mapping(status[0]) if isinstance(status, list) and status else {}
        inner = _mapping(one.get("Status"))
        header = _mapping(inner.get("header"))
        members = _json(answer(answers, "etcdctl-members"))
        listed = members.get("members") if isinstance(members, dict) else None
        alarms = _json(answer(answers, "etcdctl-alarms"))
        raised = alarms.get("alarms") if isinstance(alarms, dict) else None
        return EtcdAnswer(
            version=str(inner.get("version", "")),
            member=_hex(header.get("member_id")),
            leader=_hex(inner.get("leader")),
            size=_int(inner.get("dbSize")),
            in_use=_int(inner.get("dbSizeInUse")),
            quota=_int(inner.get("dbSizeQuota")),
            errors=tuple(str(e) for e in _list(inner.get("errors")) if e),
            members=tuple(
                EtcdMember(
                    _hex(m.get("ID")),
                    str(m.get("name", "")),
                    tuple(str(u) for u in _list(m.get("peerURLs"))),
                    m.get("isLearner") is True,
                )
                for m in _list(listed)
                if isinstance(m, dict)
            ),
            alarms=tuple(
                _ALARMS.get(str(a.get("alarm")), str(a.get("alarm"))) for a in _list(raised) if isinstance(a, dict)
            )
            or tuple(dict.fromkeys(_ALARM.findall(" ".join(map(str, _list(inner.get("errors"))))))),
            error="" if header else _error(said),
        )


# In the errors of a status: "memberID:10276657743932975437 alarm:NOSPACE ".
_ALARM = re.compile(r"\balarm:\s?([A-Z]{1,40})")
_ALARMS = {"1": "NOSPACE", "2": "CORRUPT"}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _json(text: str) -> Any:
    for line in text.splitlines():
        if line.startswith(("[", "{")):
            try:
                found = read_json(line)
            except ValueError:
                continue
            if isinstance(found, list) or (isinstance(found, dict) and "level" not in found):
                return found
    return None


def _error(text: str) -> str:
    lines = [x for x in text.splitlines() if x.strip()]
    for line in lines:
        if line.startswith("{") and (error := read_object(line).get("error")):
            return str(error)
    return lines[-1] if lines else "no answer"


def _hex(value: object) -> str:
    return f"{value:x}" if isinstance(value, int) and value else ""


def _int(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0

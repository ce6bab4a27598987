"""systemd units on the nodes: ``systemctl show`` of those that a Kubernetes node lives by."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from kdiag.facts.base import NodeCommand
from kdiag.facts.hosts import Answer, HostFact, answer
from kdiag.model.text import whole

RUNTIMES = ("containerd.service", "crio.service", "docker.service", "cri-docker.service")
_UNITS = ("kubelet.service", *RUNTIMES)
_PROPERTIES = (
    "Id,LoadState,ActiveState,SubState,UnitFileState,Result,NRestarts,ExecMainStatus,ExecMainCode,NeedDaemonReload,"
    "FragmentPath,DropInPaths,ExecStart,Environment,EnvironmentFiles,StateChangeTimestamp,ActiveEnterTimestamp,"
    "InactiveEnterTimestamp,TasksCurrent,TasksMax,ExecStartPre"
)
_TIME = re.compile(r"\w{3} (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC")


@dataclass(frozen=True, slots=True)
class Before:
    """A command that is run before the program, and the status with which it ended; 0 where that does not matter."""

    command: str
    status: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One unit as systemd has it loaded: what is on disk may differ until a daemon-reload."""

    name: str
    load: str = ""
    active: str = ""
    sub: str = ""
    enabled: str = ""
    result: str = ""
    restarts: int = 0
    exit_status: int = 0
    needs_reload: bool = False
    path: str = ""
    drop_ins: tuple[str, ...] = ()
    program: str = ""
    argv: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    environment_files: tuple[str, ...] = ()
    before: tuple[Before, ...] = ()
    changed: datetime | None = None
    entered: datetime | None = None
    left: datetime | None = None

    @property
    def exists(self) -> bool:
        """Whether systemd knows the unit at all."""
        return self.load not in ("not-found", "")

    @property
    def running(self) -> bool:
        """Whether it is up at this moment."""
        return self.active == "active"

    @property
    def state(self) -> str:
        """``active (running)``, ``activating (auto-restart)``: as ``systemctl status`` writes it."""
        return f"{self.active} ({self.sub})" if self.sub else self.active


class Units(HostFact[Mapping[str, Unit]]):
    """The kubelet's and the container runtimes' units, by name without ``.service``."""

    sources = (NodeCommand("units", ("systemctl", "show", "--no-pager", "--property=" + _PROPERTIES, *_UNITS)),)

    def unit(self, node: str, name: str) -> Unit | None:
        """One unit of one node; None when the node was not read or systemd does not know the unit."""
        unit = self.by_node.get(node, {}).get(name)
        return unit if unit and unit.exists else None

    def runtime(self, node: str) -> Unit | None:
        """The container runtime's unit: the one that runs, else the one that is there."""
        found = [u for r in RUNTIMES if (u := self.unit(node, r.removesuffix(".service")))]
        return next((u for u in found if u.running), found[0] if found else None)

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> Mapping[str, Unit]:
        """The blocks of ``systemctl show``, one a unit."""
        found: dict[str, Unit] = {}
        for block in answer(answers, "units").strip().split("\n\n"):
            unit = _unit(block)
            found[unit.name] = unit
        return found


def _unit(block: str) -> Unit:
    fields: dict[str, list[str]] = {}
    for line in block.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            fields.setdefault(key, []).append(value)
    one = {key: values[-1] for key, values in fields.items()}
    if not one.get("Id"):
        raise ValueError(f"no unit in {block[:60]!r}")
    start = one.get("ExecStart", "")
    program = re.search(r"path=(\S+)", start)
    argv = re.search(r"argv\[\]=(.*?) ; ", start)
    return Unit(
        name=one["Id"].removesuffix(".service"),
        load=one.get("LoadState", ""),
        active=one.get("ActiveState", ""),
        sub=one.get("SubState", ""),
        enabled=one.get("UnitFileState", ""),
        result=one.get("Result", ""),
        restarts=_number(one.get("NRestarts", "")),
        exit_status=_number(one.get("ExecMainStatus", "")),
        # Of a masked unit with drop-ins systemd says so whatever it has read.
        needs_reload=one.get("NeedDaemonReload", "") == "yes" and one.get("LoadState", "") != "masked",
        path=one.get("FragmentPath", ""),
        drop_ins=tuple(one.get("DropInPaths", "").split()),
        program=program[1] if program else "",
        argv=tuple(_words(argv[1])) if argv else (),
        environment=dict(w.partition("=")[::2] for w in _words(one.get("Environment", "")) if "=" in w),
        environment_files=tuple(v.partition(" (")[0] for v in fields.get("EnvironmentFiles", ()) if v),
        before=tuple(map(_before, fields.get("ExecStartPre", ()))),
        changed=_time(one.get("StateChangeTimestamp", "")),
        entered=_time(one.get("ActiveEnterTimestamp", "")),
        left=_time(one.get("InactiveEnterTimestamp", "")),
    )


def _before(text: str) -> Before:
    """``{ path=/bin/false ; argv[]=/bin/false ; ignore_errors=no ; … ; code=exited ; status=1 }``."""
    command = re.search(r"argv\[\]=(.*?) ; ", text)
    status = re.search(r" status=(\d{1,3})\b", text)
    matters = "ignore_errors=no" in text and "code=exited" in text
    return Before(" ".join(command[1].split()) if command else "", int(status[1]) if status and matters else 0)


def _number(text: str) -> int:
    return whole(text) or 0


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _time(text: str) -> datetime | None:
    match = _TIME.fullmatch(text.strip())
    return datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) if match else None

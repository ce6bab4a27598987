"""Lines of a systemd unit, where each stands, and which of them keeps a program from starting or ends it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kdiag.facts.base import NodeCommand
from kdiag.facts.hosts import Answer, HostFact, answer
from kdiag.facts.units import RUNTIMES, Unit


@dataclass(frozen=True, slots=True)
class UnitLine:
    """One setting of a unit as it takes effect, and the file and line that give it."""

    name: str
    value: str
    path: str
    line: int

    @property
    def text(self) -> str:
        """As it stands in the file."""
        return f"{self.name}={self.value}"


@dataclass(slots=True)
class UnitText:
    """What systemd makes of a unit and its drop-ins, of the text of ``systemctl cat``."""

    lines: dict[str, list[UnitLine]] = field(default_factory=dict)  # of [Unit] and [Service], by name

    @classmethod
    def read(cls, text: str) -> UnitText:
        """One unit: an empty value takes back what was said before."""
        found = cls()
        path, number, section = "", 0, ""
        pending, first = "", 0
        for raw in text.splitlines():
            if header := re.fullmatch(r"# (/\S+)", raw):
                path, number, pending = header[1], 0, ""
                continue
            number += 1
            line = pending + raw.strip()
            if not pending:
                first = number
                if line[:1] in ("#", ";"):
                    continue
            if line.endswith("\\"):
                pending = line[:-1] + " "
                continue
            pending = ""
            if named := re.fullmatch(r"\[(\w+)\]", line):
                section = named[1]
            key, equals, value = (part.strip() for part in line.partition("="))
            if equals and section in ("Service", "Unit", ""):
                if value:
                    found.lines.setdefault(key, []).append(UnitLine(key, value, path, first))
                else:
                    found.lines.pop(key, None)
        return found

    def of(self, *names: str) -> tuple[UnitLine, ...]:
        """The settings of these names, in their order."""
        return tuple(line for name in names for line in self.lines.get(name, ()))

    def last(self, *names: str) -> UnitLine | None:
        """The line that decides of the first of these settings that is there."""
        return next((found[-1] for name in names if (found := self.lines.get(name))), None)


class RuntimeUnits(HostFact[Mapping[str, UnitText]]):
    """The units of the container runtimes as they are on disk, by name without ``.service``."""

    sources = (NodeCommand("runtime-unit", ("systemctl", "cat", "--no-pager", *RUNTIMES), answers=(0, 1)),)

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> Mapping[str, UnitText]:
        """``# /lib/systemd/system/containerd.service`` stands before each file, those of a unit one after the other."""
        parts: dict[str, list[str]] = {}
        unit = ""
        for line in answer(answers, "runtime-unit").splitlines():
            if line.startswith("No files found for "):
                continue  # said beside the rest of runtimes that are not there
            if head := re.fullmatch(r"# /\S*?/([\w@-]+)\.service(?:\.d/\S+)?", line):
                unit = head[1]
            if unit:
                parts.setdefault(unit, []).append(line)
        return {name: UnitText.read("\n".join(lines)) for name, lines in parts.items()}


@dataclass(frozen=True, slots=True)
class UnitFault:
    """The line at fault, what about it, and how to mend it."""

    line: UnitLine
    what: str
    step: str


#: What systemd could not do before it started the program, by the exit status that it gives then.
_STEPS: Mapping[int, Sequence[str]] = {
    200: ("WorkingDirectory",),
    205: ("LimitNOFILE", "LimitNPROC", "LimitMEMLOCK", "LimitCORE"),
    216: ("Group", "SupplementaryGroups"),
    217: ("User",),
    218: ("CapabilityBoundingSet", "AmbientCapabilities"),
    219: ("Slice", "Delegate"),
    226: (
        *("ReadWritePaths", "ReadOnlyPaths", "InaccessiblePaths", "BindPaths", "BindReadOnlyPaths", "RootDirectory"),
        *("TemporaryFileSystem", "ProtectSystem", "PrivateTmp", "PrivateDevices"),
    ),
    228: ("SystemCallFilter",),
    233: ("RuntimeDirectory",),
    238: ("StateDirectory",),
}
#: What takes rights or folders from a program that needs them all.
_FENCES = (
    *("ProtectSystem", "ReadOnlyPaths", "InaccessiblePaths", "ProtectHome", "PrivateDevices", "ProtectKernelTunables"),
    *("ProtectControlGroups", "ProtectKernelModules", "CapabilityBoundingSet", "NoNewPrivileges", "SystemCallFilter"),
    *("RestrictNamespaces", "PrivateNetwork", "PrivateMounts", "RootDirectory", "DevicePolicy"),
)
_FENCED = re.compile(r"read-only file system|permission denied|operation not permitted|no such device", re.IGNORECASE)
_NO_THREAD = re.compile(r"newosproc|resource temporarily unavailable|pthread_create|failed to create new OS thread")
_NO_FILE = re.compile(r"too many open files")
_OVER = re.compile(r"reached runtime time limit")
_ROOT = ("root", "0")
_COMMAND = "correct the command, or what it looks for"


def unit_fault(text: UnitText, unit: Unit, said: str) -> UnitFault | None:
    """The line for which a unit that does not stay up fails; ``said`` is the last word of the program or of systemd."""
    return _beforehand(text, unit, said) or _afterwards(text, unit, said)


def limited_life(text: UnitText) -> UnitFault | None:
    """The line for which systemd ends a program that does well, again and again."""
    line = text.last("RuntimeMaxSec")
    return UnitFault(line, "systemd ends it after that time", "remove the line") if line and _soon(line.value) else None


#: What is said by a program that may use no network, or not this one.
_NO_WAY = re.compile(r"network is unreachable|operation not permitted|address family not supported", re.IGNORECASE)


def cut_off(text: UnitText, said: str) -> UnitFault | None:
    """The line for which a program that runs reaches nothing on the network; ``said`` is what it got in answer."""
    if not _NO_WAY.search(said):
        return None
    own = text.last("PrivateNetwork")
    line = own if own and own.value.lower() in ("yes", "true", "on", "1") else text.last("NetworkNamespacePath")
    line = line or text.last("IPAddressDeny", "RestrictAddressFamilies")
    return UnitFault(line, f"it reaches nothing on the network{_why(said)}", "remove the line") if line else None


def _beforehand(text: UnitText, unit: Unit, said: str) -> UnitFault | None:
    """What keeps systemd from starting the program at all."""
    files = [line for line in text.of("EnvironmentFile") if not line.value.startswith("-")]
    if unit.result == "resources" and len(files) == 1:
        return UnitFault(files[0], "it cannot be read", "correct the path; a - before it makes the file optional")
    commands = [line for line in text.of("ExecStartPre") if not line.value.startswith("-")]
    if failed := next((one for one in unit.before if one.status), None):
        same = [line for line in commands if " ".join(line.value.lstrip("@+!:").split()) == failed.command]
        if first := next(iter(same or commands), None):
            return UnitFault(first, f"it ends with status {failed.status}", _COMMAND)
    if not unit.before and len(commands) == 1 and (unit.result, unit.exit_status) == ("exit-code", 0):
        return UnitFault(commands[0], "it fails", _COMMAND)
    line = text.last(*_STEPS.get(unit.exit_status, ())) if unit.result == "exit-code" else None
    if line is None:
        return None
    return UnitFault(line, f"systemd cannot do that (status {unit.exit_status}){_why(said)}", "correct or remove it")


def _afterwards(text: UnitText, unit: Unit, said: str) -> UnitFault | None:
    """What ends the program, or takes from it what it needs."""
    if unit.exit_status in _STEPS:
        return None
    if (start := text.last("ExecStart")) and not said and unit.name not in start.value and start.path in unit.drop_ins:
        return UnitFault(
            start, f"it starts another program than {unit.name}", "remove the line, and the empty ExecStart= before it"
        )
    if (line := text.last("User")) and line.value not in _ROOT:
        return UnitFault(line, "it must run as root", "remove the line")
    if unit.result == "watchdog" and (line := text.last("WatchdogSec")):
        return UnitFault(line, "systemd kills it, for it does not report in that time", "remove the line")
    if unit.result == "oom-kill" or (unit.result == "signal" and unit.exit_status == 9):
        if line := text.last("MemoryMax", "MemoryLimit"):
            return UnitFault(line, "it is killed for want of memory", "remove the limit, or give it 200M and more")
        if line := text.last("RuntimeMaxSec", "WatchdogSec", "LimitCPU"):
            return UnitFault(line, "systemd ends it", "remove the line")
    if ended := limited_life(text):
        return ended
    if _OVER.search(said) and (line := text.last("RuntimeMaxSec")):
        return UnitFault(line, "systemd ends it after that time", "remove the line")
    late = unit.result in ("timeout", "protocol") or (unit.sub == "start" and unit.restarts)
    usual = ("notify", "simple", "exec") if unit.name != "kubelet" else ("simple", "exec")
    if late and (line := text.last("Type")) and line.value not in usual:
        return UnitFault(line, "systemd waits in vain for it to be ready", f"Type={usual[0]}")
    if _NO_THREAD.search(said) and (line := text.last("TasksMax", "LimitNPROC")):
        return UnitFault(line, "it may not start its threads", "remove the limit")
    if _NO_FILE.search(said) and (line := text.last("LimitNOFILE")):
        return UnitFault(line, "it may not open its files", "remove the limit")
    if _FENCED.search(said) and (line := text.last(*_FENCES)):
        return UnitFault(line, f"it lacks what it needs{_why(said)}", "remove the line: it needs all of the node")
    return None


def _soon(span: str) -> bool:
    """Whether a time as systemd takes it is that of a few minutes: no unit that is to stay up is given so little."""
    match = re.fullmatch(r"(\d{1,6})\s*(s|sec|seconds?|m|min|minutes?)?", span.strip())
    return match is not None and int(match[1]) * (60 if (match[2] or "s").startswith("m") else 1) <= 600


def _why(said: str) -> str:
    known = "|".join((r"No such file or directory|No such process", _FENCED.pattern, _NO_WAY.pattern))
    found = re.search(known, said, re.IGNORECASE)
    return f": {found[0].lower()}" if found else ""

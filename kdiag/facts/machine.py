"""The machine under a node: its clock, disks, kernel settings, kernel log and limits."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from kdiag.facts.base import Builder, Fact, NodeCommand, NodeFollow
from kdiag.facts.hosts import Answer, HostFact, _HostBuilder, answer
from kdiag.facts.nodefiles import READ_CLOCK, READ_KERNEL
from kdiag.facts.units import Units
from kdiag.model.result import Gap
from kdiag.model.text import whole

KUBELET = "/var/lib/kubelet"
_PLACES = (
    "/",
    KUBELET,
    f"{KUBELET}/pods",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/docker",
    "/var/lib/etcd",
    "/var/log",
    "/var/log/pods",
    "/run",
)


class EitherBuilder(_HostBuilder):
    """For facts whose commands of one key are ways to the same answer: one that answers is enough."""

    def finish(self) -> Fact:
        """The fact, without the gaps of commands that another one stood in for."""
        made = super().finish()
        spare = {
            Gap(f"{node} {a.name or a.key}", a.error)
            for node, answers in self._answers.items()
            for a in answers
            if a.error and any(o.key == a.key and not o.error for o in answers)
        }
        return dataclasses.replace(made, gaps=tuple(g for g in made.gaps if g not in spare))


class Clocks(HostFact[datetime]):
    """What each node's clock showed while it was read. Nodes are read at once, within a minute of each other."""

    sources = (READ_CLOCK,)

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> datetime:
        """Seconds since 1970; busybox does not know the part after the point."""
        match = re.match(r"(\d{1,11})(?!\d)(?:\.(\d{1,9}))?", answer(answers, "clock").strip())
        if not match:
            raise ValueError("no time")
        try:
            return datetime.fromtimestamp(float(f"{match[1]}.{match[2] or 0}"), UTC)
        except (OverflowError, OSError) as exc:
            raise ValueError("no time that there is") from exc


class HostNames(HostFact[str]):
    """What each machine calls itself. A kubelet takes it, in small letters, unless it is told of another name."""

    sources = (NodeCommand("host-name", ("uname", "-n")),)

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> str:
        """One word."""
        name = answer(answers, "host-name").strip()
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,253}", name):
            raise ValueError("no name")
        return name


class ClockServices(HostFact[Mapping[str, str]]):
    """What ``timedatectl`` says of the clock's synchronisation."""

    sources = (NodeCommand("timedatectl", ("timedatectl", "show")),)

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> Mapping[str, str]:
        """Its properties by name."""
        lines = answer(answers, "timedatectl").splitlines()
        return {key: value for key, _, value in (line.partition("=") for line in lines) if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filesystem:
    """One mounted filesystem as ``df`` counts it; bytes. What only root may use is neither used nor available."""

    mount: str
    device: str = ""
    kind: str = ""
    size: int = 0
    available: int = 0
    inodes: int = 0
    inodes_free: int = 0

    @property
    def free(self) -> float:
        """The part that is available, as the kubelet counts it; 1 when it cannot be full."""
        return self.available / self.size if self.size > 0 else 1.0

    @property
    def free_inodes(self) -> float:
        """The part of the inodes that is free; 1 for filesystems that make them as needed."""
        return self.inodes_free / self.inodes if self.inodes > 0 else 1.0


def holding(mounts: Mapping[str, Filesystem], path: str) -> Filesystem | None:
    """The filesystem that a path lies on."""
    found = [m for m in mounts if m == "/" or path == m or path.startswith(m + "/")]
    return mounts[max(found, key=len)] if found else None


class Disks(HostFact[Mapping[str, Filesystem]]):
    """The filesystems that a Kubernetes node writes to, by mount point."""

    sources = (
        NodeCommand("disks", ("df", "-PTk", *_PLACES), answers=(0, 1)),
        NodeCommand("inodes", ("df", "-Pi", *_PLACES), answers=(0, 1)),
    )

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> Mapping[str, Filesystem]:
        """Two tables of one line a filesystem; a line for what is not there is no row."""
        found: dict[str, Filesystem] = {}
        counts: dict[str, tuple[int, int]] = {}
        for line in answer(answers, "inodes").splitlines():
            row = line.split(None, 5)
            if len(row) == 6 and (total := whole(row[1])) is not None and (free := whole(row[3])) is not None:
                counts[row[5]] = (total, free)
        for line in answer(answers, "disks").splitlines():
            row = line.split(None, 6)
            if len(row) == 7 and row[2].isdigit() and re.fullmatch(r"-?\d+", row[4]):
                total, free = counts.get(row[6], (0, 0))
                found[row[6]] = Filesystem(
                    mount=row[6],
                    device=row[0],
                    kind=row[1],
                    size=int(row[2]) * 1024,
                    available=max(0, int(row[4])) * 1024,
                    inodes=total,
                    inodes_free=free,
                )
        if not found:
            raise ValueError("df shows no filesystem")
        return found


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of ``/proc/mounts``."""

    device: str
    path: str
    kind: str
    options: tuple[str, ...]

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written to it."""
        return "ro" in self.options


class Mounts(HostFact[tuple[Mount, ...]]):
    """What is mounted, in order: a later mount covers an earlier one of the same place."""

    sources = (NodeCommand("mounts", ("cat", "/proc/mounts"), limit=4 << 20),)

    def at(self, node: str, path: str) -> Mount | None:
        """The mount that a path lies on."""
        best: Mount | None = None
        for mount in self.by_node.get(node, ()):
            inside = mount.path == "/" or path == mount.path or path.startswith(mount.path + "/")
            if inside and (best is None or len(mount.path) >= len(best.path)):
                best = mount
        return best

    def hiding(self, node: str, path: str) -> Mount | None:
        """The file system in memory that lies over a folder, or over what it is in: what was there before is hidden.

        That a whole root or a whole /etc is in memory is how some machines are made.
        """
        mount = self.at(node, path)
        deep = mount is not None and mount.path.count("/") > 1
        return mount if deep and mount and mount.kind in ("tmpfs", "ramfs") else None

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> tuple[Mount, ...]:
        """One mount a line."""
        rows = (line.split() for line in answer(answers, "mounts").splitlines())
        found = tuple(Mount(row[0], row[1], row[2], tuple(row[3].split(","))) for row in rows if len(row) >= 4)
        if not found:
            raise ValueError("nothing is mounted")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """What the kernel says of itself under /proc; what a kernel does not have is not there."""

    settings: Mapping[str, str] = field(default_factory=dict)
    memory: Mapping[str, int] = field(default_factory=dict)  # bytes, by the names of /proc/meminfo
    swaps: tuple[str, ...] = ()
    threads: int = 0
    neighbours: int | None = None  # entries of the ARP table of IPv4, all of the machine's
    uptime: float = 0.0

    def number(self, name: str) -> int | None:
        """A setting by the name that sysctl gives it, when it is there and a number."""
        text = self.settings.get(name, "").split()
        return whole(text[0]) if text else None

    @property
    def most_threads(self) -> int | None:
        """How many threads there may be on the machine."""
        limits = [n for n in (self.number("kernel.pid_max"), self.number("kernel.threads-max")) if n]
        return min(limits) if limits else None

    @property
    def local_ports(self) -> tuple[int, int] | None:
        """The first and the last port that programs get for their own end of a connection."""
        words = self.settings.get("net.ipv4.ip_local_port_range", "").split()
        first, last = (whole(words[0]), whole(words[1])) if len(words) == 2 else (None, None)
        return (first, last) if first is not None and last is not None else None

    @property
    def conntrack(self) -> tuple[int, int] | None:
        """How many connections are tracked, and how many may be."""
        count = self.number("net.netfilter.nf_conntrack_count")
        most = self.number("net.netfilter.nf_conntrack_max") or self.number("net.nf_conntrack_max")
        return (count, most) if count is not None and most else None


class Kernels(HostFact[Kernel]):
    """Kernel settings and counters."""

    sources = (READ_KERNEL,)

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> Kernel:
        """Lines of ``file:content``."""
        files: dict[str, list[str]] = {}
        for line in answer(answers, "kernel").splitlines():
            path, colon, value = line.partition(":")
            if colon and path.startswith("/proc/"):
                files.setdefault(path, []).append(value)
        if not files:
            raise ValueError("nothing of /proc was shown")
        memory: dict[str, int] = {}
        for line in files.get("/proc/meminfo", ()):
            if match := re.fullmatch(r"(\S+):\s+(\d+) kB", line.strip()):
                memory[match[1]] = int(match[2]) * 1024
        table = [line.split() for line in files.get("/proc/net/stat/arp_cache", ())]
        entries = table[1][0] if len(table) > 1 and table[0][:1] == ["entries"] and table[1] else ""
        load = re.search(r" \d+/(\d+) ", " ".join(files.get("/proc/loadavg", ())))
        up = re.match(r"\d+(?:\.\d+)?", " ".join(files.get("/proc/uptime", ())))
        return Kernel(
            settings={
                path.removeprefix("/proc/sys/").replace("/", "."): lines[0].strip()
                for path, lines in files.items()
                if path.startswith("/proc/sys/")
            },
            memory=memory,
            swaps=tuple(line.split()[0] for line in files.get("/proc/swaps", ())[1:] if line.split()),
            threads=int(load[1]) if load else 0,
            neighbours=int(entries, 16) if re.fullmatch(r"[0-9a-fA-F]{1,8}", entries) else None,
            uptime=float(up[0]) if up else 0.0,
        )


@dataclass(frozen=True, slots=True)
class KernelLine:
    """One line of the kernel's log, and when it came."""

    when: datetime
    text: str


class KernelLogs(HostFact[tuple[KernelLine, ...]]):
    """The kernel's errors since the machine started, oldest first: from the journal, or from the kernel itself."""

    sources = (
        NodeCommand(
            "kernel-log",
            ("journalctl", "-k", "-p", "err", "-n", "500", "--no-pager", "-o", "short-unix"),
            sudo=True,
            name="journal",
        ),
        NodeFollow("kernel-log"),
    )

    @classmethod
    def builder(cls) -> Builder:
        """Either is enough."""
        return EitherBuilder(cls)

    @staticmethod
    def follow(node: str, answers: tuple[Answer, ...]) -> Iterable[NodeCommand]:
        """The kernel itself, where the journal has nothing of it: not every journal keeps what the kernel says."""
        if not _journal(answer(answers, "kernel-log", "journal")):
            argv = ("dmesg", "-T", "-l", "emerg,alert,crit,err")
            yield NodeCommand("kernel-log", argv, sudo=True, name="dmesg", limit=524_288)

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> tuple[KernelLine, ...]:
        """``1795342528.28 cp1 kernel: text`` or ``[Sun Nov 22 10:31:02 2026] text``; other lines are passed over."""
        found = [*_journal(answer(answers, "kernel-log", "journal"))]
        return tuple(found or _dmesg(answer(answers, "kernel-log", "dmesg")))


def _journal(text: str) -> list[KernelLine]:
    found = []
    for line in text.splitlines():
        if match := re.match(r"(\d{9,11})(?:\.\d+)? \S+ kernel: (.*)", line):
            found.append(KernelLine(datetime.fromtimestamp(int(match[1]), UTC), match[2]))
    return found


def _dmesg(text: str) -> list[KernelLine]:
    found = []
    for line in text.splitlines():
        if match := re.match(r"\[(\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4})\] (.*)", line):
            try:
                when = datetime.strptime(match[1], "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
            except ValueError:
                continue
            found.append(KernelLine(when, match[2]))
    return found


@dataclass(frozen=True, slots=True)
class Tasks:
    """The tasks of one unit, and how many it may have; None for no limit."""

    unit: str
    current: int
    most: int | None


class UnitTasks(HostFact[tuple[Tasks, ...]]):
    """How near the kubelet and the container runtime are to their units' limit of tasks."""

    sources = (*Units.sources, NodeFollow("tasks"))  # "tasks": of older recordings

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> tuple[Tasks, ...]:
        """The blocks of ``systemctl show``; a unit that does not run has no count."""
        found = []
        for block in (answer(answers, "tasks") or answer(answers, "units")).strip().split("\n\n"):
            one = dict(line.partition("=")[::2] for line in block.splitlines())
            current, most = one.get("TasksCurrent", ""), one.get("TasksMax", "")
            count = whole(current) if len(current) < 12 else None
            if one.get("Id") and count is not None:
                limit = whole(most) if len(most) < 12 else None
                found.append(Tasks(one["Id"].removesuffix(".service"), count, limit))
        return tuple(found)


def moment(clocks: Clocks | None, node: str) -> datetime | None:
    """What a node's own clock showed: the time to measure its own log by."""
    return clocks.get(node) if clocks else None

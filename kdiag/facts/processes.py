"""Processes of the nodes that do not run although they are there: stopped by a signal, or with their cgroup frozen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kdiag.facts.base import NodeCommand, NodeFollow
from kdiag.facts.hosts import Answer, HostFact, answer

#: What is asked of all processes, and again of those that do not run.
_FORMAT = "pid=,stat=,wchan:24=,comm="
AGAIN = "pid=,stat=,wchan:24=,comm=,cgroup="
_LINE = re.compile(r"\s*(?P<pid>[1-9]\d{0,9})\s+(?P<stat>[A-Za-z]\S{0,7})\s+(?P<wchan>\S{1,64})\s+(?P<rest>\S.*)")
#: Where in the kernel a process waits whose cgroup is frozen, of the old hierarchy and of the new. A newer kernel
#: leaves it with the old one where it is, in state D, and the cgroup alone tells.
_FROZEN = ("__refrigerator", "do_freezer_trap")
_ROOT = "/sys/fs/cgroup/freezer"
#: The cgroups that are frozen, with those below them.
FREEZERS = ("grep", "-rsHx", "--include=freezer.state", "FROZEN", _ROOT)
#: Stopped, or who leads a session and waits for something else than a signal.
_MAY_BE = re.compile(r"T|D.*s")
_POD = re.compile(r"pod([0-9a-f]{8}(?:[-_]?[0-9a-f]{4}){3}[-_]?[0-9a-f]{12})")
_CGROUP = re.compile(r"(?:^|,)(?:\d+:(?P<which>freezer)|0:):(?P<path>/[A-Za-z0-9_.:/@\\-]*)")
_SERVICE = re.compile(r"/([A-Za-z0-9@_.-]{1,80})\.service(?:,|$|/)")
_MOST = 50
#: The kernel keeps fifteen letters of a name.
_LONG = {
    "kube-controller": "kube-controller-manager",
    "systemd-journal": "systemd-journald",
    "containerd-shim": "containerd-shim-runc-v2",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Halted:
    """A process that did not run, twice in a row: its name, where it belongs, and how it was brought to a halt."""

    pid: int
    name: str
    stat: str
    wchan: str
    cgroup: str = ""

    @property
    def stopped(self) -> bool:
        """Whether it got SIGSTOP; else its cgroup is frozen."""
        return self.stat.startswith("T")

    @property
    def leader(self) -> bool:
        """Whether it leads its session: a daemon or a container's first process, and no job that a shell has put by."""
        return "s" in self.stat

    @property
    def pod(self) -> str:
        """The uid of the pod that it belongs to."""
        found = _POD.search(self.cgroup)
        return found[1].replace("_", "-") if found else ""

    @property
    def service(self) -> str:
        """The unit that it belongs to, where it belongs to no pod."""
        found = _SERVICE.search(self.cgroup) if not self.pod else None
        return found[1] if found else ""

    @property
    def freezer(self) -> str:
        """The file of its cgroup that says whether it is frozen, with systemd's places of the hierarchies."""
        found = {m["which"] or "": m["path"].rstrip("/") for m in _CGROUP.finditer(self.cgroup)}
        if "freezer" in found:
            return f"{_ROOT}{found['freezer']}/freezer.state"
        return f"/sys/fs/cgroup{found['']}/cgroup.freeze" if found.get("") else ""


class Processes(HostFact[tuple[Halted, ...]]):
    """Of each node the processes that do not run. Looked at twice: a runtime freezes a container for a moment, too."""

    sources = (
        NodeCommand("processes", ("ps", "-e", "-o", _FORMAT), sudo=True, limit=1 << 20),
        NodeFollow("processes-again"),
        NodeFollow("freezers"),
    )

    @staticmethod
    def follow(node: str, answers: tuple[Answer, ...]) -> Iterable[NodeCommand]:
        """The same processes again, with their cgroups."""
        halted = [*_halted(answer(answers, "processes"))][:_MOST]
        if halted:
            argv = ("ps", "-ww", "-o", AGAIN, "-p", ",".join(str(one.pid) for one in halted))
            yield NodeCommand("processes-again", argv, sudo=True, limit=262_144, answers=(0, 1))
        if any(one.stat.startswith("D") for one in halted):
            yield NodeCommand("freezers", FREEZERS, answers=(0, 1, 2))

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> tuple[Halted, ...]:
        """Those of the second look that the first one named."""
        first = answer(answers, "processes")
        if not any(map(_LINE.fullmatch, first.splitlines())):
            raise ValueError("ps lists no process")
        named = {(one.pid, one.stopped) for one in _halted(first)}
        frozen = {line.rpartition(":")[0] for line in answer(answers, "freezers").splitlines()}
        again = _halted(answer(answers, "processes-again"), grouped=True)
        return tuple(
            one
            for one in again
            if (one.pid, one.stopped) in named
            and (one.stopped or one.wchan.startswith(_FROZEN) or one.freezer in frozen)
        )


def _halted(text: str, *, grouped: bool = False) -> Iterator[Halted]:
    for line in text.splitlines():
        found = _LINE.fullmatch(line.rstrip())
        if found is None or not (_MAY_BE.match(found["stat"]) or found["wchan"].startswith(_FROZEN)):
            continue
        name, _, group = found["rest"].rpartition(" ") if grouped else (found["rest"], "", "")
        name = name.strip()
        yield Halted(
            pid=int(found["pid"]), name=_LONG.get(name, name), stat=found["stat"], wchan=found["wchan"], cgroup=group
        )

"""The last lines of the logs of containers that fail, or that depend on something by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

from kdiag.facts.base import Builder, Fact, PodLog
from kdiag.model.observation import Observation
from kdiag.model.redact import RUN
from kdiag.model.result import Gap
from kdiag.model.text import clean

_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d) ?")
#: Some times as many as are asked for; who sends more would have every check read them.
_MOST_LINES = 1000
#: As klog begins a value of several lines; each line has a tab before it, and " >" ends it.
_BLOCK = "=<"
_MOST = 20
_LOST = b"unable to retrieve container logs for "


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line, with the time at which the runtime took it; None when that was not given."""

    text: str
    when: datetime | None = None


#: Anything with a text that is one line: of a container's log, of the journal.
L = TypeVar("L", bound=Any)


def whole_messages(lines: Iterable[L]) -> tuple[L, ...]:
    """The lines, with each message that klog spread over several of them made one again, as klog quotes a short one."""
    found: list[L] = []
    taken: list[L] = []
    for line in lines:
        if not taken:
            (taken if line.text.endswith(_BLOCK) else found).append(line)
        elif line.text.startswith("\t") and len(taken) < _MOST:
            taken.append(line)
        elif line.text.startswith(" >"):
            said = "; ".join(part.text.strip().replace('"', '\\"') for part in taken[1:])
            found.append(replace(taken[0], text=f'{taken[0].text[:-1]}"{said}"{line.text[2:]}'))
            taken = []
        else:
            found += [*taken, line]
            taken = []
    return (*found, *taken)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerLog:
    """The end of one container's log. ``previous`` is the log of the run before the present one."""

    namespace: str
    pod: str
    container: str
    previous: bool = False
    lines: tuple[LogLine, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Logs(Fact):
    """The logs that were read; that there were more than the bound is a gap."""

    sources = (PodLog(),)
    items: tuple[ContainerLog, ...] = field(default=())

    def of(self, namespace: str, pod: str, container: str = "") -> tuple[ContainerLog, ...]:
        """The logs of one pod (and container): the previous run's first, because it holds the reason for the end."""
        found = self._by_pod.get((namespace, pod), ())
        return tuple(log for log in found if container in ("", log.container))

    @cached_property
    def _by_pod(self) -> Mapping[tuple[str, str], list[ContainerLog]]:
        found: dict[tuple[str, str], list[ContainerLog]] = {}
        for log in sorted(self.items, key=lambda log: not log.previous):
            found.setdefault((log.namespace, log.pod), []).append(log)
        return found

    def lines(self, namespace: str, pod: str, container: str = "") -> Iterator[LogLine]:
        """All lines of one pod or container, newest first, the present run's before the previous run's."""
        for log in reversed(self.of(namespace, pod, container)):
            yield from reversed(log.lines)

    @classmethod
    def builder(cls) -> Builder:
        """Read logs; one that could not be read is a gap of its own."""
        return _LogBuilder()


class _LogBuilder:
    def __init__(self) -> None:
        self._items: list[ContainerLog] = []
        self._gaps: list[Gap] = []

    def feed(self, seen: Observation) -> None:
        if seen.absent:
            return
        if seen.error:
            self._gaps.append(Gap(f"log of {clean(seen.name)[:160]}" if seen.name else "log", seen.error))
            return
        parts = seen.name.split("/")
        if len(parts) != 4:
            self._gaps.append(Gap("log", f"{clean(seen.name)[:80]!r} does not name a container"))
            return
        if bytes(seen.body[:40]).startswith(_LOST):
            # The kubelet's 200 for a log that it cannot find or reach. That of a run before may be gone rightfully.
            if parts[3] != "previous":
                self._gaps.append(Gap(f"log of {clean(seen.name)[:160]}", "its node cannot read it"))
            return
        text = RUN.text(clean(bytes(seen.body).decode("utf-8", "replace").replace("\r\n", "\n")))
        self._items.append(
            ContainerLog(
                namespace=parts[0],
                pod=parts[1],
                container=parts[2],
                previous=parts[3] == "previous",
                lines=whole_messages(map(_line, text.splitlines()[-_MOST_LINES:])),
            )
        )

    def finish(self) -> Fact:
        return Logs(items=tuple(self._items), gaps=tuple(self._gaps))


def _line(text: str) -> LogLine:
    match = _STAMP.match(text)
    if not match:
        return LogLine(text[:2000])
    try:
        when = datetime.fromisoformat(match[1] + match[2].replace("Z", "+00:00"))
    except ValueError:
        return LogLine(text[:2000])
    return LogLine(text[match.end() :][:2000], when)

"""``Failure``: one failing container, with the one fault that it has."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from datetime import datetime

from kdiag.facts.configuration import ConfigMap
from kdiag.facts.logs import LogLine
from kdiag.facts.pods import Pod, Terminated
from kdiag.facts.podspec import Container
from kdiag.model.result import Ref
from kdiag.model.text import shorten


class Fault(enum.Enum):
    """What is wrong with one container, or with a pod as a whole."""

    IMAGE_NOT_FOUND = "image not found"
    IMAGE_DENIED = "image denied"
    REGISTRY_UNREACHABLE = "registry unreachable"
    IMAGE_NAME_INVALID = "image name invalid"
    IMAGE_NEVER_PULLED = "image never pulled"
    IMAGE_OTHER = "image not pulled"
    CONFIGMAP_MISSING = "ConfigMap missing"
    SECRET_MISSING = "Secret missing"  # noqa: S105
    KEY_MISSING = "key missing"
    RUNS_AS_ROOT = "runs as root"
    CONFIG_OTHER = "configuration refused"
    COMMAND_NOT_FOUND = "command not found"
    WRONG_ARCHITECTURE = "wrong architecture"
    SCRIPT = "script cannot be run"
    MOUNT_FAILS = "mount fails"
    OUT_OF_MEMORY = "out of memory"
    PORT_IN_USE = "port in use"
    PERMISSION_DENIED = "permission denied"
    LIVENESS = "killed by its liveness probe"
    SLOW_START = "killed before it has started"
    STARTUP = "killed by its startup probe"
    POST_START = "postStart hook fails"
    INIT_FAILS = "init container fails"
    INIT_WAITS = "init container waits"
    CRASH = "crashes"
    CLEAN_EXIT = "exits cleanly"
    READINESS = "not ready"
    CREATING = "not created"
    UNSCHEDULED = "not scheduled"
    NODE_SILENT = "node does not report"
    GATE = "readiness gate"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenScript:
    """A file of a ConfigMap that cannot be run as its container runs it."""

    path: str
    config: ConfigMap
    key: str
    why: str
    #: Whether the mount's mode is wrong, and not the text.
    mode: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failing container of one pod. ``about`` is what the fault names: a ConfigMap, a command, a port.

    ``script``: what is wrong with what it runs, for ``Fault.SCRIPT``.
    """

    pod: Pod
    owner: Ref
    fault: Fault
    container: str = ""
    init: bool = False
    text: str = ""
    about: str = ""
    key: str = ""
    reason: str = ""
    end: Terminated | None = None
    restarts: int = 0
    ready: bool = False
    log: tuple[LogLine, ...] = ()
    previous: bool = False
    since: datetime | None = None
    script: BrokenScript | None = None

    @property
    def spec(self) -> Container:
        """The container in the template."""
        return self.pod.spec.container(self.container) or Container(name=self.container)

    @property
    def where(self) -> str:
        """The workload, with the container where there is more than one."""
        what = f"{self.owner.kind} {self.owner.path}"
        if self.init:
            return f"{what}: init container {self.container}"
        if any(c.name == self.container for c in self.pod.spec.init_containers):
            return f"{what}: sidecar {self.container}"
        return f"{what}: container {self.container}" if len(self.pod.spec.containers) > 1 else what

    @property
    def status(self) -> str:
        """What ``kubectl get pod`` and ``describe`` show of it, in one line."""
        parts = [f"{self.container}: {self.reason}" if self.container else self.reason]
        if self.restarts:
            parts.append(f"{self.restarts} restarts")
        if self.end:
            parts.append(f"last ended {self.end.reason or 'Error'}, exit code {self.end.exit_code}")
        return ", ".join(parts)

    @property
    def said(self) -> str:
        """``text`` without the wrapping that every runtime error has around it."""
        text = " ".join(self.text.split())
        for word in ("unable to start container process: ", "error during container init: ", "ErrImagePull: "):
            text = text.rpartition(word)[2]
        text = re.sub(r"^(?:rpc error: code = \w+ desc = )+", "", text)
        return shorten(re.sub(r": unknown$", "", text), 400)

    @property
    def started(self) -> str:
        """``since`` as an RFC 3339 time; empty when not known."""
        return self.since.isoformat() if self.since else ""

    @property
    def log_command(self) -> tuple[str, ...]:
        """The words after ``kubectl -n ns`` that show the log in which the reason stands."""
        words = ("logs", self.pod.name) + (("-c", self.container) if len(self.pod.spec.all_containers) > 1 else ())
        return (*words, "--previous") if self.previous else words


def touched(group: list[Failure], *more: Ref) -> tuple[Ref, ...]:
    """What a finding about these failures touches: their pods (a few stand for all), and more."""
    return (*more, *(f.pod.ref() for f in group[:20]))

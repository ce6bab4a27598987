"""The values that a check yields and that everything after it reads."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from kdiag.model.text import clean_line

T = TypeVar("T")


class Severity(enum.IntEnum):
    """How bad a finding is. RISK is not broken now: it is shown only when asked for."""

    RISK = 0
    INFO = 1
    WARNING = 2
    ERROR = 3
    CRITICAL = 4


class Status(enum.Enum):
    """What came out of one check. UNKNOWN is never to be read as healthy."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"
    ERROR = "error"


class Ref(msgspec.Struct, frozen=True, order=True, gc=False, cache_hash=True):
    """An object of a cluster, named whether or not an API server could name it.

    No dataclass: folding looks up hundreds of thousands of these, and a struct hashes and compares five times as fast.
    """

    kind: str
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.path}"

    @property
    def path(self) -> str:
        """``namespace/name``, or the name alone for what has no namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


#: The whole cluster: the subject of what concerns no single object, and what everything depends on.
CLUSTER = Ref("Cluster", "cluster")
#: What the controller manager makes and keeps up, wherever it is: all of that waits for it, and nothing else does.
CONTROLLERS = Ref("Cluster", "controllers")


def controller(name: str) -> Ref:
    """One controller of the controller manager, by its own name, for what stands still without it alone."""
    return Ref("Controller", name)


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """One observation: the command that a person would have typed, and what of its answer tells."""

    command: str
    shown: str
    source: str = "api"


class Shared(msgspec.Struct, frozen=True, gc=False):
    """What is wrong with one object that several others need: as many findings of it are one cause.

    ``fault`` says it without them ("ConfigMap shop/settings does not exist"), ``hits`` what they do who stumble over
    it, as said of several ("need it"). Neither holds a count, time or pod name.
    """

    ref: Ref
    fault: str
    hits: str = "need it"


class Finding(msgspec.Struct, frozen=True, gc=False):
    """One thing that is wrong, about one object, with what was seen to say so.

    ``touches`` names further objects that the fault sits in or breaks directly; folding uses them.
    ``key`` tells two findings of one check about one object apart and must hold no count, time or pod name.
    ``since`` is when it began, as an RFC 3339 time, where that was observed. ``container`` is the one of a pod that it
    is about: what one of them lacks is no reason for what another does. ``own`` says that the reason is seen, and lies
    in the object itself: no other workload, no Service and no fault of the whole cluster causes it. ``later`` says that
    it breaks nothing before a program starts again: of no other object is it the cause. ``shared`` is what this finding
    has in common with those of other objects.
    """

    subject: Ref
    message: str
    evidence: tuple[Evidence, ...] = ()
    next: tuple[str, ...] = ()
    touches: tuple[Ref, ...] = ()
    key: str = ""
    severity: Severity | None = None
    since: str = ""
    container: str = ""
    own: bool = False
    later: bool = False
    shared: Shared | None = None


def present(*parts: T | None) -> tuple[T, ...]:
    """Those of the parts that are there: evidence and steps, some of which hold only where something else was seen."""
    return tuple(part for part in parts if part is not None)


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that was asked for and not seen, and why."""

    source: str
    reason: str

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Result:
    """What one check came to."""

    check_id: str
    status: Status
    findings: tuple[Finding, ...] = ()
    gaps: tuple[Gap, ...] = ()
    reason: str = ""


def cleaned(finding: Finding, severity: Severity) -> Finding:
    """The finding with every string safe to show, whatever the check put into it, and with a severity."""
    return Finding(
        subject=_ref(finding.subject),
        message=clean_line(finding.message),
        evidence=tuple(
            Evidence(clean_line(e.command), clean_line(e.shown), clean_line(e.source)) for e in finding.evidence
        ),
        next=tuple(map(clean_line, finding.next)),
        touches=tuple(map(_ref, finding.touches)),
        key=clean_line(finding.key),
        severity=severity if finding.severity is None else finding.severity,
        since=clean_line(finding.since),
        container=clean_line(finding.container),
        own=finding.own,
        later=finding.later,
        shared=(
            Shared(_ref(finding.shared.ref), clean_line(finding.shared.fault), clean_line(finding.shared.hits))
            if finding.shared
            else None
        ),
    )


def _ref(ref: Ref) -> Ref:
    if f"{ref.kind}{ref.name}{ref.namespace}".isprintable():
        return ref
    return Ref(clean_line(ref.kind), clean_line(ref.name), clean_line(ref.namespace))

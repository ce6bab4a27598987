"""Events: evidence, never the judge. They expire after an hour, and a healthy object may have bad ones."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any, ClassVar

from kdiag.facts.base import ApiList, Objects
from kdiag.facts.meta import Lean, Time
from kdiag.model.redact import RUN
from kdiag.model.result import Ref

#: What happens on every healthy day, by the thousand, and proves nothing.
_ROUTINE = frozenset(
    {
        *("Pulled", "Pulling", "Created", "Started", "Scheduled", "SuccessfulCreate", "SuccessfulDelete"),
        *("SawCompletedJob", "Completed", "LeaderElection", "RegisteredNode", "NodeAllocatableEnforced"),
        *("NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID"),
    }
)


class Involved(Lean, frozen=True, gc=False):
    """The object that an event is about."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    field_path: str = ""


class _Series(Lean, frozen=True, gc=False):
    count: int = 0
    last_observed_time: Time | None = None


class _Source(Lean, frozen=True, gc=False):
    component: str = ""
    host: str = ""


class _EventMeta(Lean, frozen=True, gc=False):
    namespace: str = ""
    creation_timestamp: Time | None = None


class Event(Lean, frozen=True, gc=False):
    """An event."""

    metadata: _EventMeta = _EventMeta()
    involved_object: Involved = Involved()
    reason: str = ""
    message: str = ""
    source: _Source = _Source()
    first_timestamp: Time | None = None
    last_timestamp: Time | None = None
    count: int = 0
    type: str = ""
    event_time: Time | None = None
    series: _Series | None = None
    reporting_component: str = ""

    @property
    def namespace(self) -> str:
        """The namespace that it is kept in."""
        return self.metadata.namespace

    @property
    def name(self) -> str:
        """Not kept: an event's own name says nothing."""
        return ""

    @property
    def created(self) -> datetime | None:
        """When it was first written."""
        return self.metadata.creation_timestamp

    @property
    def when(self) -> datetime | None:
        """The last time that it happened."""
        return (
            (self.series.last_observed_time if self.series else None)
            or self.last_timestamp
            or self.event_time
            or self.created
        )

    @property
    def first(self) -> datetime | None:
        """The first time that it happened."""
        return self.first_timestamp or self.event_time or self.created

    @property
    def times(self) -> int:
        """How often it happened."""
        return max(self.count, self.series.count if self.series else 0, 1)

    @property
    def about(self) -> Ref:
        """The object that it is about."""
        o = self.involved_object
        return Ref(o.kind, o.name, o.namespace)

    @property
    def component(self) -> str:
        """Who said it."""
        return self.source.component or self.reporting_component


#: Seconds that a cloud may take to bring a node.
SCALE_UP = 900
#: What the cluster autoscaler and Karpenter say of a pod for which they bring one.
_COMING = ("TriggeredScaleUp", "Nominated")
#: And of one for which they do not; Karpenter takes the scheduler's word for it.
_NOT_COMING = ("NotTriggerScaleUp", "FailedScaleUp", "FailedScheduling")


class Events(Objects[Event]):
    """Every event that is not routine. Bounded where it is read; what was cut is a gap."""

    item: ClassVar[type[Any]] = Event
    spare: ClassVar[bool] = True
    sources = (ApiList("events", "v1", "events"),)

    @classmethod
    def adapt(cls, item: Event) -> Event | None:
        """Drop routine, take credentials out of the text."""
        if item.type == "Normal" and item.reason in _ROUTINE:
            return None
        # The words that every event repeats are kept once: a large cluster has tens of thousands.
        o, source = item.involved_object, item.source
        return Event(
            _EventMeta(sys.intern(item.metadata.namespace), item.metadata.creation_timestamp),
            Involved(sys.intern(o.kind), sys.intern(o.namespace), o.name, sys.intern(o.field_path)),
            sys.intern(item.reason),
            _said(item.message),
            _Source(sys.intern(source.component), sys.intern(source.host)),
            item.first_timestamp,
            item.last_timestamp,
            item.count,
            sys.intern(item.type),
            item.event_time,
            item.series,
            sys.intern(item.reporting_component),
        )

    @cached_property
    def _by_object(self) -> Mapping[Ref, tuple[Event, ...]]:
        found: dict[Ref, list[Event]] = {}
        for event in self.items:
            found.setdefault(event.about, []).append(event)
        return {ref: _newest_first(events) for ref, events in found.items()}

    def about(self, ref: Ref, *reasons: str) -> tuple[Event, ...]:
        """The events of one object, newest first; with reasons, only those of these reasons."""
        events = self._by_object.get(ref, ())
        return tuple(e for e in events if e.reason in reasons) if reasons else events

    def latest(self, ref: Ref, *reasons: str) -> Event | None:
        """The newest event of one object, of these reasons if any are given."""
        return next(iter(self.about(ref, *reasons)), None)

    def node_coming(self, ref: Ref, now: datetime) -> bool:
        """Whether an autoscaler has said lately that it brings a node for this pod."""
        found = self.latest(ref, *_COMING)
        return bool(found and found.when and (now - found.when).total_seconds() < SCALE_UP)

    def no_node_coming(self, ref: Ref, now: datetime) -> Event | None:
        """What an autoscaler said within the hour of why it brings no node for this pod."""
        for event in self.about(ref, *_NOT_COMING):
            lately = event.when is not None and (now - event.when).total_seconds() < 3600
            if lately and (event.reason != "FailedScheduling" or event.component == "karpenter"):
                return event
        return None

    @cached_property
    def by_reason(self) -> Mapping[str, tuple[Event, ...]]:
        """Events by reason, newest first."""
        found: dict[str, list[Event]] = {}
        for event in self.items:
            found.setdefault(event.reason, []).append(event)
        return {reason: _newest_first(events) for reason, events in found.items()}


@lru_cache(maxsize=4096)
def _said(message: str) -> str:
    # The same probe fails in the same words a thousand times.
    return RUN.text(message)


_NEVER = datetime.min.replace(tzinfo=UTC)


def _newest_first(events: list[Event]) -> tuple[Event, ...]:
    if len(events) == 1:
        return (events[0],)  # most objects of a large cluster have one
    return tuple(sorted(events, key=lambda event: event.when or _NEVER, reverse=True))

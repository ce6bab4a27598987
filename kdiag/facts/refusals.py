"""Pods that the API server refuses to make: who asked, what it said, and which kind of refusal it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from kdiag.facts.base import Derived
from kdiag.facts.cluster import Cluster
from kdiag.facts.events import Event, Events
from kdiag.facts.workloads import (
    CronJobs,
    DaemonSet,
    Deployment,
    Jobs,
    Owners,
    ReplicationController,
    StatefulSet,
    Workload,
    Workloads,
)
from kdiag.model.result import Gap, Ref, Severity

_PREFIX = re.compile(
    r"^(?:\(combined from similar events\): )?"
    r"(?:Error creating(?: job)?: |failed to create new replica set \"[^\"]*\": "
    r"|[Cc]reate (?:Pod|Claim) \S+ (?:for Pod \S+ )?in StatefulSet \S+ failed error: )?"
)
_KINDS = (
    ("webhook_call", re.compile(r"failed calling webhook|failed to call webhook")),
    ("quota", re.compile(r"exceeded quota: |failed quota: |insufficient quota to match these scopes")),
    ("pod_security", re.compile(r"violates PodSecurity \"")),
    ("service_account", re.compile(r"error looking up service account |serviceaccount \"[^\"]*\" not found")),
    (
        "denied",
        re.compile(
            r"admission webhook \"[^\"]*\" denied|ValidatingAdmissionPolicy '[^']*' with binding "
            r"|expression '[\s\S]*' resulted in error: "
        ),
    ),
    (
        "limit_range",
        re.compile(
            r"(?:maximum|minimum) \S+ usage per (?:Container|Pod|PersistentVolumeClaim)|max limit to request ratio"
        ),
    ),
)
_FRESH = timedelta(minutes=40)  # the longest pause between two tries is some 17 minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One controller that is kept from making its pods (or Jobs, or ReplicaSets)."""

    subject: Ref  # the workload that a person thinks of
    maker: Ref  # the object that events and conditions are about
    message: str  # what the API server said, without the controller's own words before it
    kind: str  # quota, limit_range, pod_security, service_account, denied, webhook_call, or empty
    have: int
    want: int
    harmless: bool  # the workload has all the ready pods it wants: only its change is held up
    since: datetime | None = None

    @property
    def severity(self) -> Severity:
        """A warning where nobody misses a pod yet."""
        return Severity.WARNING if self.harmless else Severity.ERROR

    @property
    def made(self) -> str:
        """What it may not make."""
        return "Jobs" if self.maker.kind == "CronJob" else "pods"

    def steady(self, text: str) -> str:
        """A text without the random end of the name of the pod that was to be made."""
        return re.sub(rf"({re.escape(self.maker.name)})-[a-z0-9]{{5}}\b", r"\1-…", text)

    @property
    def started(self) -> str:
        """``since`` as an RFC 3339 time; empty when not known."""
        return self.since.isoformat() if self.since else ""


@dataclass(frozen=True, kw_only=True)
class Refusals(Derived):
    """What is refused now: never an old event of a controller that has its pods."""

    workloads: Workloads = field(default_factory=Workloads)
    jobs: Jobs = field(default_factory=Jobs)
    cronjobs: CronJobs = field(default_factory=CronJobs)
    owners: Owners = field(default_factory=Owners)
    cluster: Cluster = field(default_factory=Cluster)

    @classmethod
    def derive(cls, workloads: Workloads, jobs: Jobs, cronjobs: CronJobs, owners: Owners, cluster: Cluster) -> Refusals:
        """Join what makes pods."""
        return cls(workloads=workloads, jobs=jobs, cronjobs=cronjobs, owners=owners, cluster=cluster)

    @cached_property
    def _known(self) -> dict[int, tuple[Refusal, ...]]:
        return {}

    def all(self, events: Events | None) -> tuple[Refusal, ...]:
        """Every refusal. Conditions first; events where a kind has no condition for it."""
        key = id(events)
        if key not in self._known:
            found: dict[tuple[Ref, str], Refusal] = {}
            seen = events or Events()
            for refusal in (
                *_of_sets(_sets(self.workloads), self.workloads, self.owners, seen),
                *_of_workloads(self.workloads, seen, self.cluster),
                *_of_jobs(self.jobs, self.workloads, self.owners, seen, self.cluster),
                *_of_cronjobs(self.cronjobs, seen, self.cluster),
            ):
                found.setdefault((refusal.subject, refusal.kind), refusal)
            self._known[key] = tuple(found.values())
        return self._known[key]

    def of_kind(self, kind: str, events: Events | None) -> tuple[Refusal, ...]:
        """The refusals of one kind; of the empty kind, those that fit no other."""
        return tuple(r for r in self.all(events) if r.kind == kind)

    def hidden(self, events: Events | None) -> Iterator[Gap]:
        """Where events were not seen and would decide: workloads that lack pods and have no condition to say why."""
        if events is not None and not events.gaps:
            return
        for workload in self.workloads.items:
            if isinstance(workload, (StatefulSet, DaemonSet)) and workload.status.observed_generation:
                pods = self.workloads.pods_of(workload)
                if len(pods) < workload.desired and all(p.ready for p in pods):
                    yield Gap("events", f"not seen; they would say why {workload.ref()} lacks pods")


def refusal_kind(message: str) -> str:
    """Which part of admission said this."""
    return next((kind for kind, pattern in _KINDS if pattern.search(message)), "")


def _bare(message: str) -> str:
    return _PREFIX.sub("", message.strip(), count=1)


def _recent(event: Event | None, cluster: Cluster) -> bool:
    return event is not None and event.when is not None and cluster.age(event.when) < _FRESH.total_seconds()


def _sets(workloads: Workloads) -> Iterator[Workload]:
    """What says by a condition of its own that it may not make its pods."""
    yield from workloads.replicasets.items
    yield from (w for w in workloads.items if isinstance(w, ReplicationController))


def _of_sets(sets: Iterable[Workload], workloads: Workloads, owners: Owners, events: Events) -> Iterator[Refusal]:
    for item in sets:
        failure = item.condition("ReplicaFailure")
        if not failure or failure.status != "True" or failure.reason != "FailedCreate":
            continue
        have = item.status.replicas
        if have >= item.desired:
            continue
        said = failure.message
        event = events.latest(item.ref(), "FailedCreate")
        # The condition keeps the first message for as long as it is true; the event has the present one.
        if event and event.when and failure.last_transition_time and event.when > failure.last_transition_time:
            said = event.message
        top = owners.above(item.ref())
        workload = workloads.get(top)
        yield Refusal(
            subject=top,
            maker=item.ref(),
            message=_bare(said),
            kind=refusal_kind(said),
            have=have,
            want=item.desired,
            harmless=workload is not None and workload.ready >= workload.desired,
            since=failure.last_transition_time,
        )


def _of_workloads(workloads: Workloads, events: Events, cluster: Cluster) -> Iterator[Refusal]:
    for workload in workloads.items:
        if isinstance(workload, Deployment):
            yield from _of_deployment(workload)
        elif isinstance(workload, (StatefulSet, DaemonSet)):
            have = (
                workload.status.current_number_scheduled
                if isinstance(workload, DaemonSet)
                else sum(1 for p in workloads.pods_of(workload) if not p.terminating)
            )
            event = events.latest(workload.ref(), "FailedCreate")
            if have >= workload.desired or not _recent(event, cluster) or event is None:
                continue
            if any(p.created and event.when and p.created > event.when for p in workloads.pods_of(workload)):
                continue  # it has made one since
            yield _by_event(workload.ref(), workload.ref(), event, have, workload.desired)


def _of_deployment(workload: Workload) -> Iterator[Refusal]:
    progressing = workload.condition("Progressing")
    if progressing and progressing.status == "False" and progressing.reason == "ReplicaSetCreateError":
        yield Refusal(
            subject=workload.ref(),
            maker=workload.ref(),
            message=_bare(progressing.message),
            kind=refusal_kind(progressing.message),
            have=workload.status.replicas,
            want=workload.desired,
            harmless=workload.ready >= workload.desired,
            since=progressing.last_transition_time,
        )


def _by_event(subject: Ref, maker: Ref, event: Event, have: int, want: int) -> Refusal:
    return Refusal(
        subject=subject,
        maker=maker,
        message=_bare(event.message),
        kind=refusal_kind(event.message),
        have=have,
        want=want,
        harmless=False,
        since=event.first,
    )


def _of_jobs(jobs: Jobs, workloads: Workloads, owners: Owners, events: Events, cluster: Cluster) -> Iterator[Refusal]:
    waiting = [j for j in jobs.items if not j.done and not j.spec.suspend and not j.metadata.deletion_timestamp]
    waiting.sort(key=lambda j: j.created.timestamp() if j.created else 0.0, reverse=True)
    for job in waiting:
        event = events.latest(job.ref(), "FailedCreate")
        if event is None or not _recent(event, cluster) or job.status.active:
            continue
        pods = workloads.pods.by_owner.get(job.metadata.uid, ())
        if any(p.created and event.when and p.created >= event.when for p in pods):
            continue
        want = 1 if job.spec.parallelism is None else job.spec.parallelism
        yield _by_event(owners.above(job.ref()), job.ref(), event, 0, want)


def _of_cronjobs(cronjobs: CronJobs, events: Events, cluster: Cluster) -> Iterator[Refusal]:
    for cron in cronjobs.items:
        event = events.latest(cron.ref(), "FailedCreate")
        if event is None or cron.spec.suspend or not _recent(event, cluster):
            continue
        last = cron.status.last_schedule_time
        if last and event.when and last > event.when:
            continue
        yield _by_event(cron.ref(), cron.ref(), event, 0, 1)

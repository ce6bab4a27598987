"""A CronJob that is due makes no Jobs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from kdiag.check import Evidence, Finding, Gap, Layer, Severity, check, duration, kubectl
from kdiag.facts import (
    Cluster,
    CronJob,
    CronJobs,
    Event,
    Events,
    Jobs,
    Pods,
    Schedule,
    ScheduleError,
    SystemLeases,
    controllers_begin,
    parse_schedule,
)

_SLACK = timedelta(seconds=90)  # the controller looks every ten seconds, and may be busy
_REASONS = ("TooManyMissedTimes", "FailedNeedsStart", "UnparseableSchedule", "InvalidSchedule", "UnknownTimeZone")


@check(
    title="CronJob does not run",
    severity=Severity.ERROR,
    layer=Layer.ROLLOUT,
    tags=("job", "cronjob"),
)
def cronjob_not_running(
    cronjobs: CronJobs,
    jobs: Jobs,
    cluster: Cluster,
    events: Events | None,
    pods: Pods | None,
    leases: SystemLeases | None,
) -> Iterator[Finding | Gap]:
    """Suspended is somebody's wish; a run that waits for the one before it (Forbid) is as it should be."""
    for cron in cronjobs.items:
        if cron.spec.suspend or cron.metadata.deletion_timestamp:
            continue
        try:
            schedule = parse_schedule(cron.spec.schedule, cron.spec.time_zone)
        except ScheduleError as error:
            if "time zone" in str(error) and not _event(cron, events):
                continue  # this computer may lack the zone that the cluster knows
            yield _unreadable(cron, str(error), events)
            continue
        found = _overdue(cron, schedule, cluster)
        if found and not _held(cron, jobs):
            if controllers_begin(pods, leases, cluster.taken):
                yield Gap("kube-controller-manager", "it began to work a moment ago: it may not have made the Job yet")
                return
            yield _late(cron, *found, events)


def _event(cron: CronJob, events: Events | None) -> Event | None:
    return events.latest(cron.ref(), *_REASONS) if events else None


def _overdue(cron: CronJob, schedule: Schedule, cluster: Cluster) -> tuple[datetime, datetime | None] | None:
    """The time that was missed first and the last run, when two times in a row have been missed."""
    last = cron.status.last_schedule_time
    start = max(filter(None, (last, cron.created)), default=None)
    if start is None:
        return None
    first = schedule.next(start)
    second = schedule.next(first) if first else None
    if first is None or second is None or second > cluster.taken - _SLACK:
        return None
    return first, last


def _held(cron: CronJob, jobs: Jobs) -> bool:
    """Whether its last Job still runs and it may not run beside it."""
    if cron.spec.concurrency_policy != "Forbid":
        return False
    return any(
        not job.done and job.controller and job.controller.uid == cron.metadata.uid
        for job in jobs.within(cron.namespace)
    )


def _unreadable(cron: CronJob, why: str, events: Events | None) -> Finding:
    event = _event(cron, events)
    return Finding(
        cron.ref(),
        f"{cron.ref()} never runs: its schedule {cron.spec.schedule!r} cannot be read: {why}",
        evidence=tuple(_evidence(cron, event)),
        next=(kubectl("edit", "cronjob", cron.name, namespace=cron.namespace) + "   # minute hour day month weekday",),
    )


def _late(cron: CronJob, first: datetime, last: datetime | None, events: Events | None) -> Finding:
    event, deadline = _event(cron, events), cron.spec.starting_deadline_seconds
    if event and ("missed" in event.message or event.reason == "TooManyMissedTimes"):
        why = "it has missed too many start times and has given up"
    elif event:
        why = event.message
    elif deadline is not None and deadline < 10:
        why = f"startingDeadlineSeconds {deadline} is shorter than the ten seconds between two looks of the controller"
    else:
        why = "the controller has not made its Job"
    when = f"since {last:%Y-%m-%d %H:%M} UTC" if last else "since it was made"
    return Finding(
        cron.ref(),
        f"{cron.ref()} has not run {when}, though it was due at {first:%H:%M} UTC and later: {why}",
        evidence=tuple(_evidence(cron, event)),
        next=tuple(_next(cron, event, deadline)),
        since=first.isoformat(),
    )


def _evidence(cron: CronJob, event: Event | None) -> Iterator[Evidence]:
    last = cron.status.last_schedule_time
    yield Evidence(
        kubectl("get", "cronjob", cron.name, namespace=cron.namespace),
        f"SCHEDULE {cron.spec.schedule}, LAST SCHEDULE {last.isoformat() if last else '<none>'}",
    )
    if event:
        yield Evidence(
            kubectl("describe", "cronjob", cron.name, namespace=cron.namespace), f"{event.reason}: {event.message}"
        )
    if cron.spec.starting_deadline_seconds is not None:
        limit = timedelta(seconds=min(cron.spec.starting_deadline_seconds, 10**9))
        yield Evidence(
            kubectl("get", "cronjob", cron.name, "-o", "jsonpath={.spec}", namespace=cron.namespace),
            f"startingDeadlineSeconds is {duration(limit)}",
        )


def _next(cron: CronJob, event: Event | None, deadline: int | None) -> Iterator[str]:
    name = f"{cron.name}-now"[-50:].lstrip("-.")
    yield kubectl("create", "job", name, f"--from=cronjob/{cron.name}", namespace=cron.namespace)
    if (event and "missed" in event.message) or (deadline is not None and deadline < 10):
        patch = '{"spec":{"startingDeadlineSeconds":200}}'
        yield kubectl("patch", "cronjob", cron.name, "-p", patch, namespace=cron.namespace)
    else:
        yield kubectl("describe", "cronjob", cron.name, namespace=cron.namespace)
        yield "if no CronJob runs: " + kubectl("get", "lease", "kube-controller-manager", namespace="kube-system")

"""A CronJob that is due makes no Jobs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from kdiag.check import Evidence, Finding, Gap, Layer, Severity, check, duration, kubectl, present
from kdiag.facts import (
    Cluster,
    CronJob,
    CronJobs,
    Event,
    Events,
    Job,
    Jobs,
    Pods,
    Schedule,
    ScheduleError,
    SystemLeases,
    controllers_begin,
    parse_schedule,
)

_SLACK = timedelta(seconds=90)  # the controller looks every ten seconds, and may be busy
#: So many runs that a Job keeps from beginning are no overlap.
_MISSED = 3
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
        if found and (job := _held(cron, jobs)):
            if missed := _hung(job, cron, schedule, jobs, pods, cluster):
                yield _blocked(cron, job, missed, pods)
        elif found:
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


def _held(cron: CronJob, jobs: Jobs) -> Job | None:
    """Its last Job, where that still runs and no other may run beside it."""
    if cron.spec.concurrency_policy != "Forbid":
        return None
    return next((job for job in _own(cron, jobs) if not job.done), None)


def _own(cron: CronJob, jobs: Jobs) -> Iterator[Job]:
    for job in jobs.within(cron.namespace):
        if job.controller and job.controller.uid == cron.metadata.uid:
            yield job


def _hung(job: Job, cron: CronJob, schedule: Schedule, jobs: Jobs, pods: Pods | None, cluster: Cluster) -> int:
    """How many runs a Job has kept from beginning, where it seems to hang; 0 where it may as well be long.

    Of one whose pod does not run, that is the fault. A program that works on until it is done has done so before.
    """
    began = job.status.start_time
    running = [p for p in (pods.by_owner.get(job.metadata.uid, ()) if pods else ()) if p.phase == "Running" and p.ready]
    if began is None or not running or any(s.restart_count for p in running for s in p.all_statuses):
        return 0
    ended = [(j.status.start_time, j.status.completion_time) for j in _own(cron, jobs)]
    lasted = [(end - start).total_seconds() for start, end in ended if start and end]
    if (lasted or cron.status.last_successful_time) and cluster.age(began) < 3 * max(lasted, default=1200.0) + 300:
        return 0
    missed, due = 0, schedule.next(began)
    while due and due <= cluster.taken - _SLACK and missed < 1000:
        missed, due = missed + 1, schedule.next(due)
    return missed if missed >= _MISSED else 0


def _blocked(cron: CronJob, job: Job, missed: int, pods: Pods | None) -> Finding:
    pod = next(iter(pods.by_owner.get(job.metadata.uid, ())), None) if pods else None
    since = f"{job.status.start_time:%Y-%m-%d %H:%M} UTC" if job.status.start_time else "long ago"
    before = "" if cron.status.last_successful_time else "; none has ever succeeded"
    return Finding(
        cron.ref(),
        f"{cron.ref()} starts no Job: {job.name} still runs since {since}, and concurrencyPolicy is Forbid{before}",
        evidence=(
            Evidence(
                kubectl("get", "job", job.name, namespace=job.namespace),
                f"Running; {missed if missed < 1000 else 'a thousand'} start times have passed since",
            ),
            *_evidence(cron, None),
        ),
        next=present(
            kubectl("logs", pod.name, "--tail=20", namespace=pod.namespace) if pod else None,
            kubectl("delete", "job", job.name, namespace=job.namespace) + "   # the next start time makes a new one",
            "activeDeadlineSeconds in jobTemplate.spec ends a Job that hangs",
        ),
        touches=(job.ref(),),
        key="held",
        severity=Severity.WARNING,
        since=job.status.start_time.isoformat() if job.status.start_time else "",
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

"""A Job has failed for good, and no later run of it has succeeded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from kdiag.check import Evidence, Finding, Gap, Layer, Ref, Severity, check, duration, kubectl, listing, shorten
from kdiag.facts import (
    Cluster,
    CronJob,
    CronJobs,
    Event,
    Events,
    Job,
    Jobs,
    Logs,
    Pod,
    Pods,
    ScheduleError,
    parse_schedule,
)

_OLD = 86400  # seconds after which a failed Job is history that nobody deleted
_TRIES = 3  # failed pods of a Job after which the next one is hardly better
_MANY = 20  # a backoffLimit from which on nobody waits for the end
_NOT_STARTED = 126  # the exit code from which on it is not the program that says so
#: What may as well come of a server, a name or a disk that is not to be had.
_OF_OTHERS = re.compile(
    r"(?i)connect|refus|time[d ]*out|reach|resolv|lookup|dial|socket|network|host|upstream|unavailable|econn|enotfound"
    r"|tcp|https?:|database|server|broker|redis|mysql|postgres|mongo|kafka|rabbit|login|auth|denied|\bEOF\b|null|nil"
    r"|space|i/o|input/output|read-only|memory|killed|name|address|dns|error"
)
_WORDS = {
    "BackoffLimitExceeded": "its pods failed more often than backoffLimit allows",
    "DeadlineExceeded": "it ran longer than activeDeadlineSeconds",
    "PodFailurePolicy": "its podFailurePolicy gave up",
    "FailedIndexes": "some of its indexes failed",
    "MaxFailedIndexesExceeded": "more of its indexes failed than maxFailedIndexes allows",
}


@check(
    title="Job has failed",
    severity=Severity.ERROR,
    layer=Layer.ROLLOUT,
    explains=("application/init_container_waits",),
    tags=("job", "cronjob"),
)
def job_failed(
    jobs: Jobs,
    cluster: Cluster,
    cronjobs: CronJobs | None,
    pods: Pods | None,
    logs: Logs | None,
    events: Events | None,
) -> Iterator[Finding | Gap]:
    """Failed pods of a Job that went well in the end are no fault, nor is a run that a later one made good.

    One that still tries may yet succeed: after three pods without a success its reason is worth a look.
    """
    yield from _trying(jobs, pods, logs)
    runs: dict[tuple[str, str, str], list[Job]] = {}
    for job in jobs.items:
        if job.done and not job.metadata.deletion_timestamp:
            runs.setdefault(_series(job), []).append(job)
    for (_, namespace, name), series in runs.items():
        series.sort(key=_ended, reverse=True)
        last = series[0]
        if not last.failed or _made_good(last, jobs):
            continue
        owner = last.controller
        cron = cronjobs.get(name, namespace) if cronjobs and owner and owner.kind == "CronJob" else None
        if owner and owner.kind == "CronJob" and cronjobs is None:
            yield Gap("cronjobs", f"not seen: whether a later run of {namespace}/{name} went well is not known")
        elif owner and owner.kind == "CronJob":
            if cron and (cron.spec.suspend or _later(cron.status.last_successful_time, last)):
                continue
            what, again = _seen(series, cron)
            severity = None if again else Severity.WARNING
            yield _finding(last, Ref("CronJob", name, namespace), pods, logs, events, cluster, what, severity)
        else:
            yield _finding(last, last.ref(), pods, logs, events, cluster, "has failed")


def _trying(jobs: Jobs, pods: Pods | None, logs: Logs | None) -> Iterator[Finding]:
    for job in jobs.items:
        status = job.status
        if (
            job.done
            or job.metadata.deletion_timestamp
            or job.spec.suspend
            or status.succeeded
            or status.failed < _TRIES
        ):
            continue
        mine = _pods_of(job, pods)
        exits = list(dict.fromkeys(_exits(mine)))
        limit = job.spec.backoff_limit
        most = f" of at most {limit + 1}" if limit is not None and limit < _MANY else ""
        if not exits or any(p.ready for p in mine):
            continue  # it is at work now; or its pods are gone, and nothing tells why
        yield Finding(
            job.ref(),
            f"{job.ref()} fails again and again: {status.failed}{most} pods have failed; {listing(exits, 2)}",
            evidence=tuple(_evidence(job, mine, logs, None, 0.0)),
            next=(kubectl("logs", _whose(job, mine), "--all-containers", "--tail=30", namespace=job.namespace),),
            touches=tuple(p.ref() for p in mine[:20]),
            severity=Severity.WARNING,
        )


def _series(job: Job) -> tuple[str, str, str]:
    """Runs of one CronJob belong together; any other Job stands alone."""
    owner = job.controller
    if owner and owner.kind == "CronJob":
        return ("CronJob", job.namespace, owner.name)
    return ("Job", job.namespace, job.name)


def _ended(job: Job) -> float:
    condition = job.failed or job.condition("Complete")
    moment = (condition.last_transition_time if condition else None) or job.status.completion_time or job.created
    return moment.timestamp() if moment else 0.0


def _later(success: datetime | None, job: Job) -> bool:
    return success is not None and success.timestamp() >= _ended(job)


def _made_good(failed: Job, jobs: Jobs) -> bool:
    """Whether a later Job of the same template has succeeded, whatever made it."""
    return any(
        other is not failed
        and other.done
        and not other.failed
        and _ended(other) >= _ended(failed)
        and other.pod_spec == failed.pod_spec
        for other in jobs.within(failed.namespace)
    )


def _seen(series: Sequence[Job], cron: CronJob | None) -> tuple[str, bool]:
    """What was seen of the runs, and whether one before the last failed too.

    Only one failed Job is kept by default, so the times have to tell of the others.
    """
    failed = next((n for n, job in enumerate(series) if not job.failed), len(series))
    if failed > 1:
        return f"failed at its last {failed} runs", True
    if cron is None or len(series) > 1:
        return "failed at its last run", False
    success = cron.status.last_successful_time
    begun = success or cron.created
    if begun is None or not _two_due(cron, begun, _began(series[0]) if success is None else _ended(series[0])):
        return ("failed at its first run" if success is None else "failed at its last run"), False
    since = f" since {success:%Y-%m-%d %H:%M} UTC" if success else ""
    return f"failed at its last run, and none has succeeded{since}", True


def _two_due(cron: CronJob, begun: datetime, until: float) -> bool:
    """Whether the schedule has come twice in between."""
    try:
        schedule = parse_schedule(cron.spec.schedule, cron.spec.time_zone)
    except ScheduleError:
        return False
    first = schedule.next(begun)
    second = schedule.next(first) if first else None
    return second is not None and second.timestamp() <= until


def _began(job: Job) -> float:
    return job.created.timestamp() if job.created else _ended(job)


def _finding(
    job: Job,
    subject: Ref,
    pods: Pods | None,
    logs: Logs | None,
    events: Events | None,
    cluster: Cluster,
    what: str,
    severity: Severity | None = None,
) -> Finding:
    failed = job.failed
    reason = failed.reason if failed else ""
    why = _WORDS.get(reason) or (failed.message if failed else "") or reason
    if job.status.failed_indexes:
        why = f"index {shorten(job.status.failed_indexes, 60)} of {job.spec.completions or 0:,} failed"
    mine = _pods_of(job, pods)
    exits = list(dict.fromkeys(_exits(mine)))
    told = _told(job, events) if events and not mine else None
    if told:
        exits = [shorten(_bare(told.message), 110)]
    age = cluster.age(failed.last_transition_time if failed else None)
    if age > _OLD:
        severity = Severity.INFO
    return Finding(
        subject,
        f"{subject} {what}: {why}" + (f"; {listing(exits, 2)}" if exits else ""),
        evidence=tuple(_evidence(job, mine, logs, told, age)),
        next=tuple(_next(job, subject, mine)),
        touches=(job.ref(), *(p.ref() for p in mine[:20])),
        severity=severity,
        own=_of_itself(mine, logs),
        since=failed.last_transition_time.isoformat() if failed and failed.last_transition_time else "",
    )


def _of_itself(pods: Sequence[Pod], logs: Logs | None) -> bool:
    """Whether the programs ended with a code of their own, and their logs name nothing that they lacked."""
    codes = {s.ended.exit_code for p in pods for s in p.all_statuses if s.ended and s.ended.exit_code}
    said = [line.text for p in pods if logs for line in logs.lines(p.namespace, p.name) if line.text.strip()]
    return bool(codes and said) and max(codes) < _NOT_STARTED and not any(map(_OF_OTHERS.search, said))


def _pods_of(job: Job, pods: Pods | None) -> list[Pod]:
    """Those that failed first: what went well tells nothing."""
    mine = pods.by_owner.get(job.metadata.uid, ()) if pods else ()
    return sorted(mine, key=lambda p: p.phase != "Failed")


def _exits(pods: Sequence[Pod]) -> Iterator[str]:
    for pod in pods:
        for status in pod.all_statuses:
            if status.ended and status.ended.exit_code:
                ended = status.ended
                oom = ended.reason if ended.reason not in ("", "Error") else f"exit code {ended.exit_code}"
                yield f"container {status.name} ended with {oom}"


def _told(job: Job, events: Events) -> Event | None:
    """What the kubelet said of a pod of the Job that is gone: the Job takes away what it gives up while it runs."""
    for event in events.by_reason.get("Failed", ()):
        pod = event.about
        mine = pod.kind == "Pod" and pod.namespace == job.namespace and pod.name.rpartition("-")[0] == job.name
        if mine and not re.fullmatch(r"Error: (?:ErrImagePull|ImagePullBackOff)", event.message):
            return event
    return None


def _bare(message: str) -> str:
    """Without the wrapping that every runtime error has around it."""
    bare = message.rpartition("unable to start container process: ")[2]
    return re.sub(r"^Error: |: unknown$", "", bare)


def _evidence(job: Job, pods: Sequence[Pod], logs: Logs | None, told: Event | None, age: float) -> Iterator[Evidence]:
    failed = job.failed
    if failed:
        yield Evidence(
            kubectl("describe", "job", job.name, namespace=job.namespace),
            f"Failed {failed.reason}: {failed.message}, {duration(timedelta(seconds=age))} ago",
        )
    if pods:
        yield Evidence(
            kubectl("get", "pods", "-l", f"job-name={job.name}", namespace=job.namespace),
            listing([f"{p.name} {p.phase}" for p in pods], 3),
        )
        said = [line.text for p in pods if logs for line in logs.lines(p.namespace, p.name) if line.text.strip()]
        if said:
            yield Evidence(kubectl("logs", _whose(job, pods), namespace=job.namespace), shorten(said[0], 300))
    else:
        yield Evidence(
            kubectl("get", "job", job.name, namespace=job.namespace),
            f"{job.status.succeeded} succeeded, {job.status.failed} failed; its pods are gone",
        )
        if told:
            command = kubectl("events", "--for", f"pod/{told.about.name}", namespace=job.namespace)
            yield Evidence(command, f"{told.reason}: {shorten(told.message, 300)}")


def _whose(job: Job, pods: Sequence[Pod]) -> str:
    """``kubectl logs job/NAME`` takes any pod of it: where some went well, one that failed has to be named."""
    mixed = {p.phase for p in pods} > {"Failed"}
    return pods[0].name if mixed else f"job/{job.name}"


def _next(job: Job, subject: Ref, pods: Sequence[Pod]) -> Iterator[str]:
    if pods:
        yield kubectl("logs", _whose(job, pods), "--all-containers", "--tail=30", namespace=job.namespace)
    else:
        yield kubectl("describe", "job", job.name, namespace=job.namespace)
    if subject.kind == "CronJob":
        name = f"{subject.name}-again"[-50:].lstrip("-.")
        yield kubectl("create", "job", name, f"--from=cronjob/{subject.name}", namespace=job.namespace)
    else:
        yield "a failed Job does not start again: delete it and create it anew when the cause is cured"

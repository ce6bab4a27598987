"""A workload names a priority class that does not exist, so its pods are refused."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, Shared, check, kubectl, listing, nearest, present
from kdiag.facts import CronJobs, Events, Jobs, Owners, PriorityClasses, Workloads, edit_template


@check(
    title="Priority class does not exist",
    severity=Severity.ERROR,
    layer=Layer.ADMISSION,
    explains=(
        "application/workload_unavailable",
        "application/pods_cannot_be_created",
        "application/cronjob_not_running",
        "application/job_failed",
    ),
    tags=("scheduling", "priority", "admission"),
)
def priority_class_missing(
    workloads: Workloads,
    classes: PriorityClasses,
    jobs: Jobs | None,
    cronjobs: CronJobs | None,
    owners: Owners | None,
    events: Events | None,
) -> Iterator[Finding]:
    """Pods that were made before the class went stay; only new ones are refused."""
    found: dict[Ref, tuple[str, bool]] = {}
    for w in workloads.items:
        if w.desired:
            short = len([p for p in workloads.pods_of(w) if not p.finished]) < w.desired
            found[w.ref()] = (w.pod_spec.priority_class_name, short)
    for job in jobs.items if jobs else ():
        done = job.status.completion_time or job.condition("Failed") or job.spec.suspend
        if not done and not job.status.active and not job.status.ready:
            found[owners.above(job.ref()) if owners else job.ref()] = (job.pod_spec.priority_class_name, True)
    for cron in cronjobs.items if cronjobs else ():
        if not cron.spec.suspend:
            found.setdefault(cron.ref(), (cron.pod_spec.priority_class_name, False))
    for owner, (name, short) in found.items():
        # The API server makes the two of its own again whenever they are missing.
        if not name or name.startswith("system-") or classes.get(name):
            continue
        close = nearest(name, [c.name for c in classes.items])
        refused = _refusal(owner, name, workloads, events)
        yield Finding(
            owner,
            f"{owner} names priority class {name}, which does not exist"
            + (f"; {close} does" if close else "")
            + ("" if short else ": its next pod will be refused"),
            evidence=present(
                Evidence(kubectl(*_maker(owner), namespace=owner.namespace), refused) if refused else None,
                Evidence(
                    "kubectl get priorityclass",
                    listing(sorted(c.name for c in classes.items), 6) or "No resources found",
                ),
            ),
            next=(
                edit_template(owner, f"priorityClassName: {close or 'one that exists, or none'}"),
                f"or: kubectl create priorityclass {name} --value=1000",
            ),
            touches=(Ref("PriorityClass", name),),
            key=name,
            severity=Severity.ERROR if short else Severity.WARNING,
            shared=Shared(Ref("PriorityClass", name), f"Priority class {name} does not exist", "name it"),
        )


def _maker(owner: Ref) -> tuple[str, ...]:
    """Who was refused the pod, and has the event: a ReplicaSet for a Deployment."""
    return ("describe", "replicaset") if owner.kind == "Deployment" else ("describe", owner.kind.lower(), owner.name)


def _refusal(owner: Ref, name: str, workloads: Workloads, events: Events | None) -> str:
    """What the controller was told, from the ReplicaSet's condition or else from an event."""
    workload = workloads.get(owner)
    wanted = f"no PriorityClass with name {name} was found"
    if workload is None:
        return wanted if events and any(wanted in e.message for e in events.within(owner.namespace)) else ""
    for made in (workload, *workloads.replicasets.by_owner.get(workload.metadata.uid, ())):
        condition = made.condition("ReplicaFailure")
        if condition and wanted in condition.message:
            return condition.message
        latest = events.latest(made.ref(), "FailedCreate") if events else None
        if latest and wanted in latest.message:
            return latest.message
    return ""

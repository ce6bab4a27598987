"""A Job is left to a controller of somebody's own, and that one has not taken it up."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, duration, kubectl
from kdiag.facts import Cluster, Jobs

_OWN = "kubernetes.io/job-controller"
#: Seconds in which a queue or another cluster takes a Job up.
_PATIENCE = 120


@check(title="Job is taken up by nobody", severity=Severity.WARNING, layer=Layer.ROLLOUT, tags=("job", "cronjob"))
def job_not_started(jobs: Jobs, cluster: Cluster) -> Iterator[Finding]:
    """With ``managedBy`` the cluster's own Job controller leaves a Job alone; nothing else says so."""
    for job in jobs.items:
        who = job.spec.managed_by
        if (
            who in ("", _OWN)
            or job.spec.suspend
            or job.status.start_time
            or job.done
            or job.metadata.deletion_timestamp
        ):
            continue
        if job.created is None or cluster.age(job.created) < _PATIENCE:
            continue
        yield Finding(
            job.ref(),
            f"{job.ref()} has not begun for {duration(cluster.taken - job.created)}: managedBy leaves it to {who},"
            " which has not taken it up",
            evidence=(
                Evidence(
                    kubectl("get", "job", job.name, "-o", "jsonpath={.spec.managedBy}", namespace=job.namespace), who
                ),
                Evidence(kubectl("describe", "job", job.name, namespace=job.namespace), "no start time, no pod"),
            ),
            next=(
                "kubectl get pods -A | grep -iE 'queue|controller|operator'    # does that controller run?",
                kubectl("get", "job", job.name, "-o", "yaml", namespace=job.namespace)
                + "    # managedBy cannot be changed: delete the Job, and make it anew without",
            ),
            since=job.created.isoformat(),
        )

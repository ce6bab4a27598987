"""Jobs that the init containers of others wait for."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.facts.pods import Pod
from kdiag.facts.podspec import Container
from kdiag.facts.workloads import Job, Jobs

#: job/migrate of kubectl wait, and the two words that k8s-wait-for takes.
_WAITS_FOR_JOB = re.compile(r"\bjobs?(?:\.batch)?(?:/| +)(?P<name>[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)")


def awaited_job(container: Container, namespace: str, jobs: Jobs | None) -> Job | None:
    """The Job of its own namespace that a container's command waits for, while that has not completed."""
    words = (*container.command, *container.args)
    if jobs is None or not any("job" in word for word in words):
        return None
    for match in _WAITS_FOR_JOB.finditer(" ".join(words)):
        job = jobs.get(match["name"], namespace)
        if job is not None and not any(c.type == "Complete" and c.status == "True" for c in job.status.conditions):
            return job
    return None


def at_work(job: Job) -> bool:
    """Whether a Job has a pod that runs: then who waits for it waits as long as it takes."""
    return not job.done and job.status.ready > 0


def waits_for_work(pod: Pod, jobs: Jobs | None) -> bool:
    """Whether what keeps a pod from starting is an init container that waits for a Job which is at work."""
    return any(at_work(job) for job in _awaited(pod, jobs))


def _awaited(pod: Pod, jobs: Jobs | None) -> Iterator[Job]:
    for status in pod.init_statuses:
        spec = pod.spec.container(status.name) if status.state.running else None
        if spec is not None and not spec.sidecar and (job := awaited_job(spec, pod.namespace, jobs)):
            yield job

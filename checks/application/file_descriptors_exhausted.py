"""A container cannot open more files or connections: its limit of file descriptors is reached."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import CLIENT_FAILS, Evidence, Finding, Layer, Ref, Severity, check, kubectl, shorten
from kdiag.facts import Cluster, Complaints, Pod, Topic, more_inotify

#: Seconds in which no program opens a thousand files.
_START = 3
# inotify answers EMFILE when a user has no more instances: that is a setting of the node.
_WATCHES = re.compile(r"inotify|fsnotify|file ?watch|watcher", re.IGNORECASE)


@check(
    title="File descriptors are exhausted",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=(
        *CLIENT_FAILS,
        "application/liveness_probe_kills",
    ),
    tags=("resources", "limits"),
)
def file_descriptors_exhausted(complaints: Complaints, cluster: Cluster) -> Iterator[Finding]:
    """The same words mean the process' limit, the node's, or the node's limit of inotify instances."""
    done: set[Ref] = set()
    for complaint in complaints.about(Topic.FILES_EXHAUSTED):
        if complaint.workload in done:
            continue
        done.add(complaint.workload)
        pod, workload, text = complaint.pod, complaint.workload, complaint.said.text
        look = "ls /proc/1/fd | wc -l; grep 'open files' /proc/1/limits"
        count = (
            kubectl("exec", pod.name, "-c", complaint.container, "--", "sh", "-c", look, namespace=pod.namespace),
            "find what keeps them open (connections without a pool, files never closed) before raising the limit",
        )
        what = "its process has reached its limit of open files"
        if "in system" in text or "ENFILE" in text:
            what = f"node {pod.node} has reached its limit of open files (fs.file-max)"
            count = (f"on node {pod.node}: sysctl fs.file-nr fs.file-max", count[1])
        elif _WATCHES.search(text) or _at_once(pod, complaint.container):
            what = f"node {pod.node} has no inotify instances left"
            if not _WATCHES.search(text):
                what = f"it ends as it starts, so {what}, most likely"
            count = more_inotify(pod.node)
        yield Finding(
            workload,
            f'{workload} gets "too many open files": {what}',
            evidence=(Evidence(kubectl(*complaint.command, namespace=pod.namespace), shorten(text, 200)),),
            next=count,
            touches=(Ref("Node", pod.node),) if "node" in what else (),
            key=complaint.container,
            severity=Severity.WARNING if complaint.passed(cluster) else Severity.ERROR,
            since=complaint.since,
        )


def _at_once(pod: Pod, container: str) -> bool:
    """Whether its last life was too short for a leak: what it asked for first it did not get."""
    status = pod.status(container)
    end = status.ended if status else None
    if end is None or not end.exit_code or end.started_at is None or end.finished_at is None:
        return False
    return (end.finished_at - end.started_at).total_seconds() <= _START

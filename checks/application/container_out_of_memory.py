"""The kernel killed a container because it used more memory than its limit, or than the node has."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, listing, present, ssh
from kdiag.facts import (
    Events,
    Failure,
    Failures,
    Fault,
    LimitRange,
    LimitRanges,
    Logs,
    Workloads,
    edit,
    editable,
    lifetime,
    memory,
    touched,
)


@check(
    title="Container is out of memory",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/job_failed"),
    tags=(
        "memory",
        "oom",
        "resources",
        "crash",
        "restarts",
    ),
)
def container_out_of_memory(
    failures: Failures,
    events: Events | None,
    logs: Logs | None,
    ranges: LimitRanges | None,
    workloads: Workloads | None,
) -> Iterator[Finding]:
    """Say the limit; without one it is the node that was full. One that has recovered is a warning."""
    for group in failures.of(Fault.OUT_OF_MEMORY, events, logs):
        one = group[0]
        namespace = one.pod.namespace
        limit = one.spec.resources.limits.get("memory")
        asked = one.spec.resources.requests.get("memory")
        given = _given(one, ranges, workloads) if limit else None
        source = f", the default of LimitRange {given.name}" if given else ""
        why = (
            f"it needs more than its limit of {memory(limit)}{source}{_files(one)}"
            if limit
            else f"it has no limit, so node {one.pod.node} ran out"
        )
        lived = lifetime(one.end)
        more = kubectl(
            *("set", "resources", one.owner.kind.lower(), one.owner.name, "-c", one.container, "--limits=memory=MORE"),
            namespace=namespace,
        )
        steps = present(
            more if editable(one) else edit(one, "a higher memory limit"),
            kubectl("edit", "limitrange", given.name, namespace=namespace) + "   # its default" if given else None,
            kubectl("top", "pod", one.pod.name, "--containers", namespace=namespace),
        )
        yield Finding(
            one.owner,
            f"{one.where} is killed for memory (OOMKilled): {why}",
            evidence=(
                Evidence(kubectl("get", "pod", one.pod.name, namespace=namespace), one.status),
                Evidence(
                    "",
                    f"memory: limit {memory(limit)}, request {memory(asked)}" + (f"; lived {lived}" if lived else ""),
                ),
            ),
            next=steps if limit else (ssh(one.pod.node, "sudo dmesg -T | grep -i -A1 oom"), *steps[::-1]),
            touches=touched(group, *([given.ref()] if given else [])),
            key=one.container,
            severity=Severity.WARNING if all(f.ready and f.restarts < 3 for f in group) else None,
            since=one.started,
        )


def _given(one: Failure, ranges: LimitRanges | None, workloads: Workloads | None) -> LimitRange | None:
    """What the limit is from, when the template has none of its own."""
    workload = workloads.get(one.owner) if workloads else None
    own = workload.spec.template.spec.container(one.container) if workload else None
    if ranges is None or own is None or "memory" in own.resources.limits:
        return None
    limit = one.spec.resources.limits["memory"]
    found = (
        r for r in ranges.within(one.pod.namespace) if any(x.default.get("memory") == limit for x in r.spec.limits)
    )
    return next(found, None)


def _files(one: Failure) -> str:
    """Files that it keeps in memory count against its limit."""
    mounted = {m.name for m in one.spec.volume_mounts if not m.read_only}
    found = [
        v.name for v in one.pod.spec.volumes if v.name in mounted and v.empty_dir and v.empty_dir.medium == "Memory"
    ]
    return f"; files in volume {listing(found)} (medium: Memory) count" if found else ""

"""The container of etcd does not run on a node that is a member, or ends each time it starts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import CLUSTER, ETCD_FAILS, Evidence, Finding, Layer, Severity, check, present, shorten
from kdiag.facts import (
    Cluster,
    Containers,
    EtcdAnswers,
    EtcdLog,
    EtcdLogs,
    HostContainer,
    Manifest,
    Manifests,
    NodeContainers,
    current,
    static_pod,
    who_listens,
)

# A start takes seconds; a crash is repeated in ever longer intervals of at most five minutes.
_STARTING = 30
# What the kubelet needs to see that a manifest was written and to start the pod anew; at most, if the old ends slowly.
_TAKEN_UP = 30
_SLOWLY = 120
_STEADY = 60


@check(
    title="etcd does not run",
    severity=Severity.CRITICAL,
    layer=Layer.ETCD,
    explains=(
        *ETCD_FAILS,
        "control_plane/static_pod_missing",
        "control_plane/etcd_quorum_lost",
    ),
    tags=("etcd", "static-pods"),
)
def etcd_not_running(
    containers: Containers,
    cluster: Cluster,
    logs: EtcdLogs | None,
    manifests: Manifests | None,
    answers: EtcdAnswers | None,
) -> Iterator[Finding]:
    """What it said last is the cause, where it said anything; its ``error`` tells, not its ``msg``."""
    members = [node for node, seen in containers if _member(node, seen, manifests)]
    up = [n for n in members if (c := current(containers.get(n), "etcd")) and c.running]
    for node in members:
        seen = containers.get(node)
        last = current(seen, "etcd")
        answer = answers.get(node) if answers else None
        if seen is None or not seen.listed or (answer and answer.answered):
            continue
        if last is not None and _well(last, seen, cluster):
            continue
        manifest = found.of("etcd") if manifests and (found := manifests.get(node)) else None
        if manifest and _begins(last, manifest, cluster):
            continue
        own = (logs.get(node) if logs else None) or ()
        why, shown = _why(last, own)
        flag = manifest.named(why) if manifest and shown else None
        place = f"{manifest.where(flag.line)} --{flag.name}: " if manifest and flag else ""
        written = manifest.info.changed if manifest and last is None else None
        if written and cluster.age(written) < _SLOWLY:
            why += (
                f"; its manifest was written at {written:%H:%M:%S} UTC, and the kubelet may take a minute to follow it"
            )
        pod = static_pod("etcd", node)
        others = [n for n in up if n != node]
        quorum = len(members) == 1 or len(others) <= len(members) // 2
        yield Finding(
            pod,
            shorten(f"{pod.name} does not run: {place}{why}", 280),
            evidence=present(
                manifest.quote(node, flag.line) if manifest and flag else None,
                Evidence("crictl ps -a --name etcd", _state(last), node),
                Evidence(f"sudo tail -n 20 {own[0].path}", shorten(shown, 400), node) if shown and own else None,
            ),
            next=tuple(_next(node, shown)),
            touches=present(pod, static_pod("kube-apiserver", node), CLUSTER if quorum else None),
            severity=Severity.CRITICAL if quorum else Severity.ERROR,
        )


def _member(node: str, seen: NodeContainers, manifests: Manifests | None) -> bool:
    """Whether this node is to run etcd: an external etcd leaves neither a manifest nor a certificate of a server."""
    found = manifests.get(node) if manifests else None
    if found is not None:
        return bool(found.all_of("etcd")) or "etcd" in found.meant
    return bool(seen.of("etcd"))


def _well(last: HostContainer, seen: NodeContainers, cluster: Cluster) -> bool:
    began = last.started or last.created
    if not last.running:
        # It was replaced or restarted a moment ago: the next one is on its way.
        return last.exit_code in (0, 143) and cluster.age(last.finished or began) < _STARTING
    ended = next((c for c in seen.of("etcd") if not c.running and c.uid == last.uid), None)
    crashed = ended is not None and ended.exit_code not in (0, None) and cluster.age(ended.finished) < 600
    return not (crashed and last.attempt >= 2 and cluster.age(began) < _STEADY)


def _begins(last: HostContainer | None, manifest: Manifest, cluster: Cluster) -> bool:
    """Whether its manifest was written a moment ago, and nothing was started from what it says now."""
    written = manifest.info.changed
    if written is None or cluster.age(written) > _TAKEN_UP:
        return False
    return last is None or (not last.running and last.created is not None and last.created < written)


def _why(last: HostContainer | None, logs: tuple[EtcdLog, ...]) -> tuple[str, str]:
    """The cause in words, and the line that says so."""
    if last is None:
        return "the runtime has no container of it", ""
    if last.exit_code is None and not last.running and last.state == "created":
        return "its container was created and not started", ""
    if re.search(r"StartError|ContainerCannotRun", last.reason) or last.exit_code == 128:
        return shorten(last.message or last.reason, 160), last.message
    log = next((g for g in logs if g.attempt == last.attempt), logs[0] if logs else None)
    if last.running and len(logs) > 1:
        log = next((g for g in logs if g.attempt < last.attempt and g.fatal), log)
    if log is None:
        return f"it ended with exit code {last.exit_code}" if last.exit_code is not None else "it ended", ""
    since = last.created if not last.running else None
    lines = [x for x in log.lines if since is None or x.when is None or x.when >= since]
    fatal = next((x for x in reversed(lines) if x.level in ("fatal", "panic")), None)
    if fatal is None and log.told_to_stop and last.exit_code in (0, None, 143):
        return "it was told to stop and not started again", "received signal; shutting down"
    line = fatal or next((x for x in reversed(lines) if x.level == "error" or x.error), None)
    line = line or (lines[-1] if lines else None)
    if line is None:
        return f"it ended with exit code {last.exit_code} and said nothing", ""
    return line.error or line.message, line.text


def _state(last: HostContainer | None) -> str:
    if last is None:
        return "no container"
    if last.running:
        return f"Running, attempt {last.attempt}: it began a moment ago, the ones before it crashed"
    code = f", exit code {last.exit_code}" if last.exit_code is not None else ""
    return f"{last.state.capitalize()}{code}, attempt {last.attempt}"


def _next(node: str, shown: str) -> Iterator[str]:
    path = re.search(r"(?:open|stat|mkdir|read|create) (/[^\s:\"]+)", shown)
    if path:
        yield f"ssh {node} sudo ls -la {path[1]}"
    if step := who_listens(node, shown):
        yield step
    what = "correct what the line above names" if shown else "is it the one that is meant to run?"
    yield f"ssh {node} sudo cat /etc/kubernetes/manifests/etcd.yaml    # {what}"
    yield f"ssh {node} sudo journalctl -u kubelet -n 30 --no-pager"
    yield f"ssh {node} sudo crictl ps -a --name etcd    # Running, and its ATTEMPT stands still"

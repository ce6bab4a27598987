"""A container of the control plane ends as soon as it starts; its last words say why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kdiag.check import CLUSTER, Evidence, Finding, Layer, Ref, Severity, check, present, shorten
from kdiag.facts import (
    CAME_UP,
    HARMLESS,
    BackOff,
    Cluster,
    Containers,
    FileInfo,
    Flag,
    HostContainer,
    HostLog,
    KubeletJournal,
    LogLine,
    Manifest,
    Manifests,
    NodeManifests,
    Workloads,
    backed_off,
    current,
    journal_line,
    plain,
    started_at_once,
    static_pod,
    who_listens,
    written_since,
)

_PARTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
_STARTING = 20
_MOST = 500
_NOTICED = 20  # seconds: by then the kubelet has read a manifest that was written
_RAN = 60  # seconds: who ran for longer did not end at its start
#: Of a kubeconfig whose parts do not fit together, its file is not named.
_KUBECONFIG = re.compile(r"context was not found|invalid configuration: |no configuration has been provided")
#: Of the scheduler's configuration, neither: that it is none, and what is wrong in it.
_NO_CONFIG = re.compile(r"no kind \".*\" is registered for version")
_CONFIG = re.compile(r"initializing profiles: ")
#: What is wrong in another file of the API server's, by how it calls that file.
_FILES = {
    "authentication-config": re.compile(r"authentication config", re.IGNORECASE),
    "authorization-config": re.compile(r"authorization config|authorizers?\[\d+\]", re.IGNORECASE),
    "egress-selector-config-file": re.compile(r"egress ?selector|egressSelections", re.IGNORECASE),
    "encryption-provider-config": re.compile(r"encryption ?(?:provider )?config", re.IGNORECASE),
    "tracing-config-file": re.compile(r"tracing config", re.IGNORECASE),
    "admission-control-config-file": re.compile(r"admission ?config|plugin config", re.IGNORECASE),
    "audit-policy-file": re.compile(r"audit policy", re.IGNORECASE),
    "audit-webhook-config-file": re.compile(r"audit webhook", re.IGNORECASE),
}
#: What says only that these are last words.
_WRAPPING = re.compile(r"^Error: |^panic: |(?: \[recovered(?:, repanicked)?\])+$")
#: The lines that end a program, the most telling first.
_LAST = tuple(
    re.compile(pattern)
    for pattern in (
        r"^Error: |^error: ",
        r'"command failed"',
        r"^F\d{4} ",
        r"^(?:panic|fatal error): ",
        r"^(?:invalid argument|unknown |Usage)",
        r"^(?:failed|unable) to ",
        r'"Error (?:building|starting) controllers"|"Error initializing a controller"',
        r"^E\d{4} ",
    )
)
#: What is said when the API server or etcd is away: somebody else's fault.
_OTHERS = re.compile(
    r"leader ?election lost|finished without leader elect"
    r"|error retrieving resource lock|Error creating leases|error creating storage factory"
    r"|:(?:6443|2379)\S*: (?:connect|i/o|EOF|read)|addrConn\.createTransport|Failed to (?:renew|acquire) lease",
    re.IGNORECASE,
)


@check(
    title="Component of the control plane ends at start",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    explains=(
        "application/workload_unavailable",
        "control_plane/api_server_unhealthy",
        "control_plane/api_server_unreachable",
        "control_plane/controller_manager_not_running",
        "control_plane/leader_election_lost",
        "control_plane/scheduler_not_running",
        "control_plane/static_pod_failing",
        "control_plane/static_pod_restarting",
        "worker_node/node_heartbeat_stale",
        "worker_node/node_not_ready",
    ),
    explains_here=("control_plane/manifest_differs_between_nodes",),
    tags=("static-pods", "apiserver", "scheduler"),
)
def component_exits(
    containers: Containers,
    cluster: Cluster,
    manifests: Manifests | None,
    workloads: Workloads | None,
    journal: KubeletJournal | None,
) -> Iterator[Finding]:
    """For what no other check knows: the line is quoted as it is. etcd has a check of its own."""
    for node, seen in containers:
        mine = manifests.get(node) if manifests else None
        for part in _PARTS:
            if mine is not None and mine.files and not mine.all_of(part):
                continue  # it was taken away; what is left of it says nothing
            last = current(seen, part)
            if last is None or not _ends(last, seen.of(part), cluster):
                continue
            manifest = mine.of(part) if mine else None
            log = _log(seen.log(part), last)
            line = _decisive(log, last, sure=manifest is not None or _ran(last) < _STARTING)
            if line is None or _OTHERS.search(line):
                continue
            if manifest and (_replaced(last, manifest, cluster) or _before(last, manifest, cluster)):
                continue
            since = _mended(line, manifest, mine, last, seen.of(part))
            if since and last.running:
                continue  # what it ended over was written, and it has been started since
            pod = static_pod(part, node)
            alone = sum(bool(other.of(part)) for _, other in containers) == 1
            code = f", exit code {last.exit_code}" if last.exit_code is not None else ""
            place = _place(part, manifest, line)
            wait = backed_off(part, seen, journal.get(node) if journal else None, cluster) if since else None
            yield Finding(
                pod,
                shorten(f"{pod.name} ends at start: {place.where}{_WRAPPING.sub('', plain(line))}", 260)
                + (_then(since, wait) if since else ""),
                evidence=present(
                    manifest.quote(node, place.flag.line) if manifest and place.flag else None,
                    Evidence(
                        f"crictl ps -a --name {part}", f"{last.state.capitalize()}{code}, attempt {last.attempt}", node
                    ),
                    Evidence(
                        f"sudo tail -n 20 {log.path}" if log else f"sudo crictl inspect {last.id[:13]}",
                        shorten(line, 400),
                        node,
                    ),
                    Evidence(f"stat -c '%y %n' {since.path}", f"{since.changed:%H:%M:%S} UTC", node) if since else None,
                    journal_line(wait.entry, node) if wait else None,
                ),
                next=present(
                    started_at_once(node, part) if since else None,
                    who_listens(node, line),
                    f"ssh -t {node} sudoedit {place.edit}    # {place.what}" + (", if it ends again" if since else ""),
                    f"ssh {node} sudo crictl ps -a --name {part}    # Running, and its ATTEMPT stands still",
                ),
                touches=present(
                    pod,
                    CLUSTER if part == "kube-apiserver" and alone else None,
                    Ref("Lease", part, "kube-system") if part != "kube-apiserver" else None,
                    *(_unseen(workloads) if part == "kube-controller-manager" and alone else []),
                ),
                severity=Severity.CRITICAL if alone else Severity.ERROR,
            )


@dataclass(frozen=True, slots=True)
class _Place:
    """What a component's last words are about: the flag, how to say that, and which file is to be edited for what."""

    flag: Flag | None
    where: str
    edit: str
    what: str


def _place(part: str, manifest: Manifest | None, line: str) -> _Place:
    flag = manifest.named(line) if manifest else None
    if manifest and flag is None and _KUBECONFIG.search(line):
        flag = manifest.flag("kubeconfig")
    inside = bool(_CONFIG.search(line))
    if manifest and flag is None and (inside or _NO_CONFIG.search(plain(line))):
        flag = manifest.flag("config")
    if manifest and flag is None:
        flag = next((f for n, said in _FILES.items() if said.search(line) and (f := manifest.flag(n))), None)
        inside = flag is not None
    if manifest is None or flag is None:
        return _Place(None, "", f"/etc/kubernetes/manifests/{part}.yaml", "correct what the line names")
    inside = inside or flag.name == "kubeconfig"
    where = f"{flag.value}: " if inside else f"{manifest.where(flag.line)} --{flag.name}: "
    if flag.value.startswith("/") and (inside or flag.value in line) and "no such file" not in line:
        return _Place(flag, where, manifest.on_host(flag.value)[1] or flag.value, f"what --{flag.name} names")
    return _Place(flag, where, f"/etc/kubernetes/manifests/{part}.yaml", f"line {flag.line}: --{flag.name}")


def _mended(
    line: str,
    manifest: Manifest | None,
    mine: NodeManifests | None,
    last: HostContainer,
    all_of: tuple[HostContainer, ...],
) -> FileInfo | None:
    """What somebody has written since the end that the line is of."""
    ended = next((c for c in all_of if not c.running), None) if last.running else last
    return written_since(line, manifest, mine, ended.finished if ended else None) if manifest and mine else None


def _then(since: FileInfo, wait: BackOff | None) -> str:
    again = f"it is started again at {wait.until:%H:%M:%S} UTC" if wait else "its next start shows whether that was it"
    return f"; {since.path} was written after that, at {since.changed:%H:%M:%S} UTC: {again}"


def _unseen(workloads: Workloads | None) -> list[Ref]:
    """The workloads that no controller has looked at since they were made or changed."""
    return [w.ref() for w in workloads.items if not w.observed][:_MOST] if workloads else []


def _ends(last: HostContainer, all_of: tuple[HostContainer, ...], cluster: Cluster) -> bool:
    if last.running:
        ended = next((c for c in all_of if not c.running and c.uid == last.uid), None)
        again = ended is not None and ended.exit_code not in (0, None) and last.attempt >= 2
        young = cluster.age(last.started or last.created) < _STARTING
        return again and young and ended is not None and cluster.age(ended.finished) < 400
    if _ran(last) > _RAN and cluster.age(last.finished) < _RAN:
        return False  # it was stopped, and the kubelet is about to start it again
    if last.state != "exited" or (last.exit_code in (0, 137, 143) and cluster.age(last.finished) < 30):
        return False
    return last.exit_code not in (0, None, 137, 143) or last.attempt > 0


def _ran(last: HostContainer) -> float:
    return (last.finished - last.started).total_seconds() if last.finished and last.started else 0.0


def _replaced(last: HostContainer, manifest: Manifest, cluster: Cluster) -> bool:
    """Whether the kubelet has ended it because its manifest was written, and is about to start what that says."""
    written = manifest.info.changed
    if written is None or last.running or last.created is None or last.finished is None:
        return False
    return last.created < written <= last.finished and cluster.age(last.finished) < _RAN


def _before(last: HostContainer, manifest: Manifest, cluster: Cluster) -> bool:
    """Whether it ended under the manifest as it was before, and the kubelet has had no time to start the new one."""
    written = manifest.info.changed
    return (
        written is not None
        and last.finished is not None
        and last.finished < written
        and cluster.age(written) < _NOTICED
    )


def _log(logs: tuple[HostLog, ...], last: HostContainer) -> HostLog | None:
    own = [g for g in logs if g.uid == last.uid and g.lines]
    if last.running:
        own = [g for g in own if g.attempt < last.attempt]
    return next((g for g in own if g.attempt == last.attempt), own[0] if own else None)


def _decisive(log: HostLog | None, last: HostContainer, *, sure: bool) -> str | None:
    """The line that says why it ended; None when none does. ``sure``: it was not asked to stop."""
    if re.search(r"StartError|ContainerCannotRun", last.reason) and last.message:
        return last.message
    lines: tuple[LogLine, ...] = log.lines if log else ()
    stopped = last.exit_code in (0, None, 137, 143) or not sure
    came_up = any(CAME_UP.search(line.text) for line in lines)
    for pattern in _LAST[:-1] if stopped or came_up else _LAST:
        for line in reversed(lines):
            if pattern.search(line.text) and not HARMLESS.search(line.text):
                return line.text
    if stopped or came_up or not lines or re.match(r"I\d{4} ", lines[-1].text):
        return None  # some end with 2 when they are asked to stop, and have said nothing of it
    return lines[-1].text

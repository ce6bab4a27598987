"""A setting of the kubelet's systemd unit keeps it from starting, or ends it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import KUBELET_DOWN, Evidence, Finding, Layer, Ref, Severity, check, shorten
from kdiag.facts import (
    Cluster,
    Entry,
    KubeletJournal,
    Kubelets,
    KubeletSetup,
    Manifests,
    NextStart,
    Unit,
    UnitLine,
    Units,
    file_line,
    journal_line,
    next_start,
    setups,
    unit_state,
)

#: What systemd could not do before it started the program, by the exit status that it gives then.
_STEPS = {
    200: ("WorkingDirectory",),
    205: ("LimitNOFILE", "LimitNPROC", "LimitMEMLOCK", "LimitCORE"),
    216: ("Group", "SupplementaryGroups"),
    217: ("User",),
    218: ("CapabilityBoundingSet", "AmbientCapabilities"),
    219: ("Slice", "Delegate"),
    226: (
        *("ReadWritePaths", "ReadOnlyPaths", "InaccessiblePaths", "BindPaths", "BindReadOnlyPaths", "RootDirectory"),
        *("TemporaryFileSystem", "ProtectSystem", "PrivateTmp", "PrivateDevices"),
    ),
    228: ("SystemCallFilter",),
    233: ("RuntimeDirectory",),
    238: ("StateDirectory",),
}
#: What takes rights or folders from a program that needs them all.
_FENCES = (
    *("ProtectSystem", "ReadOnlyPaths", "InaccessiblePaths", "ProtectHome", "PrivateDevices", "ProtectKernelTunables"),
    *("ProtectControlGroups", "ProtectKernelModules", "CapabilityBoundingSet", "NoNewPrivileges", "SystemCallFilter"),
    *("RestrictNamespaces", "PrivateNetwork", "PrivateMounts", "RootDirectory", "DevicePolicy", "User"),
)
_FENCED = re.compile(r"read-only file system|permission denied|operation not permitted|no such device", re.IGNORECASE)
_NO_THREAD = re.compile(r"newosproc|resource temporarily unavailable|pthread_create|failed to create new OS thread")
_ROOT = ("root", "0")
_COMMAND = "correct the command, or what it looks for"


@check(
    title="Kubelet's unit keeps it from starting",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=(*KUBELET_DOWN, "worker_node/kubelet_crash_loops", "worker_node/kubelet_not_running"),
    tags=("node", "kubelet", "systemd"),
)
def kubelet_unit_wrong(
    kubelets: Kubelets,
    units: Units,
    cluster: Cluster,
    journal: KubeletJournal | None,
    manifests: Manifests | None,
) -> Iterator[Finding]:
    """By what systemd says of its failure, and the line of the unit or of its drop-ins that this is about."""
    for node, setup, unit in setups(kubelets, units):
        start = next_start(node, unit, journal, cluster, manifests)
        if unit.needs_reload or (setup.unjoined and not start.waits):
            continue
        found = _missing_file(setup) or (None if start.waits else _refused(setup, unit, start.reason))
        if found is None:
            continue
        line, what, step = found
        yield Finding(
            Ref("Node", node),
            shorten(f"kubelet on {node} {start.fails}: {line.path}:{line.line} {line.text}: {what}", 240) + start.also,
            evidence=(
                file_line(line.path, line.line, line.text, node),
                unit_state(unit, node, "ActiveState", "SubState", "Result", "ExecMainStatus"),
                *_said(start, node),
            ),
            next=(
                f"ssh {node} sudoedit {line.path}    # line {line.line}: {step}",
                f"ssh {node} sudo systemctl daemon-reload",
                f"ssh {node} sudo systemctl reset-failed kubelet",
                f"ssh {node} sudo systemctl restart kubelet",
                f"ssh {node} systemctl is-active kubelet    # active, and still active ten seconds later",
            ),
            touches=start.touches,
            severity=start.severity,
        )


def _said(start: NextStart, node: str) -> list[Evidence]:
    return [journal_line(start.reason, node)] if start.reason and not start.waits else []


def _missing_file(setup: KubeletSetup) -> tuple[UnitLine, str, str] | None:
    """A file of variables that must be there and is not: systemd does not even try then."""
    for line in setup.unit_lines("EnvironmentFile"):
        if not line.value.startswith("-") and setup.missing(line.value):
            return line, "there is no such file", "correct the path; a - before it makes the file optional"
    return None


def _refused(setup: KubeletSetup, unit: Unit, reason: Entry | None) -> tuple[UnitLine, str, str] | None:
    """The line for which the start fails, what about it, and what to do."""
    said = reason.text if reason else ""
    if failed := next((one for one in unit.before if one.status), None):
        lines = [one for one in setup.unit_lines("ExecStartPre") if not one.value.startswith("-")]
        same = [one for one in lines if " ".join(one.value.lstrip("@+!:").split()) == failed.command]
        if line := next(iter(same or lines), None):
            return line, f"it ends with status {failed.status}", _COMMAND
    lines = setup.unit_lines("ExecStartPre")
    if not unit.before and len(lines) == 1 and (unit.result, unit.exit_status) == ("exit-code", 0):
        return lines[0], "it fails", _COMMAND
    if unit.exit_status in _STEPS and unit.result == "exit-code":
        if line := _last(setup, *_STEPS[unit.exit_status]):
            return line, f"systemd cannot do that (status {unit.exit_status}){_why(said)}", "correct or remove it"
        return None
    user = _last(setup, "User")
    if user and user.value not in _ROOT:
        return user, "the kubelet must run as root", "remove the line"
    if unit.result in ("oom-kill", "signal") and (unit.result == "oom-kill" or unit.exit_status == 9):
        if line := _last(setup, "MemoryMax", "MemoryLimit"):
            return line, "it is killed for want of memory", "remove the limit, or give it 200M and more"
        if line := _last(setup, "RuntimeMaxSec", "WatchdogSec", "LimitCPU"):
            return line, "systemd ends it", "remove the line"
    late = unit.result == "timeout" or (unit.sub == "start" and unit.restarts)
    if late and (line := _last(setup, "Type")) and line.value in ("forking", "oneshot", "notify", "dbus"):
        return line, "systemd waits in vain for it to say that it is ready", "Type=simple, or remove the line"
    if unit.result == "protocol" and (line := _last(setup, "Type", "PIDFile")):
        return line, "the kubelet does not start that way", "Type=simple, or remove the line"
    if _NO_THREAD.search(said) and (line := _last(setup, "TasksMax", "LimitNPROC")):
        return line, "it may not start its threads", "remove the limit"
    if _FENCED.search(said) and (line := _last(setup, *_FENCES)):
        return line, f"it lacks what it needs{_why(said)}", "remove the line: the kubelet needs all of the node"
    return None


def _last(setup: KubeletSetup, *names: str) -> UnitLine | None:
    """The line of the first of these settings that is there."""
    return next((lines[-1] for name in names if (lines := setup.unit_lines(name))), None)


def _why(said: str) -> str:
    found = re.search(r"No such file or directory|No such process|" + _FENCED.pattern, said, re.IGNORECASE)
    return f": {found[0].lower()}" if found else ""

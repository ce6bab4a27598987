"""The kubelet of a node ends each time systemd starts it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import KUBELET_DOWN, Evidence, Finding, Gap, Layer, Ref, Severity, Skip, check, present, shorten
from kdiag.facts import (
    INOTIFY_EXHAUSTED,
    Cluster,
    ConfigFile,
    Entry,
    KubeletJournal,
    Kubelets,
    KubeletSetup,
    Manifests,
    Nodes,
    Unit,
    Units,
    as_it_ended,
    crashing,
    file_line,
    hosted,
    journal_line,
    last_reason,
    more_inotify,
    on_control_plane,
    unit_state,
)

#: What the kubelet puts before the reason why it refuses its configuration.
_WRAPPING = re.compile(
    r"^(?:panic: )?failed to (?:validate|merge)[^:]*?[kK]ubelet ?[cC]onfiguration[^:]*, error: "
    r"(?:invalid configuration: )?|^failed to validate kubelet flags: "
)
_NO_RUNTIME = re.compile(
    r"validate (?:service connection|CRI v1 \w+ API for endpoint)[^\n]*"
    r"(?:Unavailable|DeadlineExceeded|not initialized yet|connect: )"
)
#: A runtime answers that long after systemd calls it active, in seconds.
_MOMENT = 15
#: What is kept back for the system, for Kubernetes and from eviction together is more than there is.
_RESERVED = re.compile(r'invalid Node Allocatable configuration\. Resource \\?"([\w.-]+)\\?" has a reservation of')
#: What it noted of CPUs and memory at an earlier start, and cannot take up.
_STATE = re.compile(r'delete the (?P<what>\w+) manager checkpoint file \\*"(?P<file>/[\w./-]+)\\*"', re.IGNORECASE)
_POLICIES = re.compile(r'configured policy \\*"([^"\\]*)\\*" differs from state checkpoint policy \\*"([^"\\]*)')


@check(
    title="Kubelet crashes at each start",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=KUBELET_DOWN,
    tags=("node", "kubelet", "systemd"),
)
def kubelet_crash_loops(
    units: Units,
    cluster: Cluster,
    journal: KubeletJournal | None,
    kubelets: Kubelets | None,
    manifests: Manifests | None,
    nodes: Nodes | None,
) -> Iterator[Finding | Gap | Skip]:
    """Its last words are quoted. Where another check knows what they mean, this finding hangs below it."""
    seen = False
    for node, _ in units:
        unit = units.unit(node, "kubelet")
        seen = seen or unit is not None
        log = journal.get(node) if journal else None
        if unit is None or unit.active == "failed" or not crashing(unit, log, cluster):
            continue
        setup = kubelets.get(node) if kubelets else None
        if setup and setup.unjoined and not (nodes and nodes.get(node)):
            continue  # before kubeadm init or join the kubelet rightly waits for its configuration
        if setup is None and not (nodes and nodes.get(node)):
            yield Gap(node, "whether it ever joined a cluster was not seen")
            continue
        reason = last_reason(unit, log, cluster)
        runtime = units.unit(node, "containerd") or units.unit(node, "crio")
        if reason and _just_started(runtime, reason):
            continue  # both were started at once, at boot or by hand: systemd starts it again in ten seconds
        if log is None and runtime and runtime.running and runtime.entered and cluster.age(runtime.entered) < _MOMENT:
            yield Gap(
                f"journal of {node}", f"not seen; {runtime.name} was started a moment ago, and the kubelet with it"
            )
            continue
        place, shown = _place(setup, reason)
        ended = as_it_ended(unit, log, cluster)
        shot = log.killed if log and not reason and ended is not unit else None
        last = shot[0] if shot else reason
        why = _WRAPPING.sub("", _why(ended, reason).partition(", path: &TypeMeta")[0])
        if short := _RESERVED.search(why):
            why = f"more {short[1]} is reserved than {node} has"
        state = _STATE.search(reason.text) if reason else None
        if state:
            why, place, shown = _of_state(setup, state, why)
        yield Finding(
            Ref("Node", node),
            shorten(f"kubelet on {node} ends each time it starts: {place}{why}", 280)
            + on_control_plane(node, manifests),
            evidence=present(
                file_line(*shown, node) if shown else None,
                unit_state(unit, node, "ActiveState", "SubState", "Result", "ExecMainStatus"),
                journal_line(last, node)
                if last
                else Evidence("journalctl -u kubelet -n 50 --no-pager", "no line of it says why", node),
            ),
            next=present(
                f"ssh {node} sudo mv {state['file']} /root/    # it makes a new one; undo: move it back"
                if state
                else None,
                f"ssh -t {node} sudoedit {shown[0]}    # line {shown[1]}" if shown and not state else None,
                *(more_inotify(node) if reason and INOTIFY_EXHAUSTED.search(reason.text) else ()),
                f"ssh {node} sudo journalctl -u kubelet -n 50 --no-pager    # the last lines before each exit",
                f"ssh {node} sudo systemctl restart kubelet    # after what they name is corrected",
            ),
            touches=hosted(node, manifests, cluster),
        )
    if not seen:
        yield Skip("no node has a unit kubelet.service: the kubelet is part of another program, or in a container")


def _just_started(runtime: Unit | None, reason: Entry) -> bool:
    """Whether the kubelet only missed a runtime that was about to come up, and has come or is coming."""
    if runtime is None or reason.when is None or not _NO_RUNTIME.search(reason.text):
        return False
    if runtime.active == "activating" and not runtime.restarts:
        return True
    began = runtime.entered if runtime.running else None
    return began is not None and (reason.when - began).total_seconds() < _MOMENT


def _place(setup: KubeletSetup | None, reason: Entry | None) -> tuple[str, tuple[str, int, str] | None]:
    """The line of the kubelet's own files that its last words are about, as text and as evidence."""
    config = setup.config if setup else None
    if config is None or setup is None or reason is None:
        return "", None
    text = reason.said.partition(", path: ")[0]
    if name := _reserving(config, text) or config.named(text):
        file = config.file(name)
        line = file.line(name)
        return f"{file.path}:{line} {name}: ", (file.path, line, file.quoted(line))
    flags = [f for f in setup.flags if re.search(rf"(?<![\w-])--{re.escape(f.name)}(?![\w-])", text) and f.path]
    if len(flags) == 1:
        return f"{flags[0].path}:{flags[0].line} {flags[0].text}: ", (flags[0].path, flags[0].line, flags[0].text)
    return "", None


def _reserving(config: ConfigFile, text: str) -> str:
    """Of the fields that keep a resource back of which there is too little, the one that keeps most of it back."""
    short = _RESERVED.search(text)
    if short is None:
        return ""
    fields = [("systemReserved", short[1]), ("kubeReserved", short[1])]
    if short[1] == "memory":
        fields.append(("evictionHard", "memory.available"))
    kept = {".".join(f): config.kept_back(*f) for f in fields if config.line(".".join(f))}
    return max(kept, key=lambda name: kept[name], default="")


def _of_state(
    setup: KubeletSetup | None, state: re.Match[str], said: str
) -> tuple[str, str, tuple[str, int, str] | None]:
    """Why it does not take a checkpoint, and the line of its configuration that asks for another policy."""
    field = f"{state['what'].lower()}ManagerPolicy"
    file = setup.config.file(field) if setup and setup.config else None
    line = file.line(field) if file else 0
    place = f"{file.path}:{line} {field}: " if file and line else ""
    shown = (file.path, line, file.quoted(line)) if file and line else None
    if policies := _POLICIES.search(said):
        return f"policy is {policies[1]}, and {state['file']} is of policy {policies[2]}", place, shown
    return f"{state['file']} cannot be read: {said.partition(', please drain')[0].rpartition(': ')[2]}", "", None


def _why(unit: Unit, reason: Entry | None) -> str:
    if reason:
        return reason.said
    if unit.exit_status == 203:
        return f"{unit.program or 'its program'} cannot be executed (status 203/EXEC)"
    if unit.result in ("signal", "oom-kill", "watchdog", "core-dump"):
        return f"it is killed by signal {unit.exit_status} ({unit.result})"
    return f"exit status {unit.exit_status}" if unit.exit_status else unit.result or unit.state

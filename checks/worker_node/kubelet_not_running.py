"""The kubelet of a node is stopped: nothing starts or restarts there, and the node goes silent."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import KUBELET_DOWN, Evidence, Finding, Layer, Ref, Severity, Skip, check, present
from kdiag.facts import (
    RUNTIMES,
    Cluster,
    Entry,
    JournalLog,
    KubeletJournal,
    Kubelets,
    KubeletSetup,
    Manifests,
    Nodes,
    Unit,
    UnitLine,
    Units,
    file_line,
    hosted,
    journal_line,
    last_reason,
    on_control_plane,
    unit_state,
)

#: What a kubelet may well need.
_USUAL = ("network-online.target", "network.target", "containerd.socket", "docker.socket", "sysinit.target")
_CONDITION = re.compile(r"skipped because|Condition check resulted")
_NAMED = re.compile(r"unmet condition check \((?P<name>\w+)=(?P<value>.*)\)")


@check(
    title="Kubelet is not running",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=KUBELET_DOWN,
    tags=("node", "kubelet", "systemd"),
)
def kubelet_not_running(
    units: Units,
    cluster: Cluster,
    journal: KubeletJournal | None,
    kubelets: Kubelets | None,
    manifests: Manifests | None,
    nodes: Nodes | None,
) -> Iterator[Finding | Skip]:
    """One that systemd starts again and again is not stopped: that is kubelet_crash_loops and what it names."""
    seen = False
    for node, _ in units:
        unit = units.unit(node, "kubelet")
        setup = kubelets.get(node) if kubelets else None
        if unit is None:
            if setup and _was_kubeadm(setup, units, node):
                seen = True
                yield _gone(node)
            continue
        seen = True
        if unit.active not in ("inactive", "failed", "deactivating"):
            continue
        if unit.active == "deactivating" and cluster.age(unit.changed) < 30:
            continue
        if setup and setup.unjoined and not hosted(node, manifests) and not (nodes and nodes.get(node)):
            continue
        log = journal.get(node) if journal else None
        reason = last_reason(unit, log, cluster) or _skipped(unit, log)
        masked = unit.load == "masked" or unit.enabled.startswith("masked")
        state = "is masked and stopped" if masked else "has failed" if unit.active == "failed" else "is stopped"
        when = f" since {unit.left:%H:%M} UTC" if unit.left else ""
        disabled = " and does not start at boot" if unit.enabled == "disabled" else ""
        why = f": {reason.said}" if reason else ""
        needs = _needs(setup) if setup and unit.active == "inactive" and not masked else None
        unmet = _unmet(setup, reason) if setup and reason else None
        if unmet:
            why = f": systemd passes over it, {unmet.path}:{unmet.line} {unmet.text} is not so"
        if needs and not why:
            why = f"; it starts only with {needs.value} ({needs.path}:{needs.line} {needs.name}=)"
        yield Finding(
            Ref("Node", node),
            f"kubelet {state} on {node}{when}{disabled}{why[:140]}{on_control_plane(node, manifests)}",
            evidence=present(
                unit_state(unit, node, "ActiveState", "SubState", "UnitFileState", "Result"),
                *([journal_line(reason, node)] if reason else _stopped(node, journal)),
                file_line(needs.path, needs.line, needs.text, node) if needs else None,
                file_line(unmet.path, unmet.line, unmet.text, node) if unmet else None,
            ),
            next=present(
                f"ssh {node} systemctl status {needs.value}    # without it the kubelet does not start"
                if needs
                else None,
                f"ssh {node} sudo systemctl unmask kubelet" if masked else None,
                *(
                    [
                        f"ssh -t {node} sudoedit {unmet.path}    # line {unmet.line}: make it so, or take it out",
                        f"ssh {node} sudo systemctl daemon-reload",
                    ]
                    if unmet
                    else []
                ),
                f"ssh {node} sudo systemctl enable --now kubelet",
                f"ssh {node} sudo journalctl -u kubelet -n 50 --no-pager    # if it does not stay up",
            ),
            touches=hosted(node, manifests, cluster),
            since=unit.left.isoformat() if unit.left else "",
        )
    if not seen:
        yield Skip("no node has a unit kubelet.service: the kubelet is part of another program, or in a container")


def _needs(setup: KubeletSetup) -> UnitLine | None:
    """The line that has it start only with a unit that is no part of a Kubernetes node."""
    lines = setup.settings.of("Requires", "BindsTo", "Requisite")
    return next((line for line in reversed(lines) if line.value not in (*RUNTIMES, *_USUAL)), None)


def _stopped(node: str, journal: KubeletJournal | None) -> list[Evidence]:
    log = journal.get(node) if journal else None
    entry = log.systemd(r"Stopped|Deactivated|Failed|exited") if log else None
    return [journal_line(entry, node)] if entry else []


def _skipped(unit: Unit, log: JournalLog | None) -> Entry | None:
    """The condition for want of which systemd did not start it, where that is the last it said."""
    last = log.systemd(r"Stopped|Started|Failed|skipped because|Condition check resulted") if log else None
    return last if last and unit.active == "inactive" and _CONDITION.search(last.text) else None


def _unmet(setup: KubeletSetup, reason: Entry) -> UnitLine | None:
    """The line of the condition that systemd names."""
    named = _NAMED.search(reason.text)
    lines = setup.settings.of(named["name"]) if named else ()
    return next((line for line in reversed(lines) if named and line.value == named["value"]), None)


def _was_kubeadm(setup: KubeletSetup, units: Units, node: str) -> bool:
    """Whether all of a kubeadm node is there but the unit."""
    joined = bool(setup.kubeconfig and setup.kubeconfig.server and setup.config and not setup.config.absent)
    return joined and units.runtime(node) is not None


def _gone(node: str) -> Finding:
    return Finding(
        Ref("Node", node),
        f"{node} has no unit kubelet.service, although it was joined: the kubelet's package or unit file is gone",
        evidence=(
            Evidence("systemctl show kubelet -p LoadState", "LoadState=not-found", node),
            Evidence("ls /etc/kubernetes/kubelet.conf /var/lib/kubelet/config.yaml", "both are there", node),
        ),
        next=(
            f"ssh {node} ls -l /usr/lib/systemd/system/kubelet.service /etc/systemd/system/kubelet.service "
            "/usr/bin/kubelet",
            f"ssh {node} sudo apt-get install --reinstall kubelet    # or dnf reinstall kubelet, in the same version",
        ),
        key="unit",
    )

"""The container runtime of a node is stopped or does not stay up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kdiag.check import RUNTIME_DOWN, Evidence, Finding, Layer, Ref, Severity, Skip, check, listing, present, shorten
from kdiag.facts import (
    Cluster,
    Entry,
    KubeletJournal,
    Kubelets,
    Manifests,
    RuntimeConfig,
    RuntimeConfigs,
    RuntimeJournal,
    RuntimeUnits,
    Unit,
    Units,
    UnitText,
    crashing,
    file_line,
    hosted,
    journal_line,
    runtime_unit,
    unit_fault,
    unit_state,
)

_CONFIG = "/etc/containerd/config.toml"


class _Why(NamedTuple):
    """Why it does not run: the end of a sentence, the line that tells, the steps before a start, and that start."""

    said: str
    shown: Evidence | None = None
    steps: tuple[str, ...] = ()
    again: str = "enable --now"


@check(
    title="Container runtime is not running",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=RUNTIME_DOWN,
    tags=("node", "containerd", "crio", "runtime", "systemd"),
)
def runtime_not_running(
    units: Units,
    cluster: Cluster,
    kubelets: Kubelets | None,
    configs: RuntimeConfigs | None,
    journal: RuntimeJournal | None,
    kubelet_journal: KubeletJournal | None,
    manifests: Manifests | None,
    files: RuntimeUnits | None,
) -> Iterator[Finding | Skip]:
    """Containers that run go on without it, but none can be started, stopped or looked at."""
    seen = False
    for node, _ in units:
        unit = runtime_unit(node, units, kubelets, configs)
        seen = seen or unit is not None
        log = journal.get(node) if journal else None
        setup = kubelets.get(node) if kubelets else None
        if unit is None or units.unit(node, "kubelet") is None or (setup and setup.unjoined):
            continue
        loops = crashing(unit, log, cluster)
        if not loops and unit.active not in ("inactive", "deactivating"):
            continue
        if unit.active == "deactivating" and cluster.age(unit.changed) < 30:
            continue
        own = f"{unit.name}\\.service: (?:Failed|Main process exited|Unable|Deactivated)|Stopped {unit.name}"
        entry = (RuntimeJournal.last_error(log) if loops else None) or log.systemd(own) if log else None
        config = configs.get(node) if configs and unit.name == "containerd" else None
        text = (files.get(node) or {}).get(unit.name) if files and loops else None
        why = (
            _config_fault(config, node)
            or _unit_fault(text, unit, entry, node)
            or _not_executed(unit, node)
            or _Why(_last_word(entry, unit) if loops and entry else "")
        )
        masked = unit.load == "masked" or unit.enabled.startswith("masked")
        state = "does not stay up" if loops else "is masked and stopped" if masked else "is stopped"
        left = None if loops else unit.left
        when = f" since {left:%H:%M} UTC" if left else ""
        disabled = " and does not start at boot" if unit.enabled == "disabled" else ""
        kubelet = kubelet_journal.get(node) if kubelet_journal else None
        told = kubelet.find(r"container runtime is down|Error while dialing: dial unix") if kubelet else None
        yield Finding(
            Ref("Node", node),
            shorten(f"container runtime {unit.name} {state} on {node}{when}{disabled}{why.said}", 220)
            + ("; the control-plane pods there cannot be restarted" if hosted(node, manifests) else ""),
            evidence=present(
                unit_state(unit, node, "ActiveState", "SubState", "UnitFileState", "Result"),
                why.shown,
                journal_line(entry, node, unit.name) if entry else None,
                journal_line(told, node) if told and cluster.age(told.when) < 300 else None,
            ),
            next=present(
                f"ssh {node} sudo systemctl unmask {unit.name}" if masked else None,
                *why.steps,
                f"ssh {node} sudo systemctl {why.again} {unit.name}",
                f"ssh {node} sudo journalctl -u {unit.name} -n 50 --no-pager    # if it does not stay up",
            ),
            touches=hosted(node, manifests, cluster),
            since=left.isoformat() if left else "",
        )
    if not seen:
        yield Skip("no node has a unit of a container runtime: it is part of another program, or in a container")


def _config_fault(config: RuntimeConfig | None, node: str) -> _Why | None:
    if config is None or not config.fault:
        return None
    return _Why(
        f": {_CONFIG}:{config.fault_line}: {config.fault}",
        file_line(_CONFIG, config.fault_line, config.fault, node),
        (f"ssh -t {node} sudoedit {_CONFIG}    # line {config.fault_line}",),
    )


def _unit_fault(text: UnitText | None, unit: Unit, entry: Entry | None, node: str) -> _Why | None:
    wrong = unit_fault(text, unit, entry.text if entry else "") if text else None
    if wrong is None:
        return None
    line = wrong.line
    return _Why(
        f": {line.path}:{line.line} {line.text}: {wrong.what}",
        file_line(line.path, line.line, line.text, node),
        (
            f"ssh -t {node} sudoedit {line.path}    # line {line.line}: {wrong.step}",
            f"ssh {node} sudo systemctl daemon-reload",
        ),
        "restart",
    )


def _not_executed(unit: Unit, node: str) -> _Why | None:
    if unit.exit_status != 203:
        return None
    # A unit below /etc goes before that of the package; a drop-in has the last word.
    named = [f for f in (unit.path, *unit.drop_ins) if f.startswith("/etc/")] or [unit.path or "its unit"]
    return _Why(
        f": {unit.program} cannot be executed (status 203/EXEC); ExecStart is in {listing(named, 2)}",
        steps=(
            f"ssh {node} systemctl cat {unit.name} | grep -e ^# -e ExecStart    # where it is said",
            f"ssh -t {node} sudoedit {named[-1]}",
            f"ssh {node} sudo systemctl daemon-reload",
        ),
    )


def _last_word(entry: Entry, unit: Unit) -> str:
    """What the program said before it ended; systemd only says that it did."""
    return f": {entry.said.removeprefix(unit.name + ': ')}" if entry.source != "systemd" else ""

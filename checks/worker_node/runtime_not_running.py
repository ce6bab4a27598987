"""The container runtime of a node is stopped or does not stay up."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import RUNTIME_DOWN, Finding, Layer, Ref, Severity, Skip, check, listing, present, shorten
from kdiag.facts import (
    Cluster,
    KubeletJournal,
    Kubelets,
    Manifests,
    RuntimeConfigs,
    RuntimeJournal,
    RuntimeUnits,
    Units,
    crashing,
    file_line,
    hosted,
    journal_line,
    runtime_unit,
    unit_fault,
    unit_state,
)


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
        config = configs.get(node) if configs else None
        fault = config.fault if config and unit.name == "containerd" else ""
        own = f"{unit.name}\\.service: (?:Failed|Main process exited|Unable|Deactivated)|Stopped {unit.name}"
        entry = (RuntimeJournal.last_error(log) if loops else None) or log.systemd(own) if log else None
        # A unit below /etc goes before that of the package; a drop-in has the last word.
        named = [f for f in (unit.path, *unit.drop_ins) if f.startswith("/etc/")] or [unit.path or "its unit"]
        masked = unit.load == "masked" or unit.enabled.startswith("masked")
        state = "does not stay up" if loops else "is masked and stopped" if masked else "is stopped"
        when = f" since {unit.left:%H:%M} UTC" if unit.left and not loops else ""
        disabled = " and does not start at boot" if unit.enabled == "disabled" else ""
        why = f": /etc/containerd/config.toml:{config.fault_line}: {fault}" if config and fault else ""
        if not why and loops and entry and entry.source != "systemd":
            why = f": {entry.said.removeprefix(unit.name + ': ')}"
        if not why and unit.exit_status == 203:
            why = f": {unit.program} cannot be executed (status 203/EXEC); ExecStart is in {listing([*named], 2)}"
        text = (files.get(node) or {}).get(unit.name) if files and loops and not fault else None
        wrong = unit_fault(text, unit, entry.text if entry else "") if text else None
        if wrong:
            why = f": {wrong.line.path}:{wrong.line.line} {wrong.line.text}: {wrong.what}"
        kubelet = kubelet_journal.get(node) if kubelet_journal else None
        told = kubelet.find(r"container runtime is down|Error while dialing: dial unix") if kubelet else None
        yield Finding(
            Ref("Node", node),
            shorten(f"container runtime {unit.name} {state} on {node}{when}{disabled}{why}", 220)
            + ("; the control-plane pods there cannot be restarted" if hosted(node, manifests) else ""),
            evidence=present(
                unit_state(unit, node, "ActiveState", "SubState", "UnitFileState", "Result"),
                file_line("/etc/containerd/config.toml", config.fault_line, fault, node) if config and fault else None,
                file_line(wrong.line.path, wrong.line.line, wrong.line.text, node) if wrong else None,
                journal_line(entry, node, unit.name) if entry else None,
                journal_line(told, node) if told and cluster.age(told.when) < 300 else None,
            ),
            next=present(
                f"ssh {node} sudo systemctl unmask {unit.name}" if masked else None,
                f"ssh {node} sudoedit /etc/containerd/config.toml    # line {config.fault_line}"
                if config and fault
                else None,
                *(
                    [
                        f"ssh {node} systemctl cat {unit.name} | grep -e ^# -e ExecStart    # where it is said",
                        f"ssh {node} sudoedit {named[-1]}",
                        f"ssh {node} sudo systemctl daemon-reload",
                    ]
                    if unit.exit_status == 203 and not fault
                    else []
                ),
                *(
                    [
                        f"ssh {node} sudoedit {wrong.line.path}    # line {wrong.line.line}: {wrong.step}",
                        f"ssh {node} sudo systemctl daemon-reload",
                        f"ssh {node} sudo systemctl restart {unit.name}",
                    ]
                    if wrong
                    else [f"ssh {node} sudo systemctl enable --now {unit.name}"]
                ),
                f"ssh {node} sudo journalctl -u {unit.name} -n 50 --no-pager    # if it does not stay up",
            ),
            touches=hosted(node, manifests, cluster),
            since=unit.left.isoformat() if unit.left and not loops else "",
        )
    if not seen:
        yield Skip("no node has a unit of a container runtime: it is part of another program, or in a container")

"""The program that the kubelet's unit names cannot be executed."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, present
from kdiag.facts import (
    Cluster,
    KubeletJournal,
    Kubelets,
    Manifests,
    Units,
    file_line,
    next_start,
    setups,
    unit_state,
)

_USUAL = "/usr/bin/kubelet"


@check(
    title="Kubelet's program is missing",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=("worker_node/kubelet_crash_loops", "worker_node/kubelet_not_running"),
    tags=("node", "kubelet", "systemd"),
)
def kubelet_binary_missing(
    kubelets: Kubelets,
    units: Units,
    cluster: Cluster,
    journal: KubeletJournal | None,
    manifests: Manifests | None,
) -> Iterator[Finding]:
    """Status 203/EXEC says that it could not be executed: not there, no right to, or made for another machine."""
    for node, setup, unit in setups(kubelets, units):
        start = next_start(node, unit, journal, cluster, manifests)
        failed = unit.exit_status == 203 and not start.waits
        loaded = unit.program or setup.program
        gone = bool(loaded) and setup.missing(loaded)
        if not loaded.startswith("/") or not (failed or (gone and unit.program in ("", setup.program))):
            continue
        stale = bool(setup.program) and loaded != setup.program
        what = "does not exist" if gone else "cannot be executed (status 203/EXEC)"
        usual = loaded != _USUAL and setup.files.get(_USUAL, "") != ""
        place = f" ({setup.exec_path}:{setup.exec_line})" if setup.exec_path and not stale else ""
        yield Finding(
            Ref("Node", node),
            f"kubelet on {node} {start.fails}: {loaded} {what}{place}"
            + (f"; {_USUAL} is there" if usual and not stale else "")
            + (f"; the unit on disk names {setup.program}, and systemd has not read it yet" if stale else "")
            + start.also,
            evidence=present(
                unit_state(unit, node, "ActiveState", "SubState", "Result", "ExecMainStatus"),
                Evidence(f"ls -l {loaded}", "No such file or directory", node) if gone else None,
                file_line(setup.exec_path, setup.exec_line, f"ExecStart={setup.exec_start}", node) if place else None,
            ),
            next=(
                *(
                    [f"ssh -t {node} sudoedit {setup.exec_path}    # ExecStart={_USUAL} …"]
                    if usual and not stale
                    else []
                    if stale
                    else [f"ssh {node} ls -l {loaded}; ssh {node} sudo apt-get install --reinstall kubelet"]
                ),
                f"ssh {node} sudo systemctl daemon-reload",
                f"ssh {node} sudo systemctl restart kubelet",
            ),
            touches=start.touches,
            severity=start.severity,
            later=start.waits,
        )

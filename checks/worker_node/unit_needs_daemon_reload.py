"""A unit file was changed and systemd still works with the old one."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, present
from kdiag.facts import RUNTIMES, Units


@check(
    title="Unit was changed without daemon-reload",
    severity=Severity.WARNING,
    layer=Layer.HOST,
    tags=("node", "kubelet", "systemd", "containerd"),
)
def unit_needs_daemon_reload(units: Units) -> Iterator[Finding]:
    """What stands in the file, a correction perhaps, has no effect before a daemon-reload and a restart."""
    for node, _ in units:
        for name in ("kubelet", *(r.removesuffix(".service") for r in RUNTIMES)):
            unit = units.unit(node, name)
            if unit is None or not unit.needs_reload:
                continue
            files = [path for path in (unit.path, *unit.drop_ins) if path]
            down = unit.active in ("failed", "activating") or (name == "kubelet" and not unit.running)
            yield Finding(
                Ref("Node", node),
                f"unit {name} on {node} was changed on disk and systemd has not read it: the change has no effect yet",
                evidence=present(
                    Evidence(f"systemctl show {name} -p NeedDaemonReload", "NeedDaemonReload=yes", node),
                    Evidence(f"ls -l {' '.join(files)}", f"its files; state: {unit.state}", node) if files else None,
                ),
                next=(
                    f"ssh {node} systemctl cat {name}    # is the change what is wanted?",
                    f"ssh {node} sudo systemctl daemon-reload",
                    f"ssh {node} sudo systemctl restart {name}",
                ),
                key=name,
                severity=Severity.ERROR if down else None,
            )

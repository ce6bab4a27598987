"""A setting of the kubelet's systemd unit keeps it from starting, or ends it."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import KUBELET_DOWN, Evidence, Finding, Layer, Ref, Severity, check, shorten
from kdiag.facts import (
    Cluster,
    KubeletJournal,
    Kubelets,
    KubeletSetup,
    Manifests,
    NextStart,
    UnitFault,
    Units,
    file_line,
    hosted,
    journal_line,
    limited_life,
    next_start,
    setups,
    unit_fault,
    unit_state,
)


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
        said = start.reason.text if start.reason else ""
        brief = limited_life(setup.settings) if unit.running and not setup.unjoined else None
        found = _missing_file(setup) or brief or (None if start.waits else unit_fault(setup.settings, unit, said))
        if found is None:
            continue
        line = found.line
        fails = "does not stay up" if found is brief else start.fails
        grave = Severity.CRITICAL if found is brief and unit.restarts else start.severity
        yield Finding(
            Ref("Node", node),
            shorten(f"kubelet on {node} {fails}: {line.path}:{line.line} {line.text}: {found.what}", 240) + start.also,
            evidence=(
                file_line(line.path, line.line, line.text, node),
                unit_state(unit, node, "ActiveState", "SubState", "Result", "ExecMainStatus"),
                *_said(start, node),
            ),
            next=(
                f"ssh {node} sudoedit {line.path}    # line {line.line}: {found.step}",
                f"ssh {node} sudo systemctl daemon-reload",
                f"ssh {node} sudo systemctl reset-failed kubelet",
                f"ssh {node} sudo systemctl restart kubelet",
                f"ssh {node} systemctl is-active kubelet    # active, and still active ten seconds later",
            ),
            touches=start.touches or (hosted(node, manifests, cluster) if unit.restarts else ()),
            severity=grave,
            later=start.waits and found is not brief,
        )


def _said(start: NextStart, node: str) -> list[Evidence]:
    return [journal_line(start.reason, node)] if start.reason and not start.waits else []


def _missing_file(setup: KubeletSetup) -> UnitFault | None:
    """A file of variables that must be there and is not: systemd does not even try then."""
    for line in setup.settings.of("EnvironmentFile"):
        if not line.value.startswith("-") and setup.missing(line.value):
            return UnitFault(line, "there is no such file", "correct the path; a - before it makes the file optional")
    return None

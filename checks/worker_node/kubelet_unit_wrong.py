"""A setting of the kubelet's systemd unit keeps it from starting, or ends it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import KUBELET_DOWN, Evidence, Finding, Layer, Ref, Severity, check, shorten
from kdiag.facts import (
    Cluster,
    Entry,
    JournalLog,
    KubeletJournal,
    Kubelets,
    KubeletSetup,
    Manifests,
    NextStart,
    UnitFault,
    Units,
    as_it_ended,
    cut_off,
    file_line,
    hosted,
    journal_line,
    limited_life,
    next_start,
    setups,
    unit_fault,
    unit_state,
)

#: Said of a connection that was not even tried.
_NOT_TRIED = re.compile(
    r"dial (?:tcp|udp) \S+ (?:connect: )?(?:network is unreachable|operation not permitted)"
    r"|address family not supported"
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
        log = journal.get(node) if journal else None
        said = start.reason.text if start.reason else ""
        runs = unit.running and not setup.unjoined
        alone = _alone(log if runs else None)
        cut = cut_off(setup.settings, alone.text) if alone else None
        brief = limited_life(setup.settings) if runs else None
        ended = as_it_ended(unit, log, cluster)
        killed = log.killed[0] if log and log.killed and ended is not unit else None
        failed = None if start.waits else unit_fault(setup.settings, ended, said)
        found = cut or _missing_file(setup) or brief or failed
        if found is None:
            continue
        line = found.line
        fails = "is cut off" if found is cut else "does not stay up" if found is brief else start.fails
        grave = Severity.CRITICAL if found is cut or (found is brief and unit.restarts) else start.severity
        yield Finding(
            Ref("Node", node),
            shorten(f"kubelet on {node} {fails}: {line.path}:{line.line} {line.text}: {found.what}", 240) + start.also,
            evidence=(
                file_line(line.path, line.line, line.text, node),
                unit_state(unit, node, "ActiveState", "SubState", "Result", "ExecMainStatus"),
                *([journal_line(alone, node)] if alone and found is cut else _said(start, killed, node)),
            ),
            next=(
                f"ssh -t {node} sudoedit {line.path}    # line {line.line}: {found.step}",
                f"ssh {node} sudo systemctl daemon-reload",
                f"ssh {node} sudo systemctl reset-failed kubelet",
                f"ssh {node} sudo systemctl restart kubelet",
                f"ssh {node} systemctl is-active kubelet    # active, and still active ten seconds later",
            ),
            touches=start.touches or (hosted(node, manifests, cluster) if unit.restarts else ()),
            severity=grave,
            later=start.waits and found not in (cut, brief),
        )


def _alone(log: JournalLog | None) -> Entry | None:
    """What a kubelet that runs said last of a connection that was not even tried."""
    return log.find(_NOT_TRIED, log.last_run) if log else None


def _said(start: NextStart, killed: Entry | None, node: str) -> list[Evidence]:
    last = killed or start.reason
    return [journal_line(last, node)] if last and not start.waits else []


def _missing_file(setup: KubeletSetup) -> UnitFault | None:
    """A file of variables that must be there and is not: systemd does not even try then."""
    for line in setup.settings.of("EnvironmentFile"):
        if not line.value.startswith("-") and setup.missing(line.value):
            return UnitFault(line, "there is no such file", "correct the path; a - before it makes the file optional")
    return None

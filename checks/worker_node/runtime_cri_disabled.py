"""The container runtime runs without CRI, the part of it that the kubelet talks to."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import RUNTIME_DOWN, Evidence, Finding, Layer, Ref, Severity, check, present
from kdiag.facts import (
    Cluster,
    KubeletJournal,
    Kubelets,
    Manifests,
    RuntimeAnswers,
    RuntimeConfig,
    RuntimeConfigs,
    RuntimeJournal,
    Units,
    file_line,
    hosted,
    journal_line,
    runtime_unit,
)
from kdiag.facts.signatures import CRI_UNIMPLEMENTED

_FILE = "/etc/containerd/config.toml"


@check(
    title="Container runtime offers no CRI",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=RUNTIME_DOWN,
    tags=("node", "containerd", "runtime", "config"),
)
def runtime_cri_disabled(
    configs: RuntimeConfigs,
    units: Units,
    cluster: Cluster,
    answers: RuntimeAnswers | None,
    kubelets: Kubelets | None,
    journal: RuntimeJournal | None,
    kubelet_journal: KubeletJournal | None,
    manifests: Manifests | None,
) -> Iterator[Finding]:
    """Packages made for Docker bring a file with disabled_plugins = ["cri"]; a plugin may also fail to load."""
    for node, config in configs:
        unit = runtime_unit(node, units, kubelets, configs)
        if unit is None or unit.name != "containerd" or not unit.running:
            continue
        answer = answers.get(node) if answers else None
        off = config.cri_disabled
        works = answer is not None and not answer.error
        silent = answer is not None and answer.unimplemented
        if not silent and not off:
            continue
        if not off and works:
            continue
        log = kubelet_journal.get(node) if kubelet_journal else None
        told = log.find(CRI_UNIMPLEMENTED.pattern) if log and not works else None
        own = journal.get(node) if journal and not off else None
        loading = own.find(r"failed to load plugin.*(?:cri|CRI)|failed to create CRI service") if own else None
        where = f"{_FILE}:{config.disabled_line} has " if config.disabled_line else "its configuration has "
        why = (
            f"{where}disabled_plugins {list(off)}"
            if off
            else loading.said
            if loading
            else "its CRI plugin did not load"
        )
        line = _named(config, why) if loading and not off else None
        if line:
            why = f"{_FILE}:{line[2]} {line[0]} = {line[1]}: {why}"
        # From version 2 on it refuses the short name, and does not start at all.
        refused = works and config.version > 1 and "cri" in off
        lead = "after its next start " if works else ""
        yield Finding(
            Ref("Node", node),
            (
                f"containerd on {node} will not start again: {why}"
                if refused
                else f"{lead}containerd on {node} offers the kubelet no CRI: {why}"
            )[:240]
            + ("; its control-plane pods cannot be restarted" if hosted(node, manifests) and not works else ""),
            evidence=present(
                file_line(_FILE, config.disabled_line, f"disabled_plugins = {list(off)}", node) if off else None,
                file_line(_FILE, line[2], f'{line[0]} = "{line[1]}"', node) if line else None,
                Evidence("crictl version", answer.error[:300], node) if answer and answer.error else None,
                journal_line(loading, node, "containerd") if loading else None,
                journal_line(told, node) if told and cluster.age(told.when) < 300 else None,
            )
            or (Evidence("crictl version", "no answer", node),),
            next=(
                f"ssh -t {node} sudoedit {_FILE}    # take cri out of disabled_plugins"
                if off
                else f"ssh -t {node} sudoedit {_FILE}    # line {line[2]}"
                if line
                else f"ssh {node} sudo journalctl -u containerd -n 80 --no-pager    # why does the plugin not load?",
                f"ssh {node} sudo systemctl restart containerd    # running containers go on",
                f"ssh {node} sudo crictl version    # must answer",
            ),
            touches=() if works else hosted(node, manifests, cluster),
            severity=Severity.WARNING if works else None,
        )


def _named(config: RuntimeConfig, said: str) -> tuple[str, str, int] | None:
    """The setting whose value the runtime complains of, where it is one alone."""
    plain = said.replace("\\", "")
    found = [one for one in config.named if f'"{one[1]}"' in plain]
    return found[0] if len(found) == 1 else None

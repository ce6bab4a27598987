"""The kubelet is started with a flag that it does not know."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Finding, Layer, Ref, Severity, check, present
from kdiag.facts import (
    Cluster,
    KubeletFlag,
    KubeletJournal,
    Kubelets,
    KubeletSetup,
    Manifests,
    Units,
    file_line,
    hosted,
    journal_line,
    last_reason,
    on_control_plane,
    unit_state,
)

_SAID = re.compile(
    r"unknown flag: --(?P<flag>[\w-]+)|unknown shorthand flag: '(?P<short>\w)' in (?P<word>-\S+)"
    r"|invalid argument \\?\"(?P<value>[^\"\\]*)\\?\" for \\?\"?(?:-\w, )?--(?P<bad>[\w-]+)"
    r"|unknown command (?P<command>\S+)|flag needs an argument: --(?P<lacks>[\w-]+)"
)
#: Flags that were removed, and with which version.
_REMOVED = {
    "network-plugin": "removed in 1.24",
    "cni-conf-dir": "removed in 1.24",
    "cni-bin-dir": "removed in 1.24",
    "container-runtime": "removed in 1.27",
    "pod-infra-container-image": "removed in 1.35; the runtime's configuration names the pause image",
    "keep-terminated-pod-volumes": "removed in 1.30",
    "docker-endpoint": "removed in 1.24",
    "image-pull-progress-deadline": "removed in 1.24",
    "dynamic-config-dir": "removed in 1.24",
}


@check(
    title="Kubelet does not know one of its flags",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=("worker_node/kubelet_crash_loops", "worker_node/kubelet_not_running"),
    tags=("node", "kubelet", "config", "upgrade"),
)
def kubelet_flag_unknown(
    units: Units,
    cluster: Cluster,
    journal: KubeletJournal,
    kubelets: Kubelets | None,
    manifests: Manifests | None,
) -> Iterator[Finding]:
    """Which flags there are depends on the version, so it is the kubelet itself that says so."""
    for node, log in journal:
        unit = units.unit(node, "kubelet")
        reason = last_reason(unit, log, cluster)
        match = _SAID.search(reason.text) if reason else None
        if unit is None or reason is None or match is None:
            continue
        setup = kubelets.get(node) if kubelets else None
        name = match["flag"] or match["bad"] or match["lacks"] or ""
        flag = _where(setup, name)
        if setup and name and flag is None and setup.flags:
            continue  # it is out of the files already and the kubelet not started again since
        place = f" ({flag.path}:{flag.line})" if flag and flag.path else ""
        yield Finding(
            Ref("Node", node),
            f"kubelet on {node} does not start: {_what(match)}{place}{on_control_plane(node, manifests)}",
            evidence=present(
                file_line(flag.path, flag.line, flag.text, node) if flag and flag.path else None,
                journal_line(reason, node),
                unit_state(unit, node, "ActiveState", "SubState"),
            ),
            next=_next(node, flag),
            touches=hosted(node, manifests, cluster),
            key=name,
        )


def _where(setup: KubeletSetup | None, name: str) -> KubeletFlag | None:
    return setup.flag(name) if setup and name else None


def _what(match: re.Match[str]) -> str:
    if match["flag"]:
        known = _REMOVED.get(match["flag"])
        return f"it knows no flag --{match['flag']}" + (f" ({known})" if known else "")
    if match["bad"]:
        return f'"{match["value"]}" is no value for its flag --{match["bad"]}'
    if match["lacks"]:
        return f"its flag --{match['lacks']} has no value"
    return f"it cannot read {match['word'] or match['command']} on its command line"


def _next(node: str, flag: KubeletFlag | None) -> tuple[str, ...]:
    unit = flag is None or ".service" in flag.path
    where = flag.path if flag and flag.path else "/var/lib/kubelet/kubeadm-flags.env"
    return present(
        f"ssh {node} systemctl cat kubelet    # and the files that it names: where does the flag come from?"
        if not flag
        else None,
        f"ssh -t {node} sudoedit {where}    # take {flag.text if flag else 'the flag'} out",
        f"ssh {node} sudo systemctl daemon-reload" if unit else None,
        f"ssh {node} sudo systemctl restart kubelet",
    )

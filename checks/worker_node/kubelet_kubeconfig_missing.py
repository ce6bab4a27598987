"""The kubelet has neither its kubeconfig nor one to bootstrap with, or not the certificate that it names."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, present
from kdiag.facts import (
    EMPTY,
    Cluster,
    KubeletJournal,
    Kubelets,
    KubeletSetup,
    Manifests,
    NextStart,
    Units,
    hosted,
    journal_line,
    next_start,
    retry,
    setups,
    unit_state,
)


@check(
    title="Kubelet's kubeconfig is missing",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=(
        "control_plane/certificate_unreadable",
        "worker_node/kubelet_crash_loops",
        "worker_node/kubelet_not_running",
    ),
    # Without either it was reset, or never joined: it is joined anew, and gets both.
    explains_here=("worker_node/kubelet_client_ca_missing",),
    tags=("node", "kubelet", "config", "certificates"),
)
def kubelet_kubeconfig_missing(
    kubelets: Kubelets,
    units: Units,
    cluster: Cluster,
    journal: KubeletJournal | None,
    manifests: Manifests | None,
) -> Iterator[Finding]:
    """The bootstrap file is rightly gone once a node has joined, although it is the one that the kubelet names."""
    for node, setup, unit in setups(kubelets, units):
        yield from _astray(node, setup, next_start(node, unit, journal, cluster, manifests))
        lost = _lost(setup)
        if not lost or setup.unjoined:
            continue
        start = next_start(node, unit, journal, cluster, manifests)
        control = bool(hosted(node, manifests))
        empty = setup.empty(lost)
        what = f"its kubeconfig {lost} does not exist" if lost.endswith(".conf") else f"its certificate {lost} is gone"
        if empty:
            what = f"its certificate {lost} is an empty file"
        anew = (
            f"ssh {node} sudo kubeadm init phase kubeconfig kubelet    # or: a new one, signed by the node's CA"
            if control
            else "kubeadm token create --print-join-command    # or: on a control-plane node, then join anew as it says"
        )
        yield Finding(
            Ref("Node", node),
            f"kubelet on {node} {start.fails}: {what}" + start.also,
            evidence=present(
                Evidence(f"stat -L -c %F {lost}", EMPTY, node)
                if empty
                else Evidence(f"ls {lost}", "No such file or directory", node),
                unit_state(unit, node, "ActiveState", "SubState"),
                journal_line(start.reason, node) if start.reason else None,
            ),
            next=retry(
                node,
                f"ssh {node} sudo ls -la {lost.rpartition('/')[0]}    # "
                + ("an older one there? ln -sf to it" if empty else "was it moved or renamed? move it back"),
                anew,
            ),
            touches=start.touches,
            severity=start.severity,
            later=start.waits,
        )


def _astray(node: str, setup: KubeletSetup, start: NextStart) -> Iterator[Finding]:
    """Its parts do not fit together: the kubelet takes it for none, and looks in vain for one to bootstrap with."""
    access = setup.kubeconfig if setup.flag("kubeconfig") else None
    if access is None or not access.astray:
        return
    fault = access.astray[0]
    yield Finding(
        Ref("Node", node),
        f"kubelet on {node} {start.fails}: {access.path}:{fault.line}: {fault.what}" + start.also,
        evidence=present(
            Evidence(f"sudo sed -n {fault.line}p {access.path}", fault.field, node),
            journal_line(start.reason, node) if start.reason else None,
        ),
        next=retry(node, f"ssh -t {node} sudoedit {access.path}    # line {fault.line}"),
        touches=start.touches,
        severity=start.severity,
        later=start.waits,
        key="reference",
    )


def _lost(setup: KubeletSetup) -> str:
    """The file that is not there; empty when the kubelet has what it needs, or is in the middle of its bootstrap."""
    access, first = setup.kubeconfig, setup.bootstrap
    if access is None or setup.flag("kubeconfig") is None or (first is not None and not first.absent):
        return ""
    if access.absent:
        return access.path
    path = access.client_certificate
    return path if setup.missing(path) or setup.empty(path) else ""

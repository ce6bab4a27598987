"""The kubelet's client CA file, with which it knows the API server, cannot be read."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, present, shorten, ssh
from kdiag.facts import (
    Cluster,
    KubeletJournal,
    Kubelets,
    Manifests,
    Units,
    file_line,
    journal_line,
    next_start,
    retry,
    setups,
)
from kdiag.facts.signatures import CLIENT_CA_MISSING

_USUAL = "/etc/kubernetes/pki/ca.crt"


@check(
    title="Kubelet's client CA file is missing",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=("worker_node/kubelet_crash_loops", "worker_node/kubelet_not_running"),
    tags=("node", "kubelet", "config", "certificates"),
)
def kubelet_client_ca_missing(
    kubelets: Kubelets,
    units: Units,
    cluster: Cluster,
    journal: KubeletJournal | None,
    manifests: Manifests | None,
) -> Iterator[Finding]:
    """The file is looked for on disk; where it is there and no certificate, the kubelet's own words decide."""
    for node, setup, unit in setups(kubelets, units):
        path, source, line = setup.given("client-ca-file", "authentication.x509.clientCAFile")
        start = next_start(node, unit, journal, cluster, manifests)
        reason = start.reason
        said = bool(reason and (CLIENT_CA_MISSING.search(reason.text) or (path and path in reason.text)))
        told = reason if said else None
        unseen = path not in setup.files and told is not None and f"open {path}: no such file" in told.text
        absent = bool(path) and (setup.missing(path) or unseen)
        folder = setup.files.get(path) == "directory"
        if not path or not (absent or folder or told) or setup.unjoined:
            continue
        if told and not absent and not folder and path not in told.text:
            continue  # it was corrected and not started again yet
        what = "does not exist" if absent else "is a folder" if folder else "cannot be read as a certificate"
        usual = path != _USUAL and setup.files.get(_USUAL, "") != ""
        yield Finding(
            Ref("Node", node),
            shorten(f"kubelet on {node} {start.fails}: clientCAFile {path} {what} ({source}:{line})", 220)
            + (f"; {_USUAL} is there" if usual else "")
            + start.also,
            evidence=present(
                file_line(source, line, f"clientCAFile: {path}", node),
                Evidence(f"ls {path}", "No such file or directory" if absent else what, node),
                journal_line(told, node) if told else None,
            ),
            next=retry(
                node,
                ssh(node, f"sudo sed -i.before 's#{path}#{_USUAL}#' {source}") + f"    # undo: the copy {source}.before"
                if usual
                else f"ssh {node} sudo ls -l {path.rpartition('/')[0] or '/'}    # put the cluster's CA certificate "
                f"there: that of {_USUAL} on a control-plane node",
            ),
            touches=start.touches,
            severity=start.severity,
            later=start.waits,
        )

"""The API server does not accept the kubelet's credentials, or the kubelet not the API server's certificate."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Finding, Gap, Layer, Ref, Severity, check, present
from kdiag.facts import (
    Cluster,
    Entry,
    JournalLog,
    KubeletJournal,
    Kubelets,
    Manifests,
    NodeLeases,
    Nodes,
    Units,
    file_line,
    hosted,
    journal_line,
)

_LATELY = 90
_AGAIN = 20  # seconds in which one that is refused says so again
#: What the kubelet asks of the API server all the time, in whatever words.
_ASKS = re.compile(
    r"updating node status|ensure lease exists|register node|Failed to watch|Failed to list|failed to list"
    r"|Unable to update node|contact(?:ing)? (?:the )?API server|Failed while requesting a signed certificate"
)
_REFUSED = re.compile(
    r'err=\\?"(?:[^"]*: )?Unauthorized|the server has asked for the client to provide credentials'
    r"|x509: certificate signed by unknown authority|x509: certificate has expired or is not yet valid"
    r"|tls: (?:expired|unknown|bad|revoked) certificate(?: authority)?|remote error: tls: "
)


@check(
    title="Kubelet and API server do not trust each other",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=("worker_node/node_not_ready", "worker_node/node_heartbeat_stale", "application/pod_not_ready"),
    tags=("node", "kubelet", "certificates", "access"),
)
def kubelet_unauthorized(
    units: Units,
    journal: KubeletJournal,
    cluster: Cluster,
    kubelets: Kubelets | None,
    manifests: Manifests | None,
    nodes: Nodes | None,
    leases: NodeLeases | None,
) -> Iterator[Finding | Gap]:
    """Judged by what it says now, and by more than one line: one refusal may be a certificate that just changed."""
    for node, log in journal:
        unit = units.unit(node, "kubelet")
        seen = nodes.get(node) if nodes and not nodes.gaps else None
        if unit is None or not unit.running or cluster.age(unit.entered) < 5 or (seen and seen.ready and _fresh(log)):
            continue
        refused = _lately(log, cluster)
        if len(refused) < 3:
            continue
        last = refused[-1]
        lease = leases.get(node, "kube-node-lease") if leases else None
        if lease and lease.spec.renew_time and last.when and lease.spec.renew_time > last.when:
            continue  # it has been let in since
        if (leases is None or leases.gaps) and not cluster.dead and cluster.age(last.when) > _AGAIN:
            yield Gap(f"Lease of {node}", "not seen: it may have been let in since")
            continue
        setup = kubelets.get(node) if kubelets else None
        access = setup.kubeconfig if setup else None
        certificate = (access.client_certificate if access else "") or "/var/lib/kubelet/pki/kubelet-client-current.pem"
        yield Finding(
            Ref("Node", node),
            f"kubelet on {node} and the API server do not trust each other: {_what(last)}",
            evidence=present(
                journal_line(last, node),
                file_line(access.path, access.server_line, f"server: {access.server}", node)
                if access and access.server
                else None,
            ),
            next=(
                f"ssh {node} sudo openssl x509 -noout -subject -issuer -dates -in {certificate}",
                f"ssh {node} sudo openssl x509 -noout -subject -dates -in /etc/kubernetes/pki/ca.crt    # that of "
                "the control plane?",
                "kubeadm token create --print-join-command    # on a control-plane node; then join anew",
            ),
            touches=hosted(node, manifests, cluster),
        )


def _fresh(log: JournalLog) -> bool:
    return not any("Error updating node status" in e.text for e in log.entries[-20:])


def _lately(log: JournalLog, cluster: Cluster) -> list[Entry]:
    """What it was refused since it last found nobody there: the API server that starts may have another certificate."""
    found: list[Entry] = []
    for e in log.last_run:
        if not (e.when and cluster.age(e.when) < _LATELY and _ASKS.search(e.text)):
            continue
        if _REFUSED.search(e.text):
            found.append(e)
        elif "connection refused" in e.text:
            found.clear()
    return found


def _what(entry: Entry) -> str:
    if "unknown authority" in entry.text:
        return "the kubelet does not know the CA that signed the API server's certificate"
    if "has expired or is not yet valid" in entry.text:
        return "a certificate has expired, or a clock is wrong"
    if "tls:" in entry.text:
        return "the API server refuses the kubelet's client certificate"
    return "401 Unauthorized: the API server does not accept the kubelet's client certificate or token"

"""The API server does not let a kubelet be the node whose name it uses."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, present
from kdiag.facts import (
    Cluster,
    HostNames,
    KubeletJournal,
    Kubelets,
    Manifests,
    Nodes,
    Units,
    file_line,
    hosted,
    journal_line,
)

_LATELY = 120
_FORBIDDEN = re.compile(
    r"Unable to register node with API server, reason is forbidden.*|is not allowed to modify node.*"
    r"|Unable to register node with API server, error getting existing node.* is forbidden: User \\*\"system:node:.*"
    r"|node \\?\"[^\"\\]+\\?\" is not allowed to .*|can only access node lease with the same name.*"
)
_NAMES = (
    re.compile(r"node \\*\"(?P<is>[^\"\\]+)\\*\" is not allowed to modify node \\*\"(?P<as>[^\"\\]+)\\*\""),
    re.compile(r"nodes \\*\"(?P<as>[^\"\\]+)\\*\" is forbidden: (?:User \\*\"system:node:(?P<is>[^\"\\]+)\\*\")?"),
    re.compile(r"User \\*\"system:node:(?P<is>[^\"\\]+)\\*\" cannot .*\bnode=\"(?P<as>[^\"]+)\""),
)


@check(
    title="Kubelet uses another node's name",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=(
        "worker_node/node_not_ready",
        "worker_node/node_heartbeat_stale",
        "worker_node/host_name_unknown",
        "application/pod_not_ready",
    ),
    tags=("node", "kubelet", "access", "hostname"),
)
def kubelet_not_registered(
    units: Units,
    journal: KubeletJournal,
    cluster: Cluster,
    kubelets: Kubelets | None,
    nodes: Nodes | None,
    manifests: Manifests | None,
    hosts: HostNames | None,
) -> Iterator[Finding]:
    """A host that was renamed, or --hostname-override: its certificate is still that of the node it was."""
    yield from _unread(journal, hosts, nodes)
    for node, log in journal:
        unit = units.unit(node, "kubelet")
        if unit is None or not unit.running:
            continue
        said = [
            e
            for e in log.last_run
            if e.when and cluster.age(e.when) < _LATELY and _FORBIDDEN.search(e.text) and "register" in e.text
        ]
        if not said:
            continue
        last = said[-1]
        match = next((m for p in _NAMES if (m := p.search(last.text))), None)
        as_, is_ = (match["as"], match["is"] or "") if match else ("", "")
        if is_ == as_ and "error getting existing node" in last.text:
            continue  # it is refused its own Node: the API server does not know what kubelets may do
        setup = kubelets.get(node) if kubelets else None
        flag = setup.flag("hostname-override") if setup else None
        names = f" as {as_}" if as_ else ""
        whose = f"; its certificate is that of {is_}" if is_ and is_ != as_ else ""
        place = f" (--hostname-override, {flag.path}:{flag.line})" if flag else ""
        yield Finding(
            Ref("Node", node),
            f"kubelet on {node} cannot register{names}{place}: the API server forbids it{whose}",
            evidence=present(
                journal_line(last, node),
                file_line(flag.path, flag.line, flag.text, node) if flag and flag.path else None,
                Evidence(kubectl("get", "node", as_), "NotFound")
                if as_ and nodes and not nodes.gaps and nodes.get(as_) is None
                else None,
            ),
            next=(
                f"ssh {node} hostname; ssh {node} sudo openssl x509 -noout -subject -in "
                "/var/lib/kubelet/pki/kubelet-client-current.pem",
                f"ssh -t {node} sudoedit {flag.path}    # take --hostname-override out"
                if flag and flag.path
                else f"ssh {node} sudo hostnamectl set-hostname {is_ or node}    # the name of the certificate",
                f"ssh {node} sudo systemctl restart kubelet",
            ),
            touches=hosted(node, manifests, cluster),
        )


def _unread(journal: KubeletJournal, hosts: HostNames | None, nodes: Nodes | None) -> Iterator[Finding]:
    """A renamed host whose sudo waits for DNS: its journal cannot be had, and what it calls itself can."""
    for node, name in hosts or ():
        known = nodes.get(node) if nodes else None
        if known is None or known.ready or journal.get(node) is not None or _short(name) == _short(node):
            continue
        if any(_short(other.name) == _short(name) for other in (nodes.items if nodes else ())):
            continue
        yield Finding(
            Ref("Node", node),
            f"the machine of node {node} is called {name}: its kubelet registers under that name, which the API server "
            "forbids",
            evidence=(
                Evidence("uname -n", name, node),
                Evidence(kubectl("get", "node", name), "NotFound"),
            ),
            next=(
                f"ssh {node} sudo hostnamectl set-hostname {node}    # the name of its certificate",
                f"ssh {node} sudo systemctl restart kubelet",
                f'ssh {node} sudo journalctl -u kubelet -n 20 --no-pager    # "is not allowed to modify node"?',
            ),
        )


def _short(name: str) -> str:
    return name.partition(".")[0].lower()

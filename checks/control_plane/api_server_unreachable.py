"""The API server does not answer, so nothing that only it knows can be told."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import CLUSTER, Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing, present
from kdiag.facts import (
    BackOff,
    Cluster,
    Containers,
    KubeletJournal,
    Manifests,
    backed_off,
    current,
    journal_line,
    server_urls,
    started_at_once,
)

#: Seconds: what the kubelet needs to see a change and to start the container, and that to serve.
_TAKEN_UP = 45
#: Seconds after which a server that runs has not ended at start.
_STEADY = 60
#: The least wait that is worth a word.
_LONG = 15


@check(
    title="API server does not answer",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    tags=("api",),
)
def api_server_unreachable(
    cluster: Cluster, manifests: Manifests | None, containers: Containers | None, journal: KubeletJournal | None
) -> Iterator[Finding]:
    """A symptom: what keeps it from answering is for the nodes to tell."""
    if not cluster.dead:
        return
    address = cluster.server.partition("://")[2] or cluster.server or "(no address is known)"
    written = next(_written(cluster, manifests), None)
    begins = f"; {written[1]} on {written[0]} has just been written: the kubelet starts it anew" if written else ""
    held, waits = next(_waiting(cluster, containers, journal), ("", None)) if not written else ("", None)
    if waits:
        begins = f"; {waits.part} on {held} waits until {waits.until:%H:%M:%S} UTC to be started again"
    others = dict(_others(cluster, manifests, containers))
    run = f", though {'that' if len(others) == 1 else 'those'} of {listing(sorted(others))} still run" if others else ""
    run += "s" if len(others) == 1 else ""
    yield Finding(
        Ref("APIServer", address),
        f"the API server {address} cannot be used{run}: {_short(cluster.dead, address)}{begins}",
        evidence=present(
            Evidence(kubectl("get", "--raw", "/livez"), cluster.dead),
            journal_line(waits.entry, held) if waits else None,
            *(Evidence("crictl ps --name kube-apiserver", "Running", node) for node in sorted(others)),
        ),
        next=present(
            "wait half a minute, then run kdiag check again" if written else None,
            started_at_once(held, waits.part) if waits else None,
            *(f"{kubectl('--server', url, 'get', 'nodes')}    # {node}'s" for node, url in sorted(others.items())),
            "on a control-plane node: sudo crictl ps -a | grep -E 'kube-apiserver|etcd'",
            "on a control-plane node: sudo journalctl -u kubelet -n 50 --no-pager",
            "kubectl config view --minify   # is this the server that you meant?",
        ),
        touches=(CLUSTER,),
    )


def _written(cluster: Cluster, manifests: Manifests | None) -> Iterator[tuple[str, str]]:
    """The manifests of the API server and its store that the kubelet is only taking up: node and path."""
    for node, found in manifests or ():
        for part in ("kube-apiserver", "etcd"):
            one = found.of(part)
            if one and one.info.changed and 0 <= cluster.age(one.info.changed) < _TAKEN_UP:
                yield node, one.path


def _waiting(
    cluster: Cluster, containers: Containers | None, journal: KubeletJournal | None
) -> Iterator[tuple[str, BackOff]]:
    """What the kubelet lets wait, whatever ended it may be mended by now, and on which node."""
    for node, log in journal or ():
        seen = containers.get(node) if containers else None
        for part in ("kube-apiserver", "etcd"):
            if (wait := backed_off(part, seen, log, cluster)) and cluster.age(wait.until) < -_LONG:
                yield node, wait


def _others(cluster: Cluster, manifests: Manifests | None, containers: Containers | None) -> Iterator[tuple[str, str]]:
    """Nodes with an API server that runs, and is not the one which was asked: with its address."""
    asked = {url.host for url in server_urls(cluster.server, default=443)}
    servers = [node for node, found in manifests or () if found.of("kube-apiserver")]
    for node, found in manifests or ():
        if len(servers) == 1:
            return  # a name may lead to it
        one, seen = found.of("kube-apiserver"), containers.get(node) if containers else None
        last = current(seen, "kube-apiserver") if seen else None
        if not one or not last or not last.running or cluster.age(last.started or last.created) < _STEADY:
            continue
        host = one.value("advertise-address") or next(iter(sorted(found.addresses)), "")
        if host and host not in asked and not asked & set(found.addresses):
            port = one.value("secure-port", "6443")
            yield node, f"https://{f'[{host}]' if ':' in host else host}:{port}"


def _short(reason: str, address: str) -> str:
    return reason.removeprefix(f"{address}: ").partition(";")[0]

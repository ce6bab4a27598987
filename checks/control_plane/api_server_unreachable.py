"""The API server does not answer, so nothing that only it knows can be told."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import CLUSTER, Evidence, Finding, Layer, Ref, Severity, check, kubectl
from kdiag.facts import Cluster, Manifests

#: Seconds: what the kubelet needs to see a change and to start the container, and that to serve.
_TAKEN_UP = 45


@check(
    title="API server does not answer",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    tags=("api",),
)
def api_server_unreachable(cluster: Cluster, manifests: Manifests | None) -> Iterator[Finding]:
    """A symptom: what keeps it from answering is for the nodes to tell."""
    if not cluster.dead:
        return
    address = cluster.server.partition("://")[2] or cluster.server or "(no address is known)"
    written = next(_written(cluster, manifests), None)
    begins = f"; {written[1]} on {written[0]} has just been written: the kubelet starts it anew" if written else ""
    yield Finding(
        Ref("APIServer", address),
        f"the API server {address} cannot be used: {_short(cluster.dead, address)}{begins}",
        evidence=(Evidence(kubectl("get", "--raw", "/livez"), cluster.dead),),
        next=(
            *(["wait half a minute, then run kdiag check again"] if written else []),
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


def _short(reason: str, address: str) -> str:
    return reason.removeprefix(f"{address}: ").partition(";")[0]

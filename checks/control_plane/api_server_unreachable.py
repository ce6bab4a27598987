"""The API server does not answer, so nothing that only it knows can be told."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import CLUSTER, Evidence, Finding, Layer, Ref, Severity, check, kubectl
from kdiag.facts import Cluster


@check(
    title="API server does not answer",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    tags=("api",),
)
def api_server_unreachable(cluster: Cluster) -> Iterator[Finding]:
    """A symptom: what keeps it from answering is for the nodes to tell."""
    if not cluster.dead:
        return
    address = cluster.server.partition("://")[2] or cluster.server or "(no address is known)"
    yield Finding(
        Ref("APIServer", address),
        f"the API server {address} cannot be used: {_short(cluster.dead, address)}",
        evidence=(Evidence(kubectl("get", "--raw", "/livez"), cluster.dead),),
        next=(
            "on a control-plane node: sudo crictl ps -a | grep -E 'kube-apiserver|etcd'",
            "on a control-plane node: sudo journalctl -u kubelet -n 50 --no-pager",
            "kubectl config view --minify   # is this the server that you meant?",
        ),
        touches=(CLUSTER,),
    )


def _short(reason: str, address: str) -> str:
    return reason.removeprefix(f"{address}: ").partition(";")[0]

"""The API server runs and is reached by its nodes, and this client's kubeconfig leads elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl
from kdiag.facts import Cluster, Containers, Listeners, Manifests, agreed_server, current, server_urls

_API = "kube-apiserver"
#: What a client says that has asked nobody: the address itself is of no use.
_NOBODY = re.compile(
    r"no such host|not known|[Tt]emporary failure in name resolution|invalid port|[Nn]o address|resolve", re.I
)
# Younger than this a component may still end; what ends is for others to tell.
_STEADY = 90


@check(
    title="Client's kubeconfig leads elsewhere",
    severity=Severity.ERROR,
    layer=Layer.APISERVER,
    explains=("control_plane/api_server_unreachable",),
    tags=("kubeconfig", "access", "apiserver"),
)
def client_server_wrong(
    cluster: Cluster, listeners: Listeners, manifests: Manifests, containers: Containers
) -> Iterator[Finding]:
    """Held against where the kubeconfigs of the nodes lead, and what listens there.

    A tunnel or a load balancer in between is the client's way as well: then nothing answers there, and the address may
    be right.
    """
    if not cluster.dead:
        return
    asked = next(iter(server_urls(cluster.server, default=443)), None)
    serving = [node for node, _ in manifests if _serves(node, listeners, containers, cluster)]
    if asked is None or not serving:
        return
    agreed = agreed_server(manifests)
    if agreed is None or (agreed.host, agreed.port) == (asked.host, asked.port):
        return
    right = f"{agreed.scheme}://{agreed.host}:{agreed.port}"
    own = {address for _, found in manifests for address in found.addresses} - (
        {asked.host} if asked.loopback else set()
    )
    if asked.fault:
        why = asked.fault
    elif asked.host in own or asked.host == agreed.host:
        if asked.port == agreed.port:
            return  # another of the control planes, or another address of one: a firewall's matter
        why = f"wrong port, the API server is at {agreed.port}"
    elif _NOBODY.search(cluster.dead):
        why = "nobody has that name"
    else:
        why = f"nothing answers there; the nodes reach the API server at {right}"
    address = cluster.server.partition("://")[2] or cluster.server
    yield Finding(
        Ref("APIServer", address),
        f"the API server runs, and this kubeconfig leads to {address}: {why}",
        evidence=(
            Evidence(kubectl("config", "view", "--minify"), f"server: {cluster.server}"),
            Evidence(kubectl("get", "--raw", "/livez"), cluster.dead),
            Evidence("grep -h server: /etc/kubernetes/*.conf", right, source=serving[0]),
            Evidence("ss -ltn", f"{_API} listens on {_port(serving[0], listeners)}", source=serving[0]),
        ),
        next=(
            "kubectl config set-cluster \"$(kubectl config view --minify -o 'jsonpath={.clusters[0].name}')\""
            f" --server={right}    # as far as this machine reaches that address",
            kubectl("get", "--raw", "/livez"),
        ),
    )


def _serves(node: str, listeners: Listeners, containers: Containers, cluster: Cluster) -> bool:
    seen = containers.get(node)
    for part in (_API, "etcd"):
        one = current(seen, part)
        if one is None and part == "etcd":
            continue  # it is elsewhere
        if one is None or not one.running or cluster.age(one.started or one.created) < _STEADY:
            return False
    return _port(node, listeners) > 0


def _port(node: str, listeners: Listeners) -> int:
    found = [i.port for i in listeners.get(node) or () if _API.startswith(i.process) and i.process]
    return found[0] if found else 0

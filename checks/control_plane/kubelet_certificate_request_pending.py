"""A kubelet waits for a certificate that nobody has approved."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Gap, Layer, Ref, Severity, check, kubectl
from kdiag.facts import CertificateRequests, CertificateSigningRequest, Cluster, Kubelets, Logs, Pods

_SERVING = "kubernetes.io/kubelet-serving"
_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
# An approver acts within seconds.
_WAIT = 60


@check(
    title="Kubelet waits for a certificate",
    severity=Severity.ERROR,
    layer=Layer.NODE,
    tags=("certificates", "node"),
)
def kubelet_certificate_request_pending(
    requests: CertificateRequests, cluster: Cluster, kubelets: Kubelets | None, logs: Logs | None, pods: Pods | None
) -> Iterator[Finding | Gap]:
    """Only the newest request of a kubelet counts: it asks again, and old ones stay for a day.

    So does one that a kubelet has made which has been told since to sign its certificate itself.
    """
    served = _served(logs, pods)
    newest: dict[tuple[str, str], CertificateSigningRequest] = {}
    for one in requests.items:
        key = (one.spec.signer_name, one.spec.username)
        if key[0] not in (_SERVING, _CLIENT):
            continue
        if key not in newest or cluster.age(one.created) < cluster.age(newest[key].created):
            newest[key] = one
    for (signer, user), request in sorted(newest.items()):
        if not request.pending or cluster.age(request.created) < _WAIT:
            continue
        node = user.removeprefix("system:node:")
        if signer == _SERVING and _signs_itself(node, kubelets):
            continue
        if signer == _SERVING and kubelets is not None and kubelets.gaps and kubelets.get(node) is None:
            yield kubelets.gaps[0]  # whether it still wants one is for its configuration to say
            continue
        works = signer == _SERVING and node in served
        if works:
            text = f"request {request.name} of the kubelet of {node} for a serving certificate is not approved"
        elif signer == _SERVING:
            text = f"the kubelet of {node} has no serving certificate: its request {request.name} is not approved"
        elif node != user:
            text = f"the kubelet of {node} waits for a client certificate: its request {request.name} is not approved"
        else:
            text = f"a node that wants to join waits for its certificate: request {request.name} is not approved"
        yield Finding(
            Ref("Node", node) if node != user else request.ref(),
            text,
            evidence=(
                Evidence(kubectl("get", "csr", request.name), f"{signer}  {user}  Pending"),
                Evidence(
                    "",
                    "kubectl logs works on this node: it has one, until that one expires"
                    if works
                    else "kubectl logs, exec and top on this node answer: remote error: tls: internal error"
                    if signer == _SERVING
                    else "the node cannot talk to the API server without it",
                ),
            ),
            next=(
                f"{kubectl('describe', 'csr', request.name)}    # is it the node that it says it is?",
                kubectl("certificate", "approve", request.name),
            ),
            touches=() if signer == _SERVING else (request.ref(),),
            key=signer,
            severity=Severity.INFO if works else Severity.ERROR,
        )


def _served(logs: Logs | None, pods: Pods | None) -> frozenset[str]:
    """The nodes whose kubelets have just handed out a log, and so have a certificate to serve with."""
    if logs is None or pods is None:
        return frozenset()
    read = (pods.get(log.pod, log.namespace) for log in logs.items if log.lines)
    return frozenset(pod.node for pod in read if pod and pod.node)


def _signs_itself(node: str, kubelets: Kubelets | None) -> bool:
    setup = kubelets.get(node) if kubelets else None
    if setup is None or not setup.settings_known:
        return False
    flag = setup.flag("rotate-server-certificates")
    wants = flag.value.lower() != "false" if flag else bool(setup.config and setup.config.get("serverTLSBootstrap"))
    return not wants

"""A component shows the API server the certificate of somebody else, who may not do its work."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import COMPONENT_FAILS, Evidence, Finding, Layer, Ref, Severity, check, present
from kdiag.facts import (
    Certificate,
    Certificates,
    Events,
    Manifests,
    NodeManifests,
    Nodes,
    Pki,
    Pod,
    Pods,
    manifest_repair,
    static_pod,
)

_USERS = {
    "kube-controller-manager": ("controller-manager", "system:kube-controller-manager"),
    "kube-scheduler": ("scheduler", "system:kube-scheduler"),
}
_KUBELET = "/etc/kubernetes/kubelet.conf"
_NODE = "system:node:"


@check(
    title="Kubeconfig is somebody else's",
    severity=Severity.CRITICAL,
    layer=Layer.CONTROLLERS,
    explains=(
        *COMPONENT_FAILS,
        "application/pod_not_ready",
        "application/workload_unavailable",
        "worker_node/kubelet_not_registered",
        "worker_node/kubelet_unauthorized",
    ),
    tags=("certificates", "access", "scheduler", "controller-manager", "kubelet"),
)
def kubeconfig_user_wrong(
    certificates: Certificates,
    manifests: Manifests | None,
    nodes: Nodes | None,
    pods: Pods | None,
    events: Events | None,
) -> Iterator[Finding]:
    """By the name in the client certificate. Whoever is of system:masters may do everything, and is let pass."""
    unbound = tuple(p.ref() for p in pods.troubled if _unbound(p, events))[:100] if pods and events else ()
    for node, pki in certificates:
        found = manifests.get(node) if manifests else None
        for part, (stem, user) in _USERS.items():
            yield from _component(node, pki, found, part, stem, user, unbound if part == "kube-scheduler" else ())
        config = pki.kubeconfigs.get(_KUBELET)
        client = (config.client or pki.get(config.client_path)) if config else None
        if config is None or client is None or "system:masters" in client.organizations:
            continue
        name = client.subject.removeprefix(_NODE)
        other = nodes.get(name) if nodes else None
        mine = nodes.get(node) if nodes else None
        stranger = not client.subject.startswith(_NODE)
        if stranger or (name != node and other is not None and mine is not None):
            place = config.client_path or config.path
            yield Finding(
                Ref("Node", node),
                f"the kubelet on {node} is taken for {client.subject}: {place} holds that one's certificate, "
                f"meant is {_NODE}{node}",
                evidence=(_shown(client, config.client_path or config.path, node),),
                next=(
                    f"ssh {node} sudo ls -la /var/lib/kubelet/pki    # is the one of {node} still there?",
                    "kubeadm token create --print-join-command    # on a control-plane node, to join it again",
                ),
                key="kubelet",
                severity=Severity.ERROR,
            )


def _unbound(pod: Pod, events: Events) -> bool:
    """Whether a scheduler chose a node for it and was not allowed to bind it."""
    event = events.latest(pod.ref(), "FailedScheduling") if not pod.node and pod.phase == "Pending" else None
    return event is not None and "Bind plugin" in event.message and "is forbidden" in event.message


def _component(
    node: str,
    pki: Pki,
    found: NodeManifests | None,
    part: str,
    stem: str,
    user: str,
    hit: tuple[Ref, ...],
) -> Iterator[Finding]:
    manifest = found.of(part) if found else None
    flag = manifest.flag("kubeconfig") if manifest else None
    path = manifest.on_host(flag.value)[1] if manifest and flag else ""
    config = pki.kubeconfigs.get(path)
    client = (config.client or pki.get(config.client_path)) if config else None
    if manifest is None or flag is None or client is None:
        return
    if client.subject == user or "system:masters" in client.organizations:
        return
    if not client.subject.startswith("system:"):
        return  # somebody's own name, whose rights are somebody's own
    usual = f"/etc/kubernetes/{stem}.conf"
    subject = static_pod(part, node)
    where = f"{manifest.where(flag.line)} --kubeconfig={flag.value}" if path != usual else path
    yield Finding(
        subject,
        f"{subject.name} may not do its work: {where} is of the user {client.subject}, meant is {user}",
        evidence=present(
            manifest.quote(node, flag.line) if path != usual else None,
            _shown(client, path, node),
        ),
        next=manifest_repair(node, manifest, flag.line, f"--kubeconfig={usual}")
        if path != usual
        else (
            f"ssh {node} sudo mv {usual} /root/",
            f"ssh {node} sudo kubeadm init phase kubeconfig {stem}",
            f"ssh {node} sudo crictl stop $(ssh {node} sudo crictl ps -q --name {part})    # it reads it at its start",
        ),
        touches=(Ref("Lease", part, "kube-system"), *hit),
        key=part,
    )


def _shown(client: Certificate, path: str, node: str) -> Evidence:
    command = (
        f"sudo awk '/client-certificate-data/ {{print $2}}' {path} | base64 -d | openssl x509 -noout -subject"
        if path.endswith(".conf")
        else f"sudo openssl x509 -noout -subject -in {path}"
    )
    groups = ", ".join(client.organizations)
    return Evidence(command, f"CN = {client.subject}" + (f", O = {groups}" if groups else ""), node)

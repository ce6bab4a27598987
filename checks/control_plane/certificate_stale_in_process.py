"""A component runs with a certificate that was read before the file was renewed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from kdiag.check import Evidence, Finding, Layer, Severity, check
from kdiag.facts import Certificate, Certificates, Cluster, Containers, current, static_pod

_NEAR = timedelta(hours=2)
_CONFIGS = {
    "kube-controller-manager": "/etc/kubernetes/controller-manager.conf",
    "kube-scheduler": "/etc/kubernetes/scheduler.conf",
}


@check(
    title="Component runs with an old certificate",
    severity=Severity.WARNING,
    layer=Layer.HOST,
    tags=("certificates", "scheduler"),
)
def certificate_stale_in_process(
    certificates: Certificates, containers: Containers, cluster: Cluster
) -> Iterator[Finding]:
    """Those two read their kubeconfig once. kube-apiserver and etcd read their certificates anew by themselves."""
    for node, pki in certificates:
        for part, path in _CONFIGS.items():
            config, info = pki.kubeconfigs.get(path), pki.files.get(path)
            live = current(containers.get(node), part)
            if config is None or config.client is None or info is None or info.changed is None or live is None:
                continue
            began = live.started or live.created
            if not live.running or began is None or info.changed <= began + timedelta(seconds=60):
                continue
            if cluster.age(info.changed) < 120 or not _renewed(config.client, info.changed, began):
                continue  # a restart may be on its way; or the file was only touched
            pod = static_pod(part, node)
            yield Finding(
                pod,
                f"{pod.name} runs since before {path} was renewed: it holds the old certificate until it is restarted",
                evidence=(
                    Evidence(
                        f"sudo ls -la --time-style=full-iso {path}", f"{info.changed:%Y-%m-%d %H:%M:%S} UTC", node
                    ),
                    Evidence(f"sudo crictl ps --name {part}", f"started {began:%Y-%m-%d %H:%M:%S} UTC", node),
                ),
                next=(
                    f"ssh {node} sudo mv /etc/kubernetes/manifests/{part}.yaml /root/    # its pod ends within 20 s",
                    f"ssh {node} sudo mv /root/{part}.yaml /etc/kubernetes/manifests/",
                ),
            )


def _renewed(cert: Certificate, changed: datetime, began: datetime) -> bool:
    """Whether the certificate was made when the file was written: kubeadm gives whole years from that moment on.

    One that was made before the component began is the one that it has read.
    """
    moments = [cert.not_before, *(cert.not_after - timedelta(days=365 * n) for n in range(1, 11))]
    return any(abs(changed - moment) < _NEAR and moment > began for moment in moments)

"""A scheduler or controller manager gave up because it could not renew its Lease in time."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Gap, Layer, Ref, Severity, check, kubectl, present, shorten
from kdiag.facts import (
    Cluster,
    Logs,
    Pods,
    SystemLeases,
    api_server_returned,
    component,
    next_start_at,
    plain,
    unread,
)

_RECENT = 900
_OFTEN = 3
_HOLDS = 45  # seconds: four times what it may go without renewing


@check(
    title="Leader election was lost again and again",
    severity=Severity.WARNING,
    layer=Layer.CONTROLLERS,
    explains=("control_plane/controller_manager_not_running", "control_plane/scheduler_not_running"),
    tags=("scheduler", "controller-manager", "etcd", "apiserver"),
    namespaces=("kube-system",),
)
def leader_election_lost(
    pods: Pods, cluster: Cluster, logs: Logs | None, leases: SystemLeases | None
) -> Iterator[Finding | Gap]:
    """A symptom: the API server or etcd behind it was slow or away. Once is an upgrade; several times lately is not."""
    if api_server_returned(pods, leases, cluster.taken):
        return
    for pod in pods.within("kube-system"):
        part = component(pod)
        if part not in ("kube-scheduler", "kube-controller-manager"):
            continue
        for status in pod.statuses:
            ended = status.ended
            if status.restart_count < _OFTEN or ended is None or cluster.age(ended.finished_at) > _RECENT:
                continue
            running = status.state.running
            if running and running.started_at and cluster.age(running.started_at) > _HOLDS:
                continue  # it holds its Lease again: what was away has come back
            if gap := unread(logs, [pod]):
                yield gap
            lines = [line.text for line in (logs.lines(pod.namespace, pod.name, status.name) if logs else ())]
            lost = next(
                (li for li in lines if "election lost" in li.lower() or "leaderelection lost" in li.lower()), ""
            )
            if not lost:
                continue
            if leases is None or leases.gaps:
                yield Gap("leases", "not seen: they tell whether the API server has just come back")
                continue
            why = next((li for li in lines if "error retrieving resource lock" in li or "renew lease" in li), lost)
            again = next_start_at(status)
            how = f"could not renew its Lease in time, and is started again {again}"
            servers = [p.ref() for p in pods.within("kube-system") if component(p) in ("etcd", "kube-apiserver")]
            yield Finding(
                pod.ref(),
                f"static pod {pod.path} {how if again else 'restarts because it cannot renew its Lease in time'}",
                evidence=tuple(
                    Evidence(
                        kubectl("logs", pod.name, "--previous", namespace=pod.namespace), shorten(plain(said), 300)
                    )
                    for said in dict.fromkeys((lost, why))
                ),
                next=present(
                    f"ssh {pod.node} sudo systemctl restart kubelet    # or wait: this starts it now"
                    if again
                    else None,
                    kubectl("get", "pods", "-l", "tier=control-plane", "-o", "wide", namespace="kube-system"),
                    kubectl("get", "--raw=/readyz?verbose"),
                    kubectl("logs", f"etcd-{pod.node}", "--tail=50", namespace="kube-system"),
                ),
                touches=(*servers, Ref("Lease", part, "kube-system")),
            )

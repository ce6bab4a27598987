"""A Service, Ingress, workload or ConfigMap has been deleted and a finalizer keeps it."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, duration, kubectl, listing
from kdiag.facts import Cluster, ConfigMaps, Ingresses, Jobs, Services, Workloads

#: Seconds in which who set a finalizer clears up and takes it off; a load balancer of a cloud takes minutes.
_PATIENCE = 300
_WITHOUT = '{"metadata":{"finalizers":null}}'
_MEANING = {
    "foregroundDeletion": "it waits for what it owns to go first",
    "orphan": "kube-controller-manager has not let go of what it owns",
    "service.kubernetes.io/load-balancer-cleanup": "its load balancer is not taken down",
}


@check(
    title="Object hangs in Terminating",
    severity=Severity.WARNING,
    layer=Layer.CONTROLLERS,
    explains=("application/namespace_stuck_terminating",),
    tags=("terminating", "finalizer"),
    holds_deletion=True,
)
def object_stuck_terminating(
    services: Services,
    ingresses: Ingresses,
    workloads: Workloads,
    jobs: Jobs,
    cluster: Cluster,
    configmaps: ConfigMaps | None,
) -> Iterator[Finding]:
    """The one who set a finalizer takes it off; it is gone, or cannot do what it must do first."""
    for item in (
        *services.items,
        *ingresses.items,
        *workloads.items,
        *jobs.items,
        *(configmaps.items if configmaps else ()),
    ):
        deleted, finalizers = item.metadata.deletion_timestamp, item.metadata.finalizers
        if deleted is None or not finalizers or cluster.age(deleted) < _PATIENCE:
            continue
        ref, kind = item.ref(), type(item).__name__.lower()
        means = "; ".join(_MEANING[f] for f in finalizers if f in _MEANING)
        yield Finding(
            ref,
            f"{ref} was deleted and does not go: finalizer {listing(finalizers)} holds it"
            + (f", {means}" if means else ""),
            evidence=(
                Evidence(
                    kubectl("get", kind, item.name, "-o", "jsonpath={.metadata.finalizers}", namespace=item.namespace),
                    f"{listing(finalizers)}; deletionTimestamp {deleted:%Y-%m-%dT%H:%M:%SZ},"
                    f" {duration(cluster.taken - deleted)} ago",
                ),
            ),
            next=(
                kubectl("describe", kind, item.name, namespace=item.namespace),
                kubectl("patch", kind, item.name, "--type=merge", "-p", _WITHOUT, namespace=item.namespace)
                + "    # only when its controller is gone for good: what it would have cleared up stays",
            ),
            touches=(Ref("Namespace", item.namespace),),
            since=deleted.isoformat(),
        )

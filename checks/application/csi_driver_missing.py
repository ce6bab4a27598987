"""A pod needs a volume of a CSI driver that is not registered on the pod's node."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing, present
from kdiag.facts import Claims, Cluster, CSINodes, Events, Owners, Pod, Pods, Volumes, claims_of


@check(
    title="CSI driver is not on the node",
    severity=Severity.ERROR,
    layer=Layer.VOLUME,
    explains=("application/volume_mount_fails", "application/pod_not_ready", "application/workload_unavailable"),
    tags=("storage", "csi", "volumes"),
)
def csi_driver_missing(
    pods: Pods,
    nodes: CSINodes,
    owners: Owners,
    cluster: Cluster,
    claims: Claims | None,
    volumes: Volumes | None,
    events: Events | None,
) -> Iterator[Finding]:
    """The node plugin registers with the kubelet, which writes the node's CSINode object."""
    found: dict[str, list[Pod]] = {}
    for pod in pods.troubled:
        if pod.phase != "Pending" or not pod.node or pod.terminating or cluster.age(pod.created) < 30:
            continue
        node = nodes.get(pod.node)
        registered = {d.name for d in node.spec.drivers} if node else None
        for driver in _drivers(pod, claims, volumes):
            if registered is not None and driver not in registered:
                found.setdefault(driver, []).append(pod)
    for driver, stuck in found.items():
        where = sorted({p.node for p in stuck})
        having = sorted(n.name for n in nodes.items if driver in {d.name for d in n.spec.drivers})
        workloads = list(owners.group(stuck))
        said = _said(stuck, events)
        theirs = "its volume" if len(workloads) == 1 else "their volumes"
        yield Finding(
            Ref("CSIDriver", driver),
            f"CSI driver {driver} is not registered on {listing(where)}"
            + (" nor on any other node" if not having else "")
            + f": {listing(map(str, workloads), 2)} cannot have {theirs}",
            evidence=present(
                Evidence(kubectl("describe", "pod", said[0].name, namespace=said[0].namespace), said[1])
                if said
                else None,
                Evidence(
                    "kubectl get csinodes -o custom-columns=NODE:.metadata.name,DRIVERS:.spec.drivers[*].name",
                    f"{driver} on {listing(having) if having else 'no node'}",
                ),
            ),
            next=(
                "kubectl get daemonsets -A  # the driver's node plugin: installed, and with a pod on each node?",
                f"install the CSI driver {driver}, or correct the driver's name in the volume"
                if not having
                else f"kubectl get pods -A -o wide --field-selector=spec.nodeName={where[0]}  # its node plugin there?",
            ),
            touches=(*(p.ref() for p in stuck[:50]), *workloads),
        )


def _drivers(pod: Pod, claims: Claims | None, volumes: Volumes | None) -> Iterator[str]:
    for v in pod.spec.volumes:
        if v.csi:
            yield v.csi.driver
    for name in claims_of(pod):
        claim = claims.get(name, pod.namespace) if claims else None
        volume = volumes.get(claim.spec.volume_name) if volumes and claim and claim.spec.volume_name else None
        if volume and volume.spec.csi:
            yield volume.spec.csi.driver


def _said(stuck: list[Pod], events: Events | None) -> tuple[Pod, str] | None:
    for pod in stuck if events else ():
        event = events.latest(pod.ref(), "FailedMount", "FailedAttachVolume", "FailedMapVolume") if events else None
        if event:
            return pod, event.message
    return None

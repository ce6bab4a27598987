"""A volume that one node at a time may have is still held by another pod or node."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing, present
from kdiag.facts import (
    Claims,
    Cluster,
    Events,
    Owners,
    PersistentVolumeClaim,
    Pod,
    Pods,
    Scheduling,
    UnboundClaims,
    VolumeAttachments,
    Volumes,
    Why,
    claims_of,
)

_ONE_NODE = {"ReadWriteOnce", "ReadWriteOncePod"}


@check(
    title="Volume is attached to another node",
    severity=Severity.ERROR,
    layer=Layer.VOLUME,
    explains=(
        "application/pod_not_ready",
        "application/workload_unavailable",
    ),
    tags=("storage", "volumes", "rollout"),
)
def volume_attached_elsewhere(
    pods: Pods,
    claims: Claims,
    volumes: Volumes,
    owners: Owners,
    cluster: Cluster,
    unbound: UnboundClaims,
    attachments: VolumeAttachments | None,
    events: Events | None,
    scheduling: Scheduling | None,
) -> Iterator[Finding]:
    """A rollout that starts the new pod before the old one has gone, or a node that died with the volume."""
    stuck = [
        p
        for p in pods.troubled
        if p.phase == "Pending" and p.node and not p.terminating and p.spec.volumes and cluster.age(p.created) > 60
    ]
    in_use = scheduling.stuck(Why.CLAIM_IN_USE, cluster.taken, claims, volumes) if scheduling else ()
    seen: set[tuple[Ref, str]] = set()
    for pod in [*stuck, *(s.pod for s in in_use)]:
        owner = owners.top(pod)
        for name in claims_of(pod):
            claim = claims.get(name, pod.namespace)
            if claim is None or not claim.spec.volume_name or not set(claim.spec.access_modes) <= _ONE_NODE:
                continue
            others = [p for p in unbound.users.get((pod.namespace, name), ()) if p.node and p.name != pod.name]
            if pod.node:
                others = [p for p in others if p.node != pod.node]
            where = _attached(claim, attachments, pod) or (others[0].node if others and not pod.node else "")
            said = events.latest(pod.ref(), "FailedAttachVolume") if events else None
            told = said is not None and "Multi-Attach error" in said.message
            if not where and not told:
                continue
            if (owner, name) in seen:
                continue
            seen.add((owner, name))
            yield Finding(
                owner,
                _message(owner, claim, where, others, owners),
                evidence=tuple(_evidence(pod, claim, others, where, said.message if told and said else "")),
                next=tuple(_next(owner, claim, others, where, owners)),
                touches=present(
                    pod.ref(),
                    claim.ref(),
                    Ref("PersistentVolume", claim.spec.volume_name),
                    # An ill node holds on to its volumes: the old pod's node may be the cause.
                    Ref("Node", where) if where and (not others or all(p.terminating for p in others)) else None,
                ),
                key=name,
            )


def _attached(claim: PersistentVolumeClaim, attachments: VolumeAttachments | None, pod: Pod) -> str:
    for one in attachments.items if attachments and pod.node else ():
        if one.spec.source.persistent_volume_name == claim.spec.volume_name and one.spec.node_name != pod.node:
            return one.spec.node_name
    return ""


def _message(owner: Ref, claim: PersistentVolumeClaim, where: str, others: list[Pod], owners: Owners) -> str:
    name, on = claim.name, f" on {where}" if where else " on another node"
    one = "pod" if "ReadWriteOncePod" in claim.spec.access_modes else "node"
    if not others:
        return f"{owner} waits for claim {name}: its volume is still attached{on}, where no pod uses it"
    holder = owners.top(others[0])
    if others[0].terminating:
        return f"{owner} waits for claim {name}: a pod that does not end holds it{on}"
    if holder == owner and owner.kind == "Deployment":
        return f"{owner} waits for claim {name}: its own older pod holds it{on}, and one {one} at a time may have it"
    return f"{owner} waits for claim {name}: {holder} holds it{on}, and one {one} at a time may have it"


def _evidence(pod: Pod, claim: PersistentVolumeClaim, others: list[Pod], where: str, said: str) -> Iterator[Evidence]:
    yield Evidence(
        kubectl("describe", "pod", pod.name, namespace=pod.namespace),
        said or f"{pod.phase} on {pod.node or 'no node'}, and its volume is elsewhere",
    )
    modes = ",".join(claim.spec.access_modes)
    yield Evidence(kubectl("get", "pvc", claim.name, namespace=claim.namespace), f"{claim.spec.volume_name}, {modes}")
    if others:
        yield Evidence(
            kubectl("get", "pods", "-o", "wide", namespace=pod.namespace),
            listing([f"{p.name} on {p.node}{' Terminating' if p.terminating else ''}" for p in others]),
        )
    if where:
        yield Evidence("kubectl get volumeattachments", f"{claim.spec.volume_name} {where}")


def _next(owner: Ref, claim: PersistentVolumeClaim, others: list[Pod], where: str, owners: Owners) -> Iterator[str]:
    namespace = claim.namespace
    if not others:
        yield "kubectl get volumeattachments  # it goes by itself within some 6 minutes of the pod's end"
        yield f"kubectl get node {where or 'NODE'}  # a node that is NotReady does not let go: mend it or remove it"
    elif others[0].terminating:
        yield kubectl("describe", "pod", others[0].name, namespace=namespace) + "  # is its node alive?"
        yield (
            kubectl("delete", "pod", others[0].name, "--force", "--grace-period=0", namespace=namespace)
            + f"  # only when {others[0].node} is certainly off"
        )
    elif owners.top(others[0]) == owner and owner.kind == "Deployment":
        yield (
            kubectl(
                "patch",
                "deployment",
                owner.name,
                "-p",
                '{"spec":{"strategy":{"type":"Recreate","rollingUpdate":null}}}',
                namespace=namespace,
            )
            + "  # the old pod goes first: a short outage at each rollout"
        )
        yield kubectl("scale", "deployment", owner.name, "--replicas=1", namespace=namespace) + "  # if there are more"
    else:
        yield "decide which of the two may have the volume, and stop the other"
        yield "or use a volume with ReadWriteMany"

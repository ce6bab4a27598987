"""The scheduler refuses every node for a reason that no closer check knows."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing, shorten
from kdiag.facts import (
    Claims,
    Cluster,
    Events,
    Owners,
    Pod,
    Pods,
    Scheduling,
    SystemLeases,
    Volumes,
    Why,
    scheduler_works,
    strange_words,
)

_LIMITS = "kubectl get csinodes -o custom-columns='NODE:.metadata.name,MOST:.spec.drivers[*].allocatable.count'"
_MADE = 30  # seconds in which a claim on devices is made of its template
_FRESH = 900


@check(
    title="Pod fits no node",
    severity=Severity.ERROR,
    layer=Layer.SCHEDULING,
    explains=(
        "application/pod_not_ready",
        "application/workload_unavailable",
    ),
    tags=("scheduling",),
)
def pod_fits_no_node(
    scheduling: Scheduling,
    pods: Pods,
    owners: Owners,
    cluster: Cluster,
    claims: Claims | None,
    volumes: Volumes | None,
    events: Events | None,
    leases: SystemLeases | None,
) -> Iterator[Finding]:
    """Volumes beyond what a node may attach, devices, an extender, a plugin of the user's own: its words are quoted."""
    for why in (Why.VOLUME_LIMIT, Why.OTHER):
        for stuck in scheduling.stuck(why, cluster.taken, claims, volumes, events):
            if why is Why.VOLUME_LIMIT:
                reason, look = "has no node: none that it may use can attach one more volume", _LIMITS
            else:
                reason = f"has no node, says the scheduler: {shorten(listing(strange_words(stuck.message), 2), 160)}"
                look = _classes() if "device class" in reason else _claims(stuck.pod) if "claim" in reason else _log()
            yield _finding(stuck.owner, stuck.pods, reason, stuck.quote, look)
    # A pod whose claim on devices does not exist is not even looked at.
    waiting = [
        p
        for p in pods.troubled
        if p.spec.resource_claims
        and p.phase == "Pending"
        and not p.node
        and not p.terminating
        and p.condition("PodScheduled") is None
        and cluster.age(p.created) > _MADE
    ]
    for owner, group in owners.group(waiting).items():
        said = events.latest(group[0].ref(), "FailedResourceClaimCreation") if events else None
        if said and cluster.age(said.when) < _FRESH:
            words = re.sub(r"^PodResourceClaim [^:]*: ", "", said.message)
            yield _finding(owner, tuple(group), f"gets no claim on devices: {shorten(words, 160)}", said.message)
        elif named := _by_name(group[0]) if scheduler_works(leases, cluster.taken) else "":
            quote = "Pending, no condition PodScheduled: the scheduler waits until its claims exist"
            yield _finding(owner, tuple(group), f"waits for resource claim {named}: is it there?", quote)


def _by_name(pod: Pod) -> str:
    return listing(c.resource_claim_name for c in pod.spec.resource_claims if c.resource_claim_name)


def _claims(pod: Pod) -> str:
    return kubectl("get", "resourceclaims,resourceclaimtemplates", namespace=pod.namespace)


def _classes() -> str:
    return kubectl("get", "deviceclasses") + "   # the driver of the devices brings them"


def _log() -> str:
    return kubectl("logs", "-l", "component=kube-scheduler", "--tail=50", namespace="kube-system")


def _finding(owner: Ref, pods: tuple[Pod, ...], what: str, quote: str, look: str = "") -> Finding:
    pod = pods[0]
    describe = kubectl("describe", "pod", pod.name, namespace=pod.namespace)
    return Finding(
        owner,
        f"{owner} {what}",
        evidence=(Evidence(describe, quote),),
        next=(look or _claims(pod), describe),
        touches=tuple(p.ref() for p in pods[:50]),
    )

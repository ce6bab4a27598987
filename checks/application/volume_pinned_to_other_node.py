"""A volume can be reached only from nodes on which its pod may not run."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing
from kdiag.facts import (
    Claims,
    Cluster,
    PersistentVolume,
    Scheduling,
    Volumes,
    Why,
    claims_of,
    edit_template,
    volume_reaches,
)


@check(
    title="Volume is tied to a node that its pod cannot use",
    severity=Severity.ERROR,
    layer=Layer.VOLUME,
    explains=(
        "application/pod_not_ready",
        "application/workload_unavailable",
    ),
    tags=("storage", "scheduling", "volumes"),
)
def volume_pinned_to_other_node(
    scheduling: Scheduling, cluster: Cluster, claims: Claims | None, volumes: Volumes | None
) -> Iterator[Finding]:
    """A local volume whose node is gone, or a pod that is told to run in another node or zone."""
    for stuck in scheduling.stuck(Why.VOLUME, cluster.taken, claims, volumes):
        pod = stuck.pod
        tied = _tied(claims_of(pod), pod.namespace, claims, volumes)
        offered = () if tied else _offered(claims_of(pod), pod.namespace, claims, volumes)
        tied = tied or list(offered)
        first = next(iter(tied), None)
        where = [n.name for n in scheduling.nodes.items if all(volume_reaches(v, n) for _, v in tied)] if tied else []
        what = f"volume {first[1].name} (claim {first[0]})" if first else "its volume"
        why = (
            f"is tied to {listing(where)}, which its node selector leaves out"
            if where
            else f"is tied to {_affinity(first[1])}, which no node is"
            if first
            else "cannot be reached from the nodes that could run it"
        )
        yield Finding(
            stuck.owner,
            f"{stuck.owner} has no node: {what} {why}",
            evidence=(
                Evidence(kubectl("describe", "pod", pod.name, namespace=pod.namespace), stuck.quote),
                *(
                    Evidence(kubectl("describe", "pv", v.name), f"Node Affinity: {_affinity(v)}; claim {name}")
                    for name, v in tied[:2]
                ),
            ),
            next=(
                edit_template(stuck.owner, f"let it run on {listing(where)}")
                if where
                else f"{kubectl('get', 'pv', tied[0][1].name, '-o', 'yaml')} > pv.yaml"
                "   # correct nodeAffinity, then: kubectl replace --force -f pv.yaml (nobody has used it)"
                if offered
                else "bring the node back under its old name, or restore the data into a volume that can be reached",
                *(() if offered else ("the data stays where it is: a new claim is an empty one",)),
            ),
            touches=(
                *(p.ref() for p in stuck.pods[:50]),
                *(Ref("PersistentVolume", v.name) for _, v in tied),
            ),
            since=stuck.since,
        )


def _tied(
    names: tuple[str, ...], namespace: str, claims: Claims | None, volumes: Volumes | None
) -> list[tuple[str, PersistentVolume]]:
    found = []
    for name in names:
        claim = claims.get(name, namespace) if claims else None
        volume = volumes.get(claim.spec.volume_name) if volumes and claim and claim.spec.volume_name else None
        if volume and volume.spec.node_affinity and volume.spec.node_affinity.required:
            found.append((name, volume))
    return found


def _offered(
    names: tuple[str, ...], namespace: str, claims: Claims | None, volumes: Volumes | None
) -> tuple[tuple[str, PersistentVolume], ...]:
    """The free volumes of an unbound claim's class: which of them it is to be, the pod's node decides."""
    for name in names:
        claim = claims.get(name, namespace) if claims else None
        if claim is None or claim.spec.volume_name or not claim.spec.storage_class_name:
            continue
        free = [
            v
            for v in (volumes.items if volumes else ())
            if v.spec.storage_class_name == claim.spec.storage_class_name
            and v.status.phase == "Available"
            and v.spec.node_affinity
            and v.spec.node_affinity.required
        ]
        if len(free) == 1:
            return ((name, free[0]),)
    return ()


def _affinity(volume: PersistentVolume) -> str:
    required = volume.spec.node_affinity.required if volume.spec.node_affinity else None
    terms = required.node_selector_terms if required else ()
    return " or ".join(
        " and ".join(
            f"{r.key}={r.values[0]}" if r.operator == "In" and len(r.values) == 1 else str(r)
            for r in (*t.match_expressions, *t.match_fields)
        )
        for t in terms
    )

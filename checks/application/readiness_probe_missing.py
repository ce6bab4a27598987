"""A Service sends requests to a container that has no readiness probe to say when it can take them."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, listing
from kdiag.facts import Fronts


@check(
    title="Readiness probe is missing",
    severity=Severity.RISK,
    layer=Layer.ROLLOUT,
    tags=("rollout", "probes"),
)
def readiness_probe_missing(fronts: Fronts) -> Iterator[Finding]:
    """Without one a container is ready as soon as its process has started."""
    for front in fronts.items:
        bare = [c.name for c in front.containers if not c.readiness_probe]
        if not bare or len(bare) < len(front.containers):
            continue  # with several, one that answers for the pod is enough
        workload = front.workload
        kind = workload.ref().kind.lower()
        yield Finding(
            workload.ref(),
            f"{workload.ref()} has no readiness probe: {front.by} sends requests as soon as the process has started",
            evidence=(
                Evidence(
                    kubectl("get", kind, workload.name, "-o", "yaml", namespace=workload.namespace),
                    f"no readinessProbe in container {listing(bare, 3)}",
                ),
            ),
            next=(kubectl("edit", kind, workload.name, namespace=workload.namespace) + "   # add a readinessProbe",),
            touches=tuple(s.ref() for s in front.services),
        )

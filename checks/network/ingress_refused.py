"""An Ingress controller has taken an Ingress up and says that it cannot do what it asks."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Gap, Layer, Severity, check, kubectl, shorten
from kdiag.facts import Cluster, Event, Events, Ingress, Ingresses

#: Seconds. A controller that is refused tries again after a pause that grows to some 17 minutes.
_RECENT = 1200


@check(
    title="Ingress controller refuses an Ingress",
    severity=Severity.ERROR,
    layer=Layer.INGRESS,
    tags=("ingress", "loadbalancer"),
)
def ingress_refused(ingresses: Ingresses, cluster: Cluster, events: Events | None) -> Iterator[Finding | Gap]:
    """Its newest event decides: what was refused and then accepted is mended."""
    if events is None:
        if any(not i.status.load_balancer.ingress for i in ingresses.items):
            yield Gap("events", "not seen: whether a controller refuses an Ingress without an address is not known")
        return
    for ingress in ingresses.items:
        said = events.latest(ingress.ref())
        if ingress.metadata.deletion_timestamp or said is None or said.type != "Warning":
            continue
        if cluster.age(said.when) > _RECENT:
            continue
        yield _finding(ingress, said)


def _finding(ingress: Ingress, said: Event) -> Finding:
    """A warning where it has an address: what was set up before may go on."""
    addresses = [a.ip or a.hostname for a in ingress.status.load_balancer.ingress]
    state = "" if addresses else " and has no address"
    who = said.component or "its controller"
    return Finding(
        ingress.ref(),
        f"Ingress {ingress.ref().path} is refused by {who}{state}: {shorten(said.message, 160)}",
        evidence=(
            Evidence(
                kubectl("get", "ingress", ingress.name, namespace=ingress.namespace),
                f"ADDRESS {', '.join(addresses) or '<none>'}",
            ),
            Evidence(
                kubectl("events", "--for", f"ingress/{ingress.name}", namespace=ingress.namespace),
                f"{said.reason}: {shorten(said.message, 300)}",
            ),
        ),
        next=(
            kubectl("describe", "ingress", ingress.name, namespace=ingress.namespace),
            f"kubectl get pods -A | grep -i ingress    # the log of {who} says more",
        ),
        severity=Severity.WARNING if addresses else Severity.ERROR,
        since=said.first.isoformat() if said.first else "",
    )

"""No ingress controller takes up an Ingress: its class does not exist, or it names none and none is the default."""

from __future__ import annotations

import json
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, Shared, check, kubectl, listing, nearest
from kdiag.facts import Cluster, Ingress, IngressClasses, Ingresses

_START = 300  # seconds that a controller may take to write an Ingress's address


@check(
    title="Ingress has no class that exists",
    severity=Severity.ERROR,
    layer=Layer.INGRESS,
    tags=("ingress",),
)
def ingress_class_missing(ingresses: Ingresses, classes: IngressClasses, cluster: Cluster) -> Iterator[Finding]:
    """An Ingress with an address was taken up by somebody: some controllers go by the name and need no class object."""
    names = [c.name for c in classes.items]
    for ingress in ingresses.items:
        name, old = ingress.spec.ingress_class_name, ingress.metadata.annotations.ingress_class
        taken = bool(ingress.status.load_balancer.ingress)
        if ingress.metadata.deletion_timestamp:
            continue
        if name and classes.get(name) is None:
            meant = nearest(name, names) or (names[0] if len(names) == 1 else None)
            if taken and not names:
                continue
            sure = not taken or nearest(name, names) is not None
            has = f"there is {listing(sorted(names), 3)}" if names else "there is no IngressClass at all"
            yield _finding(
                ingress,
                f"names the class {name}, which does not exist; {has}",
                names,
                meant,
                Severity.ERROR if sure else Severity.WARNING,
                Shared(Ref("IngressClass", name), f"IngressClass {name} does not exist; {has}", "name it"),
            )
        elif not name and not old and not taken and not any(c.default for c in classes.items):
            if cluster.age(ingress.created) < _START:
                continue
            has = f"classes are {listing(sorted(names), 3)}" if names else "there is no IngressClass"
            yield _finding(
                ingress,
                f"names no class and none is the default; no controller has taken it up, {has}",
                names,
                names[0] if len(names) == 1 else None,
                Severity.WARNING if names else Severity.INFO,
            )


def _finding(
    ingress: Ingress, what: str, names: list[str], meant: str | None, severity: Severity, shared: Shared | None = None
) -> Finding:
    namespace = ingress.namespace
    taken = ", ".join(i.ip or i.hostname for i in ingress.status.load_balancer.ingress)
    patch = json.dumps({"spec": {"ingressClassName": meant}}, separators=(",", ":"))
    return Finding(
        ingress.ref(),
        f"Ingress {ingress.ref().path} {what}",
        evidence=(
            Evidence(
                kubectl("get", "ingress", ingress.name, namespace=namespace),
                f"CLASS {ingress.spec.ingress_class_name or '<none>'}, ADDRESS {taken or '(empty)'}",
            ),
            Evidence(kubectl("get", "ingressclasses"), listing(sorted(names), 5) or "No resources found"),
        ),
        next=(
            kubectl("patch", "ingress", ingress.name, "--type=merge", "-p", patch, namespace=namespace)
            if meant
            else "install an ingress controller, or name the class of the one that there is: "
            + kubectl("edit", "ingress", ingress.name, namespace=namespace),
        ),
        severity=severity,
        shared=shared,
    )

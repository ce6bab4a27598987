"""Two Ingresses of one ingress-nginx claim the same path of the same host: only the older one is asked."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing
from kdiag.facts import Ingress, IngressClasses, Ingresses

#: The controller that serves the older of two. Others balance between them, refuse one, or give each its own address.
_CONTROLLER = "k8s.io/ingress-nginx"


@check(
    title="Another Ingress has the same host and path",
    severity=Severity.WARNING,
    layer=Layer.INGRESS,
    tags=("ingress",),
)
def ingress_path_taken(ingresses: Ingresses, classes: IngressClasses) -> Iterator[Finding]:
    """A canary shares the path of another by design, and two that lead to one Service do no harm."""
    names = {c.name for c in classes.items if c.spec.controller == _CONTROLLER}
    default = next((c.name for c in classes.items if c.default and c.name in names), "")
    claims: dict[tuple[str, str, str, str], list[tuple[Ingress, str]]] = {}
    for ingress in ingresses.items:
        name = ingress.spec.ingress_class_name or ingress.metadata.annotations.ingress_class or default
        if name not in names or ingress.metadata.deletion_timestamp or ingress.metadata.annotations.canary == "true":
            continue
        for rule in ingress.spec.rules:
            for path in rule.http.paths:
                service = path.backend.service.name if path.backend.service else ""
                place = (name, rule.host.lower(), path.path or "/", path.path_type)
                claims.setdefault(place, []).append((ingress, f"{ingress.namespace}/{service}"))
    told: dict[tuple[Ref, Ref], list[str]] = {}
    by_ref = {i.ref(): i for i in ingresses.items}
    for (_, host, path_, _), found in claims.items():
        found.sort(key=lambda one: (one[0].created.timestamp() if one[0].created else 0.0, one[0].ref()))
        first, where = found[0]
        for other, leads in found[1:]:
            if other.ref() != first.ref() and leads != where:
                told.setdefault((first.ref(), other.ref()), []).append(f"{host or '*'}{path_}")
    for (one_ref, other_ref), places in told.items():
        first, other = by_ref[one_ref], by_ref[other_ref]
        same = first.created == other.created
        yield Finding(
            other.ref(),
            f"Ingress {other.ref().path} claims {listing(places, 2)}, "
            + (
                f"as Ingress {first.ref().path} of the same second does: only one of the two is asked"
                if same
                else f"which the older Ingress {first.ref().path} has: it gets no request for that"
            ),
            evidence=tuple(
                Evidence(
                    kubectl("get", "ingress", one.name, "-o", "wide", namespace=one.namespace),
                    f"{listing([f'{w} → {s.name}' for w, s in one.backends], 3)}{_made(one)}",
                )
                for one in (first, other)
            ),
            next=(
                kubectl("edit", "ingress", other.name, namespace=other.namespace) + "   # another host or path",
                "or take the path out of the older one; for a canary: annotation nginx.ingress.kubernetes.io/canary",
            ),
            touches=(first.ref(),),
            key=f"{first.ref().path}",
        )


def _made(ingress: Ingress) -> str:
    return f"; created {ingress.created:%Y-%m-%d %H:%M:%S} UTC" if ingress.created else ""

"""Two Services claim the same port of the same address from outside: only one of them is asked."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing
from kdiag.facts import Service, Services

_SHOWN = 4  # Services whose addresses and ports are shown


@check(
    title="Services share an outer address and port",
    severity=Severity.WARNING,
    layer=Layer.ENDPOINTS,
    tags=("service", "externalips"),
)
def external_address_shared(services: Services) -> Iterator[Finding]:
    """Services may share an address where their ports differ, and two that select the same pods do no harm."""
    claims: dict[tuple[str, str, int], list[Service]] = {}
    for service in services.items:
        if service.external or service.headless or service.metadata.deletion_timestamp:
            continue
        for address in service.outer_addresses:
            for port in service.spec.ports:
                claims.setdefault((address, port.protocol, port.port), []).append(service)
    told: dict[tuple[Ref, ...], list[str]] = {}
    for (address, protocol, number), found in claims.items():
        targets = {(s.namespace, s.selector_text, _target(s, protocol, number)) for s in found}
        if len(targets) > 1:
            place = f"{f'[{address}]' if ':' in address else address}:{number} {protocol}"
            told.setdefault(tuple(sorted(s.ref() for s in found)), []).append(place)
    for refs, places in told.items():
        group = [s for s in (services.get(r.name, r.namespace) for r in refs[:_SHOWN]) if s]
        last = refs[-1]
        yield Finding(
            refs[0],
            f"Services {listing([r.path for r in refs], 3)} claim {listing(places, 2)}: a node leads it to one of them",
            evidence=tuple(
                Evidence(
                    kubectl("get", "service", one.name, "-o", "wide", namespace=one.namespace),
                    f"{listing(one.outer_addresses, 3)}; ports "
                    f"{listing([f'{p.port}/{p.protocol}' for p in one.spec.ports], 4)}; "
                    f"selector {one.selector_text or 'none'}",
                )
                for one in group
            ),
            next=(kubectl("edit", "service", last.name, namespace=last.namespace) + "   # another address or port",),
            touches=refs[1:20],
            key=" ".join(r.path for r in refs[1:_SHOWN]),
        )


def _target(service: Service, protocol: str, number: int) -> str:
    return next((str(p.target) for p in service.spec.ports if (p.protocol, p.port) == (protocol, number)), "")

"""An ExternalName Service is an alias of a name that cannot be resolved."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, listing, nearest
from kdiag.facts import Dependencies, Ingresses, Namespaces, Owners, Service, Services, is_address, respelt, users


@check(
    title="ExternalName leads to a name that cannot be resolved",
    severity=Severity.ERROR,
    layer=Layer.ENDPOINTS,
    explains=(
        "application/dependency_name_unresolved",
        "application/dependency_unreachable",
        "application/pod_not_ready",
        "application/workload_unavailable",
    ),
    tags=("service", "dns"),
)
def external_name_unresolvable(
    services: Services,
    namespaces: Namespaces,
    dependencies: Dependencies | None,
    ingresses: Ingresses | None,
    owners: Owners | None,
) -> Iterator[Finding]:
    """An alias is looked up as it stands, without search domains; what lies outside the cluster is not judged."""
    domain = dependencies.domain if dependencies else "cluster.local"
    spelt = dependencies.respelt if dependencies else respelt
    for service in services.items:
        if not service.external or (wrong := _wrong(service, services, namespaces, domain, spelt)) is None:
            continue
        why, meant = wrong
        clients = users(service.ref(), dependencies, ingresses, owners)
        full = f"{service.name}.{service.namespace}.svc.{domain}"
        evidence = [
            Evidence(
                kubectl("get", "service", service.name, namespace=service.namespace),
                f"TYPE ExternalName, EXTERNAL-IP {service.spec.external_name}",
            )
        ]
        if clients:
            evidence.append(Evidence("", f"used by {listing([f'{ref} ({how})' for ref, how in clients])}"))
        yield Finding(
            service.ref(),
            f"Service {service.ref().path} is an alias of {service.spec.external_name or 'nothing'}: {why}",
            evidence=tuple(evidence),
            next=(
                f"in a pod: nslookup {full}",
                _patch(service, meant)
                if meant
                else kubectl("edit", "service", service.name, namespace=service.namespace),
            ),
            severity=Severity.ERROR if clients else Severity.WARNING,
        )


def _wrong(
    service: Service, services: Services, namespaces: Namespaces, own: str, spelt: Callable[[str], str]
) -> tuple[str, str] | None:
    """Why the alias leads nowhere, and what was probably meant."""
    name = service.spec.external_name.rstrip(".").lower()
    if not name:
        return "it names no host", ""
    if is_address(name):
        return "an address is not a name, DNS has no alias for it", ""
    labels = name.split(".")
    if meant := spelt(name):
        return f"the cluster's domain is svc.{own}, not {'.'.join(labels[2:])}", meant
    if len(labels) > 3 and labels[2] == "svc":
        return _inside(service, labels, services, namespaces, own)
    if (len(labels) == 3 and labels[2] == "svc") or (len(labels) == 2 and namespaces.get(labels[1])):
        if services.covers(labels[1]) and (len(labels) == 3 or services.get(labels[0], labels[1])):
            return (
                "it lacks the cluster's domain, and search domains are not tried",
                f"{labels[0]}.{labels[1]}.svc.{own}",
            )
    elif len(labels) == 1 and services.get(name, service.namespace):
        return (
            "it lacks the cluster's domain, and search domains are not tried",
            f"{name}.{service.namespace}.svc.{own}",
        )
    return None


def _inside(
    service: Service, labels: list[str], services: Services, namespaces: Namespaces, own: str
) -> tuple[str, str] | None:
    name, namespace, domain = labels[0], labels[1], ".".join(labels[2:])
    if not re.fullmatch(r"svc\.[a-z0-9.-]+", domain) or not services.covers(namespace):
        return None
    seen = {(service.namespace, service.name)}
    at: Service | None = services.get(name, namespace)
    if at is None and domain != f"svc.{own}":
        return None  # another cluster's, as far as can be told
    if at is None:
        if len(services.within(namespace)) == 0 and namespaces.get(namespace) is None:
            return f"there is no namespace {namespace}", ""
        here = [s.name for s in services.within(namespace) if s.name != service.name]
        elsewhere = sorted({s.namespace for s in services.items if s.name == name and not s.external})
        if close := nearest(name, here):
            return f"there is no such Service, but {namespace}/{close}", f"{close}.{namespace}.{domain}"
        if len(elsewhere) == 1:
            return f"there is no such Service, but {elsewhere[0]}/{name}", f"{name}.{elsewhere[0]}.{domain}"
        return "there is no such Service", ""
    while at is not None and at.external:
        if (at.namespace, at.name) in seen:
            return "it leads back to itself", ""
        seen.add((at.namespace, at.name))
        parts = at.spec.external_name.rstrip(".").lower().split(".")
        at = services.get(parts[0], parts[1]) if len(parts) > 3 and parts[2] == "svc" else None
    return None


def _patch(service: Service, meant: str) -> str:
    patch = json.dumps({"spec": {"externalName": meant}}, separators=(",", ":"))
    return kubectl("patch", "service", service.name, "--type=merge", "-p", patch, namespace=service.namespace)

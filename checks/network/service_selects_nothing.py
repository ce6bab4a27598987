"""A Service's selector matches no pod, and no workload whose pods are still to come."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, listing, nearest, plural
from kdiag.facts import (
    Backends,
    CronJobs,
    Dependencies,
    EndpointSlices,
    Ingresses,
    Jobs,
    Service,
    Workloads,
    labels_text,
    selects,
)


@check(
    title="Service selects no pod",
    severity=Severity.ERROR,
    layer=Layer.ENDPOINTS,
    explains=(),
    tags=("service", "endpoints"),
)
def service_selects_nothing(
    backends: Backends,
    slices: EndpointSlices,
    workloads: Workloads,
    jobs: Jobs,
    cronjobs: CronJobs,
    dependencies: Dependencies | None,
    ingresses: Ingresses | None,
) -> Iterator[Finding]:
    """An error where somebody uses the Service or a near miss shows what was meant; a leftover is a warning."""
    for service in backends.services.items:
        selector = service.spec.selector
        if not selector or service.external or backends.of(service) or slices.endpoints(service):
            continue
        labels = [
            (w.spec.template.metadata.labels, w.ref()) for w in workloads.items if w.namespace == service.namespace
        ]
        labels += [(j.spec.template.metadata.labels, j.ref()) for j in jobs.within(service.namespace)]
        labels += [
            (c.spec.job_template.spec.template.metadata.labels, c.ref()) for c in cronjobs.within(service.namespace)
        ]
        if any(selects(selector, found) for found, _ in labels):
            continue  # its workload is scaled to zero, between runs or kept from making pods: not the selector's fault
        users = _users(service, dependencies, ingresses)
        meant = _meant(selector, backends, service.namespace)
        yield Finding(
            service.ref(),
            f"Service {service.ref().path} selects no pod: nothing has {service.selector_text}"
            + (f"; {meant[0]}" if meant else ""),
            evidence=tuple(_evidence(service, backends, users)),
            next=tuple(_next(service, meant[1] if meant else None)),
            touches=tuple(ref for found, ref in labels if meant and selects(meant[1], found)),
            severity=Severity.ERROR if users or meant else Severity.WARNING,
        )


def _users(service: Service, dependencies: Dependencies | None, ingresses: Ingresses | None) -> list[str]:
    found = [pod.ref() for pod in dependencies.clients.get(service.ref(), ())] if dependencies else []
    users = [f"{ref.kind} {ref.name}" for ref in found]
    for ingress in ingresses.within(service.namespace) if ingresses else ():
        if any(backend.name == service.name for _, backend in ingress.backends):
            users.append(f"Ingress {ingress.name}")
    return users


def _meant(selector: Mapping[str, str], backends: Backends, namespace: str) -> tuple[str, Mapping[str, str]] | None:
    """The selector that was probably meant, with what tells it from the one there is."""
    best: tuple[int, str, Mapping[str, str]] | None = None
    for labels, pods in backends.label_sets(namespace):
        wrong = {k: v for k, v in selector.items() if labels.get(k) != v}
        fixed: dict[str, str] = {k: v for k, v in selector.items() if k not in wrong}
        for key, value in wrong.items():
            if key in labels and ((len(selector) > 1 and fixed) or nearest(value, [labels[key]])):
                fixed[key] = labels[key]
            elif other := next((k for k, v in labels.items() if v == value), None):
                fixed[other] = value  # the value under another key: run= for app=
            elif other := nearest(key, list(labels)):
                fixed[other] = labels[other]
        if len(fixed) < len(selector) or not pods:
            continue
        changed = {k: v for k, v in fixed.items() if selector.get(k) != v}
        text = f"{plural(len(pods), 'pod has', 'pods have')} {labels_text(changed)}"
        if best is None or len(wrong) < best[0]:
            best = (len(wrong), text, fixed)
    return best[1:] if best else None


def _evidence(service: Service, backends: Backends, users: list[str]) -> Iterator[Evidence]:
    namespace = service.namespace
    yield Evidence(
        kubectl("get", "service", service.name, "-o", "wide", namespace=namespace), f"SELECTOR {service.selector_text}"
    )
    yield Evidence(kubectl("get", "pods", "-l", service.selector_text, namespace=namespace), "no pod")
    shown = [f"{pods[0].name} {labels_text(labels)}" for labels, pods in backends.label_sets(namespace)]
    if shown:
        yield Evidence(kubectl("get", "pods", "--show-labels", namespace=namespace), listing(shown, 3))
    if users:
        yield Evidence("", f"used by {listing(sorted(set(users)))}")


def _next(service: Service, meant: Mapping[str, str] | None) -> Iterator[str]:
    if meant is not None:
        # A merge patch keeps the old keys unless they are set to null.
        selector = {key: None for key in service.spec.selector if key not in meant} | dict(meant)
        patch = json.dumps({"spec": {"selector": selector}}, separators=(",", ":"))
        yield kubectl("patch", "service", service.name, "--type=merge", "-p", patch, namespace=service.namespace)
    else:
        yield kubectl("edit", "service", service.name, namespace=service.namespace)

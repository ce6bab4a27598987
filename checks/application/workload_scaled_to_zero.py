"""A workload is scaled to zero while something still sends requests to it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Gap, Layer, Ref, Severity, check, kubectl, listing
from kdiag.facts import (
    APIServices,
    Autoscalers,
    Backends,
    Cluster,
    Complaints,
    DaemonSet,
    Dependencies,
    Ingresses,
    MutatingWebhookConfiguration,
    MutatingWebhooks,
    Namespaces,
    Owners,
    Service,
    ValidatingWebhookConfiguration,
    ValidatingWebhooks,
    Workload,
    Workloads,
    not_called,
    selects,
)

#: Whoever has these labels is scaled by something that also scales it up again.
_SCALED_BY = ("serving.knative.dev/service", "http.keda.sh/target", "scaledobject.keda.sh/name")
#: Seconds after which nobody scales up again what was scaled down by mistake.
_LATELY = 24 * 3600
#: Seconds in which a client that starts is not ready yet, whoever it asks.
_CLIENT_START = 60
#: By such a label one colour, or one version, of an application differs from the other that serves meanwhile.
_COLOURS = re.compile(r"(?i)colou?r|slot|track|version|release|variant|stage")
_COLOUR = re.compile(r"(?i)blue|green|canary|stable|preview|active|stand-?by|idle|live|v?\d[\w.]*")


@check(
    title="Workload is scaled to zero but used",
    severity=Severity.ERROR,
    layer=Layer.ROLLOUT,
    explains=(
        "network/service_has_no_ready_endpoint",
        "application/dependency_unreachable",
        "application/workload_unavailable",
        "control_plane/api_service_unavailable",
        "control_plane/conversion_webhook_fails",
        "control_plane/webhook_backend_unavailable",
    ),
    tags=("rollout", "service", "workload"),
)
def workload_scaled_to_zero(
    workloads: Workloads,
    backends: Backends,
    ingresses: Ingresses | None,
    dependencies: Dependencies | None,
    autoscalers: Autoscalers | None,
    owners: Owners | None,
    complaints: Complaints | None,
    validating: ValidatingWebhooks | None,
    mutating: MutatingWebhooks | None,
    apis: APIServices | None,
    namespaces: Namespaces | None,
    cluster: Cluster,
) -> Iterator[Finding | Gap]:
    """Zero is somebody's wish: it is a fault only where a Service leads to it, and nothing else is behind that.

    Whoever uses that counts, and so does the API server, which refuses calls then. A part that is off for good is still
    named by who can do without it, and its Ingress is still there: an error only where somebody is hurt.
    """
    called = _called(validating, mutating, apis, namespaces)
    for workload in workloads.items:
        if isinstance(workload, DaemonSet) or workload.desired or workload.metadata.deletion_timestamp:
            continue
        if any(key in workload.labels for key in _SCALED_BY) or _woken(workload, autoscalers):
            continue
        off = _off_for_good(workload, workloads, cluster)
        labels = workload.spec.template.metadata.labels
        for service in backends.services.within(workload.namespace):
            selector = service.spec.selector
            if not selector or not selects(selector, labels) or service.name == "kube-dns":
                continue
            if any(not p.terminating for p in backends.of(service)) or _others(workload, service, workloads):
                continue
            asks = called.get(service.ref(), [])
            users = [*asks, *sorted(set(_users(service, ingresses, dependencies, owners)))]
            if not users and service.spec.type == "ClusterIP":
                continue
            if autoscalers is None:
                yield Gap("horizontalpodautoscalers", f"not seen: one may scale {workload.ref()} from zero")
                break
            hurt = _hurt(service, None if off else ingresses, dependencies, complaints, cluster)
            yield _finding(workload, service, users, hurt=bool(asks) or (bool(users) and hurt))
            break


def _called(
    validating: ValidatingWebhooks | None,
    mutating: MutatingWebhooks | None,
    apis: APIServices | None,
    namespaces: Namespaces | None,
) -> dict[Ref, list[str]]:
    """The Services without which the API server refuses calls, each with who sends them there."""
    found: dict[Ref, list[str]] = {}
    configs: list[ValidatingWebhookConfiguration | MutatingWebhookConfiguration] = []
    configs += validating.items if validating else ()
    configs += mutating.items if mutating else ()
    for config in configs:
        for hook in config.webhooks:
            target = hook.client_config.service
            if target and hook.rules and hook.failure_policy != "Ignore" and not not_called(hook, apis, namespaces):
                found.setdefault(Ref("Service", target.name, target.namespace), []).append(f"webhook {hook.name}")
    for api in apis.items if apis else ():
        if (target := api.spec.service) and api.available and api.available.status != "True":
            found.setdefault(Ref("Service", target.name, target.namespace), []).append(f"API {api.name}")
    return found


def _woken(workload: Workload, autoscalers: Autoscalers | None) -> bool:
    """Whether an autoscaler, or a timetable, scales it down to zero and up again."""
    if workload.metadata.annotations.downscaled:
        return True
    for scaler in autoscalers.within(workload.namespace) if autoscalers else ():
        target = scaler.spec.scale_target_ref
        if (target.kind, target.name) == (workload.ref().kind, workload.name):
            return scaler.spec.min_replicas == 0 or scaler.name.startswith("keda-hpa-")
    return False


def _off_for_good(workload: Workload, workloads: Workloads, cluster: Cluster) -> bool:
    """Whether it looks like what somebody has switched off and not like an accident.

    It never had a pod, or has been at zero for long; all around it is off as well, or its other colour serves.
    """
    if workload.metadata.generation == 1 or (workload.written and cluster.age(workload.written) > _LATELY):
        return True
    around = [w for w in workloads.within(workload.namespace) if w is not workload and not isinstance(w, DaemonSet)]
    if around and not any(w.desired for w in around):
        return True
    return any(w.desired and _other_colour(workload, w) for w in around)


def _other_colour(workload: Workload, other: Workload) -> bool:
    """Whether two workloads differ by one label, and that is the kind of label by which releases take turns."""
    mine, theirs = workload.spec.template.metadata.labels, other.spec.template.metadata.labels
    apart = [key for key in mine if mine[key] != theirs.get(key)]
    if len(apart) != 1 or len(mine) < 2 or mine.keys() != theirs.keys():
        return False
    key = apart[0]
    return bool(_COLOURS.search(key) or (_COLOUR.fullmatch(mine[key]) and _COLOUR.fullmatch(theirs[key])))


def _others(workload: Workload, service: Service, workloads: Workloads) -> bool:
    """Whether another workload that is not at zero is behind the Service and about to have pods."""
    return any(
        other is not workload
        and other.namespace == workload.namespace
        and other.desired
        and selects(service.spec.selector, other.spec.template.metadata.labels)
        for other in workloads.items
    )


def _users(
    service: Service, ingresses: Ingresses | None, dependencies: Dependencies | None, owners: Owners | None
) -> Iterator[str]:
    for ingress in ingresses.within(service.namespace) if ingresses else ():
        if not ingress.standby and any(backend.name == service.name for _, backend in ingress.backends):
            yield f"Ingress {ingress.name}"
    for pod in dependencies.clients.get(service.ref(), ()) if dependencies else ():
        if not pod.finished and not pod.terminating:
            user = owners.top(pod) if owners else pod.ref()
            yield f"{user.kind} {user.path if user.namespace != service.namespace else user.name}"


def _hurt(
    service: Service,
    ingresses: Ingresses | None,
    dependencies: Dependencies | None,
    complaints: Complaints | None,
    cluster: Cluster,
) -> bool:
    """Whether a user of it is outside, is not ready, or has complained of it; also where that cannot be known."""
    if dependencies is None or complaints is None or complaints.logs.gaps:
        return True
    if any(
        b.name == service.name
        for i in (ingresses.within(service.namespace) if ingresses else ())
        for _, b in i.backends
    ):
        return True
    for pod in dependencies.clients.get(service.ref(), ()):
        said = complaints.unmended.get(complaints.owners.top(pod), ())
        targets = [dependencies.asked(c.said.host, c.pod.namespace) for c in said]
        late = not pod.ready and pod.phase == "Running" and cluster.age(pod.created) > _CLIENT_START
        if late or any(t and t.service is service for t in targets):
            return True
    return False


def _finding(workload: Workload, service: Service, users: list[str], *, hurt: bool) -> Finding:
    ref, namespace = workload.ref(), workload.namespace
    by = f", which {listing(users, 2)} use{'s' if len(users) == 1 else ''}"
    return Finding(
        ref,
        f"{ref} is scaled to zero behind Service {service.name}{by if users else f' of type {service.spec.type}'}",
        evidence=(
            Evidence(kubectl("get", ref.kind.lower(), ref.name, namespace=namespace), "READY 0/0"),
            Evidence(
                kubectl("get", "service", service.name, "-o", "wide", namespace=namespace),
                f"SELECTOR {service.selector_text} matches its pods and no others"
                + (f"; used by {listing(users, 3)}" if users else ""),
            ),
        ),
        next=(
            kubectl("scale", f"{ref.kind.lower()}/{ref.name}", "--replicas=1", namespace=namespace),
            "if it is meant to be off, take its Service, or what leads to that, away as well",
        ),
        touches=(Ref("Service", service.name, namespace),),
        severity=Severity.ERROR if hurt else Severity.WARNING,
    )

"""The API server's calls to a webhook fail although something ready stands behind it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import WEBHOOK_REFUSES, Evidence, Finding, Layer, Ref, Severity, check, kubectl, shorten
from kdiag.facts import (
    Cluster,
    EndpointSlices,
    Event,
    Events,
    MutatingWebhookConfiguration,
    MutatingWebhooks,
    ReplicaSets,
    Services,
    ValidatingWebhookConfiguration,
    ValidatingWebhooks,
    Webhook,
    Workloads,
)

_RECENT = 900


@check(
    title="Calls to a webhook fail",
    severity=Severity.ERROR,
    layer=Layer.WEBHOOK,
    explains=WEBHOOK_REFUSES,
    tags=("webhook", "admission"),
)
def webhook_call_fails(
    events: Events,
    validating: ValidatingWebhooks,
    mutating: MutatingWebhooks,
    services: Services,
    slices: EndpointSlices,
    workloads: Workloads,
    replicasets: ReplicaSets,
    cluster: Cluster,
) -> Iterator[Finding]:
    """Events tell it; they count only while what was refused is still missing."""
    configs: list[ValidatingWebhookConfiguration | MutatingWebhookConfiguration] = [*validating.items, *mutating.items]
    hooks = {h.name: (c, h) for c in configs for h in c.webhooks}
    seen: dict[str, list[tuple[Event, str]]] = {}
    for event in events.by_reason.get("FailedCreate", ()):
        found = re.search(r'failed calling webhook "([^"]+)": (.*)', event.message, re.DOTALL)
        recent = found is not None and found[1] in hooks and cluster.age(event.when) < _RECENT
        if found and recent and not _healed(event.about, workloads, replicasets):
            seen.setdefault(found[1], []).append((event, found[2]))
    for name, calls in seen.items():
        config, hook = hooks[name]
        if not _there(hook, services, slices):
            continue  # webhook_backend_unavailable says so
        event, error = calls[0]
        why, look = _reason(error, hook)
        yield Finding(
            config.ref(),
            f"calls to webhook {name} of {config.name} fail: {why}",
            evidence=(
                Evidence(
                    kubectl("describe", event.about.kind.lower(), event.about.name, namespace=event.namespace),
                    shorten(event.message, 400),
                ),
            ),
            next=(look, *_pods(hook)),
            touches=tuple(dict.fromkeys(e.about for e, _ in calls)),
            key=name,
        )


def _healed(ref: Ref, workloads: Workloads, replicasets: ReplicaSets) -> bool:
    """Whether the object that was refused its pods has them by now, or is gone."""
    if ref.kind == "ReplicaSet":
        made = replicasets.get(ref.name, ref.namespace)
        return made is None or made.status.replicas >= made.desired
    if ref.kind in ("StatefulSet", "DaemonSet"):
        workload = workloads.get(ref)
        return workload is None or max(workload.status.replicas, workload.status.current_number_scheduled) >= (
            workload.desired
        )
    return False


def _there(hook: Webhook, services: Services, slices: EndpointSlices) -> bool:
    target = hook.client_config.service
    if target is None:
        return True
    service = services.get(target.name, target.namespace)
    return bool(
        service and service.port(target.port) and (service.external or any(e.ready for e in slices.endpoints(service)))
    )


def _reason(error: str, hook: Webhook) -> tuple[str, str]:
    """What the error says in plain words, and what to look at."""
    line = error.replace("\n", " ")
    if "x509:" in line or "tls:" in line:
        found = re.search(r"(x509: .*)", line) or re.search(r"(tls: .*)", line)
        return (
            f"its certificate is not accepted ({shorten(found[1] if found else line, 100)})",
            "compare caBundle of the configuration with the CA of the Secret that the webhook serves with",
        )
    if "connection refused" in line:
        return (
            "connection refused: its pods do not listen on the Service's targetPort",
            "compare the Service's targetPort with the port on which the pods listen",
        )
    if "deadline exceeded" in line or "Timeout" in line or "i/o timeout" in line:
        return (
            "no answer in time: the pods are slow, or the API server's node does not reach the pod network",
            "from a control-plane node: curl -kv https://POD-IP:TARGET-PORT/    # a network policy or firewall?",
        )
    if "no such host" in line:
        return "its name cannot be resolved", "correct the url of the configuration"
    if "no route to host" in line:
        return "no route to its pods from the API server's node", "look at the network plugin on the control plane"
    if "could not find the requested resource" in line:
        path = (hook.client_config.service.path if hook.client_config.service else "") or "/"
        return (
            f"its server answers 404 for path {path}",
            "correct clientConfig.service.path of the configuration: the webhook's documentation names it",
        )
    if "server gave HTTP response to HTTPS" in line:
        return "its server speaks HTTP, and webhooks are called by HTTPS", "correct the Service's targetPort"
    return shorten(line, 120), "read the webhook's own log"


def _pods(hook: Webhook) -> Iterator[str]:
    if target := hook.client_config.service:
        yield kubectl("get", "pods,endpointslices", "-o", "wide", namespace=target.namespace)

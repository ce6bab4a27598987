"""An admission webhook leads to a Service that is missing or has nothing ready behind it."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import WEBHOOK_REFUSES, Evidence, Finding, Layer, Severity, check, kubectl, listing
from kdiag.facts import (
    APIServices,
    Backends,
    Cluster,
    EndpointSlices,
    Events,
    MutatingWebhookConfiguration,
    MutatingWebhooks,
    Namespaces,
    Refusals,
    ServiceRef,
    ValidatingWebhookConfiguration,
    ValidatingWebhooks,
    Webhook,
    WebhookRule,
    not_called,
)

# A backend of one pod is away for so long while it is replaced.
_START = 60


@check(
    title="Webhook has no backend",
    severity=Severity.ERROR,
    layer=Layer.WEBHOOK,
    explains=WEBHOOK_REFUSES,
    tags=("webhook", "admission"),
)
def webhook_backend_unavailable(
    validating: ValidatingWebhooks,
    mutating: MutatingWebhooks,
    backends: Backends,
    slices: EndpointSlices,
    cluster: Cluster,
    namespaces: Namespaces | None,
    apis: APIServices | None,
    events: Events | None,
    refusals: Refusals | None,
) -> Iterator[Finding]:
    """With failurePolicy Fail every call that it matches is refused; with Ignore it is only slow and unguarded."""
    configs: list[ValidatingWebhookConfiguration | MutatingWebhookConfiguration] = [*validating.items, *mutating.items]
    for config in configs:
        for hook in config.webhooks:
            target = hook.client_config.service
            if target is None or not hook.rules or not backends.services.covers(target.namespace):
                continue
            wrong = _wrong(target, backends, slices, cluster)
            if wrong is None:
                continue
            command, shown, why = wrong
            closed = hook.failure_policy != "Ignore"
            unasked = not_called(hook, apis, namespaces)
            refused = [
                e
                for e in (events.by_reason.get("FailedCreate", ()) if events else ())
                if f'failed calling webhook "{hook.name}"' in e.message and cluster.age(e.when) < 3600
            ]
            # Events of it come rarely, and expire; who waits for its pods has it in its status.
            waits = [
                r
                for r in (refusals.of_kind("webhook_call", events) if refusals else ())
                if f'failed calling webhook "{hook.name}"' in r.message
            ]
            if unasked:
                effect = f"would {'refuse' if closed else 'not see'} {_hits(hook)} {unasked}"
            else:
                effect = f"refuses {_hits(hook)}" if closed else f"no longer sees {_hits(hook)}"
            evidence = [
                Evidence(
                    kubectl("get", config.ref().kind.lower(), config.name, "-o", "yaml"),
                    f"{hook.name}: failurePolicy {hook.failure_policy}, service "
                    f"{target.namespace}/{target.name}:{target.port}, {_scope(hook)}",
                ),
                Evidence(command, shown),
            ]
            if refused:
                evidence.append(
                    Evidence(kubectl("get", "events", "--field-selector=reason=FailedCreate", "-A"), refused[0].message)
                )
            yield Finding(
                config.ref(),
                f"webhook {hook.name} of {config.name} {effect}: {why}",
                evidence=tuple(evidence),
                next=(
                    kubectl("get", "pods,endpointslices", "-o", "wide", namespace=target.namespace),
                    f"{kubectl('get', config.ref().kind.lower(), config.name, '-o', 'yaml')} > {config.name}.yaml"
                    "    # keep it, then, where the calls matter more than the policy:",
                    kubectl("delete", config.ref().kind.lower(), config.name),
                ),
                touches=tuple(dict.fromkeys((*(e.about for e in refused), *(r.maker for r in waits)))),
                key=hook.name,
                severity=Severity.INFO if unasked else _severity(hook, closed=closed),
            )


def _wrong(
    target: ServiceRef, backends: Backends, slices: EndpointSlices, cluster: Cluster
) -> tuple[str, str, str] | None:
    """What of the backend is missing: the command, what it shows, and a few words; None when it is there."""
    path = f"{target.namespace}/{target.name}"
    service = backends.services.get(target.name, target.namespace)
    command = kubectl("get", "service", target.name, "-o", "wide", namespace=target.namespace)
    if service is None:
        return command, f'services "{target.name}" not found', f"Service {path} does not exist"
    if service.external:
        return None
    if service.port(target.port) is None:
        ports = listing([str(p.port) for p in service.spec.ports], 5)
        return command, f"PORT(S) {ports}", f"Service {path} has no port {target.port}"
    if any(e.ready for e in slices.endpoints(service)):
        return None
    pods = backends.of(service)
    if pods and all(cluster.age(p.created) < _START for p in pods):
        return None
    command = kubectl(
        "get", "endpointslices", "-l", f"kubernetes.io/service-name={target.name}", namespace=target.namespace
    )
    return command, "no ready endpoint", f"Service {path} has no ready endpoint"


def _hits(hook: Webhook) -> str:
    operations = list(dict.fromkeys(o for rule in hook.rules for o in rule.operations))
    what = listing(list(dict.fromkeys(r for rule in hook.rules for r in _resources(rule))), 3)
    how = "every call on" if "*" in operations else f"each {'/'.join(o.lower() for o in operations)} of"
    return f"{how} {what}"


def _resources(rule: WebhookRule) -> Iterator[str]:
    if not {"*", "*/*"} & set(rule.resources):
        yield from rule.resources
    elif not rule.api_groups or "*" in rule.api_groups:
        yield "every resource"
    else:
        yield from (f"every resource of {group or 'the core API'}" for group in rule.api_groups)


def _core(rule: WebhookRule) -> bool:
    return not rule.api_groups or bool({"", "*"} & set(rule.api_groups))


def _scope(hook: Webhook) -> str:
    selector = hook.namespace_selector
    return "in every namespace" if selector is None or selector.empty else f"in namespaces with {selector}"


def _severity(hook: Webhook, *, closed: bool) -> Severity:
    if not closed:
        return Severity.WARNING
    everywhere = hook.namespace_selector is None or hook.namespace_selector.empty
    vital = any(_core(rule) and set(rule.resources) & {"*", "*/*", "pods", "pods/*"} for rule in hook.rules)
    return Severity.CRITICAL if everywhere and vital else Severity.ERROR

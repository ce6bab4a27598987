"""An init container waits for a Service that only the pods of its own workload answer for."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, shorten
from kdiag.facts import Dependencies, Events, Failures, Fault, Logs, Service, answers_itself, edit, touched


@check(
    title="Init container waits for its own pod",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=(
        "application/dependency_name_unresolved",
        "application/dependency_unreachable",
        "application/pod_not_ready",
        "network/service_has_no_ready_endpoint",
    ),
    tags=("init", "dependency", "service"),
)
def init_container_waits_for_itself(
    failures: Failures, dependencies: Dependencies, events: Events | None, logs: Logs | None
) -> Iterator[Finding]:
    """The pod is ready after its containers start, and they start when the init container has ended: never."""
    for group in failures.of(Fault.INIT_WAITS, events, logs):
        one = group[0]
        namespace = one.pod.namespace
        service: Service | None = None
        for dependency in dependencies.of(one.pod):
            target = dependencies.resolve(dependency.host, namespace)
            if dependency.container == one.container and dependency.origin == "its command" and target:
                service = service or target.service
        if service is None or not answers_itself(service, one.owner, failures.pods, failures.owners):
            continue
        command = " ".join([*one.spec.command, *one.spec.args])
        yield Finding(
            one.owner,
            f"{one.where} waits for Service {service.ref().path}, which only the pods of {one.owner} itself answer for",
            evidence=(
                Evidence(kubectl("get", "pod", one.pod.name, namespace=namespace), one.status),
                Evidence("", f"command: {shorten(command, 160)}"),
                Evidence(
                    kubectl("get", "pods", "-l", service.selector_text, namespace=namespace),
                    f"SELECTOR of {service.name}; none is ready, and none is of another workload",
                ),
            ),
            next=(
                edit(one, f"take init container {one.container} out, or let it wait for what the program needs"),
                kubectl("logs", one.pod.name, "-c", one.container, "--tail=20", namespace=namespace),
            ),
            touches=touched(group, service.ref()),
            key=one.container,
            since=one.started,
        )

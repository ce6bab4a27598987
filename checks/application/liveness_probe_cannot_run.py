"""A liveness probe runs a command that is not in the image, so that it finds out nothing."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, shorten
from kdiag.facts import Cluster, Container, Event, Events, Owners, Pod, Pods, edit_template

#: How old the newest complaint of the kubelet may be, in seconds: it writes fewer and fewer of them.
_RECENT = 1800.0


@check(
    title="Liveness probe cannot run its command",
    severity=Severity.WARNING,
    layer=Layer.POD,
    tags=("probes", "liveness", "command"),
)
def liveness_probe_cannot_run(pods: Pods, events: Events, owners: Owners, cluster: Cluster) -> Iterator[Finding]:
    """The kubelet takes no result for no failure: the container runs on, and would also run on if it hung."""
    for group in pods.templates:
        for container in group[0].spec.all_containers:
            probe = container.liveness_probe
            if probe is None or probe.exec is None or not probe.exec.command:
                continue
            found = next((hit for pod in group if (hit := _said(pod, container, events, cluster))), None)
            if found is None:
                continue
            pod, event = found
            owner, namespace, program = owners.top(pod), pod.namespace, probe.exec.command[0]
            where = f" of container {container.name}" if len(pod.spec.containers) > 1 else ""
            text = event.message[event.message.find("exec: ") :] if "exec: " in event.message else event.message
            yield Finding(
                owner,
                f"The liveness probe{where} of {owner} cannot run {program}: it is not in the image",
                evidence=(
                    Evidence(kubectl("describe", "pod", pod.name, namespace=namespace), shorten(text, 160)),
                    Evidence("", f"exec {shorten(' '.join(probe.exec.command), 100)}"),
                ),
                next=(edit_template(owner, "livenessProbe: a program of the image, or httpGet or tcpSocket"),),
                touches=(pod.ref(),),
                key=container.name,
            )


def _said(pod: Pod, container: Container, events: Events, cluster: Cluster) -> tuple[Pod, Event] | None:
    if pod.phase != "Running" or pod.terminating:
        return None
    for event in events.about(pod.ref(), "Unhealthy"):
        mine = event.involved_object.field_path in (f"spec.containers{{{container.name}}}", "")
        missing = "executable file not found" in event.message or "no such file or directory" in event.message
        if mine and missing and "Liveness probe errored" in event.message and cluster.age(event.when) < _RECENT:
            return pod, event
    return None

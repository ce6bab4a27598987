"""A container's program is built for another processor than its node has."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Gap, Layer, Severity, check, kubectl, present
from kdiag.facts import ConfigMaps, Events, Failures, Fault, Logs, Nodes, from_configmap, touched


@check(
    title="Image is built for another processor",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/job_failed"),
    tags=(
        "images",
        "architecture",
        "crash",
    ),
)
def container_wrong_architecture(
    failures: Failures, events: Events | None, logs: Logs | None, nodes: Nodes | None, configmaps: ConfigMaps | None
) -> Iterator[Finding | Gap]:
    """An image without a build for the node fails at the pull, a wrong single build at the start."""
    for group in failures.of(Fault.WRONG_ARCHITECTURE, events, logs, configmaps):
        one = group[0]
        if (configmaps is None or configmaps.gaps) and (program := from_configmap(one)):
            yield Gap("configmaps", f"not seen: {program} comes from one, and without #! it fails with the same words")
            continue
        namespace = one.pod.namespace
        name = sorted({f.pod.node for f in group})[0]
        node = nodes.get(name) if nodes else None
        machine = node.labels.get("kubernetes.io/arch", "") if node else ""
        on = f"{name} ({machine})" if machine else name
        script = one.log and "exec format error" in one.text and not one.text.startswith("exec ")
        yield Finding(
            one.owner,
            f"{one.where} cannot run {one.spec.image} on {on}: "
            + (
                "exec format error"
                if "exec format" in one.text.lower()
                else "the image has no build for that processor"
            ),
            evidence=present(
                Evidence(kubectl("get", "pod", one.pod.name, "-o", "wide", namespace=namespace), one.status),
                Evidence(
                    kubectl(*(one.log_command if one.log else ("describe", "pod", one.pod.name)), namespace=namespace),
                    one.said,
                ),
                Evidence(kubectl("get", "node", name, "-L", "kubernetes.io/arch"), machine) if machine else None,
            ),
            next=(
                f"docker buildx imagetools inspect {one.spec.image}   # which platforms it is built for",
                "use an image with that platform, or a nodeSelector; a script without #! gives the same error"
                if script or "exec format" in one.text.lower()
                else "use an image with that platform, or a nodeSelector kubernetes.io/arch",
            ),
            touches=touched(group),
            key=one.container,
            since=one.started,
        )

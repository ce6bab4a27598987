"""A container may not pull its image (imagePullPolicy Never) and its node does not have it."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, listing, ssh
from kdiag.facts import Events, Failures, Fault, Logs, touched


@check(
    title="Image is not on the node and may not be pulled",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/job_failed"),
    tags=(
        "images",
        "pull",
    ),
)
def image_never_pulled(failures: Failures, events: Events | None, logs: Logs | None) -> Iterator[Finding]:
    """Name the nodes: the image may be on others."""
    for group in failures.of(Fault.IMAGE_NEVER_PULLED, events, logs):
        one = group[0]
        namespace = one.pod.namespace
        nodes = sorted({f.pod.node for f in group})
        index = next((i for i, c in enumerate(one.pod.spec.containers) if c.name == one.container), 0)
        place = f"/spec/template/spec/{'initContainers' if one.init else 'containers'}/{0 if one.init else index}"
        yield Finding(
            one.owner,
            f"{one.where} may not pull {one.spec.image} (imagePullPolicy Never), and {listing(nodes)} does not have it",
            evidence=(
                Evidence(
                    kubectl("get", "pod", one.pod.name, "-o", "wide", namespace=namespace),
                    f"{one.status}, on {nodes[0]}",
                ),
                Evidence(kubectl("describe", "pod", one.pod.name, namespace=namespace), one.said),
            ),
            next=(
                kubectl(
                    "patch",
                    one.owner.kind.lower(),
                    one.owner.name,
                    "--type=json",
                    "-p",
                    '[{"op":"replace","path":"' + place + '/imagePullPolicy","value":"IfNotPresent"}]',
                    namespace=namespace,
                )
                if one.owner.kind in ("Deployment", "StatefulSet", "DaemonSet")
                else kubectl("get", "pod", one.pod.name, "-o", "yaml", namespace=namespace),
                ssh(nodes[0], "sudo ctr -n k8s.io images import -") + " < IMAGE.tar   # or load it there",
            ),
            touches=touched(group),
            key=one.container,
            since=one.started,
        )

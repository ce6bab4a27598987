"""A container's image is no valid image name, so nothing is even asked of a registry."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl
from kdiag.facts import Events, Failures, Fault, Logs, set_image, touched


@check(
    title="Image name is invalid",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/job_failed"),
    tags=(
        "images",
        "pull",
    ),
)
def image_name_invalid(failures: Failures, events: Events | None, logs: Logs | None) -> Iterator[Finding]:
    """The kubelet says what the parser objects to."""
    for group in failures.of(Fault.IMAGE_NAME_INVALID, events, logs):
        one = group[0]
        namespace = one.pod.namespace
        why = one.said.rpartition("invalid reference format")[2].lstrip(": ") or "invalid reference format"
        image = one.spec.image
        if any(ch.isspace() for ch in image):
            why = "there is a space in it"
        yield Finding(
            one.owner,
            f'{one.where} has an image name that cannot be read, "{image}": {why}',
            evidence=(
                Evidence(kubectl("get", "pod", one.pod.name, namespace=namespace), one.status),
                Evidence(kubectl("describe", "pod", one.pod.name, namespace=namespace), one.said),
            ),
            next=(set_image(one, "RIGHT_IMAGE"),),
            touches=touched(group),
            key=one.container,
            since=one.started,
        )

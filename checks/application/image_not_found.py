"""A container's image cannot be pulled because its registry has no such repository or tag."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, nearest
from kdiag.facts import Events, Failures, Fault, Image, Logs, set_image, touched


@check(
    title="Image does not exist",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/job_failed"),
    tags=(
        "images",
        "pull",
    ),
)
def image_not_found(failures: Failures, events: Events | None, logs: Logs | None) -> Iterator[Finding]:
    """Say which part of the name is wrong as far as the registry's answer and other pods tell."""
    broken = failures.of(Fault.IMAGE_NOT_FOUND, events, logs)
    templates = failures.pods.templates if broken else ()
    used = sorted({c.image for group in templates if group[0].ready for c in group[0].spec.containers})
    for group in broken:
        one = group[0]
        image = Image.parse(one.about)
        namespace = one.pod.namespace
        same = [i for i in map(Image.parse, used) if i.repository == image.repository]
        missing_repository = any(
            word in one.text.lower() for word in ("repository does not exist", "name unknown", "name_unknown")
        )
        if missing_repository:
            other = nearest(image.repository, sorted({Image.parse(i).repository for i in used}))
            what = f"{image.registry} has no repository {image.path}" + (f"; {other} is in use here" if other else "")
        else:
            other = nearest(image.tag, [i.tag for i in same if i.tag])
            word = f"digest {image.digest}" if image.digest else f"tag {image.tag}"
            what = f"no {word} in {image.repository}" + (f"; {other} is in use here" if other else "")
        yield Finding(
            one.owner,
            f"{one.where} cannot pull {one.about}: {what}",
            evidence=(
                Evidence(kubectl("get", "pod", one.pod.name, namespace=namespace), one.status),
                Evidence(kubectl("describe", "pod", one.pod.name, namespace=namespace), one.said),
            ),
            next=(
                set_image(one, "RIGHT_IMAGE"),
                kubectl("rollout", "undo", f"{one.owner.kind.lower()}/{one.owner.name}", namespace=namespace)
                if one.owner.kind in ("Deployment", "StatefulSet", "DaemonSet")
                else kubectl("describe", "pod", one.pod.name, namespace=namespace),
            ),
            touches=touched(group),
            key=one.container,
            since=one.started,
        )

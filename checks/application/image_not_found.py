"""A container's image cannot be pulled because its registry has no such repository or tag."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, Shared, check, kubectl, middle, nearest
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
        what = _what(one.text.lower(), image, same, used)
        yield Finding(
            one.owner,
            f"{one.where} cannot pull {middle(one.about, 90)}: {what}",
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
            shared=Shared(Ref("Image", one.about), f"Image {middle(one.about, 90)} cannot be pulled: {what}", "use it"),
        )


def _what(text: str, image: Image, same: list[Image], used: list[str]) -> str:
    """A registry of one's own answers 404 for a missing repository and for a missing tag: then both are said."""
    word = f"digest {image.digest[:19]}…" if image.digest else f"tag {image.tag}"
    if any(sign in text for sign in ("repository does not exist", "name unknown", "name_unknown", "name not known")):
        other = nearest(image.repository, sorted({Image.parse(i).repository for i in used}))
        return f"{image.registry} has no repository {image.path}" + (f"; {other} is in use here" if other else "")
    # Docker Hub says of a missing repository that access is denied: "not found" there is the tag.
    if same or "manifest unknown" in text or "manifest_unknown" in text or image.registry == "docker.io":
        other = nearest(image.tag, [i.tag for i in same if i.tag]) if image.tag else None
        return f"no {word} in {image.repository}" + (f"; {other} is in use here" if other else "")
    other = nearest(image.repository, sorted({Image.parse(i).repository for i in used}))
    hint = f"; {other} is in use here" if other else ""
    return f"{image.registry} has no repository {image.path}, or no {word} in it{hint}"

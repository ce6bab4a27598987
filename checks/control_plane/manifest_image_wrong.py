"""A control-plane manifest names an image that its node does not have and its siblings do not use."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from kdiag.check import STATIC_POD_ABSENT, Evidence, Finding, Gap, Layer, Severity, check, listing, nearest, present
from kdiag.facts import (
    Cluster,
    Containers,
    Images,
    Manifest,
    Manifests,
    NodeManifests,
    Pods,
    component_seen,
    component_standing,
    manifest_repair,
    manifest_severity,
    stands_still,
    static_pod,
)

_KUBE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
_IMAGE = re.compile(r"(?P<place>.+?/)?(?P<name>[^/:@]+)(?::(?P<tag>[^@]+))?(?:@.+)?")


@check(
    title="Control-plane image cannot be had",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    explains=STATIC_POD_ABSENT,
    explains_here=("application/image_not_found",),
    tags=("static-pods", "manifests", "images"),
)
def manifest_image_wrong(
    manifests: Manifests,
    cluster: Cluster,
    images: Images | None,
    containers: Containers | None,
    pods: Pods | None,
) -> Iterator[Finding | Gap]:
    """Name, tag and place against the other components of the node, while this one does not run."""
    for node, found in manifests:
        for manifest in found.running:
            part, image = manifest.component, manifest.container.image
            have = images.get(node) if images else None
            if have is not None and _named(image, have):
                continue
            now = component_standing(manifest, node, containers, pods, cluster)
            if now.runs:
                continue
            wrong = _wrong(manifest, found, have)
            if not wrong:
                continue
            if not component_seen(part, node, containers, pods, cluster):
                yield Gap(node, f"whether {part} runs was not seen")
                continue
            what, meant = wrong
            subject = static_pod(part, node)
            line = manifest.line("spec", "containers", manifest.index, "image")
            lacks = f"; {node} does not have it" if have is not None else ""
            others = [m.container.image for m in found.running if m.component != part]
            own = [i for i in have or () if i.rpartition("/")[2].startswith(f"{part}:")]
            yield Finding(
                subject,
                f"{subject.name} cannot start: {manifest.where(line)} image {image}: {what}{lacks}",
                evidence=present(
                    manifest.quote(node, line),
                    Evidence("grep -h image: /etc/kubernetes/manifests/*.yaml", listing(others, 4) or "none", node),
                    Evidence("crictl images", listing(own, 3) or f"no {part}", node) if have is not None else None,
                ),
                next=manifest_repair(node, manifest, line, f"image: {meant}" if meant else "correct the image"),
                touches=stands_still(manifests, part),
                severity=manifest_severity(manifests, part, now),
            )


def _named(image: str, have: tuple[str, ...]) -> bool:
    return image in have or any(h.partition("@")[0] == image or h.endswith(f"/{image}") for h in have)


def _wrong(manifest: Manifest, found: NodeManifests, have: tuple[str, ...] | None) -> tuple[str, str] | None:
    """What is odd about the image, and which was meant; None where it is as its siblings'."""
    mine = _IMAGE.fullmatch(manifest.container.image)
    if mine is None:
        return "it is no image name", ""
    others = [
        match
        for m in found.running
        if m.component != manifest.component and (match := _IMAGE.fullmatch(m.container.image))
    ]
    part, place, name, tag = manifest.component, mine["place"] or "", mine["name"], mine["tag"] or ""
    there = next((i for i in have or () if i.rpartition("/")[2].startswith(f"{part}:")), "")
    if name != part and nearest(name, [part]):
        return f"{name} is no {part}", there or f"{place}{part}:{tag}"
    places = Counter(m["place"] or "" for m in others)
    usual, count = places.most_common(1)[0] if places else ("", 0)
    if count >= 2 and usual != place and nearest(place, [usual]):
        return f"the others come from {usual.rstrip('/')}", there or f"{usual}{name}:{tag}"
    if part in _KUBE:
        tags = Counter(m["tag"] or "" for m in others if m["name"] in _KUBE)
        if len(tags) == 1 and tags.total() >= 2 and tag not in tags:
            usual = next(iter(tags))
            return f"the others are {usual}", there or f"{place}{name}:{usual}"
    if there and there.rpartition(":")[2] != tag:
        return f"there is {there}", there
    return None

"""A container's image was found in its registry, and the node cannot use it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, present, shorten, ssh
from kdiag.facts import Events, Failure, Failures, Fault, Logs, set_image, touched

_DISK = re.compile(r"no space left on device|read-only file system")


@check(
    title="Image cannot be used",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/job_failed"),
    tags=("images", "pull"),
)
def image_unusable(failures: Failures, events: Events | None, logs: Logs | None) -> Iterator[Finding]:
    """A full disk, a format that the runtime no longer reads, a policy of the node; anything else is quoted."""
    for group in failures.of(Fault.IMAGE_OTHER, events, logs):
        one = group[0]
        namespace, node = one.pod.namespace, one.pod.node
        if not _said(one.text) or "pull QPS exceeded" in one.text:
            continue  # the event with the reason has expired, or was not seen; or it is pulled a moment later
        why, look = _why(one, node)
        yield Finding(
            one.owner,
            f"{one.where} cannot use {one.about}: {why}",
            evidence=(
                Evidence(
                    kubectl("get", "pod", one.pod.name, "-o", "wide", namespace=namespace), f"{one.status}, on {node}"
                ),
                Evidence(kubectl("describe", "pod", one.pod.name, namespace=namespace), one.said),
            ),
            next=(look,),
            touches=present(*touched(group), Ref("Node", node) if _DISK.search(one.text) else None),
            key=one.container,
            since=one.started,
        )


def _said(text: str) -> str:
    return re.sub(r"^(?:Error: )?(?:Back-off pulling image \S+|ImagePullBackOff|ErrImagePull)[: ]*", "", text).strip()


def _why(one: Failure, node: str) -> tuple[str, str]:
    """The reason in plain words, and what to look at."""
    text, pull = one.text, ssh(node, f"sudo crictl pull {one.about}")
    if "no space left on device" in text:
        return f"the disk of {node} is full", ssh(node, "df -h")
    if "read-only file system" in text:
        return f"the disk of {node} is mounted read only", ssh(node, "sudo dmesg | tail -n 20")
    if "manifest.v1+" in text or "schema" in text:
        return (
            "it has Docker's old format (schema 1), which this runtime does not read: it must be pushed again",
            set_image(one, "IMAGE_BUILT_ANEW"),
        )
    if "unexpected commit digest" in text:
        return "a layer arrives damaged: its digest is another than the manifest says", pull
    if re.search(r"signature was required|rejected by policy", text, re.I):
        return f"the policy of {node} wants a signature that it has not", ssh(node, "cat /etc/containers/policy.json")
    if "did not resolve" in text:
        return (
            f"its name has no registry, and {node} knows none to look in (registries.conf)",
            set_image(one, f"REGISTRY/{one.about}"),
        )
    return shorten(_said(one.said), 140), pull

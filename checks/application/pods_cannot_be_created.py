"""A controller is refused its pods for a reason that no closer check knows."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import PODS_REFUSED, Evidence, Finding, Gap, Layer, Severity, check, kubectl, shorten
from kdiag.facts import Events, Refusals, edit_template

_HEAD = re.compile(r'^(?:pods|persistentvolumeclaims|jobs\.batch|replicasets\.apps) "[^"]*" is forbidden: ')


@check(
    title="Pods are refused by the API server",
    severity=Severity.ERROR,
    layer=Layer.ADMISSION,
    explains=PODS_REFUSED,
    tags=("admission", "rollout"),
)
def pods_cannot_be_created(refusals: Refusals, events: Events | None) -> Iterator[Finding | Gap]:
    """What the API server says is quoted: a missing priority or runtime class, an invalid field, and so on."""
    yield from refusals.hidden(events)
    for refusal in refusals.of_kind("", events):
        namespace = refusal.subject.namespace
        said = _HEAD.sub("", refusal.message)
        yield Finding(
            refusal.subject,
            f"{refusal.subject} may not make its pods: {shorten(_steady(said, refusal.maker.name), 180)}",
            evidence=(
                Evidence(
                    kubectl("describe", refusal.maker.kind.lower(), refusal.maker.name, namespace=namespace),
                    f"FailedCreate: {shorten(refusal.message, 500)}",
                ),
            ),
            next=(
                kubectl("describe", refusal.maker.kind.lower(), refusal.maker.name, namespace=namespace),
                edit_template(refusal.subject),
            ),
            touches=(refusal.maker,),
            severity=refusal.severity,
            since=refusal.started,
        )


def _steady(text: str, maker: str) -> str:
    """Without the random suffix of the pod that was to be made."""
    return re.sub(rf"({re.escape(maker)})-[a-z0-9]{{5}}\b", r"\1-…", text)

"""A controller is refused its pods for a reason that no closer check knows."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import (
    PODS_REFUSED,
    Evidence,
    Finding,
    Gap,
    Layer,
    Ref,
    Severity,
    Shared,
    check,
    kubectl,
    present,
    shorten,
)
from kdiag.facts import Events, MutatingWebhooks, Refusals, ValidatingWebhooks, edit_template

_HEAD = re.compile(r'^(?:pods|persistentvolumeclaims|jobs\.batch|replicasets\.apps) "[^"]*" is forbidden: ')

_CALL = re.compile(
    r'^Internal error occurred: failed calling webhook "([^"]+)": (?:failed to call webhook: )?(?:Post "[^"]*": )?'
)


@check(
    title="Pods are refused by the API server",
    severity=Severity.ERROR,
    layer=Layer.ADMISSION,
    explains=PODS_REFUSED,
    tags=("admission", "rollout"),
)
def pods_cannot_be_created(
    refusals: Refusals,
    events: Events | None,
    validating: ValidatingWebhooks | None,
    mutating: MutatingWebhooks | None,
) -> Iterator[Finding | Gap]:
    """What the API server says is quoted: a missing priority or runtime class, an invalid field, and so on.

    A webhook that cannot be called has checks of its own, where its configuration may be read.
    """
    yield from refusals.hidden(events)
    unseen = refusals.of_kind("webhook_call", events) if validating is None or mutating is None else ()
    for refusal in (*refusals.of_kind("", events), *unseen):
        namespace = refusal.subject.namespace
        said = _CALL.sub(r"webhook \1 cannot be called: ", _HEAD.sub("", refusal.message))
        yield Finding(
            refusal.subject,
            f"{refusal.subject} may not make its {refusal.made}: {shorten(refusal.steady(said), 180)}",
            evidence=(
                Evidence(
                    kubectl("describe", refusal.maker.kind.lower(), refusal.maker.name, namespace=namespace),
                    f"FailedCreate: {shorten(refusal.message, 500)}",
                ),
            ),
            next=present(
                kubectl("get", "runtimeclasses") if 'RuntimeClass "' in said else None,
                kubectl("describe", refusal.maker.kind.lower(), refusal.maker.name, namespace=namespace),
                edit_template(refusal.subject),
            ),
            touches=(refusal.maker,),
            severity=refusal.severity,
            since=refusal.started,
            shared=_shared(said),
        )


def _shared(said: str) -> Shared | None:
    """The runtime class that several name and that does not exist."""
    lost = re.search(r'RuntimeClass "([^"]+)" not found', said)
    return Shared(Ref("RuntimeClass", lost[1]), f"RuntimeClass {lost[1]} does not exist", "name it") if lost else None

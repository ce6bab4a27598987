"""A LimitRange refuses pods whose requests or limits are outside its bounds."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import PODS_REFUSED, Evidence, Finding, Gap, Layer, Ref, Severity, Shared, check, kubectl, listing
from kdiag.facts import Events, LimitRanges, Refusals, edit_template

_RULE = re.compile(
    r"(?:maximum|minimum) \S+ usage per (?:Container|Pod|PersistentVolumeClaim) is \S+?[,.]\s+"
    r"(?:but (?:limit|request) is \S+?(?=[,\]\s]|$)|No (?:limit|request) is specified)"
    r"|\S+ max limit to request ratio per \S+ is \S+?, but provided ratio is [\d.]+"
)


@check(
    title="LimitRange refuses pods",
    severity=Severity.ERROR,
    layer=Layer.ADMISSION,
    explains=PODS_REFUSED,
    tags=("quota", "admission", "rollout"),
)
def limit_range_violated(
    refusals: Refusals, events: Events | None, ranges: LimitRanges | None
) -> Iterator[Finding | Gap]:
    """The bounds hold for each container or pod; defaults of the same LimitRange may be what breaks them."""
    yield from refusals.hidden(events)
    for refusal in refusals.of_kind("limit_range", events):
        namespace = refusal.subject.namespace
        rules = [m.group(0).rstrip(".") for m in _RULE.finditer(refusal.message)]
        named = [r.name for r in ranges.within(namespace)] if ranges else []
        yield Finding(
            refusal.subject,
            f"{refusal.subject} may not make its pods: {listing(rules or [refusal.message], 2)}",
            evidence=(
                Evidence(
                    kubectl("describe", refusal.maker.kind.lower(), refusal.maker.name, namespace=namespace),
                    f"FailedCreate: {refusal.message}",
                ),
                Evidence(kubectl("get", "limitrange", namespace=namespace), listing(named, 3) or "not read"),
            ),
            next=(
                kubectl("describe", "limitrange", namespace=namespace),
                edit_template(refusal.subject, "resources within those bounds"),
            ),
            touches=(refusal.maker, *(Ref("LimitRange", name, namespace) for name in named)),
            severity=refusal.severity,
            since=refusal.started,
            shared=(
                Shared(
                    Ref("LimitRange", named[0], namespace),
                    f"LimitRange {namespace}/{named[0]} refuses pods that are out of its bounds",
                    "may not make theirs",
                )
                if len(named) == 1
                else None
            ),
        )

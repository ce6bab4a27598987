"""A ResourceQuota refuses pods: it is full, or it wants requests that the pods do not state."""

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
    listing,
    present,
)
from kdiag.facts import Events, Refusal, Refusals, ResourceQuotas, edit_template

_FULL = re.compile(
    r"exceeded quota: (?P<quota>[^,\s]+), requested: (?P<asked>\S+), used: (?P<used>\S+), limited: (?P<hard>\S+)"
)
_SILENT = re.compile(r"failed quota: (?P<quota>[^:\s]+): must specify (?P<what>.+?)(?:\s*$|; )")


@check(
    title="Quota refuses pods",
    severity=Severity.ERROR,
    layer=Layer.ADMISSION,
    explains=PODS_REFUSED,
    tags=("quota", "admission", "rollout"),
)
def quota_exceeded(refusals: Refusals, events: Events | None, quotas: ResourceQuotas | None) -> Iterator[Finding | Gap]:
    """No pod object exists, so nothing is Pending: the controller only keeps trying."""
    yield from refusals.hidden(events)
    for refusal in refusals.of_kind("quota", events):
        full, silent = _FULL.search(refusal.message), _SILENT.search(refusal.message)
        quota = full["quota"] if full else silent["quota"] if silent else ""
        namespace = refusal.subject.namespace
        if full:
            said = f"quota {quota} is full: {listing(_sums(full), 3)}"
        elif silent:
            said = f"quota {quota} wants {silent['what']}"
        else:
            said = refusal.message
        over = full is not None and _has_room(full, namespace, quotas)
        yield Finding(
            refusal.subject,
            f"{refusal.subject} has not made its {refusal.made} yet: quota {quota} was full, and has room by now"
            if over
            else f"{refusal.subject} may not make its {refusal.made}: {said}",
            evidence=(
                Evidence(
                    kubectl("describe", refusal.maker.kind.lower(), refusal.maker.name, namespace=namespace),
                    f"FailedCreate: {refusal.message}",
                ),
                Evidence(
                    kubectl("get", refusal.maker.kind.lower(), refusal.maker.name, namespace=namespace),
                    f"{refusal.have} of {refusal.want} made",
                ),
            ),
            next=tuple(_again(refusal) if over else _next(refusal, quota, full is not None)),
            touches=present(refusal.maker, Ref("ResourceQuota", quota, namespace) if quota else None),
            severity=Severity.WARNING if over else refusal.severity,
            since=refusal.started,
            shared=_shared(Ref("ResourceQuota", quota, namespace), full, silent, over) if quota else None,
        )


def _shared(quota: Ref, full: re.Match[str] | None, silent: re.Match[str] | None, over: bool) -> Shared:
    """What all say who stumble over one quota: one may ask for more than another."""
    if over:
        return Shared(quota, f"Quota {quota.path} was full, and has room by now", "have not made their pods yet")
    if full:
        names = sorted(_pairs(full["asked"]))
        return Shared(quota, f"Quota {quota.path} is full ({listing(names, 3)})", "may not make their pods")
    what = f"wants {silent['what'].partition(' for: ')[0]} of each pod" if silent else "refuses pods"
    return Shared(quota, f"Quota {quota.path} {what}", "may not make their pods")


def _pairs(text: str) -> dict[str, str]:
    return dict(p.split("=", 1) for p in text.split(",") if "=" in p)


def _has_room(full: re.Match[str], namespace: str, quotas: ResourceQuotas | None) -> bool:
    """Whether what was refused would be let in now: the controller asks again after up to a quarter of an hour."""
    if quotas is None or not quotas.covers(namespace):
        return False
    quota = quotas.get(full["quota"], namespace)
    return quota is None or quota.takes(_pairs(full["asked"]))


def _again(refusal: Refusal) -> Iterator[str]:
    subject = refusal.subject
    yield "its controller tries again by itself, after up to a quarter of an hour"
    if subject.kind in ("Deployment", "StatefulSet", "DaemonSet"):
        restart = kubectl("rollout", "restart", f"{subject.kind.lower()}/{subject.name}", namespace=subject.namespace)
        yield f"{restart}   # or at once"


def _sums(full: re.Match[str]) -> list[str]:
    """``requests.cpu 180m used + 90m asked > 200m`` for each resource that does not fit."""
    asked, used, hard = (_pairs(full[k]) for k in ("asked", "used", "hard"))
    return [
        f"{name} {used.get(name, '?')} used + {value} asked > {hard.get(name, '?')}" for name, value in asked.items()
    ]


def _next(refusal: Refusal, quota: str, full: bool) -> Iterator[str]:
    namespace = refusal.subject.namespace
    if quota:
        yield kubectl("describe", "resourcequota", quota, namespace=namespace)
    if full:
        yield f"ask for less, or scale something else down: {kubectl('top', 'pods', namespace=namespace)}"
        if quota:
            yield kubectl("edit", "resourcequota", quota, namespace=namespace)
    else:
        yield edit_template(refusal.subject, "state requests and limits")
        yield f"or give the namespace defaults with a LimitRange: {kubectl('get', 'limitrange', namespace=namespace)}"

"""A workload names a service account that its namespace does not have."""

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
    nearest,
)
from kdiag.facts import Events, Refusals, ServiceAccounts, Workloads

_NAME = re.compile(
    r'(?:serviceaccounts?|serviceaccount) "(?P<name>[^"]+)" not found|service account \S+?/(?P<other>[^\s:]+):'
)


@check(
    title="Service account does not exist",
    severity=Severity.ERROR,
    layer=Layer.ADMISSION,
    explains=PODS_REFUSED,
    tags=("access", "admission", "rollout"),
)
def service_account_missing(
    refusals: Refusals, workloads: Workloads, events: Events | None, accounts: ServiceAccounts | None
) -> Iterator[Finding | Gap]:
    """Pods that run go on for a while; the next one is refused, and no pod object shows it."""
    yield from refusals.hidden(events)
    told = set()
    for refusal in refusals.of_kind("service_account", events):
        said = _NAME.search(refusal.message)
        name = (said["name"] or said["other"]) if said else ""
        namespace = refusal.subject.namespace
        if not name or (accounts and accounts.get(name, namespace)):
            continue  # it has been made since: the next try goes through
        told.add(refusal.subject)
        evidence = Evidence(
            kubectl("describe", refusal.maker.kind.lower(), refusal.maker.name, namespace=namespace),
            f"FailedCreate: {refusal.message}",
        )
        severity = refusal.severity
        yield _finding(refusal.subject, name, accounts, (evidence,), severity)
    for workload in workloads.items if accounts else ():
        name = workload.pod_spec.service_account_name
        if not name or name == "default" or workload.desired < 1 or workload.ref() in told:
            continue
        if accounts and not accounts.get("default", workload.namespace):
            continue  # every namespace has that one: its list is not to be trusted, or the namespace is minutes old
        if accounts and accounts.covers(workload.namespace) and not accounts.get(name, workload.namespace):
            yield _finding(workload.ref(), name, accounts, (), Severity.WARNING)


def _finding(
    subject: Ref, name: str, accounts: ServiceAccounts | None, evidence: tuple[Evidence, ...], severity: Severity
) -> Finding:
    names = [a.name for a in accounts.within(subject.namespace)] if accounts else []
    close = nearest(name, names)
    what = "may not make its pods" if evidence else "can make no further pod"
    return Finding(
        subject,
        f"{subject} {what}: service account {name} does not exist" + (f"; there is {close}" if close else ""),
        evidence=(
            *evidence,
            Evidence(
                kubectl("get", "serviceaccounts", namespace=subject.namespace),
                listing(names, 5) if accounts else f"{name} is not there",
            ),
        ),
        next=(
            kubectl("set", "serviceaccount", subject.kind.lower(), subject.name, close, namespace=subject.namespace)
            if close and subject.kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")
            else kubectl("create", "serviceaccount", name, namespace=subject.namespace),
            kubectl("get", "rolebindings", "-o", "wide", namespace=subject.namespace)
            + f"   # whether {name} needs rights as well",
        ),
        touches=(Ref("ServiceAccount", name, subject.namespace),),
        severity=severity,
        own=name != "default",  # the controller manager gives that one to each namespace
        shared=Shared(
            Ref("ServiceAccount", name, subject.namespace),
            f"Service account {subject.namespace}/{name} does not exist" + (f"; there is {close}" if close else ""),
        ),
    )

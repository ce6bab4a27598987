"""An admission webhook or policy looks at the pods and denies them."""

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

_HOOK = re.compile(
    r'admission webhook "(?P<name>[^"]+)" denied the request(?: without explanation|: (?P<why>.*))?', re.DOTALL
)
_POLICY = re.compile(
    r"ValidatingAdmissionPolicy '(?P<name>[^']+)' with binding '[^']+' denied request: (?P<why>.*)", re.DOTALL
)


@check(
    title="Admission policy denies pods",
    severity=Severity.ERROR,
    layer=Layer.ADMISSION,
    explains=PODS_REFUSED,
    tags=("admission", "webhook", "rollout"),
)
def admission_denied(
    refusals: Refusals,
    events: Events | None,
    validating: ValidatingWebhooks | None,
    mutating: MutatingWebhooks | None,
) -> Iterator[Finding | Gap]:
    """A policy that works as it was told; a webhook that does not answer is another fault."""
    yield from refusals.hidden(events)
    for refusal in refusals.of_kind("denied", events):
        hook, policy = _HOOK.search(refusal.message), _POLICY.search(refusal.message)
        said = hook or policy
        if said is None:
            continue
        what = f"webhook {said['name']}" if hook else f"policy {said['name']}"
        owner = _owner(said["name"], validating, mutating) if hook else Ref("ValidatingAdmissionPolicy", said["name"])
        namespace = refusal.subject.namespace
        yield Finding(
            refusal.subject,
            f"{refusal.subject} may not make its pods: {what} denies them: "
            + shorten((said["why"] or "without explanation").strip(), 160),
            evidence=(
                Evidence(
                    kubectl("describe", refusal.maker.kind.lower(), refusal.maker.name, namespace=namespace),
                    f"FailedCreate: {shorten(refusal.message, 400)}",
                ),
            ),
            next=(
                edit_template(refusal.subject, "do what the message asks for"),
                kubectl("get", owner.kind.lower(), owner.name, "-o", "yaml")
                if owner
                else kubectl("get", "validatingwebhookconfigurations,mutatingwebhookconfigurations"),
            ),
            touches=present(refusal.maker, owner),
            severity=refusal.severity,
            since=refusal.started,
            shared=Shared(
                owner,
                f"{what[0].upper()}{what[1:]} denies pods"
                + (f" ({shorten(policy['why'].strip(), 100)})" if policy else ""),
                "may not make theirs",
            )
            if owner
            else None,
        )


def _owner(name: str, validating: ValidatingWebhooks | None, mutating: MutatingWebhooks | None) -> Ref | None:
    for fact in (validating, mutating):
        for configuration in fact.items if fact else ():
            if any(hook.name == name for hook in configuration.webhooks):
                return configuration.ref()
    return None

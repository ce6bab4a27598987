"""An admission webhook or policy looks at the pods and denies them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

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
from kdiag.facts import (
    Events,
    MutatingWebhooks,
    Refusal,
    Refusals,
    ValidatingWebhooks,
    Webhook,
    edit_template,
)

_HOOK = re.compile(
    r'admission webhook "(?P<name>[^"]+)" denied the request(?: without explanation|: (?P<why>.*))?', re.DOTALL
)
_UNJUDGED = re.compile(
    r"expression '(?P<expression>.*)' resulted in error: (?P<error>.*)"
    r"|failed to configure (?:binding|policy): (?P<set>.*)",
    re.DOTALL,
)
_POLICY = re.compile(
    r"ValidatingAdmissionPolicy '(?P<name>[^']+)' with binding '(?P<binding>[^']+)' denied request: (?P<why>.*)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _Denial:
    """One refusal: whose rule it is, the rule's own words, and whether the rule itself is what cannot work."""

    refusal: Refusal
    what: str
    owner: Ref | None
    why: str
    unjudged: bool = False
    binding: str = ""


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
    """A policy that works as it was told, or one whose rule cannot be worked out.

    A webhook that does not answer is another fault.
    """
    yield from refusals.hidden(events)
    denials = [_read(r, validating, mutating) for r in refusals.of_kind("denied", events)]
    whys: dict[str, set[str]] = {}
    for denial in denials:
        whys.setdefault(denial.what, set()).add(denial.why)
    for denial in denials:
        # What differs from one workload to the next holds a name or a number: it is not said of all.
        yield _finding(denial, whole=len(whys[denial.what]) == 1)


def _read(refusal: Refusal, validating: ValidatingWebhooks | None, mutating: MutatingWebhooks | None) -> _Denial:
    hook, policy = _HOOK.search(refusal.message), _POLICY.search(refusal.message)
    if hook:
        owner, _ = _behind(validating, mutating, name=hook["name"])
        return _Denial(refusal, f"webhook {hook['name']}", owner, (hook["why"] or "without explanation").strip())
    if policy:
        why = policy["why"].strip()
        owner = Ref("ValidatingAdmissionPolicy", policy["name"])
        failed = _UNJUDGED.match(why)
        what = f"policy {policy['name']}"
        return _Denial(refusal, what, owner, _said(failed) or why, failed is not None, policy["binding"])
    failed = _UNJUDGED.search(refusal.message)
    owner, one = _behind(validating, mutating, expression=failed["expression"] if failed else "")
    what = f"webhook {one.name}" if one else "an expression of a webhook or a policy"
    return _Denial(refusal, what, owner, _said(failed) or refusal.message, unjudged=True)


def _said(failed: re.Match[str] | None) -> str:
    """The error before the expression: that may be long."""
    if failed is None:
        return ""
    return failed["set"] or f"{failed['error'].strip()}, in the expression {failed['expression'].strip()}"


def _finding(denial: _Denial, *, whole: bool) -> Finding:
    refusal, owner, what = denial.refusal, denial.owner, denial.what
    maker = refusal.maker
    does = "cannot judge" if denial.unjudged else "denies"
    also = ", and so denies them" if denial.unjudged else ""
    steady = whole and (denial.unjudged or what.startswith("policy"))
    return Finding(
        refusal.subject,
        f"{refusal.subject} may not make its {refusal.made}: {what} {does} them: "
        + shorten(refusal.steady(denial.why), 160),
        evidence=(
            Evidence(
                kubectl("describe", maker.kind.lower(), maker.name, namespace=maker.namespace),
                f"FailedCreate: {shorten(refusal.message, 400)}",
            ),
        ),
        next=tuple(_next(denial)),
        touches=present(maker, owner),
        severity=refusal.severity,
        since=refusal.started,
        shared=Shared(
            owner,
            f"{what[0].upper()}{what[1:]} {does} pods{also}" + (f" ({shorten(denial.why, 100)})" if steady else ""),
            "may not make theirs",
        )
        if owner
        else None,
    )


def _next(denial: _Denial) -> Iterator[str]:
    owner = denial.owner
    if not denial.unjudged:
        yield edit_template(denial.refusal.subject, "do what the message asks for")
    elif "resulted in error" not in denial.refusal.message:
        yield (
            kubectl("get", "validatingadmissionpolicybinding", denial.binding, "-o", "yaml")
            + "   # is there what spec.paramRef names?"
        )
    elif owner:
        yield (
            kubectl("edit", owner.kind.lower(), owner.name)
            + "   # ask has(…), or 'key' in …, before what an object may lack"
        )
    if owner:
        yield kubectl("get", owner.kind.lower(), owner.name, "-o", "yaml")
    else:
        yield kubectl("get", "validatingwebhookconfigurations,mutatingwebhookconfigurations")


def _behind(
    validating: ValidatingWebhooks | None, mutating: MutatingWebhooks | None, name: str = "", expression: str = ""
) -> tuple[Ref | None, Webhook | None]:
    """The configuration and the webhook in it of this name, or with this condition for being asked."""
    for fact in (validating, mutating):
        for configuration in fact.items if fact else ():
            for hook in configuration.webhooks:
                if (name and hook.name == name) or (
                    expression and any(c.expression.strip() == expression.strip() for c in hook.match_conditions)
                ):
                    return configuration.ref(), hook
    return None, None

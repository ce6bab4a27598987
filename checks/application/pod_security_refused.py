"""The namespace's Pod Security level refuses pods for fields that they set or leave out."""

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
    shorten,
)
from kdiag.facts import Events, Refusals, edit_template

_LEVEL = re.compile(r'violates PodSecurity "(?P<level>[a-z]+):(?P<version>[^"]+)": (?P<fields>.*)', re.DOTALL)
_FIELD = re.compile(r"(?:^|, )(?P<field>[A-Za-z][^,()]*?) \(")


@check(
    title="Pod Security refuses pods",
    severity=Severity.ERROR,
    layer=Layer.ADMISSION,
    explains=PODS_REFUSED,
    tags=("security", "admission", "rollout"),
)
def pod_security_refused(refusals: Refusals, events: Events | None) -> Iterator[Finding | Gap]:
    """The level comes from the namespace's label pod-security.kubernetes.io/enforce."""
    yield from refusals.hidden(events)
    for refusal in refusals.of_kind("pod_security", events):
        said = _LEVEL.search(refusal.message)
        level = said["level"] if said else "its"
        fields = _fields(said["fields"]) if said else []
        namespace = refusal.subject.namespace
        yield Finding(
            refusal.subject,
            f"{refusal.subject} may not make its pods: namespace {namespace} enforces {level}: {listing(fields, 4)}",
            evidence=(
                Evidence(
                    kubectl("describe", refusal.maker.kind.lower(), refusal.maker.name, namespace=namespace),
                    f"FailedCreate: {shorten(refusal.message, 600)}",
                ),
                Evidence(
                    kubectl("get", "namespace", namespace, "--show-labels"),
                    f"pod-security.kubernetes.io/enforce={level}",
                ),
            ),
            # What the cluster itself needs there has these rights for good.
            next=(
                kubectl(
                    "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=privileged", "--overwrite"
                ),
            )
            if namespace == "kube-system"
            else (
                edit_template(refusal.subject, "set what the message asks for in securityContext"),
                "only if the workload must have these rights: "
                + kubectl(
                    "label",
                    "namespace",
                    namespace,
                    f"pod-security.kubernetes.io/enforce={_needed(fields)}",
                    "--overwrite",
                ),
            )
            if level == "restricted"
            else (
                edit_template(refusal.subject, "take out what the message names"),
                "or move it to a namespace for privileged workloads",
            ),
            touches=(refusal.maker,),
            severity=refusal.severity,
            since=refusal.started,
            shared=Shared(
                Ref("Namespace", namespace), f"Namespace {namespace} enforces {level}", "may not make their pods"
            ),
        )


def _fields(text: str) -> list[str]:
    """The head of each complaint, which is what a person sets: the brackets after it name containers."""
    found = [m["field"].strip() for m in _FIELD.finditer(re.sub(r'"[^"]*"', '""', text))]
    return list(dict.fromkeys(found)) or [shorten(text, 100)]


def _needed(fields: list[str]) -> str:
    """The level under which these complaints are none: baseline forbids what opens the node."""
    node = ("host", "privileged", "SELinux", "AppArmor", "sysctl", "Windows")
    return "privileged" if any(word in field for field in fields for word in node) else "baseline"

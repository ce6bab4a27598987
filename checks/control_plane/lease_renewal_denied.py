"""Admission denies what keeps the cluster alive: the Leases of leaders and nodes, or the status of nodes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from kdiag.check import CLUSTER, Evidence, Finding, Gap, Layer, Ref, Severity, check, kubectl, listing, shorten
from kdiag.facts import Cluster, Containers, KubeletJournal, MutatingWebhooks, ValidatingWebhooks, plain

_POLICY = re.compile(
    r"ValidatingAdmissionPolicy '(?P<name>[^']+)' with binding '(?P<binding>[^']+)' denied request: (?P<why>[^\"]*)"
)
_HOOK = re.compile(
    r"(?:admission webhook \\?\"(?P<denied>[^\"\\]+)\\?\" denied the request(?:: )?"
    r"|failed calling webhook \\?\"(?P<name>[^\"\\]+)\\?\": )(?P<why>.*)"
)
_ABOUT = re.compile(r"leases?\b|resource lock|node status|register node", re.IGNORECASE)
#: They try again every two to ten seconds.
_NOW = 20
_PARTS = ("kube-controller-manager", "kube-scheduler", "kube-apiserver")


@dataclass(frozen=True, slots=True)
class _Line:
    node: str
    who: str
    command: str
    text: str


@check(
    title="Admission denies the Leases of the cluster",
    severity=Severity.CRITICAL,
    layer=Layer.ADMISSION,
    explains=(
        "control_plane/controller_manager_not_running",
        "control_plane/leader_election_lost",
        "control_plane/scheduler_not_running",
        "control_plane/static_pod_restarting",
        "worker_node/node_heartbeat_stale",
        "worker_node/node_not_ready",
    ),
    tags=("admission", "webhook", "lease", "node"),
)
def lease_renewal_denied(
    containers: Containers,
    cluster: Cluster,
    journal: KubeletJournal | None,
    validating: ValidatingWebhooks | None,
    mutating: MutatingWebhooks | None,
) -> Iterator[Finding | Gap]:
    """By the last words of those who renew them: by itself a policy does not say what it matches."""
    denied: dict[Ref, list[tuple[_Line, re.Match[str]]]] = {}
    for line in _lines(containers, journal, cluster):
        if policy := _POLICY.search(line.text):
            denied.setdefault(Ref("ValidatingAdmissionPolicy", policy["name"]), []).append((line, policy))
        elif hook := _HOOK.search(line.text):
            name = hook["denied"] or hook["name"]
            owner = _owner(name, validating, mutating)
            if owner is None:
                if any(fact is None or fact.gaps for fact in (validating, mutating)):
                    yield Gap("webhook configurations", f"not seen: which of them has webhook {name}")
                    return
                continue  # it has just been deleted
            denied.setdefault(owner, []).append((line, hook))
    for subject, found in denied.items():
        line, said = min(found, key=lambda one: len(one[0].text))
        who = listing(sorted({one.who for one, _ in found}), 4)
        why = said["why"].replace("\\", "").rpartition('": ')[2].strip(' "') or "without explanation"
        if subject.kind == "ValidatingAdmissionPolicy":
            what, binding = f"policy {subject.name} denies Leases", said["binding"]
            undo = (
                kubectl("delete", "validatingadmissionpolicybinding", binding)
                + "    # policies do not guard themselves"
            )
            keep = kubectl("get", "validatingadmissionpolicybinding", binding, "-o", "yaml") + f" > {binding}.yaml"
        else:
            kind, name = subject.kind.lower(), said["denied"] or said["name"]
            what = f"webhook {name} of {subject.name} {'is not answered' if said['name'] else 'denies Leases'}"
            undo = kubectl("delete", kind, subject.name) + "    # or have its rules leave out leases and nodes"
            keep = kubectl("get", kind, subject.name, "-o", "yaml") + f" > {subject.name}.yaml"
        yield Finding(
            subject,
            shorten(f"{what}: {why}; so Leases are not renewed, of {who}", 240),
            evidence=(Evidence(line.command, shorten(plain(line.text), 400), line.node),),
            next=(f"{keep}    # keep it, to put it back when it is mended", undo),
            touches=(CLUSTER, *(Ref("Node", one.node) for one, _ in found)),
        )


def _lines(containers: Containers, journal: KubeletJournal | None, cluster: Cluster) -> Iterator[_Line]:
    """What was said in the last seconds of a Lease or of a node's status, by whom."""
    for node, seen in containers:
        for part in _PARTS:
            for log in seen.log(part)[:1]:
                for text in _fresh(((x.when, x.text) for x in log.lines), cluster):
                    yield _Line(node, f"{part}-{node}", f"sudo tail -n 20 {log.path}", text)
    for node, entries in journal or ():
        for text in _fresh(((e.when, e.text) for e in entries), cluster):
            yield _Line(node, f"kubelet on {node}", "journalctl -u kubelet -n 50 --no-pager", text)


def _fresh(lines: Iterable[tuple[datetime | None, str]], cluster: Cluster) -> list[str]:
    return [
        text
        for when, text in lines
        if when and cluster.age(when) < _NOW and _ABOUT.search(text) and ("denied" in text or "calling webhook" in text)
    ]


def _owner(name: str, validating: ValidatingWebhooks | None, mutating: MutatingWebhooks | None) -> Ref | None:
    for fact in (mutating, validating):
        for configuration in fact.items if fact else ():
            if any(hook.name == name for hook in configuration.webhooks):
                return configuration.ref()
    return None

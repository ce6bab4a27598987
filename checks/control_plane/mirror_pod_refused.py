"""A static pod runs, and the API server refuses its mirror, so kubectl does not show it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Finding, Gap, Layer, Severity, check, nearest, present, shorten
from kdiag.facts import (
    Cluster,
    Entry,
    KubeletJournal,
    Manifest,
    Manifests,
    Pods,
    journal_line,
    manifest_repair,
    manifest_subject,
)

#: The classes that every cluster has.
_CLASSES = ("system-cluster-critical", "system-node-critical")
#: An answer about the pod. That it exists already, or that nobody answered, is none: the kubelet tries again.
_REFUSED = r"Failed creating a mirror pod(?=.*(?: is (?:forbidden|invalid):|admission webhook|failed calling webhook))"
#: The kubelet tries again each time that it looks at the pod, which is once in 60 to 90 s: what it last said before
#: that is of a mirror that was made since, as at the first start of a cluster, in seconds.
_RECENT = 150


@check(
    title="Mirror of a static pod is refused",
    severity=Severity.WARNING,
    layer=Layer.ADMISSION,
    explains=("control_plane/static_pod_missing",),
    tags=("static-pods", "manifests", "kubelet", "admission"),
)
def mirror_pod_refused(
    manifests: Manifests, cluster: Cluster, journal: KubeletJournal | None, pods: Pods | None
) -> Iterator[Finding | Gap]:
    """The kubelet runs the pod all the same; what asks the API server takes it for gone."""
    for node, found in manifests:
        log = journal.get(node) if journal else None
        for manifest in found.files if found.used else ():
            if not manifest.taken or not manifest.name:
                continue
            subject = manifest_subject(manifest, node)
            pod = pods.get(f"{manifest.name}-{node}", manifest.namespace) if pods else None
            said = log.find(_REFUSED + rf".*{re.escape(manifest.name)}-{re.escape(node)}\b") if log else None
            stale = said is None or said.when is None or cluster.age(said.when) > _RECENT or _before(said, manifest)
            if pod is not None or stale or said is None:
                continue
            if pods is None:
                yield Gap("pods", f"not seen: whether {subject.name} has been made since it was refused is not known")
                continue
            why = _why(said)
            line, meant = _line(manifest, why)
            where = f"{manifest.where(line)} " if line else ""
            hint = f", meant is {meant}" if meant else ""
            yield Finding(
                subject,
                f"{subject.name} is kept off the API server: {where}{why}{hint}",
                evidence=present(manifest.quote(node, line) if line else None, journal_line(said, node)),
                next=manifest_repair(
                    node, manifest, line or 1, f"priorityClassName: {meant}" if meant else "see above"
                ),
            )


def _before(said: Entry, manifest: Manifest) -> bool:
    changed = manifest.info.changed
    return bool(said.when and changed and said.when < changed)


def _why(said: Entry) -> str:
    text = said.text.replace("\\", "")
    found = re.search(r"is (?:forbidden|invalid): (.*?)\"(?: pod=|$)", text) or re.search(
        r"err=\"(.*?)\"(?: pod=|$)", text
    )
    return shorten(found[1] if found else said.said, 160)


def _line(manifest: Manifest, why: str) -> tuple[int, str]:
    name = manifest.document.at("spec", "priorityClassName")
    if not isinstance(name, str) or name not in why:
        return 0, ""
    meant = nearest(name, _CLASSES) or "system-node-critical"
    return manifest.line("spec", "priorityClassName"), meant if name not in _CLASSES else ""

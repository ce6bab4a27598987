"""A file in the static pod folder is no YAML, so the kubelet makes no pod of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import COMPONENT_FAILS, Evidence, Finding, Layer, Severity, check, plural
from kdiag.facts import (
    Cluster,
    Containers,
    Manifest,
    Manifests,
    Pods,
    component_standing,
    manifest_repair,
    manifest_severity,
    manifest_subject,
    stands_still,
    who_cannot_run,
)


@check(
    title="Static pod manifest is no YAML",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    explains=(
        *COMPONENT_FAILS,
        "control_plane/static_pod_missing",
    ),
    tags=("static-pods", "manifests", "apiserver", "scheduler", "etcd"),
)
def manifest_unparsable(
    manifests: Manifests, cluster: Cluster, containers: Containers | None, pods: Pods | None
) -> Iterator[Finding]:
    """The component's pod is dropped within a minute and never made again. A broken copy beside a good file warns."""
    for node, found in manifests:
        for manifest in found.files if found.used else ():
            fault = manifest.fault
            if fault is None:
                continue
            subject = manifest_subject(manifest, node)
            good = found.of(manifest.component) if manifest.component else None
            now = component_standing(manifest, node, containers, pods, cluster)
            if good:
                severity, effect = Severity.WARNING, f"beside {good.file}, which the kubelet runs"
            elif manifest.component:
                severity = manifest_severity(manifests, manifest.component, now)
                effect = "its pod is not made"
            else:
                severity = Severity.ERROR if _pod_like(manifest) else Severity.WARNING
                effect = "the kubelet tries it again every 20 s"
            hint = _hint(manifest, fault.line, fault.what)
            yield Finding(
                subject,
                f"{who_cannot_run(manifest, node, alone=not good)}: {manifest.where(fault.line)} is no YAML: "
                f"{hint or fault.what}",
                evidence=(
                    manifest.quote(node, max(1, fault.line - 1), fault.line + 1)
                    if not manifest.binary
                    else Evidence(f"head -c 64 {manifest.path}", "binary data", node),
                    Evidence("", f"line {fault.line}, column {fault.column}: {fault.what}; {effect}", node),
                ),
                next=manifest_repair(node, manifest, fault.line, hint or fault.what)
                if manifest.component and not good
                else (f"ssh {node} sudo mv {manifest.path} /root/    # only pods belong into this folder",),
                touches=stands_still(manifests, manifest.component) if manifest.component and not good else (),
                key=manifest.file if good or not manifest.component else "",
                severity=severity,
            )


def _pod_like(manifest: Manifest) -> bool:
    return sum(bool(re.match(r"(kind|spec|metadata|apiVersion)\b", line)) for line in manifest.lines) >= 2


def _hint(manifest: Manifest, line: int, what: str) -> str:
    """The slip that a look at the line shows; empty where the parser's words are all there is."""
    raw = manifest.lines[line - 1] if 0 < line <= len(manifest.lines) else ""
    if "\t" in raw[: len(raw) - len(raw.lstrip())]:
        return "it is indented with a tab, and YAML takes only spaces"
    if "\u00a0" in raw:
        return "it holds a non-breaking space, as a copy from a web page does"
    if any(q in raw for q in "\u201c\u201d\u2018\u2019"):
        return "it holds typographic quotes"
    if re.match(r"(<<<<<<<|=======|>>>>>>>)", raw):
        return "it holds a merge conflict"
    if re.fullmatch(r"\s*(- )?[A-Za-z]+;.*", raw):
        return f'"{raw.strip()}" has a semicolon where a colon belongs'
    if re.fullmatch(r"\s*(- )?[A-Za-z]+\s*", raw) and not raw.strip().startswith("-"):
        return f'"{raw.strip()}" has no colon'
    above = next((n for n in range(line - 1, 0, -1) if manifest.text(n) and not manifest.text(n).startswith("#")), 0)
    if above and ("mapping values" in what or "block" in what) and raw.strip():
        mine, theirs = _indent(raw), _indent(manifest.lines[above - 1])
        if mine != theirs:
            return f"it is indented by {plural(mine, 'space')}, line {above} by {theirs}"
        if "mapping values" in what and raw.count(": ") + raw.rstrip().endswith(":") > 1:
            return "it has two colons; quote the value"
    return ""


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))

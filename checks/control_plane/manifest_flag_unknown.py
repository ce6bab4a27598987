"""A control-plane component exits at once because it does not know a flag of its manifest, or a word is none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from kdiag.check import COMPONENT_FAILS, Evidence, Finding, Gap, Layer, Severity, check, nearest, shorten
from kdiag.facts import (
    Cluster,
    Containers,
    Manifest,
    Manifests,
    Pods,
    Standing,
    component_seen,
    component_standing,
    flag_kind,
    flag_names,
    manifest_repair,
    manifest_severity,
    stands_still,
    static_pod,
)

_UNKNOWN = re.compile(
    r"(?:unknown flag: --?|unknown shorthand flag: .* in -|flag provided but not defined: -{1,2})(\S+)"
)


@check(
    title="Control-plane component has an unknown flag",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    explains=(
        *COMPONENT_FAILS,
        "control_plane/manifest_differs_between_nodes",
        "control_plane/manifest_flag_missing",
    ),
    tags=("static-pods", "manifests", "flags", "scheduler", "apiserver", "etcd"),
)
def manifest_flag_unknown(
    manifests: Manifests, cluster: Cluster, containers: Containers | None, pods: Pods | None
) -> Iterator[Finding | Gap]:
    """The component's own log tells; without it, a flag that no release had, while the component does not run."""
    for node, found in manifests:
        for manifest in found.running:
            part = manifest.component
            now = component_standing(manifest, node, containers, pods, cluster)
            if now.proven or manifest.program not in ("", part):
                continue
            stray = next(iter(manifest.strays), None)
            if stray is not None and not now.runs:
                yield _no_flag(node, manifest, *stray, manifests, now)
                continue
            told = _told(node, manifest, containers)
            seen = component_seen(part, node, containers, pods, cluster)
            for flag in manifest.flags:
                logged = told.get(flag.name.lstrip("-"), "")
                meant = _near(part, flag.name)
                if not (logged or meant or flag_kind(part, flag.name) or seen):
                    yield Gap(
                        node, f"whether {part} runs was not seen, nor whether it knows --{shorten(flag.name, 60)}"
                    )
                    continue
                # Another release may know what this list does not: where it runs, only a typo is worth a word.
                if not logged and (flag_kind(part, flag.name) or (now.runs and not meant)):
                    continue
                subject = static_pod(part, node)
                hint = f", meant is --{meant}" if meant else ""
                yield Finding(
                    subject,
                    f"{subject.name} exits at once: {manifest.where(flag.line)} has the unknown flag "
                    f"--{shorten(flag.name, 60)}{hint}",
                    evidence=(
                        manifest.quote(node, flag.line),
                        Evidence(f"crictl logs --tail 1 $(crictl ps -aq --name {part} | head -1)", logged, node)
                        if logged
                        else Evidence(f"{part} --help", f"no --{shorten(flag.name, 60)} there", node),
                    ),
                    next=manifest_repair(node, manifest, flag.line, f"--{meant}" if meant else "remove the flag"),
                    touches=stands_still(manifests, part),
                    key=flag.name,
                    severity=manifest_severity(manifests, part, now),
                )
                break  # it stops at the first


def _no_flag(node: str, manifest: Manifest, word: str, line: int, manifests: Manifests, now: Standing) -> Finding:
    """None of these programs takes a word that is no flag: a dash is missing, or it is not the dash of the keyboard."""
    part = manifest.component
    subject = static_pod(part, node)
    name, equals, value = word.lstrip("-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\"' ").partition("=")
    known = name if flag_kind(part, name) else nearest(name, flag_names(part)) or ""
    meant = f"--{known}{equals}{value.rstrip(chr(34) + chr(39))}" if known else ""
    return Finding(
        subject,
        shorten(
            f'{subject.name} exits at once: {manifest.where(line)} "{shorten(word, 80)}" is no flag'
            + (f", meant is {shorten(meant, 80)}" if meant else ""),
            300,
        ),
        evidence=(
            manifest.quote(node, line),
            Evidence(
                "",
                f"{part} takes flags only, and each begins with two dashes"
                if part != "etcd"
                else "etcd takes flags only",
                node,
            ),
        ),
        next=manifest_repair(node, manifest, line, meant or "remove the word, or join it to its flag"),
        touches=stands_still(manifests, part),
        key=shorten(word, 60),
        severity=manifest_severity(manifests, part, now),
    )


def _near(part: str, name: str) -> str:
    """The flag that was meant by an unknown one; empty for a known one and for what is like none."""
    if flag_kind(part, name):
        return ""
    meant = nearest(name, flag_names(part)) or ""
    return meant if abs(len(meant) - len(name)) <= 8 else ""


def _told(node: str, manifest: Manifest, containers: Containers | None) -> dict[str, str]:
    """The flags that the component's log calls unknown, in lines written since the manifest is as it is."""
    seen = containers.get(node) if containers else None
    found: dict[str, str] = {}
    for log in seen.log(manifest.component) if seen else ():
        for line in log.lines:
            match = _UNKNOWN.search(line.text)
            if match and _since(line.when or log.written, manifest):
                found.setdefault(match[1].partition("=")[0].lstrip("-"), line.text.strip())
    return found


def _since(when: datetime | None, manifest: Manifest) -> bool:
    changed = manifest.info.changed
    return when is None or changed is None or when >= changed - timedelta(seconds=2)

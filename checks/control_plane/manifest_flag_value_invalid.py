"""A control-plane component has a flag whose value it refuses, or with which it serves nobody."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from kdiag.check import COMPONENT_FAILS, Evidence, Finding, Layer, Severity, check, nearest, shorten
from kdiag.facts import (
    MODES,
    PLUGINS,
    Cluster,
    Containers,
    Flag,
    Manifest,
    Manifests,
    Pods,
    component_standing,
    flag_kind,
    manifest_repair,
    manifest_severity,
    stands_still,
    static_pod,
)

_TRUTH = frozenset(["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"])
_DURATION = re.compile(r"[+-]?(0|(\d+(\.\d*)?|\.\d+)(ns|us|\u00b5s|ms|s|m|h))((\d+(\.\d*)?|\.\d+)(ns|us|ms|s|m|h))*")
_RANGES = ("service-cluster-ip-range", "cluster-cidr")


@check(
    title="Control-plane flag has a wrong value",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    explains=(*COMPONENT_FAILS, "control_plane/manifest_differs_between_nodes"),
    tags=("static-pods", "manifests", "flags", "apiserver", "access"),
)
def manifest_flag_value_invalid(
    manifests: Manifests, cluster: Cluster, containers: Containers | None, pods: Pods | None
) -> Iterator[Finding]:
    """Modes of authorization, admission plugins, addresses, numbers, durations: by the type that --help names."""
    for node, found in manifests:
        for manifest in found.running:
            part = manifest.component
            now = component_standing(manifest, node, containers, pods, cluster)
            for flag in manifest.flags:
                denies = _denies(manifest, flag)
                wrong, meant = (denies, "Node,RBAC") if denies else _wrong(part, flag)
                if not wrong or (now.proven and not denies):
                    continue
                subject = static_pod(part, node)
                effect = "answers everybody Forbidden" if denies else "exits at once"
                hint = f", meant is {meant}" if meant else ""
                yield Finding(
                    subject,
                    shorten(f"{subject.name} {effect}: {manifest.where(flag.line)} --{flag.name}: {wrong}{hint}", 240),
                    evidence=(
                        manifest.quote(node, flag.line),
                        Evidence("", f"--{flag.name}={shorten(flag.value, 160)}: {wrong}", node),
                    ),
                    next=manifest_repair(node, manifest, flag.line, meant or f"correct --{flag.name}"),
                    touches=stands_still(manifests, part),
                    key=flag.name,
                    severity=None if denies else manifest_severity(manifests, part, now),
                )


def _denies(manifest: Manifest, flag: Flag) -> str:
    """Whether nobody but the nodes is let in: no mode is left that could allow a person or a controller anything."""
    if (
        manifest.component != "kube-apiserver"
        or flag.name != "authorization-mode"
        or manifest.flag("authorization-config")
    ):
        return ""
    modes = [m.strip() for m in flag.value.split(",")]
    if not set(modes) <= set(MODES) or flag is not manifest.flag("authorization-mode"):
        return ""
    if "AlwaysDeny" in modes and not {"RBAC", "ABAC", "Webhook", "AlwaysAllow"} & set(modes):
        return "AlwaysDeny allows nothing, and RBAC is gone"
    return "without RBAC only kubelets may do anything" if modes == ["Node"] else ""


def _wrong(part: str, flag: Flag) -> tuple[str, str]:
    """What is wrong with a value, and what was meant; empty where nothing is."""
    if "<redacted:" in flag.value:
        return "", ""
    words = [w.strip() for w in flag.value.split(",")]
    if part == "kube-apiserver" and flag.name == "authorization-mode":
        bad = next((w for w in words if w not in MODES), None)
        return (f'"{bad}" is no mode', nearest(bad, MODES) or "") if bad is not None else ("", "")
    if part == "kube-apiserver" and flag.name in ("enable-admission-plugins", "disable-admission-plugins"):
        bad = next((w for w in words if w and w not in PLUGINS), None)
        meant = nearest(bad, sorted(PLUGINS)) if bad else None
        return (f'"{bad}" is no admission plugin', meant) if bad and meant else ("", "")
    if flag.name in _RANGES:
        bad = next((w for w in words if w and not _network(w)), None)
        return (f'"{bad}" is no range of addresses', "") if bad is not None else ("", "")
    return _by_kind(part, flag), ""


def _by_kind(part: str, flag: Flag) -> str:
    kind, value = flag_kind(part, flag.name), flag.value
    if kind == "bool":
        return "" if not value or value in _TRUTH else f'"{value}" is neither true nor false'
    if kind == "int":
        if not re.fullmatch(r"[+-]?\d+|0[xX][0-9a-fA-F]+", value):
            return f'"{value}" is no number'
        if flag.name.endswith("port") and not 0 <= int(value, 0 if value.startswith("0x") else 10) <= 65535:
            return f"{value} is no port"
    if kind == "duration" and not _DURATION.fullmatch(value):
        return f'"{value}" is no duration such as 40s or 5m'
    if kind == "ip" and not _address(value):
        return f'"{value}" is no IP address'
    return ""


def _address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text

"""A control-plane component has a flag whose value it refuses, or with which it serves nobody."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from kdiag.check import (
    COMPONENT_FAILS,
    Evidence,
    Finding,
    Layer,
    Severity,
    check,
    go_seconds,
    nearest,
    present,
    shorten,
    whole,
)
from kdiag.facts import (
    MODES,
    PLUGINS,
    Cluster,
    Containers,
    Entry,
    Flag,
    KubeletJournal,
    Manifest,
    Manifests,
    Pods,
    component_standing,
    flag_kind,
    journal_line,
    manifest_repair,
    manifest_severity,
    stands_still,
    static_pod,
)

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_TRUTH = frozenset([*_TRUE, "0", "f", "F", "FALSE", "false", "False"])
_DURATION = re.compile(r"[+-]?(0|(\d+(\.\d*)?|\.\d+)(ns|us|\u00b5s|ms|s|m|h))((\d+(\.\d*)?|\.\d+)(ns|us|ms|s|m|h))*")
_FORBIDDEN = re.compile(r"is forbidden: User \\*\"system:node:")
_NOW = 60
#: Seconds: the store alone takes that long now and then.
_LEAST = 0.5
_MASKS = ("node-cidr-mask-size", "node-cidr-mask-size-ipv4")
_RANGES = ("service-cluster-ip-range", "cluster-cidr")
#: Without these no cluster works; what is younger or rarer may be off on purpose.
_SERVED = (
    "v1",
    "apps/v1",
    "authentication.k8s.io/v1",
    "authorization.k8s.io/v1",
    "batch/v1",
    "certificates.k8s.io/v1",
    "coordination.k8s.io/v1",
    "discovery.k8s.io/v1",
    "rbac.authorization.k8s.io/v1",
    "storage.k8s.io/v1",
    "api/all",
    "api/ga",
)


@check(
    title="Control-plane flag has a wrong value",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    explains=(*COMPONENT_FAILS, "control_plane/manifest_differs_between_nodes"),
    tags=("static-pods", "manifests", "flags", "apiserver", "access"),
)
def manifest_flag_value_invalid(
    manifests: Manifests,
    cluster: Cluster,
    containers: Containers | None,
    pods: Pods | None,
    journal: KubeletJournal | None,
) -> Iterator[Finding]:
    """Modes of authorization, admission plugins, addresses, numbers, durations: by the type that --help names."""
    for node, found in manifests:
        for manifest in found.running:
            part = manifest.component
            now = component_standing(manifest, node, containers, pods, cluster)
            for flag in manifest.flags:
                effect, wrong, meant = _serves_badly(manifest, flag)
                refused = None if effect else _refused(manifest, flag, journal, cluster)
                if refused:
                    effect, wrong, meant = (
                        "refuses all kubelets",
                        "without Node they may not do their work",
                        "Node,RBAC",
                    )
                works = bool(effect)  # it takes the value, and starts with it
                if not works:
                    effect, (wrong, meant) = "exits at once", _wrong(part, flag)
                if not wrong or (now.proven and not works):
                    continue
                subject = static_pod(part, node)
                hint = f", meant is {meant}" if meant else ""
                yield Finding(
                    subject,
                    shorten(f"{subject.name} {effect}: {manifest.where(flag.line)} --{flag.name}: {wrong}{hint}", 240),
                    evidence=present(
                        manifest.quote(node, flag.line),
                        Evidence("", f"--{flag.name}={shorten(flag.value, 160)}: {wrong}", node),
                        journal_line(*refused) if refused else None,
                    ),
                    next=manifest_repair(node, manifest, flag.line, meant or f"correct --{flag.name}"),
                    touches=stands_still(manifests, part),
                    key=flag.name,
                    severity=None if works else manifest_severity(manifests, part, now),
                )


def _serves_badly(manifest: Manifest, flag: Flag) -> tuple[str, str, str]:
    """A value that the API server takes, and with which it is of no use: what it does then, why, and what was meant."""
    if manifest.component == "kube-controller-manager" and flag.name in _MASKS:
        return _indivisible(manifest, flag)
    if manifest.component != "kube-apiserver":
        return "", "", ""
    words = [w.strip() for w in flag.value.split(",")]
    if flag.name == "authorization-mode" and not manifest.flag("authorization-config"):
        return _denies(words) if flag is manifest.flag(flag.name) else ("", "", "")
    if flag.name == "enable-admission-plugins" and "AlwaysDeny" in words:
        return "refuses every change", "AlwaysDeny admits nothing", ",".join(w for w in words if w != "AlwaysDeny")
    if flag.name == "disable-admission-plugins" and "ServiceAccount" in words:
        return "gives new pods no token", "ServiceAccount is off, so they cannot talk to the API server", ""
    lasts = go_seconds(flag.value.lstrip("+-")) if flag.name == "request-timeout" else None
    if lasts is not None and lasts < _LEAST:
        return "gives up nearly every request", f"{flag.value} is too short for an answer", "1m0s"
    if flag.name == "runtime-config":
        off = [w.partition("=")[0].strip() for w in words if w.partition("=")[2].strip() in ("false", "0")]
        if bad := next((w for w in off if w in _SERVED), None):
            return f"does not serve {bad}", "clients and controllers that need it get 404 not found", f"{bad}=true"
    return "", "", ""


def _indivisible(manifest: Manifest, flag: Flag) -> tuple[str, str, str]:
    """It takes the size, and ends as soon as it leads and is to cut the nodes' ranges out of the cluster's."""
    size = whole(flag.value)
    given = manifest.value("cluster-cidr").split(",")
    four = next((n for text in given if isinstance(n := _range(text), ipaddress.IPv4Network)), None)
    if (
        size is None
        or four is None
        or manifest.value("allocate-node-cidrs") not in ("", *_TRUE)
        or size >= four.prefixlen
    ):
        return "", "", ""
    meant = max(24, four.prefixlen + 4)
    return "ends when it becomes the leader", f"{size} is more than --cluster-cidr={four} has to share out", str(meant)


def _range(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return None


def _refused(
    manifest: Manifest, flag: Flag, journal: KubeletJournal | None, cluster: Cluster
) -> tuple[Entry, str] | None:
    """A kubelet that was refused a moment ago, where no mode knows what a kubelet may do."""
    modes = {w.strip() for w in flag.value.split(",")}
    if manifest.component != "kube-apiserver" or flag.name != "authorization-mode" or "RBAC" not in modes:
        return None
    if modes & {"Node", "ABAC", "Webhook", "AlwaysAllow"}:
        return None
    for node, log in journal or ():
        said = log.find(_FORBIDDEN)
        if said and said.when and cluster.age(said.when) < _NOW:
            return said, node
    return None


def _denies(modes: list[str]) -> tuple[str, str, str]:
    """Whether a mode is left that could allow a person, a controller and a kubelet anything."""
    if not set(modes) <= set(MODES) or {"ABAC", "Webhook", "AlwaysAllow"} & set(modes):
        return "", "", ""
    everybody = "answers everybody Forbidden"
    if "RBAC" not in modes:
        why = "AlwaysDeny allows nothing, and RBAC is gone" if "AlwaysDeny" in modes else ""
        return everybody, why or "without RBAC only kubelets may do anything", "Node,RBAC"
    return "", "", ""


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

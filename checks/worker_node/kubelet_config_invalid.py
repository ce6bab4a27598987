"""The kubelet cannot take its configuration file, or passes over a field that is misspelt."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, present, shorten
from kdiag.facts import (
    Cluster,
    ConfigFault,
    ConfigFile,
    KubeletJournal,
    Kubelets,
    Manifests,
    Units,
    file_line,
    hosted,
    journal_line,
    next_start,
    retry,
    setups,
    unit_state,
)

#: Without these the kubelet or its pods do not work as meant; of another field the default may well do.
_WEIGHTY = ("staticPodPath", "clusterDNS", "authentication", "authorization", "failSwapOn", "containerRuntimeEndpoint")
_REFUSED = re.compile(
    r"failed to load kubelet config|failed to validate kubelet config|invalid configuration|feature gate"
    r"|quantities must match|unable to parse quantity|unknown tls version|unsupported eviction signal"
    r"|soft eviction threshold|failed to merge kubelet config"
)
_OTHER = re.compile(r"no such file|permission denied|client CA")


#: A cgroup root that it looks for by systemd's name for it.
_SLICE = re.compile(r"has some missing paths: .*\.slice\b")


@check(
    title="Kubelet's configuration is invalid",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=(
        "worker_node/kubelet_crash_loops",
        "worker_node/kubelet_not_running",
        "worker_node/kubelet_swap_refused",
        "control_plane/static_pod_path_wrong",
    ),
    explains_here=("network/cluster_dns_address_mismatch",),
    tags=("node", "kubelet", "config"),
)
def kubelet_config_invalid(
    kubelets: Kubelets,
    units: Units,
    cluster: Cluster,
    journal: KubeletJournal | None,
    manifests: Manifests | None,
) -> Iterator[Finding]:
    """What is no YAML or of the wrong type stops it; a field that it does not know it passes over without a word."""
    for node, setup, unit in setups(kubelets, units):
        config = setup.config
        if config is None or config.absent or setup.unjoined:
            continue
        start = next_start(node, unit, journal, cluster, manifests)
        reason = start.reason
        refused = reason if reason and _REFUSED.search(reason.text) and not _OTHER.search(reason.text) else None
        fatal = [(file, f) for file, f in config.faulty if f.fatal]
        if not fatal and refused:
            field = config.named(refused.said.partition(", path: ")[0])
            place = field or _field_of(config, refused.said)
            what = _tail(refused.said)
            if _SLICE.search(refused.said) and config.string("cgroupDriver") == "systemd":
                field = place = "cgroupDriver"
                what = f"cgroupDriver is systemd, and its cgroup root was made for cgroupfs: {what}"
            file = config.file(place)
            fatal = [(file, ConfigFault(file.line(place), what, field=field))]
        elif fatal and reason and not refused:
            fatal = []  # it got past its configuration, so whatever looks odd in there is not what stops it
        for file, fault in fatal[:3]:
            where = f"{file.path}:{fault.line}" if fault.line else file.path
            yield Finding(
                Ref("Node", node),
                shorten(f"kubelet on {node} {start.fails}: {where}: {fault.what}", 240) + start.also,
                evidence=present(
                    file_line(file.path, fault.line, file.quoted(fault.line) or "(empty)", node)
                    if fault.line or file.empty
                    else None,
                    unit_state(unit, node, "ActiveState", "SubState"),
                    journal_line(refused, node) if refused else None,
                ),
                next=retry(node, f"ssh -t {node} sudoedit {file.path}    # correct it"),
                touches=start.touches,
                key=fault.field,
                severity=start.severity,
                later=start.waits,
            )
        for file, fault in config.faulty:
            if fault.fatal or "meant is" not in fault.what:
                continue
            yield Finding(
                Ref("Node", node),
                f"kubelet on {node} passes over a line of its configuration: {file.path}:{fault.line}: {fault.what}",
                evidence=(
                    file_line(file.path, fault.line, file.quoted(fault.line), node),
                    *_lenient(node, journal),
                ),
                next=retry(node, f"ssh -t {node} sudoedit {file.path}    # {fault.what.rpartition('meant is ')[2]}"),
                touches=hosted(node, manifests, cluster) if "staticPodPath" in fault.what else (),
                key=fault.field,
                severity=Severity.ERROR if any(w in fault.what for w in _WEIGHTY) else Severity.WARNING,
                later=True,
            )


def _tail(text: str) -> str:
    """The end of a chain of errors: what is wrong, without who passed it on."""
    parts = re.split(r", error:? |: error ", text.partition(", path: &TypeMeta")[0])
    return shorten(parts[-1].strip(' "'), 160)


def _field_of(config: ConfigFile, text: str) -> str:
    names = re.findall(r"[A-Za-z][A-Za-z0-9.]{3,60}", text)
    return next((n for n in names if config.line(n) and n not in ("kind", "apiVersion")), "")


def _lenient(node: str, journal: KubeletJournal | None) -> list[Evidence]:
    log = journal.get(node) if journal else None
    entry = log.find(r"[Uu]sing lenient decoding|unknown field") if log else None
    return [journal_line(entry, node)] if entry else []

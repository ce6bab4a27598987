"""CoreDNS cannot read its Corefile: it crashes, or runs on with the last good one until it restarts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from kdiag.check import (
    Evidence,
    Finding,
    Layer,
    Ref,
    Severity,
    Skip,
    check,
    kubectl,
    listing,
    nearest,
    present,
    shorten,
)
from kdiag.facts import (
    DIRECTIVES,
    REMOVED,
    ClusterDNS,
    ConfigMaps,
    Logs,
    Workload,
    corefile_absent,
    corefile_map,
    edit_template,
    parse_corefile,
)

_REFUSED = re.compile(r"(?:\S*Corefile:(\d+) - Error during parsing: (.*)|^(plugin/\w+: .*)$)")
_UNBUILT = re.compile(r"no action found for directive '([\w-]+)'")
_RELOAD = re.compile(r"Corefile changed but reload failed: (.*)")
#: Plugins of custom builds that look like a misspelt one.
_CUSTOM = frozenset({"kubernetai", "alternate", "fanout", "k8s_gateway", "mdns", "unbound", "records", "ens", "redis"})


@check(
    title="CoreDNS cannot read its Corefile",
    severity=Severity.CRITICAL,
    layer=Layer.DNS,
    explains=(
        "network/cluster_dns_unavailable",
        "application/workload_unavailable",
        "application/container_crashes",
        "application/pod_not_ready",
        "network/service_has_no_ready_endpoint",
        "application/dependency_name_unresolved",
        "application/configmap_missing",
        "network/coredns_names_hidden",
    ),
    tags=("dns", "coredns", "config"),
    namespaces=("kube-system", "openshift-dns"),
)
def coredns_corefile_invalid(
    dns: ClusterDNS, configs: ConfigMaps | None, logs: Logs | None
) -> Iterator[Finding | Skip]:
    """Critical when no pod answers any more, an error when some crash, a warning while the old Corefile still works."""
    if not dns.known:
        yield Skip(dns.unknown)
        return
    for workload in dns.workloads:
        name, key = corefile_map(workload)
        if not name:
            continue
        if configs and (gone := corefile_absent(workload, configs)):
            yield _absent(workload, dns, *gone)
            continue
        config = configs.get(name, workload.namespace) if configs else None
        if configs and config is None and configs.covers(workload.namespace) and not configs.gaps:
            others = [c.name for c in configs.within(workload.namespace) if c.has(key)]
            yield _gone(workload, dns, name, others)
            continue
        if found := _refused(workload, dns, name, config.data.get(key, "") if config else "", logs):
            yield found


class _Said(NamedTuple):
    """What a pod of CoreDNS said of its Corefile: at a start, which it did not survive, or at a reload."""

    text: str = ""
    pod: str = ""
    at_start: bool = False


def _refused(workload: Workload, dns: ClusterDNS, name: str, text: str, logs: Logs | None) -> Finding | None:
    """A Corefile that CoreDNS says it cannot read, or of which that is plain before anyone has tried."""
    said = _said(workload, dns, text, logs)
    fault = _fault(text)
    if not said.text and not fault:
        return None
    crashing = any(s.restart_count and not s.ready for pod in dns.of(workload) for s in pod.statuses)
    if said.at_start or (crashing and not said.text):
        severity = Severity.CRITICAL if dns.down else Severity.ERROR
        outcome = "CoreDNS crashes on its Corefile"
    else:
        severity = Severity.WARNING
        outcome = "CoreDNS cannot load its new Corefile and will not start again"
    why = _brief(said.text) or fault
    hint = f" ({fault})" if said.text and fault and fault.partition(":")[0] not in why else ""
    if said.text and "meant is" in fault and "meant is" not in why:
        hint = f"; {fault[fault.index('meant is') :]}"
    ref = Ref("ConfigMap", name, workload.namespace)
    logged = kubectl("logs", said.pod, *(["--previous"] if said.at_start else []), namespace=ref.namespace)
    shown = _line(text, why) or fault or "the Corefile"
    return Finding(
        ref,
        shorten(f"{outcome}: ConfigMap {ref.path}, {why}{hint}", 220),
        evidence=present(
            Evidence(logged, said.text) if said.text else None,
            Evidence(kubectl("get", "configmap", name, "-o", "yaml", namespace=ref.namespace), shown) if text else None,
        ),
        next=(
            kubectl("edit", "configmap", name, namespace=ref.namespace),
            kubectl("rollout", "restart", workload.ref().kind.lower(), workload.name, namespace=workload.namespace),
        ),
        touches=(workload.ref(), dns.reference),
        severity=severity,
    )


def _said(workload: Workload, dns: ClusterDNS, text: str, logs: Logs | None) -> _Said:
    """The last word on the Corefile of the pods that have not read one well since: of a start before of a reload."""
    reload = _Said()
    for pod in dns.of(workload):
        for line in logs.lines(pod.namespace, pod.name) if logs else ():
            if "Reloading complete" in line.text or (pod.ready and "Running configuration" in line.text):
                break
            if found := _RELOAD.search(line.text):
                reload = reload if reload.text else _Said(found[1], pod.name)
            elif not pod.ready and (found := _REFUSED.search(line.text)):
                return _Said(f"line {found[1]}: {found[2]}" if found[1] else found[3], pod.name, at_start=True)
            elif not pod.ready and (found := _UNBUILT.search(line.text)):
                at = next((d.line for b in parse_corefile(text).blocks for d in b.all(found[1])), 0)
                where = f"line {at}: " if at else ""
                return _Said(f"{where}plugin {found[1]} is not built into this CoreDNS", pod.name, at_start=True)
    return reload


def _gone(workload: Workload, dns: ClusterDNS, name: str, others: list[str]) -> Finding:
    """The ConfigMap is deleted, or never was: what runs has its files still, and no pod starts any more."""
    ref = Ref("ConfigMap", name, workload.namespace)
    waits = any(not p.ready and not p.terminating for p in dns.of(workload))
    outcome = "does not start" if waits or dns.down else "will not start again"
    return Finding(
        ref,
        f"CoreDNS {outcome}: ConfigMap {ref.path}, which {workload.ref()} mounts, does not exist"
        + (f"; {others[0]} is there" if others else ""),
        evidence=(
            Evidence(kubectl("get", "configmap", name, namespace=ref.namespace), f'configmaps "{name}" not found'),
        ),
        next=present(
            edit_template(workload.ref(), f"volume: {name} → {others[0]}") if others else None,
            "sudo kubeadm init phase addon coredns    # on a control-plane node: makes kubeadm's own Corefile anew",
            kubectl("create", "configmap", name, "--from-file=Corefile", namespace=ref.namespace) + "    # from a copy",
        ),
        touches=(workload.ref(), dns.reference),
        key="gone",
        severity=Severity.CRITICAL if dns.down else Severity.ERROR if waits else Severity.WARNING,
    )


def _absent(workload: Workload, dns: ClusterDNS, path: str, name: str, shown: tuple[str, ...]) -> Finding:
    ref = workload.ref()
    crashing = any(s.restart_count and not s.ready for pod in dns.of(workload) for s in pod.statuses)
    close = nearest(path.rpartition("/")[2], sorted(shown))
    return Finding(
        ref,
        f"CoreDNS ({ref.path}) reads {path} (-conf), which is not there: ConfigMap {ref.namespace}/{name} puts "
        f"{listing(list(shown)) or 'nothing'} there",
        evidence=(
            Evidence(
                kubectl("get", ref.kind.lower(), ref.name, "-o", "yaml", namespace=ref.namespace), f"-conf {path}"
            ),
        ),
        next=(
            kubectl("edit", ref.kind.lower(), ref.name, namespace=ref.namespace)
            + (f"    # -conf {path.rpartition('/')[0]}/{close}" if close else ""),
        ),
        touches=(Ref("ConfigMap", name, ref.namespace), dns.reference),
        key="-conf",
        severity=Severity.CRITICAL if dns.down else Severity.ERROR if crashing else Severity.WARNING,
    )


def _brief(said: str) -> str:
    found = re.search(r"Corefile:(\d+) - Error during parsing: (.*)", said)
    return f"line {found[1]}: {found[2]}" if found else said


def _line(text: str, why: str) -> str:
    found = re.match(r"line (\d+):", why)
    lines = text.splitlines()
    at = int(found[1]) - 1 if found else -1
    return f"line {at + 1}: {lines[at].strip()}" if 0 <= at < len(lines) else ""


def _fault(text: str) -> str:
    """What CoreDNS would refuse; a name that only a custom build may know is no fault."""
    if not text or text.startswith("("):
        return ""
    corefile = parse_corefile(text)
    if corefile.error:
        return corefile.error
    seen: dict[str, int] = {}
    for block in corefile.blocks:
        for zone in block.zones:
            plain = zone.removeprefix("dns://")
            plain = plain if ":" in plain.rpartition("]")[2] else f"{plain}:53"
            if plain in seen:
                return f"line {block.line}: {zone} has two server blocks"
            seen[plain] = block.line
        for directive in block.directives:
            if directive.name in DIRECTIVES or directive.name in _CUSTOM:
                continue
            if directive.name in REMOVED:
                instead = f", meant is {REMOVED[directive.name]}" if REMOVED[directive.name] else ""
                return f"line {directive.line}: the plugin {directive.name} was removed{instead}"
            meant = nearest(directive.name, sorted(DIRECTIVES))
            if meant and abs(len(meant) - len(directive.name)) <= 2:
                return f"line {directive.line}: no plugin {directive.name}, meant is {meant}"
    return ""

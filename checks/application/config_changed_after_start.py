"""A workload works on with a setting that its ConfigMap has no longer: variables are read at the start only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from kdiag.check import DEPENDENT_FAILS, Evidence, Finding, Layer, Ref, Severity, check, kubectl, nearest, shorten
from kdiag.facts import Complaint, Complaints, ConfigMap, ConfigMaps, Container, Dependencies, Dependency, Pod


@check(
    title="Workload still uses what its ConfigMap has no longer",
    severity=Severity.ERROR,
    layer=Layer.DEPENDENCY,
    explains=(*DEPENDENT_FAILS, "application/dependency_name_unresolved", "application/dependency_unreachable"),
    tags=("config", "configmap", "rollout"),
)
def config_changed_after_start(
    complaints: Complaints, dependencies: Dependencies, configmaps: ConfigMaps
) -> Iterator[Finding]:
    """The log complains of a name that is written nowhere now, near to one that was written after the start."""
    seen: set[tuple[Ref, str]] = set()
    for workload, said in complaints.unmended.items():
        for complaint in said:
            pod, host = complaint.pod, complaint.said.host
            container = pod.spec.container(complaint.container)
            if container is None or not host or (workload, host) in seen or dependencies.told(pod, host):
                continue
            target = dependencies.asked(host, pod.namespace)
            if target is None or target.service is not None:
                continue
            found = _meant(complaint, container, dependencies, configmaps)
            if found is None:
                continue
            seen.add((workload, host))
            yield _finding(workload, complaint, *found)


def _meant(
    complaint: Complaint, container: Container, dependencies: Dependencies, configmaps: ConfigMaps
) -> tuple[Dependency, ConfigMap] | None:
    """The setting that stands in the place of what the log complains of, if it was changed since the start."""
    pod, host = complaint.pod, complaint.said.host
    started = _started(pod, complaint.container)
    for dependency in dependencies.of(pod):
        config = configmaps.get(dependency.source.name, pod.namespace) if dependency.source else None
        if config is None or dependency.container != container.name or config.name not in _variables(container):
            continue
        changed = _changed(config)
        if started is None or changed is None or changed <= started:
            continue
        now = dependency.host.lower()
        port = complaint.said.port or _port_beside(host, complaint.said.text)
        target = dependencies.resolve(now, pod.namespace)
        ports = {p.port for p in target.service.spec.ports} if target and target.service else {dependency.port}
        if nearest(host.split(".")[0], [now.split(".")[0]]) or host.split(".")[0] == now.split(".")[0] or port in ports:
            return dependency, config
    return None


def _port_beside(host: str, text: str) -> int:
    """The port that a line names with the host, where what failed was only the name: ``'db:3306': no such host``."""
    match = re.search(rf"(?<![\w.-]){re.escape(host)}:(\d{{1,5}})\b", text)
    return int(match[1]) if match else 0


def _variables(container: Container) -> set[str]:
    """The ConfigMaps that it has variables from."""
    keys = [e.value_from.config_map_key_ref for e in container.env if e.value_from]
    return {k.name for k in keys if k} | {s.config_map_ref.name for s in container.env_from if s.config_map_ref}


def _started(pod: Pod, container: str) -> datetime | None:
    status = pod.status(container)
    running = status.state.running if status else None
    return (running.started_at if running else None) or pod.started or pod.created


def _changed(config: ConfigMap) -> datetime | None:
    return max((m.time for m in config.metadata.managed_fields if m.time), default=None)


def _finding(workload: Ref, complaint: Complaint, dependency: Dependency, config: ConfigMap) -> Finding:
    namespace, host = workload.namespace, complaint.said.host
    changed = _changed(config)
    restart = kubectl("rollout", "restart", f"{workload.kind.lower()}/{workload.name}", namespace=namespace)
    anew = kubectl("delete", "pod", complaint.pod.name, namespace=namespace) + "   # and make it anew"
    return Finding(
        workload,
        f"{workload} still uses {host}: its pods are older than the change of {dependency.origin} to"
        f" {shorten(dependency.value, 60)}",
        evidence=(
            Evidence(
                kubectl(*complaint.command, namespace=namespace),
                shorten(complaint.said.text, 200),
            ),
            Evidence(
                kubectl("get", "configmap", config.name, "-o", "yaml", "--show-managed-fields", namespace=namespace),
                f"{dependency.variable}: {shorten(dependency.value, 80)}; changed {changed:%H:%M:%S} UTC"
                if changed
                else "",
            ),
            Evidence(
                kubectl("get", "pod", complaint.pod.name, namespace=namespace),
                f"started {_started(complaint.pod, complaint.container):%H:%M:%S} UTC",
            ),
        ),
        next=(anew if workload.kind == "Pod" else restart,),
        touches=(config.ref(),),
        key=f"{complaint.container} {host}",
        since=complaint.since,
    )

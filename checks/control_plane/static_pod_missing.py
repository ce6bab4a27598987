"""A control-plane node of a kubeadm cluster lacks one of the static pods that it must run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from kdiag.check import Evidence, Finding, Gap, Layer, Ref, Severity, Skip, check, kubectl, listing, shorten
from kdiag.facts import (
    COMPONENTS,
    Cluster,
    ConfigMaps,
    Containers,
    Entry,
    KubeletJournal,
    Manifest,
    Manifests,
    NodeManifests,
    Nodes,
    Pods,
    component,
    journal_line,
)

#: A node that joins has its static pods soon after it is registered, in seconds; its member of etcd comes last.
_YOUNG = 120
_YOUNG_MEMBER = 600
_DENIED = re.compile(
    r'"Pod admission denied".*\bpod="kube-system/(?P<pod>[^"]+)" reason="(?P<why>\w+)" message="(?P<said>[^"]*)'
)


@check(
    title="Static pod of the control plane is missing",
    severity=Severity.CRITICAL,
    layer=Layer.CONTROLLERS,
    explains=(
        "control_plane/scheduler_not_running",
        "control_plane/controller_manager_not_running",
        "network/endpointslice_stale",
        "application/namespace_stuck_terminating",
        "application/cronjob_not_running",
        "application/workload_unavailable",
    ),
    tags=("static-pods", "scheduler", "etcd", "apiserver"),
    namespaces=("kube-system",),
)
def static_pod_missing(
    pods: Pods,
    nodes: Nodes,
    configs: ConfigMaps,
    cluster: Cluster,
    containers: Containers | None,
    journal: KubeletJournal | None,
    manifests: Manifests | None,
) -> Iterator[Finding | Gap | Skip]:
    """Critical where no node runs the component; managed clusters and k3s have no static pods at all."""
    if configs.get("kubeadm-config", "kube-system") is None:
        yield Skip("not a kubeadm cluster: its control plane is not made of static pods that must be there")
        return
    runs: dict[str, set[str]] = {}
    for pod in pods.within("kube-system"):
        if part := component(pod):
            runs.setdefault(pod.node, set()).add(part)
    everywhere = {part for parts in runs.values() for part in parts}
    for node in nodes.items:
        if not node.control_plane or not everywhere:
            continue
        have = runs.get(node.name, set())
        for part in COMPONENTS:
            if part in have or (part == "etcd" and part not in everywhere):
                continue  # without any etcd pod the members run outside, as the API server's answer proves
            if cluster.age(node.created) < (_YOUNG_MEMBER if part == "etcd" else _YOUNG):
                continue
            seen = containers.get(node.name) if containers else None
            if containers is not None and seen is None:
                yield Gap(node.name, f"whether {part} runs there without its mirror was not seen")
                continue
            if seen is not None and any(c.running for c in seen.of(part)):
                continue  # it runs, and only its mirror is not there: mirror_pod_refused says why
            log = journal.get(node.name) if journal else None
            found = manifests.get(node.name) if manifests else None
            lines = reversed(log.last_run) if log and (found is None or found.of(part)) else ()
            denied = next((e for e in lines if _of(f"{part}-{node.name}", e.text)), None)
            if denied:
                rival = _rival(part, found) if found and "NodePorts" in denied.text else None
                case = _rejected(node.name, part, denied, rival)
            else:
                case = _not_run(node.name, part)
            yield Finding(
                Ref("Pod", f"{part}-{node.name}", "kube-system"),
                f"static pod kube-system/{part}-{node.name} is missing: {case.why}",
                evidence=(
                    *case.evidence,
                    Evidence(
                        kubectl("get", "pods", "-l", "tier=control-plane", "-o", "wide", namespace="kube-system"),
                        f"on {node.name}: {listing(sorted(have), 4) or 'none'}",
                    ),
                ),
                next=case.steps,
                touches=(Ref("Lease", part, "kube-system"),) if part in COMPONENTS[2:] else (),
                severity=Severity.ERROR if part in everywhere else Severity.CRITICAL,
            )


class _Case(NamedTuple):
    """Why a node does not run its static pod, as far as the node tells."""

    why: str
    evidence: tuple[Evidence, ...]
    steps: tuple[str, ...]


def _rejected(node: str, part: str, denied: Entry, rival: Manifest | None) -> _Case:
    again = (
        f"ssh {node} sudo systemctl restart kubelet    # what it rejected it looks at again only then",
        f"ssh {node} sudo crictl ps -a --name {part}",
    )
    said = journal_line(denied, node)
    if rival is None:
        return _Case(f"the kubelet on {node} rejects it: {shorten(_said(denied.text), 120)}", (said,), again)
    return _Case(
        f"{rival.path} has taken its port on {node}, and the kubelet rejects {part}.yaml",
        (said, Evidence(f"sudo grep -n -i port: {rival.path}", f"pod {rival.name}", node)),
        (f"ssh {node} sudo mv {rival.path} /root/    # a copy? undo: move it back", *again),
    )


def _not_run(node: str, part: str) -> _Case:
    return _Case(
        f"{node} runs no {part}",
        (),
        (
            f"ssh {node} sudo ls -la /etc/kubernetes/manifests/    # is {part}.yaml there?",
            f"ssh {node} sudo grep staticPodPath /var/lib/kubelet/config.yaml",
            f"ssh {node} sudo journalctl -u kubelet | grep -i {part}.yaml",
        ),
    )


def _of(name: str, line: str) -> bool:
    """Whether the kubelet says there that it lets this pod not in."""
    match = _DENIED.search(line)
    return match is not None and match["pod"] == name


def _said(line: str) -> str:
    match = _DENIED.search(line)
    return (match["said"] or match["why"]) if match else ""


def _rival(part: str, found: NodeManifests) -> Manifest | None:
    """Another manifest that wants a port of the node that this component wants."""
    mine = found.of(part)
    wanted = _ports(mine) if mine else set()
    return next((m for m in found.files if mine and m.path != mine.path and wanted & _ports(m)), None)


def _ports(manifest: Manifest) -> set[int]:
    spec = manifest.spec
    every = [p for c in spec.containers for p in c.ports] if spec else []
    return {p.host_port or (p.container_port if spec and spec.host_network else 0) for p in every} - {0}

"""A process that a node or a workload lives by is there and does not run: stopped by a signal, or frozen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kdiag.check import (
    COMPONENT_FAILS,
    KUBELET_DOWN,
    RUNTIME_DOWN,
    Evidence,
    Finding,
    Layer,
    Ref,
    Severity,
    check,
    plural,
    shorten,
)
from kdiag.facts import (
    COMPONENTS,
    RUNTIMES,
    Cluster,
    Containers,
    Halted,
    Manifests,
    Owners,
    Pods,
    Processes,
    hosted,
    on_control_plane,
    several,
    stands_still,
    static_pod,
)

#: Units without which a node does no work.
_VITAL = frozenset(
    {
        *(name.removesuffix(".service") for name in RUNTIMES),
        *("kubelet", "k3s", "k3s-agent", "rke2-server", "rke2-agent", "systemd-journald", "dbus"),
    }
)
#: What stays with each pod and leads no session.
_SHIMS = ("containerd-shim-runc-v2", "conmon")
#: What holds a pod's namespaces and does nothing in any case.
_IDLE = "pause"


@check(
    title="Process is stopped or frozen",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=(
        *dict.fromkeys((*KUBELET_DOWN, *RUNTIME_DOWN, *COMPONENT_FAILS)),
        "application/dependency_unreachable",
        "application/liveness_probe_kills",
        "application/readiness_probe_fails",
        "network/kube_proxy_rules_missing",
        "network/cluster_dns_unavailable",
        "network/coredns_cannot_reach_api",
        "worker_node/kubelet_not_listening",
    ),
    tags=("node", "kubelet", "containerd", "static-pods", "process", "signal"),
)
def process_halted(
    processes: Processes,
    cluster: Cluster,
    manifests: Manifests | None,
    pods: Pods | None,
    owners: Owners | None,
    containers: Containers | None,
) -> Iterator[Finding]:
    """To systemd and to the runtime it runs, its port takes connections, and nobody answers."""
    for node, halted in processes:
        grouped: dict[tuple[str, str], list[Halted]] = {}
        for one in halted:
            vital = one.leader and one.name != _IDLE and (one.pod or one.service in _VITAL)
            if vital or (one.name in _SHIMS and not one.pod):
                grouped.setdefault((one.pod, one.name), []).append(one)
        for (uid, name), ones in grouped.items():
            if not uid:
                also = on_control_plane(node, manifests) if name == "kubelet" else ""
                yield _finding(node, ones, Ref("Node", node), "", also, hosted(node, manifests, cluster))
                continue
            ref = _pod(uid, node, containers)
            if name in COMPONENTS and (ref is None or ref.namespace == "kube-system"):
                stops = stands_still(manifests, name) if manifests else ()
                others = manifests is not None and several(manifests, name)
                severity = Severity.ERROR if others else Severity.CRITICAL
                pod_ref = static_pod(name, node)
                yield _finding(node, ones, pod_ref, f"of {pod_ref.name} ", "", stops, severity)
                continue
            pod = pods.get(ref.name, ref.namespace) if pods and ref else None
            subject = owners.top(pod) if owners and pod else ref or Ref("Node", node)
            where = f"of {subject} " if ref else "of a pod "
            touches = (ref,) if ref and ref != subject else ()
            yield _finding(node, ones, subject, where, "", touches, Severity.ERROR)


def _pod(uid: str, node: str, containers: Containers | None) -> Ref | None:
    """The pod of that uid, by the node's runtime, or by the folder of its logs."""
    plain = uid.replace("-", "")
    seen = containers.get(node) if containers else None
    for one in seen.sandboxes if seen else ():
        if one.uid.replace("-", "") == plain:
            return Ref("Pod", one.name, one.namespace)
    found = next((g for g in seen.logs if g.uid.replace("-", "") == plain), None) if seen else None
    return Ref("Pod", found.pod, found.namespace) if found else None


def _finding(
    node: str,
    ones: Sequence[Halted],
    subject: Ref,
    where: str,
    also: str,
    touches: tuple[Ref, ...],
    severity: Severity | None = None,
) -> Finding:
    one = ones[0]
    pids = [str(o.pid) for o in ones]
    who = f"{one.name} (pid {pids[0]})" if len(ones) == 1 else f"{plural(len(ones), 'process', 'processes')} {one.name}"
    its = "its" if len(ones) == 1 else "their"
    how = f"stopped by a signal (state {one.stat[0]})" if one.stopped else f"frozen with {its} cgroup"
    shown = [
        Evidence(f"ps -o pid,stat,wchan:24,comm -p {o.pid}", f"{o.pid} {o.stat} {o.wchan} {o.name}", node)
        for o in ones[:3]
    ]
    if not one.stopped and one.freezer.endswith("freezer.state"):
        shown.append(Evidence(f"cat {one.freezer}", "FROZEN", node))
    return Finding(
        subject,
        shorten(f"{who} {where}on {node} {'is' if len(ones) == 1 else 'are'} {how}: there, but doing nothing", 220)
        + also,
        evidence=tuple(shown),
        next=_stopped(node, pids) if one.stopped else _frozen(node, one),
        touches=touches,
        severity=severity,
        key=one.name,
    )


def _stopped(node: str, pids: Sequence[str]) -> tuple[str, ...]:
    return (
        f"ssh {node} sudo kill -CONT {' '.join(pids[:20])}    # it goes on where it was stopped",
        f"ssh {node} ps -o pid,stat,comm -p {','.join(pids[:20])}    # T again: a debugger or a script stops it",
    )


def _frozen(node: str, one: Halted) -> tuple[str, ...]:
    if one.service and one.freezer.endswith("/cgroup.freeze"):
        return (f"ssh {node} sudo systemctl thaw {one.service}",)
    if not one.freezer:
        return (f"ssh {node} cat /proc/{one.pid}/cgroup    # one of these is frozen",)
    word = "THAWED" if one.freezer.endswith("freezer.state") else "0"
    return (
        f"ssh {node} cat {one.freezer}    # if this one is not: a folder above it",
        f'ssh {node} "echo {word} | sudo tee {one.freezer}"    # it goes on where it was',
    )

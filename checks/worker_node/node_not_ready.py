"""A node does not report Ready to the API server."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, plural, shorten
from kdiag.facts import (
    Cluster,
    Condition,
    Entry,
    KubeletJournal,
    Lease,
    Manifests,
    Node,
    NodeLeases,
    Nodes,
    Pod,
    Pods,
    Units,
    journal_line,
)

# A machine that boots or joins is not Ready for so long.
_BOOT = 90
# A kubelet that has just started looks at the runtime before it calls its node Ready.
_LOOKS = 60
_FIRST_LOOK = re.compile(
    r"\[?(?:(?:container runtime status check may not have completed yet"
    r"|PLEG is not healthy: pleg has yet to be successful)(?:, )?)+\]?"
)
# What a kubelet says of its own reports: where it sent them, and what came of it.
_REPORT = re.compile(r"register node|node status|ensure lease")
_REFUSED = re.compile(
    r"https://(?P<place>[^/\\\"]+)/.*?(?P<why>connect: [a-z ]+|i/o timeout|context deadline exceeded|Client\.Timeout"
    r"|no such host|x509: [^\\\"]+|TLS handshake timeout|EOF)"
)
# It is answered, and with an error: what that says.
_ANSWERED = re.compile(
    r"an error on the server \(\\*\"(?:Internal Server Error: \\*\"\S+: )?(?P<why>.+?)\\*\"\) has prevented"
    r"|err=\"(?:.*: )?(?P<no>Unauthorized|the server has received too many requests"
    r"|[a-z.]+ (?:\\\"\S+\\\" )?is forbidden)"
)
_LATELY = 90
# One that ends each time it starts runs for less.
_CRASHES = 20
# An API server ends and starts within this.
_STARTS = 60
# A kubelet renews its Lease every ten seconds.
_RENEWS = 15
_GOING = ("ToBeDeletedByClusterAutoscaler", "karpenter.sh/disrupted", "karpenter.sh/disruption")


@check(
    title="Node is not Ready",
    severity=Severity.CRITICAL,
    layer=Layer.NODE,
    explains=(
        "application/workload_unavailable",
        "application/rollout_stuck",
        "network/cluster_dns_unavailable",
        "network/kube_proxy_not_running",
        "worker_node/metrics_server_unavailable",
        "application/pod_not_ready",
        "application/pod_stuck_terminating",
        "application/scheduling_taint_untolerated",
        "network/pod_sandbox_fails",
        "application/volume_attached_elsewhere",
        "application/dependency_unreachable",
        "application/scheduling_insufficient_resources",
        "application/pod_affinity_unsatisfiable",
        "application/topology_spread_unsatisfiable",
        "application/node_pod_limit_reached",
        "application/volume_pinned_to_other_node",
    ),
    tags=("node", "kubelet"),
)
def node_not_ready(
    nodes: Nodes,
    cluster: Cluster,
    leases: NodeLeases | None,
    pods: Pods | None,
    units: Units | None,
    journal: KubeletJournal | None,
    manifests: Manifests | None,
) -> Iterator[Finding]:
    """Unknown means that the kubelet went silent, False that it says itself what it lacks."""
    for node in nodes.items:
        ready = node.condition("Ready")
        if ready is not None and ready.status == "True":
            continue
        if cluster.age(node.created) < _BOOT or (ready and _looks(ready, cluster)):
            continue
        lease = leases.get(node.name, "kube-node-lease") if leases else None
        unit = units.unit(node.name, "kubelet") if units else None
        runs = bool(unit and unit.running and cluster.age(unit.entered) > _CRASHES)
        told = _report(node, journal, cluster) if runs else None
        again = _again(ready, lease, cluster)
        anew = _anew(node, told, manifests, cluster)
        if ready is None:
            why, shown, step = "its kubelet has never reported", "no condition Ready", _silent(node)
        elif ready.status == "Unknown":
            why = (
                f"its kubelet was silent{_when(ready, 'since')} and reports again, it is Ready in a moment"
                if again
                else "it reports to its own node's API server, whose manifest has just been written: "
                "that one starts anew"
                if anew
                else _silence(ready, told, runs=runs)
            )
            shown = f"Ready Unknown {ready.reason}: {ready.message}"
            step = ("wait half a minute, then run kdiag check again",) if again or anew else _silent(node)
        else:
            why, step = _told(node, ready)
            shown = f"Ready False {ready.reason}: {ready.message}"
        evidence = [Evidence(kubectl("describe", "node", node.name), shorten(shown, 400))]
        if told and ready and ready.status == "Unknown":
            evidence.append(journal_line(told, node.name))
        if lease and lease.spec.renew_time and (ready is None or ready.status == "Unknown"):
            evidence.append(
                Evidence(
                    kubectl("get", "lease", node.name, "-o", "yaml", namespace="kube-node-lease"),
                    f"renewTime {lease.spec.renew_time:%H:%M:%S} UTC",
                )
            )
        here = pods.by_node.get(node.name, ()) if pods else ()
        if here:
            evidence.append(
                Evidence(
                    kubectl("get", "pods", "-A", "-o", "wide", f"--field-selector=spec.nodeName={node.name}"),
                    plural(len(here), "pod"),
                )
            )
        yield Finding(
            node.ref(),
            shorten(f"node {node.name} is not Ready: {why}", 200),
            evidence=tuple(evidence),
            next=step,
            severity=Severity.WARNING if again or anew or (pods and _given_up(node, here)) else Severity.CRITICAL,
            since=ready.last_transition_time.isoformat() if ready and ready.last_transition_time else "",
        )


def _looks(ready: Condition, cluster: Cluster) -> bool:
    return bool(_FIRST_LOOK.fullmatch(ready.message)) and cluster.age(ready.last_transition_time) < _LOOKS


def _given_up(node: Node, here: tuple[Pod, ...]) -> bool:
    """Whether it was emptied on purpose: a machine in maintenance, or one that an autoscaler takes away."""
    going = node.spec.unschedulable or any(t.key in _GOING for t in node.spec.taints)
    return going and all(p.mirror or p.finished or (p.owner and p.owner.kind == "DaemonSet") for p in here)


def _when(ready: Condition, word: str) -> str:
    moment = ready.last_heartbeat_time or ready.last_transition_time
    return f" {word} {moment:%H:%M} UTC" if moment else ""


def _again(ready: Condition | None, lease: Lease | None, cluster: Cluster) -> bool:
    """Whether its Lease was renewed after it was given up, and just now: the next report makes it Ready."""
    gone = ready.last_transition_time if ready and ready.status == "Unknown" else None
    renewed = lease.spec.renew_time if lease else None
    return bool(gone and renewed and renewed > gone and cluster.age(renewed) < _RENEWS)


def _anew(node: Node, told: Entry | None, manifests: Manifests | None, cluster: Cluster) -> bool:
    """Whether it reports to the API server of its own node, and the manifest of that one was written a moment ago."""
    own = manifests.get(node.name) if manifests else None
    api = own.of("kube-apiserver") if own else None
    found = _REFUSED.search(told.text) if told else None
    if own is None or api is None or found is None or api.info.changed is None or _ANSWERED.search(found.string):
        return False
    here = found["place"].rpartition(":")[0].strip("[]") in {*own.addresses, "127.0.0.1", "localhost"}
    return here and "refused" in found["why"] and 0 <= cluster.age(api.info.changed) < _STARTS


def _report(node: Node, journal: KubeletJournal | None, cluster: Cluster) -> Entry | None:
    """What came of its last attempt to report."""
    log = journal.get(node.name) if journal else None
    for entry in reversed(log.entries if log else ()):
        if entry.when and cluster.age(entry.when) > _LATELY:
            return None
        if _REPORT.search(entry.text) and (_ANSWERED.search(entry.text) or _REFUSED.search(entry.text)):
            return entry
    return None


def _silence(ready: Condition, told: Entry | None, *, runs: bool) -> str:
    """What is known of a kubelet that is not heard any more; of one that runs, in its own words."""
    if not runs:
        return f"its kubelet stopped reporting{_when(ready, 'at')}: the kubelet, the machine or its network is down"
    if answered := _ANSWERED.search(told.text) if told else None:
        what = (answered["why"] or answered["no"]).replace("\\", "")
        return f"its kubelet runs, and the API server refuses its reports{_when(ready, 'since')}: {what}"
    found = _REFUSED.search(told.text) if told else None
    if found is None:
        return f"its kubelet runs, and has not been heard of{_when(ready, 'since')}"
    return f"its kubelet runs and does not get through to {found['place']}{_when(ready, 'since')}: {found['why']}"


def _silent(node: Node) -> tuple[str, ...]:
    return (
        f"ssh {node.name} systemctl status kubelet containerd    # the API cannot say which of them it is",
        f"ssh {node.name} sudo journalctl -u kubelet -n 50 --no-pager",
        f"ping {node.address or node.name}    # no answer: the machine or its network",
    )


def _told(node: Node, ready: Condition) -> tuple[str, tuple[str, ...]]:
    """What the kubelet's own message means, and where to look."""
    text = ready.message
    kubelet = f"ssh {node.name} sudo journalctl -u kubelet -n 50 --no-pager"
    down = "container runtime is down" in text  # it goes before what comes of it
    if not down and "PLEG is not healthy" in text:
        return (
            "the container runtime hangs (PLEG is not healthy)",
            (
                f"ssh {node.name} sudo crictl ps    # does it answer?",
                f"ssh {node.name} sudo systemctl restart containerd",
            ),
        )
    if not down and re.search(r"NetworkPluginNotReady|cni plugin|network plugin", text, re.I):
        return "its network plugin is not set up", (f"ssh {node.name} ls -l /etc/cni/net.d /opt/cni/bin", kubelet)
    if down or re.search(r"runtime.*not.*(?:ready|responding)|RuntimeReady=false", text, re.I):
        return (
            "its container runtime is down",
            (
                f"ssh {node.name} systemctl status containerd",
                f"ssh {node.name} sudo journalctl -u containerd -n 50 --no-pager",
            ),
        )
    if "shutting down" in text:
        return "it is shutting down", (f"ssh {node.name} last -x | head",)
    return text or ready.reason or "it gives no reason", (kubelet,)

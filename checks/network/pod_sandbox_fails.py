"""Pods that have a node do not start, because their sandbox or its network cannot be made."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing, plural, shorten
from kdiag.facts import Cluster, Event, Events, Owners, Pod, Pods, edit_template

_RECENT = 600
#: A range in which a handful of pods is no sign of anything.
_SMALL = 32
#: What the message says, the kind of fault, in plain words, and where to look on the node.
_KINDS = (
    (
        r'failed to find plugin "([^"]+)" in path \[([^\]]+)\]',
        "plugin",
        "the network plugin {0} is missing in {1}",
        "ls -l {1}",
    ),
    (
        r"(/run/flannel/subnet\.env): no such file",
        "flannel",
        "flannel does not run there, {0} is missing",
        "ls -l /run/flannel",
    ),
    (
        r"(/var/lib/calico/nodename): no such file",
        "calico-node",
        "calico-node does not run there, {0} is missing",
        "ls -l /var/lib/calico",
    ),
    (
        r'plugin type="(calico[^"]*)".*(?:Unauthorized|unauthorized)',
        "calico-token",
        "the token of the {0} plugin is refused; restart calico-node",
        "sudo ls -l /etc/cni/net.d/calico-kubeconfig",
    ),
    (
        r"no network config found in (\S+?)[:,\s]|(cni plugin not initialized|cni config uninitialized)",
        "config",
        "there is no network configuration in /etc/cni/net.d",
        "ls -l /etc/cni/net.d",
    ),
    (
        r'failed to get sandbox image "([^"]+)"',
        "image",
        "the sandbox image {0} cannot be pulled",
        "sudo crictl pull {0}; grep -n sandbox /etc/containerd/config.toml",
    ),
    (
        r"open (\S*resolv\.conf): no such file",
        "resolv",
        "the kubelet's resolvConf {0} does not exist",
        "sudo grep resolvConf /var/lib/kubelet/config.yaml",
    ),
    (
        r"no IP addresses available in (?:range set|network)|(?:no|failed to).{0,40}(?:free|available) IP|"
        r"failed to assign an IP address|add cmd: failed to assign",
        "addresses",
        "no pod address is free",
        "ls /var/lib/cni/networks/* | wc -l",
    ),
    (
        r"(dial tcp \S+: (?:i/o timeout|connect: [\w ]+))",
        "api",
        "the network plugin does not reach the API: {0}",
        "sudo journalctl -u containerd -n 50",
    ),
    (
        r"unsupported cgroup|cgroup",
        "cgroup",
        "the runtime and the kubelet differ about cgroups",
        "grep -n SystemdCgroup /etc/containerd/config.toml; sudo grep cgroupDriver /var/lib/kubelet/config.yaml",
    ),
    (
        r'"([^"]+)" already has an IP address different from (\S+)',
        "bridge",
        "the bridge {0} has another address than {1}; without the bridge it is made anew",
        "ip -4 addr show {0}; sudo ip link delete {0}",
    ),
    (
        r'plugin type="([^"]+)"[^:]*failed[^:]*: (.{0,120})',
        "add",
        "the network plugin {0} fails: {1}",
        "sudo journalctl -u containerd -n 50",
    ),
    (
        r'no runtime for "([^"]+)" is configured|RuntimeHandler "([^"]+)" not supported',
        "handler",
        "the runtime handler {0} is not configured",
        "grep -n runtimes /etc/containerd/config.toml",
    ),
)

#: What is wrong with the pod and not with its node.
_OWN = re.compile(
    r"cannot find a network-attachment-definition \((?P<network>[^)\s]{1,253})\)"
    r" in namespace \((?P<namespace>[^)\s]{1,63})\)"
    r"|(?:open|bind) hostport (?P<port>\d{1,5})[^:]*: .{0,80}?(?:in use|already)"
    r"|(?P<users>runtime does not support user namespaces)"
    r'|no runtime for "(?P<handler>[^"]+)" is configured|RuntimeHandler "(?P<unknown>[^"]+)" not supported'
)


@check(
    title="Pod sandbox cannot be made",
    severity=Severity.ERROR,
    layer=Layer.CNI,
    explains=(
        "application/workload_unavailable",
        "application/rollout_stuck",
        "application/pod_not_ready",
    ),
    tags=("cni", "node", "pods"),
)
def pod_sandbox_fails(pods: Pods, events: Events, owners: Owners, cluster: Cluster) -> Iterator[Finding]:
    """Only for pods that still wait: one failed attempt before a good one is common."""
    found: dict[tuple[str, str], list[tuple[Pod, Event]]] = {}
    texts: dict[tuple[str, str], tuple[str, str]] = {}
    own: dict[Ref, list[tuple[Pod, Event]]] = {}
    for pod in pods.troubled:
        if pod.phase != "Pending" or not pod.node or pod.deleted:
            continue
        if _has_sandbox(pod):
            continue
        event = events.latest(pod.ref(), "FailedCreatePodSandBox", "FailedCreatePodSandbox")
        if event is None or cluster.age(event.when) > _RECENT:
            continue
        later = events.latest(pod.ref(), "FailedMount", "FailedAttachVolume")
        if later and later.when and event.when and later.when > event.when:
            continue  # a volume is what it waits for now
        if event.times < 2 and cluster.age(pod.created) < 20:
            continue
        kind, why, look = _classify(event.message)
        if _wish(pod, event):
            own.setdefault(owners.top(pod), []).append((pod, event))
            continue  # the node is well: this workload asks it for what it does not have
        found.setdefault((pod.node, kind), []).append((pod, event))
        texts.setdefault((pod.node, kind), (why, look))
    for (node, kind), hits in sorted(found.items()):
        why, look = texts[node, kind]
        pod, event = hits[0]
        if kind == "addresses" and (left := _left_over(event, pods.by_node.get(node, ()))):
            why, look = f"{why}: {left}", _LEASES
        names = sorted({str(owners.top(p)) for p, _ in hits})
        yield Finding(
            Ref("Node", node),
            shorten(f"pods cannot start on {node}: {why}", 200),
            evidence=(
                Evidence(
                    kubectl("describe", "pod", pod.name, namespace=pod.namespace),
                    shorten(f"{event.reason}: {event.message}", 400),
                ),
                Evidence(
                    kubectl("get", "pods", "-A", "-o", "wide", f"--field-selector=spec.nodeName={node}"),
                    f"{plural(len(hits), 'pod')} in ContainerCreating: {listing(names)}",
                ),
            ),
            next=(
                f"ssh {node} '{look}'",
                kubectl("get", "pods", "-A", "-o", "wide", f"--field-selector=spec.nodeName={node}"),
            ),
            touches=tuple(p.ref() for p, _ in hits),
            key=kind,
        )
    for workload, hits in own.items():
        if wish := _wish(*hits[0]):
            yield _unfulfilled(workload, hits, wish)


#: Leases of containers that the runtime does not know.
_LEASES = (
    "for f in /var/lib/cni/networks/*/[0-9]*; do id=$(sudo head -c 13 $f); "
    "sudo crictl pods -q --no-trunc | grep -q ^$id || echo $f; done"
)
_RANGE = re.compile(r"no IP addresses available in range set: ([\d.]+)-([\d.]+)")


def _left_over(event: Event, pods: Iterable[Pod]) -> str:
    """Where host-local finds its range taken by far more addresses than there are pods: nobody gave them back."""
    match = _RANGE.search(event.message)
    try:
        first, last = (int(IPv4Address(match[n])) for n in (1, 2)) if match else (0, 0)
    except ValueError:
        return ""
    size = last - first + 1
    used = sum(1 for p in pods if p.ip and not p.finished and not p.spec.host_network)
    if size < _SMALL or used * 2 > size:
        return ""
    return f"pods use {used} of the {size}, the others are leases of pods that are gone"


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a workload asks of its node and does not get; ``shown`` and ``object`` are of what it names, if anything."""

    key: str
    why: str
    look: str
    change: str
    mend: tuple[str, ...] = ()
    shown: tuple[Evidence, ...] = ()
    object: tuple[Ref, ...] = ()


def _wish(pod: Pod, event: Event) -> _Wish | None:
    """Only for what is wrong with the pod: where the node is at fault, all of its pods suffer."""
    match = _OWN.search(event.message)
    if match is None:
        return None
    if match["network"]:
        network = Ref("NetworkAttachmentDefinition", match["network"], match["namespace"])
        look = kubectl("get", "network-attachment-definitions", namespace=network.namespace)
        return _Wish("asks", f"{network} does not exist", look, "annotation k8s.v1.cni.cncf.io/networks")
    if match["port"]:
        look = f"ssh {pod.node} 'sudo ss -ltnp; sudo iptables-save | grep -w {match['port']}'"
        change = f"hostPort {match['port']}: another one, or a Service in its place"
        return _Wish("asks", f"host port {match['port']} is taken there", look, change)
    if match["users"]:
        look = (
            kubectl("get", "nodes", "-o", "wide") + "    # CONTAINER-RUNTIME: containerd 2.0 and CRI-O 1.25 know them"
        )
        why = "its runtime does not know user namespaces (hostUsers: false)"
        return _Wish("asks", why, look, "remove hostUsers, or choose nodes that can")
    name, handler = pod.spec.runtime_class_name, match["handler"] or match["unknown"]
    if not name:
        return None
    return _Wish(
        "handler",
        f"RuntimeClass {name} needs the runtime handler {handler}, which is not configured there",
        kubectl("get", "runtimeclasses"),
        f"runtimeClassName {name}: another one, or none",
        (f"ssh {pod.node} 'grep -n runtimes /etc/containerd/config.toml'   # or configure {handler} on the nodes",),
        (Evidence(kubectl("get", "runtimeclass", name), f"HANDLER {handler}"),),
        (Ref("RuntimeClass", name),),
    )


def _unfulfilled(workload: Ref, hits: list[tuple[Pod, Event]], wish: _Wish) -> Finding:
    pod, event = hits[0]
    nodes = listing(sorted({p.node for p, _ in hits}), 3)
    return Finding(
        workload,
        f"{workload} cannot start on {nodes}: {wish.why}",
        evidence=(
            Evidence(
                kubectl("describe", "pod", pod.name, namespace=pod.namespace),
                shorten(f"{event.reason}: {event.message}", 400),
            ),
            *wish.shown,
        ),
        next=(wish.look, edit_template(workload, wish.change), *wish.mend),
        touches=(*wish.object, *(p.ref() for p, _ in hits)),
        key=wish.key,
        own=True,
    )


def _has_sandbox(pod: Pod) -> bool:
    made = pod.condition("PodReadyToStartContainers")
    if made is not None:
        return made.status == "True"
    reasons = {s.state.waiting.reason for s in pod.all_statuses if s.state.waiting}
    return bool(reasons - {"ContainerCreating", "PodInitializing"}) or any(
        s.state.running or s.ended for s in pod.all_statuses
    )


def _classify(message: str) -> tuple[str, str, str]:
    text = message.replace("\n", " ")
    for pattern, kind, why, look in _KINDS:
        if match := re.search(pattern, text):
            words = [g.strip() for g in match.groups() if g] + ["", ""]
            return kind, why.format(*words), look.format(*words)
    return "other", shorten(re.sub(r"^.*?code = \w+ desc = ", "", text), 120), "sudo journalctl -u kubelet -n 50"

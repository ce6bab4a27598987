"""Pods that have a node do not start, because their sandbox or its network cannot be made."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing, plural, shorten
from kdiag.facts import Cluster, Event, Events, Owners, Pod, Pods

_RECENT = 600
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
    classes: dict[Ref, list[tuple[Pod, Event]]] = {}
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
        if kind == "handler" and pod.spec.runtime_class_name:
            classes.setdefault(owners.top(pod), []).append((pod, event))
            continue  # the node is well: this workload asks it for what it does not have
        if _OWN.search(event.message):
            own.setdefault(owners.top(pod), []).append((pod, event))
            continue
        found.setdefault((pod.node, kind), []).append((pod, event))
        texts.setdefault((pod.node, kind), (why, look))
    for (node, kind), hits in sorted(found.items()):
        why, look = texts[node, kind]
        pod, event = hits[0]
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
    for workload, hits in classes.items():
        yield _without_handler(workload, hits)
    for workload, hits in own.items():
        yield _asks_too_much(workload, hits)


def _without_handler(workload: Ref, hits: list[tuple[Pod, Event]]) -> Finding:
    """A RuntimeClass whose handler the runtime of the node does not know: only the pods of that class suffer."""
    pod, event = hits[0]
    name = pod.spec.runtime_class_name
    match = re.search(r'no runtime for "([^"]+)"|RuntimeHandler "([^"]+)"', event.message)
    handler = next((g for g in match.groups() if g), "") if match else ""
    nodes = listing(sorted({p.node for p, _ in hits}), 3)
    kind = workload.kind.lower()
    return Finding(
        workload,
        f"{workload} cannot start on {nodes}: RuntimeClass {name} needs the runtime handler {handler}, which is not"
        " configured there",
        evidence=(
            Evidence(
                kubectl("describe", "pod", pod.name, namespace=pod.namespace),
                shorten(f"{event.reason}: {event.message}", 400),
            ),
            Evidence(kubectl("get", "runtimeclass", name), f"HANDLER {handler}"),
        ),
        next=(
            kubectl("get", "runtimeclasses"),
            kubectl("edit", kind, workload.name, namespace=workload.namespace)
            + f"   # runtimeClassName {name}: another one, or none",
            f"ssh {pod.node} 'grep -n runtimes /etc/containerd/config.toml'   # or configure {handler} on the nodes",
        ),
        touches=(Ref("RuntimeClass", name), *(p.ref() for p, _ in hits)),
        key="handler",
    )


def _asks_too_much(workload: Ref, hits: list[tuple[Pod, Event]]) -> Finding:
    """The node's network is well: this workload wants a network that is not there, or a port that is taken."""
    pod, event = hits[0]
    match = _OWN.search(event.message)
    nodes = listing(sorted({p.node for p, _ in hits}), 3)
    if match and match["network"]:
        network = Ref("NetworkAttachmentDefinition", match["network"], match["namespace"])
        why = f"{network} does not exist"
        look = kubectl("get", "network-attachment-definitions", namespace=network.namespace)
        change = "annotation k8s.v1.cni.cncf.io/networks"
    elif match and match["users"]:
        why = "its runtime does not know user namespaces (hostUsers: false)"
        look = (
            kubectl("get", "nodes", "-o", "wide") + "    # CONTAINER-RUNTIME: containerd 2.0 and CRI-O 1.25 know them"
        )
        change = "remove hostUsers, or choose nodes that can"
    else:
        port = match["port"] if match else ""
        why = f"host port {port} is taken there"
        look = f"ssh {pod.node} 'sudo ss -ltnp; sudo iptables-save | grep -w {port}'"
        change = f"hostPort {port}: another one, or a Service in its place"
    return Finding(
        workload,
        f"{workload} cannot start on {nodes}: {why}",
        evidence=(
            Evidence(
                kubectl("describe", "pod", pod.name, namespace=pod.namespace),
                shorten(f"{event.reason}: {event.message}", 400),
            ),
        ),
        next=(
            look,
            kubectl("edit", workload.kind.lower(), workload.name, namespace=workload.namespace) + f"    # {change}",
        ),
        touches=tuple(p.ref() for p, _ in hits),
        key="asks",
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

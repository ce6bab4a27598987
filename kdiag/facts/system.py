"""The parts of the cluster itself: the control plane's static pods, cluster DNS, the network's DaemonSets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from kdiag.facts.base import Derived
from kdiag.facts.configuration import ConfigMaps
from kdiag.facts.logs import Logs
from kdiag.facts.meta import selects
from kdiag.facts.network import EndpointSlices, Service, Services
from kdiag.facts.nodes import Lease, Node, Nodes, SystemLeases
from kdiag.facts.pods import ContainerStatus, Pod, Pods, Waiting
from kdiag.facts.podspec import Container, PodSpec
from kdiag.facts.storage import Claims
from kdiag.facts.workloads import DaemonSet, DaemonSets, Deployments, Workload
from kdiag.model.jsontext import read_object
from kdiag.model.result import Evidence, Gap, Ref
from kdiag.model.text import duration, go_seconds

#: The components that kubeadm runs as static pods.
COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
#: What a waiting container says only when it cannot start, at whatever moment one looks.
CANNOT_START = frozenset(
    {
        *("CrashLoopBackOff", "RunContainerError", "CreateContainerError", "CreateContainerConfigError"),
        *("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "StartError"),
    }
)


def component(pod: Pod) -> str:
    """Which of the control plane's components a static pod runs; empty for any other pod."""
    if not pod.mirror or pod.namespace != "kube-system":
        return ""
    for name in COMPONENTS:
        if pod.labels.get("component") == name or (pod.node and pod.name == f"{name}-{pod.node}"):
            return name
    return ""


def flag(container: Container, name: str) -> str | None:
    """The value of ``--name`` in a container's command line; None when it is not given."""
    words = (*container.command, *container.args)
    found: str | None = None
    for at, word in enumerate(words):
        if word == f"--{name}":
            follows = words[at + 1] if at + 1 < len(words) else ""
            found = follows if follows and not follows.startswith("-") else "true"
        elif word.startswith(f"--{name}="):
            found = word.partition("=")[2]
    return found


def stuck(status: ContainerStatus) -> Waiting | None:
    """Why a container does not run, where that is more than a start under way."""
    waiting = status.state.waiting
    return waiting if waiting and waiting.reason in CANNOT_START else None


def mount_of(container: Container, path: str) -> tuple[str, str]:
    """Which volume holds a file of a container: the volume's name and the path below its mount; empty for none."""
    best = ("", "")
    longest = -1
    for mount in container.volume_mounts:
        root = mount.mount_path.rstrip("/")
        inside = path == root or path.startswith(root + "/")
        if inside and len(root) > longest:
            longest = len(root)
            best = (mount.name, path[len(root) :].strip("/"))
    return best


_FATAL = (
    re.compile(r"Error: unknown (?:shorthand )?flag"),
    re.compile(r"command failed"),
    re.compile(r'"level":"(?:fatal|panic)"'),
    re.compile(r"^F\d{4} "),
    re.compile(r"^(?:panic|fatal error):"),
    re.compile(r"\[FATAL\]"),
    re.compile(r"^(?:Error|error|Failed|failed|Invalid|invalid)\b"),
    re.compile(r"leader ?election lost", re.IGNORECASE),
    re.compile(r"^E\d{4} "),
)


#: What says that a component came up: an error that it logged on its way there did not end it.
CAME_UP = re.compile(r"\] Serving securely on |Attempting to acquire leader lease|successfully acquired lease")
#: What each start says, whatever comes of it.
HARMLESS = re.compile(r"The manifest file is empty, ignoring")


def last_words(logs: Logs | None, namespace: str, pod: str, container: str, *, killed: bool = False) -> str:
    """The line of a container's log that says why it ended, shorn of its header; empty when none does.

    What was killed from outside had no time to say so: an error that it logged before is not why.
    """
    lines = [line.text for line in logs.lines(namespace, pod, container)] if logs else []
    came_up = any(CAME_UP.search(line) for line in lines)
    for pattern in _FATAL[:-1] if killed or came_up else _FATAL:
        for line in lines:
            if pattern.search(line) and not HARMLESS.search(line):
                return plain(line)
    return ""


def next_start_at(status: ContainerStatus) -> str:
    """When the kubelet ends its pause between two starts: ``at 05:59:12 UTC (back-off 5m0s)``; empty without one."""
    waiting, ended = status.state.waiting, status.ended
    pause = re.match(r"back-off (\S+) restarting", waiting.message) if waiting else None
    seconds = go_seconds(pause[1]) if pause else None
    if pause is None or seconds is None or ended is None or ended.finished_at is None:
        return ""
    return f"at {ended.finished_at + timedelta(seconds=min(seconds, 3600)):%H:%M:%S} UTC (back-off {pause[1]})"


def plain(line: str) -> str:
    """What a klog or JSON line says, without its header."""
    if line.startswith("{"):
        record = read_object(line)
        if isinstance(record.get("msg"), str):
            error = record.get("error")
            return f"{record['msg']}: {error}" if error else str(record["msg"])
        return line
    line = re.sub(r"^[IWEF]\d{4} [\d:.]+\s+\d+ \S+\] ", "", line)
    failed = re.fullmatch(r'"command failed" err="(.*)"', line)
    return failed[1].replace('\\"', '"') if failed else line


def absent_file(line: str) -> str:
    """The file that a line says does not exist; empty when it says no such thing."""
    found = re.search(r"(?:open|stat|lstat|read) (/\S+?): no such file or directory", line)
    return found[1] if found else ""


def unread(logs: Logs | None, pods: Iterable[Pod]) -> Gap | None:
    """What is missing where the logs of these pods decide and one of them was not read."""
    for pod in pods:
        if logs is None:
            return Gap("log", "not collected")
        if not logs.of(pod.namespace, pod.name):
            why = next((g for g in logs.gaps if f"{pod.namespace}/{pod.name}/" in g.source), None)
            if why or logs.gaps:
                return why or logs.gaps[0]
    return None


@dataclass(frozen=True, kw_only=True)
class ClusterDNS(Derived):
    """The cluster's DNS: the Service that pods ask, and what answers behind it.

    Found by the Service, not by the name CoreDNS: distributions call the workload what they like.
    """

    service: Service | None = None
    workloads: tuple[Workload, ...] = ()
    pods: tuple[Pod, ...] = ()
    ready: int = 0
    sliced: bool = False
    elsewhere: bool = False

    @classmethod
    def derive(
        cls,
        services: Services,
        deployments: Deployments,
        daemonsets: DaemonSets,
        pods: Pods,
        slices: EndpointSlices,
    ) -> ClusterDNS:
        """Find it."""
        service = _dns_service(services)
        namespace = service.namespace if service else "kube-system"
        workloads: list[Workload] = [
            w
            for w in (*deployments.within(namespace), *daemonsets.within(namespace))
            if _answers_dns(w, service) and w.spec.template.spec.containers
        ]
        behind = tuple(
            p
            for p in pods.within(namespace)
            if not p.finished and any(w.spec.selector.matches(p.labels) for w in workloads)
        )
        endpoints = slices.endpoints(service) if service else ()
        return cls(
            service=service,
            workloads=tuple(workloads),
            pods=behind,
            ready=sum(e.ready for e in endpoints),
            sliced=bool(service and slices.of_service(service)),
            elsewhere=bool(workloads) and all(_laid_off(w, deployments) for w in workloads),
        )

    @property
    def known(self) -> bool:
        """Whether this cluster has a DNS that can be judged."""
        return not self.elsewhere and (self.service is not None or bool(self.workloads))

    @property
    def unknown(self) -> str:
        """Why it cannot be judged."""
        if self.elsewhere:
            return "kube-dns and its autoscaler are scaled to zero: GKE's Cloud DNS answers in their place"
        return "no DNS Service and no CoreDNS in kube-system"

    @property
    def reference(self) -> Ref:
        """The DNS Service, there or not."""
        return self.service.ref() if self.service else Ref("Service", "kube-dns", "kube-system")

    @property
    def down(self) -> bool:
        """Whether no pod answers for the Service."""
        return self.ready == 0

    def of(self, workload: Workload) -> tuple[Pod, ...]:
        """The pods of one workload."""
        return tuple(p for p in self.pods if workload.spec.selector.matches(p.labels))


def _dns_service(services: Services) -> Service | None:
    for name, namespace in (("kube-dns", "kube-system"), ("dns-default", "openshift-dns")):
        if found := services.get(name, namespace):
            return found
    for service in sorted(services.within("kube-system"), key=lambda s: s.name):
        labels = service.labels
        if "node-local" in service.name or "upstream" in service.name:
            continue
        if labels.get("k8s-app") == "kube-dns" or labels.get("kubernetes.io/name") == "CoreDNS":
            return service
    return None


def _answers_dns(workload: Workload, service: Service | None) -> bool:
    labels = workload.spec.template.metadata.labels
    if "autoscaler" in workload.name or "node-local" in workload.name or "nodelocal" in workload.name:
        return False
    if service and service.spec.selector and selects(service.spec.selector, labels):
        return True
    return labels.get("k8s-app") in ("kube-dns", "coredns") or workload.name in ("coredns", "rke2-coredns-rke2-coredns")


def _laid_off(workload: Workload, deployments: Deployments) -> bool:
    """Whether GKE has put Cloud DNS in its place: the autoscaler, which would bring kube-dns back, is off as well."""
    if workload.desired or not any(c.name == "kubedns" for c in workload.pod_spec.containers):
        return False
    scaler = deployments.get(f"{workload.name}-autoscaler", workload.namespace)
    return scaler is not None and scaler.desired == 0


def corefile_map(workload: Workload) -> tuple[str, str]:
    """The ConfigMap and key that a CoreDNS workload reads; empty names when it reads none."""
    for container in workload.pod_spec.containers:
        words = (*container.command, *container.args)
        path = next((b for a, b in pairwise(words) if a in ("-conf", "--conf")), "")
        path = path or next((w.partition("=")[2] for w in words if w.startswith(("-conf=", "--conf="))), "")
        if not path:
            continue
        volume, below = mount_of(container, path)
        for one in workload.pod_spec.volumes:
            if one.name == volume and one.config_map:
                key = next((i.key for i in one.config_map.items if i.path == below), below)
                return one.config_map.name, key
    return "", ""


def corefile_absent(workload: Workload, configs: ConfigMaps) -> tuple[str, str, tuple[str, ...]] | None:
    """The path of a Corefile where the ConfigMap puts no file: the path, the ConfigMap and what is there."""
    name, key = corefile_map(workload)
    config = configs.get(name, workload.namespace) if name else None
    source = next((v.config_map for v in workload.pod_spec.volumes if v.config_map and v.config_map.name == name), None)
    if config is None or source is None:
        return None
    shown = tuple(i.path for i in source.items) or tuple(sorted(config.keys))
    listed = not source.items or any(i.key == key for i in source.items)
    if listed and config.has(key):
        return None
    words = [w for c in workload.pod_spec.containers for w in (*c.command, *c.args)]
    path = next((w for w in words if w.rpartition("=")[2].endswith(f"/{key}")), key)
    return path.rpartition("=")[2], name, shown


#: How a kubelet says that its node has no pod network.
NO_NETWORK = re.compile(
    r"NetworkPluginNotReady|network plugin|cni (?:plugin|config)|network is not ready", re.IGNORECASE
)
_CNI_PATHS = ("/etc/cni/net.d", "/opt/cni/bin", "/etc/cni", "/opt/cni", "/var/lib/cni/bin")


def installs_network(spec: PodSpec) -> bool:
    """Whether a DaemonSet's pods put the network plugin or its configuration on the node."""
    if not spec.host_network:
        return False
    return any(v.host_path and v.host_path.path.rstrip("/").endswith(_CNI_PATHS) for v in spec.volumes)


def network_daemonsets(daemonsets: DaemonSets) -> tuple[DaemonSet, ...]:
    """The DaemonSets that make the pod network."""
    return tuple(d for d in daemonsets.items if installs_network(d.pod_spec))


_CONTROLLED = ("ReplicaSet", "StatefulSet", "DaemonSet", "Job")


def scheduler_works(leases: SystemLeases | None, now: datetime) -> bool | None:
    """Whether a scheduler renews its Lease, as one that works does every two seconds; None where there is no Lease."""
    lease = leases.get("kube-scheduler", "kube-system") if leases else None
    if lease is None:
        return None
    age = lease.age(now) if lease.spec.holder_identity else None
    return age is not None and age < 30


def never_scheduled(pods: Pods, claims: Claims | None, now: datetime, seconds: float = 15) -> tuple[Pod, ...]:
    """The pods that wait for the default scheduler and that it has not even looked at.

    A pod whose claim names a selected node was looked at: the scheduler waits for the volume before it binds. One with
    a claim on devices is not looked at before that claim exists.
    """
    return tuple(
        p
        for p in pods.troubled
        if p.phase == "Pending"
        and not p.node
        and not p.deleted
        and not p.spec.scheduling_gates
        and not p.spec.resource_claims
        and p.spec.scheduler_name == "default-scheduler"
        and p.condition("PodScheduled") is None
        and p.created is not None
        and (now - p.created).total_seconds() > seconds
        and not (claims and _waits_for_volume(p, claims))
    )


def _waits_for_volume(pod: Pod, claims: Claims) -> bool:
    names = [v.persistent_volume_claim.claim_name for v in pod.spec.volumes if v.persistent_volume_claim]
    names += [f"{pod.name}-{v.name}" for v in pod.spec.volumes if v.ephemeral]
    found = [claims.get(name, pod.namespace) for name in names]
    return any(claim is not None and claim.metadata.annotations.selected_node for claim in found)


@dataclass(frozen=True, slots=True)
class Leaderless:
    """Why nobody does a component's work, and since when."""

    why: str
    since: datetime | None
    pods: tuple[Pod, ...]
    kept: bool = False  # by a holder that is none of them, and for long

    def evidence(self, name: str, now: datetime) -> tuple[Evidence, ...]:
        """Its Lease and its pods."""
        age = f", renewed {duration(now - self.since)} before" if self.since else ""
        states = (f"{p.name} {'ready' if p.ready else 'not ready'}" for p in self.pods)
        return (
            Evidence(f"kubectl -n kube-system get lease {name} -o yaml", f"{self.why}{age}"),
            Evidence(f"kubectl -n kube-system get pods -l component={name}", ", ".join(states) or "no pod"),
        )

    def steps(self, name: str) -> tuple[str, ...]:
        """Where to look on the node that runs it."""
        if self.kept:
            return (
                f"kubectl -n kube-system get lease {name} -o yaml --show-managed-fields    # who wrote it, and when",
                f"kubectl -n kube-system delete lease {name}    # those that run take it within seconds",
            )
        node = self.pods[0].node if self.pods else "CONTROL-PLANE-NODE"
        return (f"ssh {node} sudo crictl ps -a --name {name}", f"ssh {node} sudo ls -l /etc/kubernetes/manifests/")


#: A holder renews its Lease every few seconds; one that was silent for so long will hardly do so again.
_SILENT = 60


def leaderless(name: str, lease: Lease | None, pods: Pods, now: datetime, *, idle: bool) -> Leaderless | None:
    """Whether nobody leads a component that elects a leader through its Lease; None when somebody may.

    ``idle`` says that work waits for it. A Lease proves little by itself: a component that does not elect leaves an
    old one behind. So what was done since it was renewed speaks against it, and where no static pod of the component
    can be seen (a managed control plane, k3s) the work that waits must speak for it.
    """
    here = [(component(p), p) for p in pods.within("kube-system") if p.mirror]
    own = tuple(p for part, p in here if part == name)
    if any(flag(c, "leader-elect") in ("false", "False") for p in own for c in p.spec.containers):
        return None
    works = any(p.ready for p in own)
    visible = any(part for part, _ in here)
    if lease is None:
        return Leaderless("it has no Lease", None, own) if idle and not works else None
    age = lease.age(now)
    renewed = lease.spec.renew_time
    if age is None or renewed is None:
        return None
    if not (visible or idle):
        return None
    if not lease.spec.holder_identity:
        # A leader that stops in order gives the Lease up; the next one takes it within seconds.
        limit, why = (30 if works else 10), "nobody holds its Lease"
    elif _kept(lease, own) and age > _SILENT:
        until = renewed + timedelta(seconds=lease.spec.lease_duration_seconds)
        why = (
            f"{lease.spec.holder_identity}, of a node where none runs, holds until {until:%Y-%m-%d %H:%M} UTC the Lease"
        )
        return None if _worked_since(name, pods, renewed) > idle else Leaderless(why, renewed, own, kept=True)
    else:
        limit = max(lease.spec.lease_duration_seconds, 15) + (15 if works or not visible else 3)
        why = f"{lease.spec.holder_identity.split('_')[0]} no longer renews its Lease"
    if age <= limit or _worked_since(name, pods, renewed) > idle:
        return None
    return Leaderless(why, renewed, own)


def _kept(lease: Lease, own: Sequence[Pod]) -> bool:
    """Whether who waits for the Lease waits long, for somebody who is none of them."""
    host = lease.spec.holder_identity.split("_")[0].split(".")[0]
    known = {p.node.split(".")[0] for p in own}
    return bool(own) and lease.spec.lease_duration_seconds > _SILENT and host not in known


def _worked_since(name: str, pods: Pods, moment: datetime) -> int:
    """For how many workloads the component has done its work since then."""
    owners: set[str] = set()
    for pod in pods.items:
        late = pod.created is not None and (pod.created - moment).total_seconds() > 30
        if late and pod.owner and pod.owner.kind in _CONTROLLED and (pod.node or name != "kube-scheduler"):
            owners.add(pod.owner.uid)  # one may have its node from the template, without a scheduler
    return len(owners)


#: A client of the API server that fails asks again within a minute: one that was quiet for so many seconds may get
#: through by now.
ASKS_AGAIN = 90.0
#: How long after the API server has come back what lives on its answers may be silent: watches, Leases, statuses.
RETURN = 60


def api_server_since(pods: Pods, leases: SystemLeases | None, now: datetime) -> datetime | None:
    """Since when there is an API server, where that can be told.

    Each API server makes a Lease of its own when it starts; its static pod says as much where it can be seen. With
    several of them only the one that has been there longest counts.
    """
    since: list[datetime] = []
    for lease in leases.items if leases else ():
        served = lease.labels.get("apiserver.kubernetes.io/identity") == "kube-apiserver"
        if served and lease.created and (lease.age(now) or 0) < RETURN:
            since.append(lease.created)
    if not since:
        for pod in pods.within("kube-system"):
            if component(pod) != "kube-apiserver":
                continue
            running = [s.state.running.started_at for s in pod.statuses if s.state.running]
            # One that never restarted has no statuses here; its pod was made when it first answered.
            since += [at for at in running or [pod.created if pod.ready else None] if at]
    return min(since, default=None)


def api_server_returned(pods: Pods, leases: SystemLeases | None, now: datetime) -> bool:
    """Whether the API server was away until a moment ago, so that what others write of themselves is old."""
    since = api_server_since(pods, leases, now)
    return since is not None and (now - since).total_seconds() < RETURN


@dataclass(frozen=True, slots=True)
class Outage:
    """A node on which a DaemonSet's pod does not work: the pod, where there is one, and why."""

    node: str
    pod: Pod | None
    why: str


def daemon_outages(daemonset: DaemonSet, pods: Pods, nodes: Nodes | None, now: datetime) -> tuple[Outage, ...]:
    """Where a DaemonSet fails, on nodes that are themselves Ready or not Ready for want of a network."""
    lost = {n.name for n in nodes.items if unreachable(n)} if nodes else set()
    gone = nodes is not None and not nodes.gaps  # of a node that was deleted, the pods stay listed for a minute
    found: list[Outage] = []
    for pod in pods.by_owner.get(daemonset.metadata.uid, ()):
        if pod.deleted or pod.finished or not pod.node or pod.node in lost:
            continue
        if gone and nodes and nodes.get(pod.node) is None:
            continue
        if pod.ready:  # a pod without a readiness probe is ready for the moment until it crashes again
            if any(_crashed_lately(s, now) for s in pod.statuses):
                found.append(Outage(pod.node, pod, f"{pod.spec.first.name} keeps crashing"))
            continue
        why = _why_not_ready(pod, now)
        if why:
            found.append(Outage(pod.node, pod, why))
    return tuple(sorted(found, key=lambda o: o.node))


def unreachable(node: Node) -> bool:
    """Whether a node is lost for a reason of its own: silent, or not Ready for anything but its pod network."""
    ready = node.condition("Ready")
    if ready is None or ready.status == "Unknown":
        return True
    return ready.status == "False" and not NO_NETWORK.search(ready.message)


def _crashed_lately(status: ContainerStatus, now: datetime) -> bool:
    ended = status.last_state.terminated
    return bool(
        status.restart_count >= 2
        and ended
        and ended.exit_code
        and ended.finished_at
        and (now - ended.finished_at).total_seconds() < 60
    )


def _why_not_ready(pod: Pod, now: datetime) -> str:
    """Why a pod is not ready; empty while it may be starting, and where its containers are and their node was away."""
    containers = pod.condition("ContainersReady")
    if containers and containers.status == "True":
        return ""  # the node controller marked it, and its kubelet has not taken that back yet
    for status in pod.all_statuses:
        if waiting := stuck(status):
            ended = status.last_state.terminated
            if waiting.reason == "CrashLoopBackOff" and ended:
                return f"{status.name} crashes, exit code {ended.exit_code}"
            return f"{status.name}: {waiting.reason}"
        ended = status.state.terminated
        if ended and ended.exit_code and status in pod.statuses:
            return f"{status.name} ended, exit code {ended.exit_code}"
        if status.restart_count >= 2 and not status.ready and status in pod.statuses:
            return f"{status.name} keeps restarting"
    age = (now - pod.created).total_seconds() if pod.created else 0.0
    if age < 90:
        return ""
    if pod.phase == "Pending":
        return "its pod does not start"
    return "its pod runs and is not ready"


#: Why a check of kube-proxy has nothing to look at.
#: What a validation says of a field: its path, and the value that stands there.
_SAID_FIELD = re.compile(r'(?:\w+Configuration\.)?((?:\w+\.)*\w+)(?:\[[\w.-]*\])?: Invalid value: (?:"([^"]*)")?')
_SAID_LINE = re.compile(r"\b(?:yaml: |)line (\d{1,5})\b")


def file_of_config(daemonset: DaemonSet, path: str) -> tuple[str, str] | None:
    """The ConfigMap and key behind a file of a DaemonSet's pods; None where it is mounted from elsewhere."""
    spec = daemonset.pod_spec
    for container in spec.containers:
        volume, below = mount_of(container, path)
        for one in spec.volumes:
            if one.name == volume and one.config_map:
                items = one.config_map.items
                key = next((i.key for i in items if i.path == below), "" if items else below)
                return one.config_map.name, key
    return None


def line_meant(text: str, words: str) -> int:
    """The line of a YAML file that a program complains of: by its number, its value or its field; 0 where none is."""
    lines = text.splitlines()
    if "yaml" in words and (at := _SAID_LINE.search(words)) and int(at[1]) <= len(lines):
        return int(at[1])
    said = _SAID_FIELD.search(words)
    if said is None:
        return 0
    keys = [step.lower() for step in reversed(said[1].split("."))]
    for wanted in keys:
        found = [n for n, line in enumerate(lines, 1) if line.strip().partition(":")[0].lower() == wanted]
        exact = [n for n in found if said[2] and lines[n - 1].partition(":")[2].strip(" \"'") == said[2]]
        if len(exact) == 1 or len(found) == 1:
            return (exact or found)[0]
    same = [n for n, line in enumerate(lines, 1) if said[2] and line.partition(":")[2].strip(" \"'") == said[2]]
    return same[0] if len(same) == 1 else 0


NO_KUBE_PROXY = "no DaemonSet kube-proxy: Services are programmed another way"


def kube_proxy(daemonsets: DaemonSets) -> DaemonSet | None:
    """The DaemonSet that programs the Services; None in clusters that do it another way."""
    for daemonset in daemonsets.within("kube-system"):
        labels = daemonset.spec.template.metadata.labels
        if daemonset.name == "kube-proxy" or labels.get("k8s-app") == "kube-proxy":
            return daemonset
    return None

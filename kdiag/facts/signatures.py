"""What daemons write when a certain thing is wrong: the patterns that say so in every version, each with a sample."""

# ruff: noqa: E501  (a sample is one line, as it was written)

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Signature:
    """One line that tells. Its groups name what it tells of; ``sample`` is a line that it must match."""

    id: str
    pattern: re.Pattern[str]
    meaning: str
    sample: str

    def search(self, text: str) -> re.Match[str] | None:
        """Where it is in the text."""
        return self.pattern.search(text)


def _of(id: str, pattern: str, meaning: str, sample: str) -> Signature:
    return Signature(id, re.compile(pattern), meaning, sample)


KUBELET_FLAG_UNKNOWN = _of(
    "kubelet_flag_unknown",
    r"failed to parse kubelet flag: unknown (?:shorthand )?flag: (?P<flag>--[\w-]+|\'[^\']+\' in -\S+)",
    "unknown flag of the kubelet",
    'E0101 10:00:00.1 1 run.go:74] "command failed" err="failed to parse kubelet flag: unknown flag: --network-plugin"',
)
CLIENT_CA_MISSING = _of(
    "client_ca_missing",
    r'unable to load client CA file \\?"?(?P<f>/[^":\\]+)',
    "the file of clientCAFile cannot be read",
    'E run.go:72] "command failed" err="failed to construct kubelet dependencies: unable to load client CA file /etc/kubernetes/pki/WRONG-CA-FILE.crt: open /etc/kubernetes/pki/WRONG-CA-FILE.crt: no such file or directory"',
)
NO_KUBECONFIG = _of(
    "no_kubeconfig",
    r"unable to load bootstrap kubeconfig: stat (?P<f>\S+): no such file",
    "there is no usable kubelet.conf, nor a bootstrap one",
    'E run.go:74] "command failed" err="failed to run Kubelet: unable to load bootstrap kubeconfig: stat /etc/kubernetes/bootstrap-kubelet.conf: no such file or directory"',
)
CLIENT_CERTIFICATE_EXPIRED = _of(
    "client_certificate_expired",
    r"part of the existing bootstrap client certificate in (?P<f>\S+) is expired: ",
    "the client certificate of the kubelet has expired",
    "E bootstrap.go:265] part of the existing bootstrap client certificate in /etc/kubernetes/kubelet.conf is expired: 2021-01-12 11:20:51 +0000 UTC",
)
CONFIG_UNREADABLE = _of(
    "config_unreadable",
    r"failed to load kubelet config file,? (?:path: (?P<f>\S+?),)?",
    "the configuration file of the kubelet is missing or invalid",
    'E run.go:74] "command failed" err="failed to load kubelet config file, path: /var/lib/kubelet/config.yaml, error: failed to load Kubelet config file /var/lib/kubelet/config.yaml, error failed to read kubelet config file"',
)
SWAP_ON = _of(
    "swap_on",
    r"running with swap on is not supported|[Rr]unning with [Ss]wap on is not supported",
    "swap is on and the kubelet may not run with it",
    "running with swap on is not supported, please disable swap or set --fail-swap-on flag to false",
)
REGISTER_FAILS = _of(
    "register_fails",
    r'Unable to register node with API server\\?" err=\\?"Post \\+?"?https://(?P<hp>[^/\\"]+)/',
    "the kubelet cannot register: it does not reach the API server",
    'E "Unable to register node with API server" err="Post \\"https://controlplane:6553/api/v1/nodes\\": dial tcp 172.30.1.2:6553: connect: connection refused" node="node01"',
)
REGISTER_FORBIDDEN = _of(
    "register_forbidden",
    r"Unable to register node with API server, reason is forbidden|is not allowed to modify node",
    "the API server does not let this kubelet be this node",
    '"Unable to register node with API server, reason is forbidden" err="nodes \\"x\\" is forbidden"',
)
API_UNREACHABLE = _of(
    "api_unreachable",
    r'\\?"Error updating node status, will retry\\?"|\\?"Unable to update node status\\?"|\\?"Failed to ensure lease exists, will retry\\?"',
    "the kubelet does not get its status through to the API server",
    'E controller.go:145] "Failed to ensure lease exists, will retry" err="…" interval="400ms"',
)
SOCKET_DEAD = _of(
    "socket_dead",
    r"(?:validate service connection|failed to get runtime version|unable to determine runtime API version).*dial unix (?P<f>\S+): connect: (?P<why>no such file or directory|connection refused|permission denied)",
    "nothing answers at the socket of the container runtime",
    'validate CRI v1 runtime API for endpoint: validate service connection: rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial unix /run/containerd/containerd.sock: connect: no such file or directory"',
)
CRI_UNIMPLEMENTED = _of(
    "cri_unimplemented",
    r"CRI v1 runtime API is not implemented for endpoint|unknown service runtime\.v1\.RuntimeService",
    "what answers at the socket offers no CRI",
    'validate service connection: CRI v1 runtime API is not implemented for endpoint "unix:///run/containerd/containerd.sock": rpc error: code = Unimplemented desc = unknown service runtime.v1.RuntimeService',
)
PLEG = _of(
    "pleg",
    r"PLEG is not healthy: pleg was last seen active (?P<d>\S+) ago",
    "the container runtime does not answer in time",
    "PLEG is not healthy: pleg was last seen active 3m5.1s ago; threshold is 3m0s",
)
NOT_SYNCING = _of(
    "not_syncing",
    r'Skipping pod synchronization\\?" err=\\?"(?P<e>[^"\\]*)',
    "the kubelet starts no pods, and says why",
    'E kubelet.go:2268] "Skipping pod synchronization" err="[container runtime is down, PLEG is not healthy: pleg was last seen active 5m0s ago; threshold is 3m0s]"',
)
NO_NETWORK_CONFIG = _of(
    "no_network_config",
    r"NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized",
    "no network plugin is configured",
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized",
)
SANDBOX_IMAGE = _of(
    "sandbox_image",
    r'failed to get sandbox image \\?"(?P<i>[^"\\]+)\\?"',
    "the pause image cannot be had",
    'failed to get sandbox image "registry.k8s.io/pause:3.8": failed to pull image "registry.k8s.io/pause:3.8"',
)
SANDBOX_CHANGED = _of(
    "sandbox_changed",
    r"Pod sandbox changed, it will be killed and re-created",
    "a pod is made anew",
    "Pod sandbox changed, it will be killed and re-created.",
)
ADMISSION_REFUSED = _of(
    "admission_refused",
    r"no set of running pods found to reclaim resources|Node didn\'t have enough resource: (?P<r>\w+)",
    "a pod does not fit on the node",
    "preemption: error finding a set of pods to preempt: no set of running pods found to reclaim resources: [(res: cpu, q: 3000), ]",
)
OUT_OF_MEMORY = _of(
    "out_of_memory",
    r"Killed process \d+ \((?P<c>[^)]+)\),? (?:UID \d+ )?total-vm:",
    "the kernel killed a process for want of memory",
    "Out of memory: Killed process 1234 (etcd) total-vm:1kB, anon-rss:1kB, file-rss:0kB",
)
TASK_HANGS = _of(
    "task_hangs",
    r"task (?P<t>\S+):\d+ blocked for more than \d+ seconds\.",
    "a process has hung in the kernel",
    "INFO: task etcd:1234 blocked for more than 120 seconds.",
)
DISK_FAILS = _of(
    "disk_fails",
    r"Remounting filesystem read-only|Buffer I/O error|EXT4-fs error",
    "the disk fails",
    "EXT4-fs (sda1): Remounting filesystem read-only",
)
PROCESSES_EXHAUSTED = _of(
    "processes_exhausted",
    r"fork/exec .*resource temporarily unavailable|failed to create new OS thread.*errno=11",
    "no further process can be started",
    "fork/exec /usr/bin/runc: resource temporarily unavailable",
)
INOTIFY_EXHAUSTED = _of(
    "inotify_exhausted",
    r"inotify_init1?: too many open files|failed to create fsnotify watcher: too many open files"
    r"|failed complete: too many open files",  # kube-proxy, which first of all watches its configuration
    "the node's limit of inotify instances is used up",
    'E1122 20:50:54.1 1 kubelet.go:1700] "Failed to start cAdvisor" err="inotify_init: too many open files"',
)

#: All of them, by what they are called here.
SIGNATURES = {s.id: s for s in list(globals().values()) if isinstance(s, Signature)}


def meaning(text: str) -> str:
    """What a line of a daemon's log means, in plain words; empty when it is none of those that are known."""
    return next((s.meaning for s in SIGNATURES.values() if s.search(text)), "")

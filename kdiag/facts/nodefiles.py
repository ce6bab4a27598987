"""What several facts read of a node: asked for once."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.facts.base import NodeCommand

KUBELET_CONFIG = "/var/lib/kubelet/config.yaml"
FLAGS_ENV = "/var/lib/kubelet/kubeadm-flags.env"
ENV = (FLAGS_ENV, "/etc/default/kubelet", "/etc/sysconfig/kubelet", "/etc/kubernetes/kubelet.env")
CONTAINERD = "/etc/containerd/config.toml"
#: Lines of a kubeconfig that say where it leads and what belongs to what, as grep takes them.
PLACES = tuple(
    word
    for place in (
        *("server:", "certificate-authority:", "client-certificate:", "client-key:", "current-context:", "tokenFile:"),
        *("cluster:", "user:", "name:"),
    )
    for word in ("-e", place)
)
#: What of a kubeconfig is public; grep -o shows no more than that.
PUBLIC_PARTS = (
    r"(server|tls-server-name|insecure-skip-tls-verify|certificate-authority|certificate-authority-data|client-certificate|client-certificate-data"
    r"|client-key)\"?: *\"?[A-Za-z0-9+/=:._@-]+"
)
#: What grep -azo shows with it of a file: its certificates, and where one begins that does not end.
CERTIFICATES = "-----BEGIN (TRUSTED )?CERTIFICATE-----([^-]*-----END (TRUSTED )?CERTIFICATE-----)?"

READ_KUBELET_CONFIG = NodeCommand("kubelet-config", ("cat", KUBELET_CONFIG), sudo=True, name=KUBELET_CONFIG)
READ_KUBELET_ENV = tuple(NodeCommand("kubelet-env", ("cat", path), sudo=True, name=path) for path in ENV)
READ_CONTAINERD = NodeCommand("containerd-config", ("cat", CONTAINERD), sudo=True)
READ_INTERFACES = NodeCommand("interfaces", ("ip", "addr", "show"), limit=1 << 20)
READ_LISTENERS = NodeCommand("listeners", ("ss", "-ltnp"), sudo=True, limit=1 << 20)
READ_CLOCK = NodeCommand("clock", ("date", "+%s.%N"))
READ_KERNEL = NodeCommand(
    "kernel",
    (
        *("grep", "-sH", ""),
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/net/ipv6/conf/all/forwarding",
        "/proc/sys/net/bridge/bridge-nf-call-iptables",
        "/proc/sys/net/netfilter/nf_conntrack_count",
        "/proc/sys/net/netfilter/nf_conntrack_max",
        "/proc/sys/net/nf_conntrack_max",
        "/proc/sys/net/ipv4/ip_local_port_range",
        "/proc/sys/net/ipv4/neigh/default/gc_thresh3",
        "/proc/net/stat/arp_cache",
        "/proc/sys/kernel/pid_max",
        "/proc/sys/kernel/threads-max",
        "/proc/sys/fs/file-nr",
        "/proc/loadavg",
        "/proc/meminfo",
        "/proc/uptime",
        "/proc/swaps",
        "/sys/devices/system/cpu/online",
    ),
    answers=(0, 1, 2),
)


#: The name of a folder of drop-ins: it says so, and nothing but such files is in there. Read by grep and sudo as well.
DROP_IN_FOLDER = "[A-Za-z0-9_.-]*(kubelet|conf)[A-Za-z0-9_-]*([.](json|yaml|conf))?[.]d"
#: With where it may be.
DROP_IN_PATH = f"/(etc|var/lib|opt|usr)(/[A-Za-z0-9_.-]+)*/{DROP_IN_FOLDER}"


def drop_ins(text: str) -> dict[str, list[str]]:
    """The lines of the files of a kubelet's ``--config-dir``, by path, in the order in which it takes them."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if match := re.match(r"(/[^:]+\.conf):\d+:(.*)", line):
            found.setdefault(match[1].replace("//", "/"), []).append(match[2])
    return {path: found[path] for path in sorted(found, key=lambda p: p.split("/"))}


def settings(config: str, folder: str, pattern: str) -> Iterator[tuple[str, int, str]]:
    """The lines of the kubelet's configuration and then of its drop-ins in which the pattern is found, with places."""
    for number, line in matching(config, pattern):
        yield KUBELET_CONFIG, number, line
    for path, lines in drop_ins(folder).items():
        for number, line in matching("\n".join(lines), pattern):
            yield path, number, line


def matching(text: str, pattern: str) -> Iterator[tuple[int, str]]:
    """The lines of a file in which the pattern is found, with their numbers."""
    wanted = re.compile(pattern)
    for number, line in enumerate(text.splitlines(), 1):
        if wanted.search(line):
            yield number, line


def show_certificates(key: str, path: str) -> NodeCommand:
    """A command that shows the certificates of a file and nothing else that may be in it."""
    argv = ("grep", "-azoHE", "-e", CERTIFICATES, path)
    return NodeCommand(key, argv, sudo=True, limit=131_072, name=path, answers=(0, 1, 2))

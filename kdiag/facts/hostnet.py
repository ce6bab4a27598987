"""The network of a node as the node has it: listeners, addresses, routes, resolvers and the network plugin's files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from itertools import pairwise
from typing import Any

from kdiag.facts.base import NodeCommand, NodeFollow
from kdiag.facts.hosts import Answer, HostFact, answer, safe_path
from kdiag.facts.nodefiles import (
    ENV,
    READ_CONTAINERD,
    READ_INTERFACES,
    READ_KUBELET_CONFIG,
    READ_KUBELET_ENV,
    READ_LISTENERS,
    matching,
    settings,
)
from kdiag.model.jsontext import TooDeep, read_json
from kdiag.model.text import whole


@dataclass(frozen=True, slots=True)
class Listener:
    """A TCP port that somebody listens on. ``process`` is at most 15 letters; empty when it is not shown."""

    address: str
    port: int
    process: str = ""
    pid: int = 0


class Listeners(HostFact[tuple[Listener, ...]]):
    """Who listens on which TCP port."""

    sources = (READ_LISTENERS,)

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> tuple[Listener, ...]:
        """``LISTEN 0 4096 *:6443 *:* users:(("kube-apiserver",pid=543,fd=5))``."""
        found = []
        for line in answer(answers, "listeners").splitlines():
            row = line.split(None, 5)
            if len(row) < 5 or row[0] != "LISTEN":
                continue
            address, _, port = row[3].rpartition(":")
            who = re.search(r'\(\("([^"]{1,64})",pid=(\d{1,10})', row[5] if len(row) > 5 else "")
            number = whole(port)
            if number is not None and number < 65536:
                name, pid = (who[1], int(who[2])) if who else ("", 0)
                found.append(Listener(address.strip("[]").partition("%")[0], number, name, pid))
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A network interface."""

    name: str
    mtu: int = 0
    up: bool = False
    addresses: tuple[IPv4Interface, ...] = ()
    addresses6: tuple[str, ...] = ()


class Interfaces(HostFact[tuple[Interface, ...]]):
    """The interfaces of the node itself, not those inside of pods."""

    sources = (READ_INTERFACES,)

    def has(self, node: str, address: str) -> bool:
        """Whether an address is on one of the node's interfaces."""
        return any(address in (*(str(a.ip) for a in i.addresses), *i.addresses6) for i in self.by_node.get(node, ()))

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> tuple[Interface, ...]:
        """The text form, which busybox has as well."""
        found: list[Interface] = []
        for line in answer(answers, "interfaces").splitlines():
            if head := re.match(r"\d+: ([^:@\s]+)\S*:? <([^>]*)>.*?\bmtu (\d+)", line):
                found.append(Interface(name=head[1], mtu=int(head[3]), up="UP" in head[2].split(",")))
            elif found and (inner := re.match(r"\s+(inet6?) (\S+)", line)):
                last = found[-1]
                four, six = last.addresses, last.addresses6
                if inner[1] == "inet":
                    try:
                        four = (*four, IPv4Interface(inner[2]))
                    except ValueError:
                        continue
                else:
                    six = (*six, inner[2].partition("/")[0])
                found[-1] = Interface(name=last.name, mtu=last.mtu, up=last.up, addresses=four, addresses6=six)
        if not found:
            raise ValueError("ip shows no interface")
        return tuple(found)


_KINDS = ("blackhole", "unreachable", "prohibit", "throw", "local", "broadcast", "multicast")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route of the main table. ``kind`` is empty for an ordinary one, else ``blackhole``, ``unreachable`` …"""

    network: IPv4Network
    via: str = ""
    device: str = ""
    kind: str = ""
    protocol: str = ""


class Routes(HostFact[tuple[Route, ...]]):
    """The main routing table, IPv4."""

    sources = (NodeCommand("routes", ("ip", "-4", "route", "show"), limit=4 << 20),)

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> tuple[Route, ...]:
        """``10.244.1.0/24 via 10.89.0.12 dev eth0``."""
        return read_routes(answer(answers, "routes"))


def read_routes(text: str) -> tuple[Route, ...]:
    """Routes as ``ip route`` prints them; of one that is no IPv4 route nothing."""
    found = []
    for line in text.splitlines():
        words = line.split()
        kind = words.pop(0) if words and words[0] in _KINDS else ""
        if not words:
            continue
        try:
            network = IPv4Network("0.0.0.0/0" if words[0] == "default" else words[0], strict=False)
        except ValueError:
            continue
        more = dict(pairwise(words[1:]))
        found.append(
            Route(
                network=network,
                via=more.get("via", ""),
                device=more.get("dev", ""),
                kind=kind,
                protocol=more.get("proto", ""),
            )
        )
    return tuple(found)


def route_to(routes: Iterable[Route], address: IPv4Address) -> Route | None:
    """The route that a packet to an address takes: the most specific one."""
    return max((r for r in routes if address in r.network), key=lambda r: r.network.prefixlen, default=None)


HOSTS = "/etc/hosts"
_RESOLV = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")
_ARGUMENT_FILES = ENV[:3]


@dataclass(frozen=True, slots=True)
class HostName:
    """What the hosts file of a node says of one name, and on which line."""

    address: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HostResolver:
    """Which resolv.conf the kubelet hands to pods that take the node's DNS, as CoreDNS does, and what is in them."""

    path: str = "/etc/resolv.conf"
    said_in: str = ""  # where the kubelet is told; empty for its default
    line: int = 0
    files: Mapping[str, tuple[str, ...]] | None = None  # name servers by file
    fail_swap_on: bool | None = None  # None: not said, which means true
    config_read: bool = False
    node_ip: str = ""
    node_ip_in: str = ""  # the file that says so, and its line
    node_ip_line: int = 0
    read: frozenset[str] = frozenset()  # the files that were read; of those that are missing, there are no servers
    names: Mapping[str, HostName] = field(default_factory=dict)  # of /etc/hosts, which goes before DNS

    @property
    def servers(self) -> tuple[str, ...] | None:
        """The name servers that pods get; None when the file was not read or is not there."""
        return (self.files or {}).get(self.path)


class HostResolvers(HostFact[HostResolver]):
    """The node's resolver files and what the kubelet is told of them (and of swap and its address)."""

    sources = (
        NodeCommand("resolv", ("grep", "-sH", "-m", "1000", "", *_RESOLV, HOSTS), answers=(0, 1, 2)),
        READ_KUBELET_CONFIG,
        *READ_KUBELET_ENV,
        NodeFollow("resolv-other"),
        NodeFollow("kubelet-config-folder"),
        NodeFollow("kubelet-hints"),  # of older recordings
    )
    beside = frozenset({"kubelet-config", "kubelet-env", "kubelet-config-folder"})

    @staticmethod
    def follow(node: str, answers: tuple[Answer, ...]) -> Iterable[NodeCommand]:
        """The file that the kubelet is told of, when it is another one."""
        path = _hints(answers).path
        if path not in _RESOLV and safe_path(path) and path.startswith(("/etc/", "/run/", "/var/")):
            yield NodeCommand("resolv-other", ("grep", "-sH", "", path), answers=(0, 1, 2))

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> HostResolver:
        """Name servers by file, and the last word on where the kubelet looks."""
        files: dict[str, list[str]] = {}
        hosts: list[str] = []
        for key in ("resolv", "resolv-other"):
            for line in answer(answers, key).splitlines():
                path, colon, text = line.partition(":")
                if not colon or not path.startswith("/"):
                    continue
                if path == HOSTS:
                    hosts.append(text)
                    continue
                servers = files.setdefault(path, [])
                if match := re.match(r"\s*nameserver\s+(\S+)", text):
                    servers.append(match[1])
        hints = _hints(answers)
        asked = {*_RESOLV, *((hints.path,) if any(a.key == "resolv-other" and not a.error for a in answers) else ())}
        return HostResolver(
            path=hints.path,
            said_in=hints.said_in,
            line=hints.line,
            files={path: tuple(servers) for path, servers in files.items()},
            fail_swap_on=hints.fail_swap_on,
            config_read=hints.config_read,
            node_ip=hints.node_ip,
            node_ip_in=hints.node_ip_in,
            node_ip_line=hints.node_ip_line,
            read=frozenset(asked),
            names=_names(hosts),
        )


def _names(lines: Iterable[str]) -> dict[str, HostName]:
    """The first line that gives a name counts."""
    found: dict[str, HostName] = {}
    for number, line in enumerate(lines, 1):
        address, *names = line.partition("#")[0].split()[:50] or [""]
        for name in names:
            found.setdefault(name.lower(), HostName(address, number))
    return found


def _hints(answers: tuple[Answer, ...]) -> HostResolver:
    path, said, number, swap = "/etc/resolv.conf", "", 0, None
    address, told = "", ("", 0)
    config = next((a for a in answers if a.key == "kubelet-hints" and a.name == "config"), None)
    lines = answer(answers, "kubelet-hints", "config").splitlines()
    if config is None:
        config = next((a for a in answers if a.key == "kubelet-config"), None)
        text = config.text if config and not config.error else ""
        over = answer(answers, "kubelet-config-folder")
        lines = [f"{path}:{n}:{line}" for path, n, line in settings(text, over, "^(?:resolvConf|failSwapOn):")]
    for line in lines:
        if match := re.fullmatch(r"([^:]+):(\d+):(\w+):\s*[\"']?([^\"'#]*?)[\"']?\s*(?:#.*)?", line):
            if match[3] == "resolvConf" and match[4]:
                path, said, number = match[4], match[1], int(match[2])
            elif match[3] == "failSwapOn":
                swap = match[4].lower() != "false"
    # Flags go before the file.
    for line in answer(answers, "kubelet-hints", "arguments").splitlines() or _arguments(answers):
        if match := re.fullmatch(r"([^:]+):(\d+):--([a-z-]+)[= ](\S*)", line):
            if match[3] == "resolv-conf":
                path, said, number = match[4], match[1], int(match[2])
            elif match[3] == "fail-swap-on":
                swap = match[4].lower() not in ("false", "f", "0")
            elif match[3] == "node-ip":
                address, told = match[4], (match[1], int(match[2]))
    read = config is not None and not config.error and "No such file" not in config.text
    return HostResolver(
        path=path,
        said_in=said,
        line=number,
        fail_swap_on=swap,
        config_read=read,
        node_ip=address,
        node_ip_in=told[0],
        node_ip_line=told[1],
    )


def _arguments(answers: tuple[Answer, ...]) -> Iterator[str]:
    for one in answers:
        if one.key == "kubelet-env" and one.name in _ARGUMENT_FILES and not one.error:
            for number, line in matching(one.text, "--"):
                for match in re.finditer(r"--(?:resolv-conf|fail-swap-on|node-ip)[= ][^ \"']*", line):
                    yield f"{one.name}:{number}:{match[0]}"


CONF = "/etc/cni/net.d"
BINS = ("/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni")
_CONFIG_NAME = re.compile(r".+\.(?:conf|conflist|json)")
_MOST_FILES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """One file of the network plugin's configuration. ``fault`` is why a runtime cannot use it."""

    path: str
    text: str = ""
    fault: str = ""
    line: int = 0
    plugins: tuple[str, ...] = ()  # the programs that it calls, in order
    subnets: tuple[str, ...] = ()  # the ranges from which host-local gives pods their addresses, where it says so

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSetup:
    """What a runtime finds when it sets up a pod's network. ``configs`` are in the order in which it takes them."""

    folder: str = CONF
    folder_there: bool = True
    configs: tuple[NetworkConfig, ...] = ()
    others: tuple[str, ...] = ()  # files there that are no configuration
    bins: tuple[str, ...] = BINS
    programs: Mapping[str, str] | None = None  # path by name, of those that can be executed
    told: bool = False  # whether the runtime's own configuration names the folders
    silent: tuple[str, ...] = ()  # programs that are there and cannot be executed
    conf_line: int = 0  # where the runtime's configuration names the folder, and that of the programs
    bin_line: int = 0
    usual: tuple[str, ...] = ()  # configurations in the usual folder, where the runtime was told of another
    elsewhere: Mapping[str, str] = field(default_factory=dict)  # programs in folders that the runtime does not search

    @property
    def first(self) -> NetworkConfig | None:
        """The file that counts."""
        return self.configs[0] if self.configs else None


class NetworkSetups(HostFact[NetworkSetup]):
    """The network plugin's configuration files and programs."""

    sources = (
        NodeCommand("cni-files", ("find", "-L", CONF + "/", "-maxdepth", "1", "-type", "f"), sudo=True, answers=(0, 1)),
        NodeCommand(
            "cni-programs",
            ("find", "-L", *(f"{b}/" for b in BINS), "-maxdepth", "1", "-type", "f", "-perm", "-100"),
            answers=(0, 1),
        ),
        NodeCommand(
            "cni-programs-all",
            ("find", "-L", *(f"{b}/" for b in BINS), "-maxdepth", "1", "-type", "f"),
            answers=(0, 1),
        ),
        READ_CONTAINERD,
        NodeFollow("cni-folders"),  # of older recordings
        NodeFollow("cni-config"),
        NodeFollow("cni-other-files"),
        NodeFollow("cni-other-programs"),
    )
    beside = frozenset({"containerd-config"})

    @staticmethod
    def follow(node: str, answers: tuple[Answer, ...]) -> Iterable[NodeCommand]:
        """The first files' content; the folders that the runtime was told of."""
        conf, bins, _ = _folders(answers)
        for path in _config_files(answer(answers, "cni-files"))[:_MOST_FILES]:
            if safe_path(path):
                yield NodeCommand("cni-config", ("cat", path), sudo=True, limit=65_536, name=path)
        if conf and conf != CONF and safe_path(conf):
            find = ("find", "-L", conf + "/", "-maxdepth", "1", "-type", "f")
            yield NodeCommand("cni-other-files", find, sudo=True, answers=(0, 1))
        others = [b for b in bins if b not in BINS and safe_path(b)]
        if others:
            places = tuple(f"{b}/" for b in others)
            executable = ("find", "-L", *places, "-maxdepth", "1", "-type", "f", "-perm", "-100")
            yield NodeCommand("cni-other-programs", executable, answers=(0, 1))

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> NetworkSetup:
        """The files in the order of their names, as libcni sorts them."""
        conf, bins, lines = _folders(answers)
        key = "cni-other-files" if conf not in ("", CONF) else "cni-files"
        if failed := next((a.error for a in answers if a.key == key and a.error), ""):
            raise ValueError(f"the files of the network plugin were not listed: {failed}")
        text = answer(answers, key)
        files = [line for line in text.splitlines() if line.startswith("/")]
        contents = {a.name: a.text for a in answers if a.key == "cni-config" and not a.error}
        names = [_plain(f) for f in _config_files(text)]
        found = answer(answers, "cni-programs") + "\n" + answer(answers, "cni-other-programs")
        programs = [_plain(line) for line in found.splitlines() if line.startswith("/")]
        every = [_plain(line) for line in answer(answers, "cni-programs-all").splitlines() if line.startswith("/")]
        searched: tuple[str, ...] = bins or BINS
        kept = {p.rpartition("/")[2]: p for p in reversed(programs) if p.rpartition("/")[0] in searched}
        unseen = any(a.error and a.key in ("cni-programs", "cni-other-programs") for a in answers)
        usual = _config_files(answer(answers, "cni-files")) if conf not in ("", CONF) else []
        return NetworkSetup(
            conf_line=lines.get("conf_dir", 0),
            bin_line=lines.get("bin_dir", lines.get("bin_dirs", 0)),
            usual=tuple(usual),
            elsewhere={p.rpartition("/")[2]: p for p in programs if p.rpartition("/")[0] not in searched},
            folder=conf or CONF,
            folder_there="No such file" not in text,
            configs=tuple(_config(name, contents.get(name)) for name in names),
            others=tuple(sorted(f.rpartition("/")[2] for f in map(_plain, files) if f not in names)),
            bins=tuple(searched),
            programs=None if unseen else kept,
            told=bool(conf),
            silent=()
            if unseen
            else tuple(p for p in every if p.rpartition("/")[0] in searched and p.rpartition("/")[2] not in kept),
        )


def _plain(path: str) -> str:
    return re.sub(r"/+", "/", path)


def _folders(answers: tuple[Answer, ...]) -> tuple[str, tuple[str, ...], dict[str, int]]:
    """conf_dir and bin_dir of containerd's configuration, as far as they are said, and their lines."""
    conf = ""
    lines: dict[str, int] = {}
    bins: tuple[str, ...] = ()
    text = answer(answers, "cni-folders")
    if not any(a.key == "cni-folders" for a in answers):
        text = next((a.text for a in answers if a.key == "containerd-config" and not a.error), "")
    for number, line in matching(text, "^ *(?:conf_dir|bin_dir|bin_dirs) *="):
        key, _, value = line.partition("=")
        lines[key.strip()] = number
        words: tuple[str, ...] = tuple(w.rstrip("/") for w in re.findall(r"[\"']([^\"']+)[\"']", value))
        if key.strip() == "conf_dir" and words:
            conf = words[0]
        elif key.strip() in ("bin_dir", "bin_dirs") and words:
            bins = words
    return conf, bins, lines


def _config_files(text: str) -> list[str]:
    found = [_plain(line) for line in text.splitlines() if line.startswith("/")]
    return sorted(path for path in found if _CONFIG_NAME.fullmatch(path.rpartition("/")[2]))


def _config(path: str, text: str | None) -> NetworkConfig:
    if text is None:
        return NetworkConfig(path=path)
    fault, line = "", 0
    if not text.strip():
        return NetworkConfig(path=path, text=text, fault="it is empty", line=1)
    try:
        document = read_json(text)
    except TooDeep as exc:
        return NetworkConfig(path=path, text=text, fault=str(exc), line=1)
    except ValueError as exc:
        message = getattr(exc, "msg", str(exc))
        line = getattr(exc, "lineno", 1)
        return NetworkConfig(
            path=path, text=text, fault=f"it is no JSON ({message[:1].lower()}{message[1:]})", line=line
        )
    if not isinstance(document, dict):
        return NetworkConfig(path=path, text=text, fault="it is no JSON object", line=1)
    one: Any = document.get("plugins")
    listed = path.endswith(".conflist")
    if not isinstance(document.get("name"), str) or not document.get("name"):
        fault = "it has no name"
    elif listed and (not isinstance(one, list) or not one):
        fault = "it lists no plugins"
    elif not listed and not document.get("type"):
        fault = "it has no type; a file with a list of plugins must end in .conflist"
    plugins: list[str] = []
    for entry in one if listed and isinstance(one, list) else [document]:
        kind = entry.get("type") if isinstance(entry, dict) else None
        if not isinstance(kind, str) or not kind:
            fault = fault or "one of its plugins has no type"
            continue
        plugins.append(kind)
        ipam = entry.get("ipam")
        if isinstance(ipam, dict) and isinstance(ipam.get("type"), str) and ipam["type"]:
            plugins.append(ipam["type"])
        if kind == "flannel":
            delegate = entry.get("delegate")
            told = delegate.get("type") if isinstance(delegate, dict) else None
            plugins += [told if isinstance(told, str) and told else "bridge", "host-local"]
    subnets = tuple(
        subnet
        for entry in (one if listed and isinstance(one, list) else [document])
        if isinstance(entry, dict) and isinstance(ipam := entry.get("ipam"), dict) and ipam.get("type") == "host-local"
        for subnet in _subnets(ipam)
    )
    return NetworkConfig(
        path=path,
        text=text,
        fault=fault,
        line=line or 1,
        plugins=tuple(dict.fromkeys(plugins)),
        subnets=subnets,
    )


def _subnets(ipam: Mapping[str, Any]) -> Iterator[str]:
    """Those of both of its forms; a word such as usePodCidr is none."""
    ranges = ipam.get("ranges")
    sets = [[ipam], *(ranges if isinstance(ranges, list) else [])]
    for one in (r for group in sets if isinstance(group, list) for r in group):
        subnet = one.get("subnet") if isinstance(one, dict) else None
        if isinstance(subnet, str) and re.fullmatch(r"[0-9A-Fa-f:.]{2,45}/\d{1,3}", subnet):
            yield subnet

"""Which machines to ask, and how to reach each: the Node objects, the configuration, or what was seen last time."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdiag.collect import settings as own
from kdiag.collect.nodes import NodeTarget
from kdiag.collect.paths import expanded
from kdiag.collect.shell import LocalShell
from kdiag.collect.ssh import SshShell
from kdiag.collect.ssh_config import HostEntry, SshConfig
from kdiag.collect.ssh_config import load as load_ssh_config
from kdiag.collect.ssh_keys import Access
from kdiag.errors import ConfigError

_NODE_SIGNS = (Path("/etc/kubernetes/kubelet.conf"), Path("/var/lib/kubelet/config.yaml"), Path("/var/lib/kubelet/pki"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A node as a machine: its Kubernetes name, and the addresses by which it may be known elsewhere."""

    name: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What can be asked. ``origin`` is where the names came from.

    ``without`` are the nodes to which no way is known, ``broken`` those whose way makes no sense, with the reason.
    ``ways`` says of each target how it is reached, for people; ``addresses`` are those by which it was known.
    ``extra`` is this very machine, when it is none of the nodes that were named.
    """

    targets: tuple[NodeTarget, ...] = ()
    without: tuple[str, ...] = ()
    broken: Mapping[str, str] = field(default_factory=dict)
    ways: Mapping[str, str] = field(default_factory=dict)
    addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    extra: str = ""
    origin: str = ""


def on_a_node() -> bool:
    """Whether this very machine is a node, and we are root on it."""
    return os.geteuid() == 0 and any(path.exists() for path in _NODE_SIGNS)


class Inventory:
    """Finds the way to nodes. ``local`` reads this machine without SSH."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        ssh_config: str = "",
        local: bool = False,
        ask: Callable[[str], str | None] | None = None,
    ) -> None:
        self._environ = environ
        self._settings = own.load(environ)
        self.local = local
        self._ask = ask
        self._file = ssh_config or environ.get("KDIAG_SSH_CONFIG") or self._settings.ssh_config
        self._config: SshConfig | None = None

    @property
    def named(self) -> bool:
        """Whether somebody named an SSH configuration: then one that makes no sense ends the run."""
        return bool(self._file)

    @property
    def file(self) -> str:
        """The SSH configuration that is read; empty for the user's own."""
        return self._file

    @property
    def settings(self) -> own.Settings:
        """kdiag's own configuration."""
        return self._settings

    def _ssh(self) -> SshConfig:
        if self._config is None:
            self._config = load_ssh_config(Path(self._file) if self._file else None, self._environ)
        return self._config

    def known(self, server: str, host: str) -> tuple[tuple[Machine, ...], str]:
        """The machines to ask when the API server does not say which nodes it has, and where their names come from."""
        configured = tuple(
            Machine(name=n.name, addresses=tuple(a for a in (n.address,) if a)) for n in self._settings.nodes
        )
        if configured:
            return configured, self._settings.path
        kept = own.remembered(self._environ, server)
        last = tuple(
            Machine(name=str(n["name"]), addresses=tuple(map(str, n.get("addresses") or ())))
            for n in kept
            if n.get("name")
        )
        if last:
            return last, "the nodes seen last"
        if host:
            return (Machine(name=host, addresses=(host,)),), "the server's own host"
        return (), ""

    def remember(self, server: str, machines: Sequence[Machine]) -> str:
        """Keep the machines for when the API server is dead; the reason when that is not possible."""
        nodes: list[dict[str, Any]] = [{"name": m.name, "addresses": list(m.addresses)} for m in machines]
        try:
            own.remember(self._environ, server, nodes)
        except OSError as exc:
            return f"cannot remember the nodes in {own.state_folder(self._environ)}: {exc.strerror}"
        return ""

    def plan(self, machines: Sequence[Machine], origin: str) -> Plan:
        """How to reach each machine. Raises ConfigError for an SSH configuration that makes no sense."""
        access = Access(environ=self._environ, ask=self._ask)
        targets: list[NodeTarget] = []
        without: list[str] = []
        broken: dict[str, str] = {}
        ways: dict[str, str] = {}
        addresses: dict[str, tuple[str, ...]] = {}
        entries: list[HostEntry] = []
        here = own_names() if self.local else frozenset()
        extra = socket.gethostname().lower() if self.local else ""
        for machine in machines:
            if here & {machine.name.lower(), *machine.addresses}:
                targets.append(NodeTarget(machine.name, LocalShell()))
                ways[machine.name] = "this machine"
                addresses[machine.name] = machine.addresses
                extra = ""
                continue
            try:
                entry = self._entry(machine)
                route = self._ssh().route(entry) if entry else ()
            except ConfigError as exc:
                if self._config is None:
                    raise
                broken[machine.name] = str(exc)
                continue
            if entry is None:
                without.append(machine.name)
                continue
            name = _name(machine, entry)
            if name in ways:
                continue
            entries += route
            addresses[name] = machine.addresses
            targets.append(NodeTarget(name, SshShell(route, access)))
            jumps = f" through {', '.join(hop.alias for hop in route[:-1])}" if len(route) > 1 else ""
            ways[name] = f"{entry.user}@{entry.endpoint}{jumps}"
        if extra:
            targets.insert(0, NodeTarget(extra, LocalShell()))
            ways[extra] = "this machine"
            addresses[extra] = tuple(here - {extra})
        if self._ask and entries and not self._environ.get("SSH_AUTH_SOCK"):
            # Asked for now: no deadline runs yet, and it is asked once for all nodes.
            access.unlock(entries)
        return Plan(
            targets=tuple(targets),
            without=tuple(without),
            broken=broken,
            ways=ways,
            addresses=addresses,
            extra=extra,
            origin=origin,
        )

    def _entry(self, machine: Machine) -> HostEntry | None:
        own_names = (machine.name, *machine.addresses)
        setting = next((n for n in self._settings.nodes if n.name == machine.name), None) or next(
            (n for n in self._settings.nodes if n.address and n.address in own_names), None
        )
        config = self._ssh()
        found = config.for_node([machine.name], list(machine.addresses))
        if setting is None or not (setting.address or found is None):
            return found
        entry = found or config.lookup(setting.name, user=setting.user, port=setting.port)
        return dataclasses.replace(
            entry,
            hostname=setting.address or entry.hostname,
            user=setting.user or entry.user,
            port=setting.port or entry.port,
            identity_files=(expanded(setting.identity_file, os.environ),)
            if setting.identity_file
            else entry.identity_files,
            identities_named=bool(setting.identity_file) or entry.identities_named,
            proxy_jump=(setting.jump,) if setting.jump else entry.proxy_jump,
        )


def _name(machine: Machine, entry: HostEntry) -> str:
    # The server's address alone is a poor name: the SSH configuration has a better one.
    return entry.alias if machine.addresses == (machine.name,) and entry.alias else machine.name


def own_names() -> frozenset[str]:
    """The names and addresses of this very machine."""
    name = socket.gethostname().lower()
    found = {name, name.partition(".")[0]}
    # A host that cannot resolve its own name is known by that name alone.
    with contextlib.suppress(OSError):
        found.update(str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None))
    return frozenset(found)


__all__ = ["ConfigError", "Inventory", "Machine", "Plan", "on_a_node"]

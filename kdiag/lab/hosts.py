"""Root on the nodes: over SSH where there is an entry for them, else in the container that a node is (as in kind)."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from kdiag.errors import CollectError, ConfigError, LabError
from kdiag.model.text import clean_line, shorten

if TYPE_CHECKING:
    from kdiag.collect.inventory import Inventory
    from kdiag.collect.shell import Shell

_LIMIT = 1 << 20


class Hosts(Protocol):
    """Runs a script as root on a node."""

    def reaches(self, node: str) -> bool:
        """Whether there is a way to the node; nothing is asked there."""

    def run(self, node: str, script: str, *, seconds: float = 60) -> str:
        """What the script prints. Raises LabError when it ends with an error, CollectError when it cannot be run."""


class _Container:
    """A node that is a container of this machine."""

    def __init__(self, engine: str, name: str) -> None:
        self._command = [engine, "exec", "-i", name, "sh", "-s"]

    def run(self, script: bytes, seconds: float) -> tuple[int, bytes]:
        try:
            done = subprocess.run(  # noqa: S603
                self._command,
                input=script,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=seconds,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise CollectError(f"{' '.join(self._command[:4])}: {clean_line(str(exc))}") from exc
        return done.returncode, done.stdout[:_LIMIT]


class NodeShells:
    """The nodes of one cluster. Connections are opened when they are needed, and kept."""

    def __init__(self, inventory: Inventory, machines: Mapping[str, Sequence[str]]) -> None:
        self._inventory = inventory
        self._machines = {name: tuple(addresses) for name, addresses in machines.items()}
        self._ssh: dict[str, Shell] | None = None
        self._containers: dict[str, _Container | None] = {}
        self._broken = ""

    def reaches(self, node: str) -> bool:
        """Whether there is a way to the node."""
        return node in self._shells() or self._container(node) is not None

    def run(self, node: str, script: str, *, seconds: float = 60) -> str:
        """What the script prints, errors included. Raises LabError when it fails, CollectError when it cannot run."""
        shell = self._shells().get(node)
        if shell is not None:
            status, said = self._over_ssh(shell, script, seconds)
        elif (container := self._container(node)) is not None:
            code, said = container.run(script.encode(), seconds)
            status = str(code)
        else:
            raise LabError(
                f"no way to node {node}: no SSH entry by its name or address, and no container of that name here"
                f"{f' ({self._broken})' if self._broken else ''}"
            )
        text = said.decode("utf-8", "replace")
        if status != "0":
            last = next((line for line in reversed(text.splitlines()) if line.strip()), "")
            raise LabError(
                f"{node}: {shorten(clean_line(last), 200) or 'the command failed'} (exit {status or 'unknown'})"
            )
        return text

    def _over_ssh(self, shell: Shell, script: str, seconds: float) -> tuple[str, bytes]:
        from kdiag.collect.deadline import Deadline

        end = f"KDIAG-{secrets.token_hex(12)}"
        whole = (
            'if [ "$(id -u)" = 0 ]; then run="sh -s"; else run="sudo -n sh -s"; fi\n'
            f"$run 2>&1 <<'{end}'\n{script}\n{end}\n"
            f'printf "\\n{end} %s\\n" "$?"\n'
        )
        out = shell.run(whole.encode(), argument="kdiag-lab", deadline=Deadline(seconds), limit=_LIMIT).stdout
        said, _, status = out.rpartition(f"\n{end} ".encode())
        return status.strip().decode("ascii", "replace"), said

    def _shells(self) -> dict[str, Shell]:
        if self._ssh is None:
            from kdiag.collect.inventory import Machine

            machines = [Machine(name=n, addresses=a) for n, a in self._machines.items()]
            try:
                self._ssh = {t.host: t.shell for t in self._inventory.plan(machines, "the practice lab").targets}
            except ConfigError as exc:
                self._ssh, self._broken = {}, str(exc)
        return self._ssh

    def _container(self, node: str) -> _Container | None:
        if node not in self._containers:
            self._containers[node] = None
            for engine in filter(None, map(shutil.which, ("docker", "podman"))):
                done = subprocess.run(  # noqa: S603
                    [engine, "container", "inspect", "--format", "{{.State.Running}}", node],
                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20, check=False,
                )  # fmt: skip
                if done.stdout.strip() == b"true":
                    self._containers[node] = _Container(engine, node)
                    break
        return self._containers[node]

"""A node behind a real sshd: a real shell, whose programs answer from a recording and touch nothing of this machine."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from kdiag.collect.batch import PROGRAMS
from kdiag.engine.intake import sources
from kdiag.engine.plan import node_follow
from kdiag.facts.base import NodeCommand
from kdiag.model.observation import Observation
from tests.recording import all_facts, node_observations
from tests.sshd import Place

_PROGRAM = r"""#!/bin/sh
name=${0##*/} here=@HERE@
printf '%s\n' "$name $*" >>"$here/asked"
answer=$here/answers/$(printf '%s\n' "$name" "$@" | /usr/bin/md5sum | /usr/bin/cut -c 1-32)
case "$name $*" in
    "id -un") echo @USER@; exit ;;
    "id -u") echo @UID@; exit ;;
    "cat "|"head -c "*|"date "*) exec env PATH=/usr/bin:/bin "$name" "$@" ;;
esac
if [ -f "$answer" ]; then
    exec env PATH=/usr/bin:/bin sh -c 'cat "$1"; exit "$(cat "$1.status")"' sh "$answer"
fi
exit 127
"""
_SUDO = r"""#!/bin/sh
case "@SUDO@" in
    yes) shift 2; exec "$@" ;;
esac
echo "sudo: a password is required" >&2
exit 1
"""


class FakeNode:
    """The programs of one node, in a folder. ``sudo`` is yes or no; ``uid`` 0 is root, who needs none."""

    def __init__(self, folder: Path, *, user: str = "ops", uid: int = 1000, sudo: str = "yes") -> None:
        self.folder = folder
        (folder / "answers").mkdir(parents=True)
        (folder / "bin").mkdir()
        values = {"@HERE@": shlex.quote(str(folder)), "@USER@": user, "@UID@": str(uid), "@SUDO@": sudo}
        for name in (*PROGRAMS, "sudo"):
            text = _SUDO if name == "sudo" else _PROGRAM
            for mark, value in values.items():
                text = text.replace(mark, value)
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)

    def answer(self, argv: Sequence[str], body: bytes, status: int = 0) -> None:
        """What one command prints, and how it ends."""
        digest = hashlib.md5("".join(f"{word}\n" for word in argv).encode(), usedforsecurity=False).hexdigest()
        (self.folder / "answers" / digest).write_bytes(body)
        (self.folder / "answers" / f"{digest}.status").write_text(str(status))

    def replay(self, host: str, seen: Iterable[Observation]) -> None:
        """Answer as a node of a recording did; what it was not asked is a command that is not there."""
        mine = [o for o in seen if o.source == "node" and o.host == host]
        first = [s for s in sources(all_facts()) if isinstance(s, NodeCommand)]
        commands = {(c.key, c.name): c for c in first}
        for command in node_follow(all_facts(), host, mine):
            commands.setdefault((command.key, command.name), command)
        for o in mine:
            found = commands.get((o.key, o.name))
            if found and not (o.error and not o.body):
                self.answer(found.argv, bytes(o.body), 1 if o.error else 0)

    @property
    def path(self) -> str:
        """The PATH of a shell on this node."""
        return f"{self.folder}/bin:/usr/bin:/bin"

    @property
    def asked(self) -> list[str]:
        """What was run on it, a line a command."""
        log = self.folder / "asked"
        return log.read_text().splitlines() if log.exists() else []

    def serve(self, place: Place, *options: str) -> int:
        """Put an sshd in front of it; the port."""
        shell = f"exec env -i LC_ALL=C TZ=UTC PATH={self.path} HOME=/ sh -s -- kdiag"
        port = place.serve(f"ForceCommand {shell}", *options)
        place.known(port)
        return port


def replayed(folder: Path, fixture: dict[str, Any], host: str, **options: Any) -> FakeNode:
    """A node that answers as that of a fixture."""
    node = FakeNode(folder, **options)
    node.replay(host, node_observations(fixture))
    return node


def ssh_config(place: Place, ports: dict[str, int]) -> Path:
    """An SSH configuration with an entry for each node, by name."""
    path = place.home / "ssh_config"
    path.write_text(
        "".join(
            f"Host {name}\n  HostName 127.0.0.1\n  Port {port}\n  IdentityAgent none\n"
            f"  IdentityFile {place.key('ed25519')}\n  UserKnownHostsFile {place.home}/known_hosts\n"
            for name, port in ports.items()
        )
    )
    return path

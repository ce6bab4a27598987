"""A node behind a real sshd: a real shell, whose programs answer from a recording and touch nothing of this machine."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from kdiag.collect.batch import PROGRAMS
from kdiag.collect.together import Group, gathered
from kdiag.engine.intake import sources
from kdiag.engine.plan import node_follow
from kdiag.facts.base import NodeCommand
from kdiag.facts.nodefiles import CERTIFICATES
from kdiag.model.observation import Observation
from tests.recording import all_facts, node_observations
from tests.sshd import Place

# Nothing is started but one cat for what is long: what the node costs is what the script costs.
_PROGRAM = """#!/bin/sh
words=
for word do words="$words$word|"; done
printf '%s\\n' "@NAME@ $*" >>@HERE@/asked
case $words in
@CASES@
esac
exit 127
"""
_SHORT = 16_384
_ALWAYS = {
    "id": {"-un|": "echo @USER@; exit", "-u|": "echo @UID@; exit"},
    "cat": {"": "exec /bin/cat"},
    "date": {"*": 'exec /bin/date "$@"'},
}
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
        self._values = {"@HERE@": shlex.quote(str(folder)), "@USER@": user, "@UID@": str(uid), "@SUDO@": sudo}
        self._cases: dict[str, dict[str, str]] = {name: {} for name in PROGRAMS}
        self._write("sudo", _SUDO)
        for name in PROGRAMS:
            self._program(name)
        (folder / "bin" / "head").unlink()
        (folder / "bin" / "head").symlink_to("/usr/bin/head")  # of the script and not of a question

    def _write(self, name: str, text: str) -> None:
        for mark, value in self._values.items():
            text = text.replace(mark, value)
        (self.folder / "bin" / name).write_text(text)
        (self.folder / "bin" / name).chmod(0o755)

    def _program(self, name: str) -> None:
        cases = [f"{pattern or chr(39) * 2}) {action} ;;" for pattern, action in _ALWAYS.get(name, {}).items()]
        cases = [c.replace("|)", "'|')").replace("|*)", "'|'*)") for c in cases]
        cases += [f"{shlex.quote(words)}) {action} ;;" for words, action in self._cases[name].items()]
        self._write(name, _PROGRAM.replace("@NAME@", name).replace("@CASES@", "\n".join(cases)))

    def answer(self, argv: Sequence[str], body: bytes, status: int = 0) -> None:
        """What one command prints, and how it ends."""
        name, *words = argv
        place = self.folder / "answers" / f"{name}-{len(self._cases[name])}"
        place.write_bytes(body)
        if len(body) <= _SHORT and body.isascii() and b"\0" not in body and b"@" not in body:
            action = f"printf %s {shlex.quote(body.decode())}; exit {status}"
        else:
            show = f"/bin/cat {shlex.quote(str(place))}"
            action = f"{show}; exit {status}" if status else f"exec {show}"
        self._cases[name]["".join(f"{word}|" for word in words)] = action
        self._program(name)

    def replay(self, host: str, seen: Iterable[Observation]) -> None:
        """Answer as a node of a recording did; what it was not asked is a command that is not there."""
        mine = {(o.key, o.name): o for o in seen if o.source == "node" and o.host == host}
        first = [_command(s) for s in sources(all_facts()) if isinstance(s, NodeCommand)]
        then = [_command(c) for c in node_follow(all_facts(), host, list(mine.values()))]
        for commands, known in ((first, first), (then, ())):
            for command in commands:
                o = mine.get((command.key, command.name))
                if o and not (o.error and not o.body):
                    self.answer(command.argv, bytes(o.body), 1 if o.error else 0)
            for job in gathered(commands, known):
                if isinstance(job, Group):
                    told = [mine.get((part.key, part.name)) for part in job.parts]
                    self.answer(job.command.argv, b"".join(map(_together, job.parts, told)))

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


def _command(c: NodeCommand) -> NodeCommand:
    return NodeCommand(
        key=c.key, argv=c.argv, sudo=c.sudo, seconds=c.seconds, limit=c.limit, name=c.name, answers=c.answers
    )


def _together(part: NodeCommand, o: Observation | None) -> bytes:
    """What of the output of a group one part would have made."""
    path = part.argv[-1].encode()
    body = bytes(o.body) if o else b""
    match part.argv[0]:
        case "tail":
            return b"" if o is None or o.error else b"==> " + path + b" <==\n" + body + b"\n"
        case _ if o is None or o.absent or (o.error and not body):
            return b"grep: " + path + (b": No such file or directory\n" if o and o.absent else b": Permission denied\n")
        case "grep" if CERTIFICATES in part.argv:
            blocks = re.findall(rb"-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----", body)
            return b"".join(path + b":" + block + b"\0" for block in blocks)
        case "grep" if re.match(rb"/[^:\n]+:", body):
            return body
        case _:
            return b"".join(path + b":" + line + b"\n" for line in body.splitlines())


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

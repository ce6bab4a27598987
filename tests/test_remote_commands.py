"""What kdiag runs on a node: reads only, is bounded, takes no secret, and one answer is never taken for another's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

import pytest

from kdiag.collect.batch import readable, refuse_writes, render
from kdiag.engine.intake import sources
from kdiag.engine.plan import node_follow
from kdiag.facts.base import NodeCommand, NodeFollow
from kdiag.facts.hosts import HostFact
from kdiag.facts.nodefiles import CERTIFICATES
from tests.recording import FIXTURES, all_facts, load, node_observations

COMMANDS = tuple(s for s in sources(all_facts()) if isinstance(s, NodeCommand))
_RECORDED = sorted(p for p in FIXTURES.rglob("*.yaml") if "\nhosts:" in p.read_text())


def shown(command: NodeCommand) -> str:
    return f"{command.key}/{command.name}" if command.name else command.key


@cache
def followed() -> tuple[tuple[str, NodeCommand], ...]:
    """Every further command that the nodes of the fixtures lead to."""
    return tuple(dict.fromkeys(_followed()))


def _followed() -> Iterator[tuple[str, NodeCommand]]:
    for path in _RECORDED:
        seen = node_observations(load(path))
        for host in {o.host for o in seen}:
            for command in node_follow(all_facts(), host, [o for o in seen if o.host == host]):
                yield path.name, command


@pytest.mark.parametrize("command", COMMANDS, ids=shown)
def test_a_command_reads_only_and_is_bounded(command: NodeCommand) -> None:
    refuse_writes(command.argv)
    assert 1 <= command.seconds <= 10
    assert 1 <= command.limit <= 16 << 20
    assert all(isinstance(word, str) for word in command.argv)
    # It runs as it stands: no shell, and nothing that a program would take for one.
    assert command.argv[0] not in ("sh", "bash", "env", "xargs")
    assert not {"-exec", "-execdir", "-ok", "-delete", "-fprintf", "-fls"} & set(command.argv)


def test_all_commands_of_a_node_fit_into_its_time() -> None:
    script = render([NodeCommand(key=c.key, argv=c.argv, sudo=c.sudo, name=c.name) for c in COMMANDS], "ab" * 16)
    assert len(script) < 64 << 10
    assert len(readable([NodeCommand(key=c.key, argv=c.argv, sudo=c.sudo) for c in COMMANDS])) == len(
        {(c.sudo, c.argv) for c in COMMANDS}
    )


def test_one_answer_is_never_taken_for_anothers() -> None:
    """Each fact takes its answers by key and name: two commands of one fact or key must differ in them."""
    for fact in all_facts():
        if not issubclass(fact, HostFact):
            continue
        mine = [s for s in fact.sources if isinstance(s, NodeCommand)]
        keys = {s.key for s in fact.sources if isinstance(s, NodeCommand | NodeFollow)}
        # All commands with these keys arrive, whichever fact asked for them.
        arriving = {c for c in COMMANDS if c.key in keys}
        for command in mine:
            same = {c.argv for c in arriving if (c.key, c.name) == (command.key, command.name)}
            assert len(same) == 1, f"{fact.__name__}: {shown(command)} is several commands: {same}"


_SECRET_PLACES = re.compile(
    r"/etc/g?shadow|\.ssh/|ssh_host_.*_key|/secrets?/|kubernetes\.io~(?:secret|projected)|/token\b|\.kube/|/etcd/member/|encryption"
)


def test_no_command_takes_a_secret() -> None:
    for command in (*COMMANDS, *(c for _, c in followed())):
        line = " ".join(command.argv)
        if command.argv[0] in ("cat", "grep", "head", "tail"):
            assert not _SECRET_PLACES.search(line), line
            for word in command.argv[1:]:
                # Of such a file, only what stands between the marks of a certificate.
                public = command.argv[:4] == ("grep", "-azoHE", "-e", CERTIFICATES)
                assert public or not re.fullmatch(r"/\S+\.key|/\S+-current\.pem", word), line
        for word in command.argv:
            conf = re.fullmatch(r"/etc/kubernetes/[a-z-]+\.conf", word)
            assert not conf or command.argv[0] in ("grep", "stat", "find"), line
        if command.argv[:2] == ("openssl", "pkey"):
            assert "-pubout" in command.argv, line


def test_what_is_asked_next_reads_only_and_is_announced() -> None:
    announced = {s.key for s in sources(all_facts()) if isinstance(s, NodeFollow)}
    seen = list(followed())
    assert len({c.key for _, c in seen}) >= 5
    for name, command in seen:
        refuse_writes(command.argv)
        assert command.key in announced, f"{name}: {shown(command)}"
        assert command.seconds <= 10
        assert command.limit <= 16 << 20

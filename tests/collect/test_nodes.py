"""Many nodes at once, of which some hang, break or refuse: each costs itself and nothing else."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kdiag.collect.deadline import Deadline
from kdiag.collect.nodes import NodeTarget, read_nodes
from kdiag.collect.shell import LocalShell, Output
from kdiag.collect.ssh import SshShell
from kdiag.collect.ssh_config import load
from kdiag.collect.ssh_keys import Access
from kdiag.errors import Unreachable
from kdiag.facts.base import NodeCommand
from kdiag.model.observation import Observation

LONG = 120.0
COMMANDS = [NodeCommand(key="cores", argv=("nproc",)), NodeCommand(key="who", argv=("id", "-u"))]


@dataclass
class Silent:
    """A server that takes every connection and says nothing until it hangs up."""

    listener: socket.socket
    taken: list[socket.socket] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.taken.append(self.listener.accept()[0])

    def hang_up(self) -> None:
        for sock in (self.listener, *self.taken):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def silent() -> Iterator[Silent]:
    server = Silent(socket.create_server(("127.0.0.1", 0), backlog=512))
    thread = threading.Thread(target=server.accept, daemon=True)
    thread.start()
    yield server
    server.hang_up()
    thread.join()
    for sock in (server.listener, *server.taken):
        sock.close()


def over_ssh(tmp_path: Path, port: int) -> SshShell:
    path = tmp_path / "config"
    path.write_text(f"Host node\nHostName 127.0.0.1\nPort {port}\nIdentityAgent none\n")
    config = load(path, {"HOME": str(tmp_path)})
    return SshShell(config.route(config.lookup("node")), Access({}))


class Slow(LocalShell):
    """A node that does not answer before it is let go."""

    def __init__(self, released: threading.Event) -> None:
        self._released = released

    def run(self, script: bytes, *, argument: str, deadline: Deadline, limit: int) -> Output:
        self._released.wait(LONG)
        return super().run(script, argument=argument, deadline=deadline, limit=limit)


class Breaking(LocalShell):
    """A node that works for so many rounds."""

    def __init__(self, rounds: int, error: Exception) -> None:
        self._rounds = rounds
        self._error = error
        self.closed = False

    def run(self, script: bytes, *, argument: str, deadline: Deadline, limit: int) -> Output:
        self._rounds -= 1
        if self._rounds < 0:
            raise self._error
        return super().run(script, argument=argument, deadline=deadline, limit=limit)

    def close(self) -> None:
        self.closed = True


def by_host(found: list[Observation]) -> dict[str, list[Observation]]:
    hosts: dict[str, list[Observation]] = {}
    for observation in found:
        hosts.setdefault(observation.host, []).append(observation)
    return hosts


def test_two_hundred_nodes_of_which_twenty_hang(tmp_path: Path, silent: Silent) -> None:
    targets = [
        NodeTarget(f"n{number}", over_ssh(tmp_path, silent.port) if number % 10 == 0 else LocalShell())
        for number in range(200)
    ]
    found: list[Observation] = []
    told: list[str] = []
    threads: set[int] = set()

    def emit(observation: Observation) -> None:
        found.append(observation)
        threads.add(threading.get_ident())
        if len(found) == 2 * 180:
            silent.hang_up()

    # The hanging ones take all of the few places there are, until they give them away.
    read_nodes(targets, COMMANDS, Deadline(LONG), emit=emit, progress=told.append, workers=8, node_seconds=LONG)
    hosts = by_host(found)
    assert threads == {threading.get_ident()}
    assert len(told) == len(hosts) == 200
    assert told[-1].startswith("200 of 200 nodes read: ")
    for number in range(200):
        observations = hosts[f"n{number}"]
        if number % 10 == 0:
            assert [(o.source, o.key, o.body) for o in observations] == [("node", "node", b"")]
            assert "the connection was closed before anything was said" in observations[0].error
        else:
            assert [(o.key, o.error) for o in observations] == [("cores", ""), ("who", "")]
    # Those that answer were not kept waiting for those that do not.
    assert all(o.key == "node" for o in found[-20:])


def test_a_node_that_hangs_costs_its_own_time(tmp_path: Path, silent: Silent) -> None:
    found: list[Observation] = []
    targets = [NodeTarget("bad", over_ssh(tmp_path, silent.port)), NodeTarget("good", LocalShell())]
    read_nodes(targets[:1], COMMANDS, Deadline(LONG), emit=found.append, node_seconds=1)
    read_nodes(targets[1:], COMMANDS, Deadline(LONG), emit=found.append)
    hosts = by_host(found)
    assert [(o.key, o.error.partition(": ")[2]) for o in hosts["bad"]] == [
        ("node", "it takes the connection and says nothing within 1 s")
    ]
    assert [o.error for o in hosts["good"]] == ["", ""]


def test_the_run_ends_although_nodes_do_not() -> None:
    released = threading.Event()
    targets = [NodeTarget("slow", Slow(released)), NodeTarget("good", LocalShell()), NodeTarget("late", LocalShell())]
    found: list[Observation] = []
    read_nodes(targets, COMMANDS, Deadline(1), emit=found.append, workers=1)
    released.set()
    hosts = by_host(found)
    assert [o.error for o in hosts["slow"]] == ["the node did not answer in time: the run has 1 s"]
    assert [o.error for o in hosts["late"]] == ["the node was not asked: the run has 1 s"]
    ends = time.monotonic() + LONG
    while any(thread.name.startswith("kdiag-node-") for thread in threading.enumerate()):
        assert time.monotonic() < ends
        time.sleep(0.01)
    assert len(found) == 3


def test_the_second_round_asks_what_the_first_one_answered() -> None:
    asked: list[tuple[str, list[str]]] = []

    def follow(host: str, observations: list[Observation]) -> Sequence[NodeCommand]:
        asked.append((host, [o.key for o in observations]))
        return [NodeCommand(key="release", argv=("uname", "-r"), name=host)] if host == "a" else []

    found: list[Observation] = []
    read_nodes(
        [NodeTarget("a", LocalShell()), NodeTarget("b", LocalShell())],
        COMMANDS,
        Deadline(LONG),
        emit=found.append,
        follow=follow,
    )
    assert sorted(asked) == [("a", ["cores", "who"]), ("b", ["cores", "who"])]
    assert [(o.key, o.name, o.error) for o in by_host(found)["a"]] == [
        ("cores", "", ""),
        ("who", "", ""),
        ("release", "a", ""),
    ]


def test_a_second_round_that_breaks_does_not_cost_the_first() -> None:
    shell = Breaking(1, Unreachable("gone"))
    found: list[Observation] = []
    read_nodes(
        [NodeTarget("a", shell)],
        COMMANDS,
        Deadline(LONG),
        emit=found.append,
        follow=lambda host, seen: [NodeCommand(key="release", argv=("uname", "-r"))],
    )
    assert [(o.key, o.error) for o in found] == [("cores", ""), ("who", ""), ("release", "gone")]
    assert shell.closed


def test_a_first_round_that_took_all_the_time_is_told_as_that_and_not_as_a_node_that_is_away() -> None:
    found: list[Observation] = []
    read_nodes(
        [NodeTarget("a", Breaking(1, Unreachable("no connection within 8 s")))],
        COMMANDS,
        Deadline(LONG),
        emit=found.append,
        follow=lambda host, seen: time.sleep(0.3) or [NodeCommand(key="release", argv=("uname", "-r"))],  # type: ignore[func-returns-value]
        node_seconds=0.2,
    )
    assert found[-1].error == "not asked: the first answers took all of the node's 0.2 s"


def test_a_command_that_may_not_be_asked_for_costs_its_own_answer_alone() -> None:
    found: list[Observation] = []
    read_nodes(
        [NodeTarget("a", LocalShell())],
        COMMANDS,
        Deadline(LONG),
        emit=found.append,
        follow=lambda host, seen: [
            NodeCommand(key="key", argv=("cat", "/etc/kubernetes/pki/ca.key")),
            NodeCommand(key="release", argv=("uname", "-r")),
        ],
    )
    last = {o.key: o.error for o in found}
    assert last["release"] == ""
    assert last["key"].startswith("not asked: ")


@pytest.mark.parametrize(
    ("error", "line"),
    [(Unreachable("w1: refused"), "w1: refused"), (ZeroDivisionError("a\nb\x1b"), "ZeroDivisionError: a b␛")],
)
def test_whatever_breaks_on_one_node_costs_one_node(error: Exception, line: str) -> None:
    found: list[Observation] = []
    read_nodes(
        [NodeTarget("bad", Breaking(0, error)), NodeTarget("good", LocalShell())],
        COMMANDS,
        Deadline(LONG),
        emit=found.append,
    )
    hosts = by_host(found)
    assert hosts["bad"] == [Observation("node", "node", host="bad", error=line)]
    assert [o.error for o in hosts["good"]] == ["", ""]


def test_no_nodes_are_no_observations() -> None:
    found: list[Observation] = []
    read_nodes([], COMMANDS, Deadline(LONG), emit=found.append)
    assert found == []

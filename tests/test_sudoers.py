"""deploy/sudoers allows exactly what kdiag runs with sudo: compared both ways with the commands of the facts."""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path

import pytest

from kdiag.collect.batch import refuse_writes
from kdiag.collect.sudoers import FOLLOWED, sudoers
from kdiag.collect.together import Group, gathered
from kdiag.engine.intake import sources
from kdiag.facts.base import NodeCommand, NodeFollow
from tests.recording import all_facts
from tests.test_remote_commands import COMMANDS, followed

FILE = Path(__file__).parents[1] / "deploy" / "sudoers"
_UNFOUND = "run  kdiag node --sudoers > deploy/sudoers"


def rules() -> list[tuple[str, str]]:
    """Program and arguments of every rule of the file, as sudo has them after it took the quoting away."""
    text = FILE.read_text()
    found: list[tuple[str, str]] = []
    for line in re.findall(r"^    (/.*?)(?:, \\)?$", text, re.MULTILINE):
        words = re.findall(r"(?:\\.|[^ \\])+", line)
        # Outside of a regular expression, a quoted sign stays quoted: fnmatch takes the quote away. Within one sudo
        # 1.9.13 leaves a doubled backslash doubled.
        signs = r"[,:=# ]" if words[1:] and words[1].startswith("^") else r"[,:=# \\]"
        words = [re.sub(rf"\\({signs})", r"\1", word) for word in words]
        found.append((words[0], " ".join(words[1:])))
    return found


def allowed(argv: tuple[str, ...]) -> bool:
    """Whether sudo would run it, by its rules for arguments."""
    given = " ".join(argv[1:])
    for program, arguments in rules():
        if program.rpartition("/")[2] != argv[0]:
            continue
        if arguments.startswith("^") and arguments.endswith("$"):
            # POSIX knows no quoting within brackets; Python does, and warns of a bracket within them.
            if re.fullmatch(arguments[1:-1].replace(r"[\]", r"[\\]").replace("[[]", r"\["), given):
                return True
        elif re.fullmatch(_glob(arguments), given):
            return True
    return False


def _glob(pattern: str) -> str:
    """A pattern of fnmatch as a regular expression; it has no sign in it that is not quoted."""
    found = ""
    rest = iter(pattern)
    for char in rest:
        assert char not in "*?[", pattern
        found += re.escape(next(rest) if char == "\\" else char)
    return found


def to_run(c: NodeCommand) -> NodeCommand:
    return NodeCommand(
        key=c.key, argv=c.argv, sudo=c.sudo, seconds=c.seconds, limit=c.limit, name=c.name, answers=c.answers
    )


def test_the_file_is_what_the_commands_give() -> None:
    assert FILE.read_text() == sudoers(sources(all_facts()), "kdiag"), _UNFOUND


def test_every_command_that_needs_root_is_allowed() -> None:
    for command in COMMANDS:
        if command.sudo:
            assert allowed(command.argv), f"{command.argv}: {_UNFOUND}"


def test_what_is_asked_next_is_allowed() -> None:
    seen = [(name, c) for name, c in followed() if c.sudo]
    assert seen
    for name, command in seen:
        if command.key == "kubelet-config-other" and not re.search(r"kubelet[^/]*$|config", command.argv[-1]):
            continue  # an odd place, of which the file lets nobody read: unknown for such a user
        assert allowed(command.argv), f"{name}: {command.argv}"


def test_commands_that_run_as_one_are_allowed_whatever_is_asked_for() -> None:
    known = [to_run(c) for c in COMMANDS]
    groups = [job.command for job in gathered(known, known) if isinstance(job, Group)]
    assert len([g for g in groups if g.sudo]) >= 2
    for group in groups:
        assert not group.sudo or allowed(group.argv), f"{group.argv}: {_UNFOUND}"
    for two in combinations(known, 2):
        for job in gathered(two, known):
            assert not isinstance(job, Group) or job.command in groups


def test_what_is_asked_next_is_allowed_as_one() -> None:
    by_fixture: dict[str, list[NodeCommand]] = {}
    for name, command in followed():
        by_fixture.setdefault(name, []).append(to_run(command))
    jobs = [job for commands in by_fixture.values() for job in gathered(commands)]
    groups = [job.command for job in jobs if isinstance(job, Group) and job.command.sudo]
    assert {g.argv[0] for g in groups} == {"grep", "tail"}
    for group in groups:
        refuse_writes(group.argv)
        assert allowed(group.argv), group.argv


def test_every_rule_stands_for_a_command() -> None:
    known = {c.argv[0] for c in COMMANDS if c.sudo} | {str(w[0]) for shapes in FOLLOWED.values() for w in shapes}
    assert {program.rpartition("/")[2] for program, _ in rules()} == known
    announced = {s.key for s in sources(all_facts()) if isinstance(s, NodeFollow)}
    assert set(FOLLOWED) == announced, "kdiag/collect/sudoers.py: FOLLOWED lacks a key, or has one too many"


@pytest.mark.parametrize(
    "argv",
    [
        ("cat",),
        ("cat", "/etc/shadow"),
        ("cat", "/etc/kubernetes/pki/ca.key"),
        ("cat", "/etc/kubernetes/admin.conf"),
        ("cat", "/etc/kubernetes/encryption-config.yaml"),
        ("cat", "/etc/cni/net.d/../../shadow"),
        ("cat", "/etc/containerd/../shadow.toml"),
        ("cat", "/var/lib/kubelet/config.yaml", "/etc/shadow"),
        ("tail", "-n", "60", "/var/log/pods/kube-system_a_b/../../../../etc/shadow"),
        ("tail", "-n", "60", "/var/log/pods/kube-system_a_b/../0.log"),
        ("tail", "-n", "60", "/var/log/pods/kube-system_a_b/c/0.log", "/etc/shadow"),
        ("openssl", "pkey", "-in", "/etc/kubernetes/pki/ca.key"),
        ("openssl", "pkey", "-in", "/etc/kubernetes/pki/ca.key -text", "-pubout"),
        ("find", "/tmp", "-maxdepth", "2", "-delete"),
        ("grep", "-rHn", "", "/etc"),
        ("grep", "-c", "BEGIN CERTIFICATE", "-r", "/root"),
        ("grep", "-azoHE", "-e", ".*", "/etc/kubernetes/pki/ca.key"),
        ("grep", "-aH", "", "/etc/kubernetes/pki/ca.key"),
        ("tail", "-v", "-n", "60", "/var/log/pods/kube-system_a_b/c/0.log", "/etc/shadow"),
        ("stat", "-L", "-c", "%F|%n", "/a", "--printf=x"),
        ("journalctl", "-u", "kubelet.service"),
        ("crictl", "rm", "-f", "aa"),
        ("crictl", "inspect", "-o", "json", "aa bb"),
        ("systemctl", "restart", "kubelet"),
        ("sh", "-c", "id"),
    ],
    ids=" ".join,
)
def test_nothing_else_is(argv: tuple[str, ...]) -> None:
    assert not allowed(argv)


def test_visudo_takes_it() -> None:
    visudo = shutil.which("visudo", path="/usr/sbin:/usr/bin:/sbin:/usr/local/sbin")
    if visudo is None:
        pytest.skip("sudo is not installed")
    done = subprocess.run([visudo, "-cf", str(FILE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

"""Commands for a node go through two shells, that of the person and that of the node: neither may take them apart."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest

from kdiag.check import Check, ssh
from kdiag.engine.evaluate import evaluate
from kdiag.model.text import is_command
from tests.recording import ROOT, cases, every_check, fixture_facts

_BETWEEN = re.compile(r"[|;&<>()]+")


def words(line: str) -> list[str]:
    """What a shell makes of a line; what stands between commands is a word of its own."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)


def remote(line: str) -> Iterator[tuple[list[str], list[str]]]:
    """The options and the words for the node of each ssh in a line."""
    rest = words(line)
    while "ssh" in rest:
        rest = rest[rest.index("ssh") + 1 :]
        options = []
        while rest and rest[0].startswith("-"):
            options.append(rest.pop(0))
        end = next((i for i, word in enumerate(rest) if _BETWEEN.fullmatch(word)), len(rest))
        yield options, rest[1:end]


def taken_apart(line: str) -> str | None:
    """Why a line does not arrive as it was meant; None when it does."""
    for options, said in remote(line):
        if said and said[0].startswith("sudoedit") and "-t" not in options:
            return "an editor needs a terminal"
        for word in said if len(said) > 1 else ():
            if "$(" not in word and (
                len(words(word)) != 1 or (not word.startswith("'") and re.search(r"[*?\[]", word))
            ):
                return f"the node's shell reads {word} anew"
    return None


#: What lies in folders that are not on the PATH of a user who logs in over SSH (Debian's has no sbin).
_SBIN = frozenset(
    {*("sysctl", "iptables", "ip6tables", "iptables-save", "ip6tables-save", "nft", "conntrack", "ethtool", "ipset")}
    | {*("ipvsadm", "modprobe", "swapon", "swapoff", "blkid", "fdisk", "smartctl", "ufw", "tune2fs", "bridge")}
)
#: Folders that kubeadm and the kubelet make for root alone.
_OF_ROOT = re.compile(r"(?:^|:)(?:/etc/kubernetes/manifests|/var/lib/etcd|/var/log/pods|/etc/kubernetes/pki/.*key)")
_READERS = frozenset({"ls", "cat", "grep", "head", "tail", "sed", "find", "diff", "wc"})


def without_root(line: str) -> str | None:
    """What in a line cannot work for a user who has to say sudo; None when nothing is."""
    for _, said in remote(line):
        script = " ".join(said) if len(said) != 1 else said[0]
        command: list[str] = []
        for word in [*words(script), ";"]:
            if not _BETWEEN.fullmatch(word):
                command.append(word)
                continue
            while command and re.fullmatch(r"\w+=.*|\$|!|if|then|do|while", command[0]):
                command = command[1:]
            if command and command[0].rpartition("/")[2] in _SBIN:
                return f"{command[0]} is not on a user's PATH"
            if command[:1] and command[0] in _READERS and any(_OF_ROOT.search(w) for w in command[1:]):
                return f"only root reads what {command[0]} is to read"
            if command[:1] == ["sudo"] and any(_OF_ROOT.search(w) and "*" in w for w in command[2:]):
                return "the user's shell cannot see what * stands for"
            command = []
    return None


@pytest.mark.parametrize("check", every_check(), ids=lambda c: c.id)
def test_each_step_and_each_line_of_a_page_arrives_whole(check: Check) -> None:
    steps = {
        step
        for path in cases(check, "broken")
        for finding in evaluate(check, fixture_facts(path)).findings
        for step in finding.next
    }
    for step in steps:
        assert not re.match(r"[a-z0-9.-]+\$ |on [a-z]+\d+: ", step), f"a command for a node begins with ssh: {step}"
        assert not is_command(step) or taken_apart(step) is None, (step, taken_apart(step))
        assert not is_command(step) or without_root(step) is None, (step, without_root(step))
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", (ROOT / "runbooks" / f"{check.id}.md").read_text(), re.M | re.S):
        for line in re.sub(r"\\\n", "", block).splitlines():
            if "ssh " in line and not line.lstrip().startswith("#"):
                assert taken_apart(line) is None, (line, taken_apart(line))
                assert without_root(line) is None, (line, without_root(line))


@pytest.mark.parametrize(
    ("command", "typed"),
    [
        ("sudo crictl ps -a", "ssh w1 sudo crictl ps -a"),
        ("sudoedit /etc/hosts", "ssh -t w1 sudoedit /etc/hosts"),
        ("ps | head", "ssh w1 'ps | head'"),
        ("sed -i 's#a b#c#' f", "ssh w1 \"sed -i 's#a b#c#' f\""),
        ('iptables -m comment --comment "no dns"', "ssh w1 'iptables -m comment --comment \"no dns\"'"),
    ],
)
def test_a_command_for_a_node_is_quoted_for_both_shells(command: str, typed: str) -> None:
    assert ssh("w1", command) == typed
    assert taken_apart(typed) is None


@pytest.mark.parametrize("command", ["rm 'a;b' \"c$d\"", "sudoedit '/etc/a; rm -rf b'", "echo `date` '!'"])
def test_both_shells_together_give_the_command_back(command: str) -> None:
    assert words(ssh("w1", command))[-1] == command


@pytest.mark.parametrize(
    "line",
    [
        "ssh w1 sudo sed -i 's#server: .*#server: https://a:6443#' /etc/kubernetes/kubelet.conf",
        "ssh w1 sudo journalctl -g 'certificate|rotat' -n 20",
        "ssh w1 sudo find / -not -path '/proc/*'",
        'ssh w1 sudo iptables -D INPUT -m comment --comment "no dns"',
        "ssh w1 sudoedit /etc/hosts",
    ],
)
def test_what_a_shell_takes_apart_is_found(line: str) -> None:
    assert taken_apart(line)


@pytest.mark.parametrize(
    "line",
    [
        "ssh w1 sysctl fs.file-max",
        "ssh w1 'lsmod | grep x; iptables --version'",
        "ssh cp1 ls -la /etc/kubernetes/manifests/",
        'ssh cp1 "sudo grep -n image: /etc/kubernetes/manifests/*.yaml"',
    ],
)
def test_what_only_root_can_do_is_found(line: str) -> None:
    assert without_root(line)


@pytest.mark.parametrize(
    "line",
    [
        "ssh w1 sudo sysctl fs.file-max",
        "ssh cp1 sudo ls -la /etc/kubernetes/manifests/",
        "ssh cp1 \"sudo sh -c 'grep -n image: /etc/kubernetes/manifests/*.yaml'\"",
        "ssh w1 df -h /var/lib/etcd",
        "ssh w1 'grep -rn file-max /etc/sysctl.d'",
    ],
)
def test_what_a_user_with_sudo_can_do_is_left(line: str) -> None:
    assert without_root(line) is None

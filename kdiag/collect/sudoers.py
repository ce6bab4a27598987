"""A sudoers file that allows exactly what kdiag runs as root, made of the commands themselves.

A fixed command is written out word for word. Of a command that names a file which a node told of before, the path is a
regular expression (sudo 1.9.10 and later; earlier ones never match it): sudo's ``*`` also matches blanks, and would let
further arguments in. What such a command may print is kept to the folders where the file belongs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from kdiag.collect.batch import refuse_writes
from kdiag.collect.together import Group, gathered
from kdiag.facts.base import NodeCommand, NodeFollow, Source
from kdiag.facts.etcd import CTL, DATA, DATABASES
from kdiag.facts.filelist import LISTED
from kdiag.facts.nodefiles import CERTIFICATES, DROP_IN_FOLDER, PLACES, PUBLIC_PARTS
from kdiag.facts.processes import AGAIN
from kdiag.facts.system import COMPONENTS


@dataclass(frozen=True, slots=True)
class Shape:
    """One word of a command, or several, that is not always the same: a POSIX extended regular expression."""

    text: str


# A path without blanks, hidden files and ways up.
_STEP = "/[A-Za-z0-9_@+~-][A-Za-z0-9._@+~-]*"
PATH = Shape(f"({_STEP})+")
PATHS = Shape(f"({_STEP})+( ({_STEP})+)*")
_LOG = Shape("/var/log/pods/kube-[a-z0-9-]+_[a-z0-9.-]+_[A-Za-z0-9-]+/[a-z0-9][a-z0-9.-]*/[0-9]+[.]log")
_LOGS = (
    ("tail", "-n", Shape("[0-9]+"), _LOG),
    ("tail", "-v", "-n", Shape("[0-9]+"), Shape(f"{_LOG.text}( {_LOG.text})*")),
)
_MANIFEST = "/etc/kubernetes/manifests/[A-Za-z0-9_-][A-Za-z0-9._-]*[.](yaml|yml|json)"
_CONF = "/etc/kubernetes/[A-Za-z0-9_-]+[.]conf"
_TESTS = Shape(f"-path (/|({_STEP})+)( -o -path (/|({_STEP})+))*")

#: What follows from the first answers, by the key of its ``NodeFollow``; empty where it needs no root.
FOLLOWED: Mapping[str, tuple[tuple[str | Shape, ...], ...]] = {
    "pki-certificate": (("grep", "-azoHE", "-e", CERTIFICATES, PATHS),),
    "pki-clock": (),
    "pki-key": (("openssl", "pkey", "-in", PATH, "-pubout"),),
    "pki-public": (
        ("cat", "/etc/kubernetes/pki/sa.pub"),
        ("cat", Shape(f"/etc/kubernetes({_STEP})+/sa[.]pub")),
    ),
    "pki-count": (),
    "etcd-log": _LOGS,
    "etcd-data": (
        ("find", DATA, "-maxdepth", "3", "-printf", LISTED),
        ("find", PATH, "-maxdepth", "3", "-printf", LISTED),
    ),
    "etcd-databases": (DATABASES,),
    "etcdctl-status": (("etcdctl", "endpoint", "status", *CTL),),
    "etcdctl-members": (("etcdctl", "member", "list", *CTL),),
    "etcdctl-alarms": (),
    "kernel-log": (("dmesg", "-T", "-l", "emerg,alert,crit,err"),),
    "nft-table": (("nft", "-a", "list", "table", Shape("(ip|inet)"), Shape("[A-Za-z0-9][A-Za-z0-9_.-]*")),),
    "iptables-beside": (("iptables-save", "-t", Shape("(raw|mangle)")),),
    "tasks": (),
    "freezers": (),
    "processes-again": (("ps", "-ww", "-o", AGAIN, "-p", Shape("[0-9]+(,[0-9]+)*")),),
    "capacity": (),
    "addresses": (),
    "static-pod-path": (),
    "kubelet-hints": (),
    "cni-folders": (),
    "resolv-other": (),
    "route-tables": (),
    "cni-config": (("cat", Shape("/etc/cni/net[.]d/[A-Za-z0-9_-][A-Za-z0-9._-]*[.](conf|conflist|json)")),),
    "cni-other-files": (("find", "-L", Shape(f"({_STEP})+/"), "-maxdepth", "1", "-type", "f"),),
    "cni-other-programs": (),
    "kubelet-config-other": (
        # Not every file of /etc/kubernetes: one may hold the keys with which Secrets are encrypted.
        ("cat", Shape("/etc/kubernetes/kubelet[A-Za-z0-9_-]*[.](yaml|yml|json)")),
        (
            "cat",
            Shape(
                "/(etc/kubernetes/kubelet|etc/kubelet|var/lib/kubelet)/"
                "[A-Za-z0-9_-]*config[A-Za-z0-9_-]*[.](yaml|yml|json)"
            ),
        ),
    ),
    "kubelet-config-folder": (
        (
            *("grep", "-rsHn", "--include=*.conf", ""),
            Shape(f"/(etc|var/lib|opt|usr)({_STEP})*/{DROP_IN_FOLDER}/"),
        ),
    ),
    "kubelet-kubeconfig-other": (
        ("grep", "-n", *PLACES, Shape(_CONF)),
        ("grep", "-n", "-o", "-E", PUBLIC_PARTS, PATH),
    ),
    "kubelet-files": (("stat", "-L", "-c", "%F|%n", PATHS),),
    "manifest-paths": (("find", "-L", "/", "-maxdepth", "16", "(", _TESTS, ")", "-printf", LISTED, "-o", "-prune"),),
    "manifest-servers": (
        ("grep", "-Hn", "server:", Shape(f"{_CONF}( {_CONF})*")),
        ("grep", "-Hn", "-o", "-E", PUBLIC_PARTS, PATHS),
    ),
    "manifest-other-files": (("find", Shape(f"({_STEP})+/"), "-maxdepth", "1", "-printf", LISTED),),
    "manifest-other": (("grep", "-Hn", "", Shape(" ".join(f"({_STEP})+/{part}[.]yaml" for part in COMPONENTS))),),
    "manifest-certificates": (("grep", "-azoHE", "-e", CERTIFICATES, PATHS),),
    "manifest-linked": (("grep", "-Hn", "", Shape(f"{_MANIFEST}( {_MANIFEST})*")),),
    "manifest-elsewhere": (
        (
            *("find", "/tmp", "/root", "/home", "/etc/kubernetes", "/var/tmp", "-maxdepth", "3"),  # noqa: S108
            *("-type", "f", "(", "-name", "kube-*.y*ml*", "-o", "-name", "etcd*.y*ml*", "-o", "-name", "kube-*.bak"),
            *(")", "-printf", LISTED),
        ),
    ),
    "pod-log": _LOGS,
    "container": (("crictl", "inspect", "-o", "json", Shape("[0-9a-f]+")),),
    "containerd-import": (("cat", Shape("/etc/containerd/([A-Za-z0-9_][A-Za-z0-9_.-]*/)?[A-Za-z0-9_-]+[.]toml")),),
}
# Where a program lies that is not everywhere in /usr/bin.
_FOLDERS: Mapping[str, tuple[str, ...]] = {
    "crictl": ("/usr/bin", "/usr/local/bin"),
    "etcdctl": ("/usr/bin", "/usr/local/bin"),
    "ss": ("/usr/bin", "/usr/sbin"),
    "iptables-save": ("/usr/sbin",),
    "nft": ("/usr/sbin",),
    "conntrack": ("/usr/sbin",),
}
_HEAD = """\
# What kdiag runs as root on a node, and nothing else. It only reads, and no private key or token is printed.
#
#   kdiag node --sudoers ops > kdiag.sudoers      this file, for user ops
#   visudo -cf kdiag.sudoers
#   install -m 0440 -o root kdiag.sudoers /etc/sudoers.d/kdiag
#
# The commands of KDIAG_NAMED read files that the node's own configuration names; their paths are regular expressions,
# which sudo knows since 1.9.10. An earlier one never matches them: what they would show stays unknown, and is said.
# Paths are those of systems on which /bin is /usr/bin. After an update of kdiag, make the file anew.
"""


def sudoers(sources: Iterable[Source], user: str) -> str:
    """The file, for this user."""
    fixed, named = rules(sources)
    text = [_HEAD, *_alias("KDIAG", fixed), "", *_alias("KDIAG_NAMED", named), ""]
    text += [f"Defaults:{user} !requiretty", f"{user} ALL=(root) NOPASSWD: KDIAG, KDIAG_NAMED", ""]
    return "\n".join(text)


def rules(sources: Iterable[Source]) -> tuple[list[str], list[str]]:
    """The rules for fixed commands, and those for commands that name a file; each once, in the order of the text."""
    asked = tuple(sources)
    fixed: dict[str, None] = {}
    named: dict[str, None] = {}
    known = [s for s in asked if isinstance(s, NodeCommand)]
    for job in gathered(known, known):
        if isinstance(job, Group) and job.command.sudo:
            fixed.update(dict.fromkeys(_rules(job.command.argv)))
    for source in asked:
        if isinstance(source, NodeCommand) and source.sudo:
            refuse_writes(source.argv)
            fixed.update(dict.fromkeys(_rules(source.argv)))
        elif isinstance(source, NodeFollow):
            for words in FOLLOWED[source.key]:
                whole = all(isinstance(word, str) for word in words)
                (fixed if whole else named).update(dict.fromkeys(_rules(words)))
    return sorted(fixed), sorted(named)


def _alias(name: str, lines: list[str]) -> Iterator[str]:
    yield f"Cmnd_Alias {name} = \\"
    for line in lines:
        yield f"    {line}{', ' + chr(92) if line is not lines[-1] else ''}"


def _rules(words: tuple[str | Shape, ...]) -> Iterator[str]:
    program, *rest = words
    if all(isinstance(word, str) for word in rest):
        arguments = " ".join(_literal(str(word)) for word in rest)
    else:
        parts = (word.text if isinstance(word, Shape) else _expression(word) for word in rest)
        arguments = _quoted(f"^{' '.join(parts)}$")
    # Blanks are one blank to sudoers, unless they are quoted: an empty word stands between two of them.
    arguments = re.sub(r" (?= )", r" \\", arguments)
    for folder in _FOLDERS.get(str(program), ("/usr/bin",)):
        yield f"{folder}/{program} {arguments}"


def _literal(word: str) -> str:
    """A word for fnmatch and for sudoers."""
    return _quoted(re.sub(r"([\\*?\[\]!])", lambda m: "\\\\" if m[1] == "\\" else f"\0{m[1]}", word)).replace(
        "\0", "\\"
    )


def _expression(word: str) -> str:
    """A word as a regular expression that matches it alone."""
    # sudo 1.9.13 hands \\ on as it is, and \\^ outside of brackets is then a backslash and an anchor.
    return re.sub(r"([\\.*+?$|()\[\]{}])", r"[\1]", word).replace("^", r"[\^]")


def _quoted(text: str) -> str:
    """What sudoers takes for something else, quoted."""
    return re.sub(r"([\\,:=#])", r"\\\1", text)

"""The program with which the runtime starts and stops containers is missing or cannot be executed."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import RUNTIME_DOWN, Evidence, Finding, Gap, Layer, Ref, Severity, check
from kdiag.facts import (
    Cluster,
    Entry,
    KubeletJournal,
    Manifests,
    Program,
    RuntimeJournal,
    RuntimePrograms,
    Units,
    hosted,
    journal_line,
)

_NAMES = r"(?:runc|crun|youki|runsc|kata-runtime|containerd-shim-[\w-]{1,40})"
#: The kubelet quotes the runtime, which quotes Go: each quote has its own row of backslashes.
_SAID = re.compile(
    rf'exec: \\*"(?P<looked>(?:/[\w./-]{{1,200}}/)?{_NAMES})\\*": '
    r"(?P<why>executable file not found in \$PATH|permission denied|stat \S+ no such file or directory)"
    rf"|fork/exec (?P<run>(?:/[\w.-]{{1,100}}){{0,10}}/{_NAMES}): (?P<fault>no such file or directory|permission denied"
    r"|exec format error|text file busy|input/output error)"
    rf'|binary not installed \\*"(?P<shim>{_NAMES})\\*": file does not exist'
)
#: What is said of a program that is there.
_THERE = ("permission denied", "exec format error", "text file busy", "input/output error")
#: It is tried again within a minute and a half; what was said longer ago may be over.
_STILL = 300.0
#: Of one in a folder that is not looked into nobody can tell when it is put back.
_ELSEWHERE = 60.0


@check(
    title="Runtime lacks the program that starts containers",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=(*RUNTIME_DOWN, "application/pod_stuck_terminating", "control_plane/static_pod_failing"),
    tags=("node", "runtime", "runc", "containerd"),
)
def runtime_program_missing(
    journal: KubeletJournal,
    cluster: Cluster,
    programs: RuntimePrograms | None,
    runtime_journal: RuntimeJournal | None,
    units: Units | None,
    manifests: Manifests | None,
) -> Iterator[Finding | Gap]:
    """The runtime answers and the node stays Ready: what runs goes on, and nothing can be started or stopped."""
    for node, log in journal:
        told, entry = _told(log.entries)
        own = runtime_journal.get(node) if runtime_journal else None
        if told is None and own:
            told, entry = _told(own.entries)
        if told is None or entry is None or cluster.age(entry.when) > _STILL:
            continue
        wanted = next(w for w in (told["looked"], told["run"], told["shim"]) if w)
        name = wanted.rpartition("/")[2]
        seen = programs.get(node) if programs else None
        if seen is None:
            yield Gap(f"{node} {name}", "whether it is there by now was not seen")
            continue
        mine = [p for p in seen if p.name == name]
        known = wanted == name or wanted in {p.path for p in seen}
        if not known and cluster.age(entry.when) > _ELSEWHERE:
            continue
        if any(p.executable and p.size and _newer(p, entry) for p in mine):
            continue  # it was put back since
        why = told["why"] or told["fault"] or "it is not installed"
        runtime = units.runtime(node) if units else None
        daemon = runtime.name if runtime else "the container runtime"
        gone = not mine and why not in _THERE
        yield Finding(
            Ref("Node", node),
            f"no container can be started or stopped on {node}: {daemon} "
            + (f"does not find {wanted}" if gone else f"cannot execute {mine[0].path if mine else wanted}: {why}"),
            evidence=(
                journal_line(entry, node),
                Evidence(f"ls -l {_places(name)}", _shown(mine), node),
            ),
            next=(
                f"ssh {node} ls -l {_places(name)}    # was it renamed, or its mode changed?",
                f"ssh {node} sudo dpkg -S {name}    # the package that has it (rpm: rpm -qf): install that again",
            ),
            touches=hosted(node, manifests, cluster),
            key=name,
        )


def _told(entries: tuple[Entry, ...]) -> tuple[re.Match[str] | None, Entry | None]:
    for entry in reversed(entries):
        if found := _SAID.search(entry.text):
            return found, entry
    return None, None


def _newer(program: Program, entry: Entry) -> bool:
    return bool(program.changed and entry.when and program.changed >= entry.when)


def _places(name: str) -> str:
    return f"/usr/local/sbin/{name} /usr/local/bin/{name} /usr/sbin/{name} /usr/bin/{name}"


def _shown(programs: list[Program]) -> str:
    if not programs:
        return "none of them is there"
    first = programs[0]
    return f"{first.path}: {first.size} bytes, {'executable' if first.executable else 'not executable'}"

"""The lab cluster, and the ways in which a test breaks it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LAB = Path(__file__).parents[3] / "shared" / "lab" / "lab"
KUBECONFIG = Path(os.environ.get("LAB_DIR", "/var/lib/kdiag-lab")) / "kubeconfig"
SHOP = Path(__file__).with_name("shop.yaml")
#: What any step may take until the cluster shows it: image pulls back off, leases expire, nodes time out.
PATIENCE = 150.0


class Stuck(AssertionError):
    """The cluster, or kdiag, did not come to the expected state in time."""


def run(*command: str, stdin: str = "", check: bool = True, timeout: float = 120) -> str:
    """The output of a command; an error quotes what it said."""
    env = {**os.environ, "KUBECONFIG": str(KUBECONFIG)}
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, env=env)
    if check and done.returncode:
        raise Stuck(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def kubectl(*words: str, stdin: str = "", check: bool = True) -> str:
    """kubectl as cluster-admin."""
    return run(str(LAB), "kubectl", *words, stdin=stdin, check=check)


def node(name: str, script: str) -> str:
    """A root shell command on a node."""
    return run(str(LAB), "exec", name, "sh", "-c", script)


def up() -> None:
    """The cluster, made if it is not there."""
    run(str(LAB), "up", timeout=900)


@dataclass(frozen=True)
class Report:
    """One run of kdiag."""

    code: int
    document: dict[str, Any]
    text: str

    @property
    def causes(self) -> list[dict[str, Any]]:
        """The causes, in rank order."""
        return list(self.document["causes"])

    def top(self) -> tuple[str, str]:
        """The first cause's check and object."""
        if not self.causes:
            return ("", "")
        first = self.causes[0]
        where = first["object"]
        return first["check"], "/".join(p for p in (where["kind"], where["namespace"], where["name"]) if p)

    def others(self) -> list[dict[str, Any]]:
        """The causes beside the first that are errors or worse."""
        return [c for c in self.causes[1:] if c["severity"] in ("error", "critical")]

    def summary(self) -> str:
        """What it said, for an assertion."""
        lines = [f"{c['check']}: {c['message']} (+{len(c['symptoms'])})" for c in self.causes]
        return "\n".join([*lines, json.dumps(self.document["coverage"])])


def kdiag(*words: str, nodes: bool = False) -> Report:
    """Run ``kdiag check`` as a user does, with or without a way to the nodes.

    That nothing was found and not everything was seen (exit code 3) is a report, too.
    """
    command = ["kdiag", "check", "-o", "json", *([] if nodes else ["--no-nodes"]), *words]
    env = {**os.environ, "KUBECONFIG": str(KUBECONFIG), "KDIAG_SSH_CONFIG": str(KUBECONFIG.with_name("ssh_config"))}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
    if done.returncode not in (0, 1, 3) or not done.stdout:
        raise Stuck(f"kdiag: exit {done.returncode}: {done.stderr.strip()}")
    return Report(done.returncode, json.loads(done.stdout), done.stdout)


def until(what: str, wanted: Callable[[Report], bool], patience: float = PATIENCE, *, nodes: bool = False) -> Report:
    """Run kdiag until its report is as wanted; the last report is in the error when it never is."""
    ends = time.monotonic() + patience
    while True:
        report = kdiag(nodes=nodes)
        if wanted(report):
            return report
        if time.monotonic() > ends:
            raise Stuck(f"{what}: not after {patience:.0f} s; kdiag says:\n{report.summary()}")


def silent(report: Report) -> bool:
    """Nothing found, and everything seen."""
    return not report.causes and report.code == 0

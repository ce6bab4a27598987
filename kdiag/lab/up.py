"""A cluster to practise on, made with kind where a container engine is there."""

from __future__ import annotations

import os
import shutil
import subprocess

from kdiag.errors import LabError
from kdiag.model.text import clean_line, shorten

NAME = "kdiag-practice"
_PATIENCE = 20.0
_CONFIG = """\
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes: [{role: control-plane}, {role: worker}, {role: worker}]
"""


def make() -> str:
    """Make the cluster; its context. Raises LabError that says what to install."""
    there = [e for e in ("docker", "podman") if shutil.which(e)]
    if not there:
        raise LabError(
            "no docker and no podman here: install one of them and kind (https://kind.sigs.k8s.io), or use any cluster "
            "that may be broken, such as virtual machines with kubeadm, and run kdiag lab enable there"
        )
    engine = next((e for e in there if _answers(e)), "")
    if not engine:
        raise LabError(f"{there[0]} is here and does not answer: see why with: {there[0]} ps")
    kind = shutil.which("kind")
    if not kind:
        raise LabError(f"{engine} is here, and kind is not: install it as https://kind.sigs.k8s.io says, then again")
    env = {**os.environ, **({"KIND_EXPERIMENTAL_PROVIDER": "podman"} if engine == "podman" else {})}
    have = subprocess.run([kind, "get", "clusters"], capture_output=True, text=True, env=env, check=False)  # noqa: S603
    if have.returncode:
        raise LabError(f"kind does not answer (exit {have.returncode}): {shorten(clean_line(have.stderr), 200)}")
    if NAME not in have.stdout.split():
        command = [kind, "create", "cluster", "--name", NAME, "--wait", "180s", "--config", "-"]
        done = subprocess.run(command, input=_CONFIG, text=True, env=env, check=False)  # noqa: S603
        if done.returncode:
            raise LabError(f"kind could not make the cluster (exit {done.returncode}); what it said is above")
    return f"kind-{NAME}"


def _answers(engine: str) -> bool:
    """Whether it can start anything: docker may be installed and its daemon down, while podman needs none."""
    try:
        done = subprocess.run(  # noqa: S603
            [str(shutil.which(engine)), "ps"], capture_output=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0

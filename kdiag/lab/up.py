"""A cluster to practise on, made with kind where a container engine is there."""

from __future__ import annotations

import os
import shutil
import subprocess

from kdiag.errors import LabError

NAME = "kdiag-practice"
_CONFIG = """\
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes: [{role: control-plane}, {role: worker}, {role: worker}]
"""


def make() -> str:
    """Make the cluster; its context. Raises LabError that says what to install."""
    engine = next((e for e in ("docker", "podman") if shutil.which(e)), "")
    if not engine:
        raise LabError(
            "no docker and no podman here: install one of them and kind (https://kind.sigs.k8s.io), or use any cluster "
            "that may be broken, such as virtual machines with kubeadm, and run kdiag lab enable there"
        )
    kind = shutil.which("kind")
    if not kind:
        raise LabError(f"{engine} is here, and kind is not: install it as https://kind.sigs.k8s.io says, then again")
    env = {**os.environ, **({"KIND_EXPERIMENTAL_PROVIDER": "podman"} if engine == "podman" else {})}
    have = subprocess.run([kind, "get", "clusters"], capture_output=True, text=True, env=env, check=False)  # noqa: S603
    if NAME not in have.stdout.split():
        command = [kind, "create", "cluster", "--name", NAME, "--wait", "180s", "--config", "-"]
        done = subprocess.run(command, input=_CONFIG, text=True, env=env, check=False)  # noqa: S603
        if done.returncode:
            raise LabError(f"kind could not make the cluster (exit {done.returncode}); what it said is above")
    return f"kind-{NAME}"

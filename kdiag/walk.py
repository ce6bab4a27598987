"""Who runs the steps of a runbook page: with the options of a run, against its cluster, or against a recording."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kdiag.errors import CollectError, UsageError

if TYPE_CHECKING:
    from kdiag.collect.execute import Executor, Kubectl
    from kdiag.collect.shell import Shell
    from kdiag.engine.intake import Facts
    from kdiag.engine.runbook import Runs
    from kdiag.model.result import Finding

#: Options of kdiag that kubectl has by the same name.
_FLAGS = {
    "kubeconfig": "--kubeconfig",
    "context": "--context",
    "cluster": "--cluster",
    "user": "--user",
    "server": "--server",
    "as_user": "--as",
    "as_uid": "--as-uid",
    "token": "--token",
    "certificate_authority": "--certificate-authority",
    "client_certificate": "--client-certificate",
    "client_key": "--client-key",
    "tls_server_name": "--tls-server-name",
}


def executor(options: argparse.Namespace, facts: Facts | None = None) -> Executor:
    """Runs steps as this run reads: the same cluster and user, the same way to the nodes. Close it when done.

    ``facts`` tell the nodes' addresses, for an SSH configuration that knows them by those.
    """
    from kdiag.collect.execute import Executor

    return Executor(
        flags=kubectl_flags(options),
        stand_in=lambda: _stand_in(options),
        node=lambda host: _shell(options, facts, host),
    )


def recorded(folder: str, finding: Finding | None) -> Runs:
    """Answers steps from a recording: what the finding's evidence shows, recorded objects and logs; no table."""
    from pathlib import Path

    from kdiag.collect.replay import Replay
    from kdiag.collect.snapshot import Snapshot

    return Replay(Snapshot(Path(folder)), finding)


def kubectl_flags(options: argparse.Namespace) -> list[str]:
    """The flags with which kubectl talks to the cluster that kdiag was told of."""
    found = [f"{flag}={value}" for name, flag in _FLAGS.items() if (value := getattr(options, name, ""))]
    found += [f"--as-group={group}" for group in getattr(options, "as_groups", ())]
    found += [f"--as-user-extra={pair}" for pair in getattr(options, "as_user_extra", ())]
    if getattr(options, "insecure_skip_tls_verify", None):
        found.append("--insecure-skip-tls-verify=true")
    return found


def _stand_in(options: argparse.Namespace) -> Kubectl:
    from kdiag.collect.kubectl import Live, StandIn
    from kdiag.session import target

    where = target(options)
    return StandIn(Live(where), getattr(options, "namespace", "") or where.namespace)


def _shell(options: argparse.Namespace, facts: Facts | None, host: str) -> Shell:
    from kdiag.collect.inventory import Machine
    from kdiag.facts import Nodes
    from kdiag.session import inventory_of

    if getattr(options, "no_nodes", False):
        raise UsageError(f"{host} is not asked: --no-nodes")
    nodes = facts.get(Nodes) if facts else None
    node = nodes.get(host) if nodes else None
    addresses = tuple(a.address for a in node.status.addresses) if node else ()
    plan = inventory_of(options).plan([Machine(name=host, addresses=addresses)], "the runbook")
    found = next((t.shell for t in plan.targets if t.host == host), None)
    if found is None:
        raise CollectError(plan.broken.get(host) or f"no way to {host}: no SSH entry by its name or address")
    return found

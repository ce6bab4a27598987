"""From options to facts: what check, trace and record share."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kdiag.errors import UsageError
from kdiag.facts.base import Fact

if TYPE_CHECKING:
    from kdiag.collect.http import Deadline
    from kdiag.collect.inventory import Inventory
    from kdiag.collect.kubeconfig import Target
    from kdiag.engine.intake import Facts
    from kdiag.facts.base import NodeCommand
    from kdiag.model.observation import Observation

_ADMIN = "/etc/kubernetes/admin.conf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The facts of a run, where they came from, and what the run has to say of itself."""

    facts: Facts
    source: str
    notes: tuple[str, ...] = ()


def seconds(text: str) -> float:
    """A duration as kubectl takes it: ``90``, ``90s``, ``1m30s``, ``1h``. Raises UsageError for anything else."""
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    if not match or not any(match.groups()):
        raise UsageError(f"--timeout {text!r} is no duration: write 60s, 2m or 1m30s")
    hours, minutes, rest = (float(g or 0) for g in match.groups())
    total = hours * 3600 + minutes * 60 + rest
    if not 0.1 <= total <= 86400:
        raise UsageError(f"--timeout {text!r} is out of range: from 0.1s to 24h")
    return total


class Progress:
    """One line on standard error that says what is being read, on a terminal and after a second."""

    def __init__(self) -> None:
        self._on = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._start = time.monotonic()
        self._shown = False

    def __call__(self, text: str) -> None:
        """Show this line in place of the one before."""
        if self._on and time.monotonic() - self._start > 0.7:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()
            self._shown = True

    def done(self) -> None:
        """Take the line away."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._shown = False


def target(options: argparse.Namespace) -> Target:
    """The API server that the options and the environment name."""
    from kdiag.collect.kubeconfig import Overrides, load

    overrides = Overrides(
        kubeconfig=options.kubeconfig,
        context=options.context,
        cluster=options.cluster,
        user=options.user,
        namespace=getattr(options, "namespace", ""),
        server=options.server,
        tls_server_name=options.tls_server_name,
        insecure_skip_tls_verify=options.insecure_skip_tls_verify,
        certificate_authority=options.certificate_authority,
        client_certificate=options.client_certificate,
        client_key=options.client_key,
        token=options.token,
        as_user=options.as_user,
        as_groups=tuple(options.as_groups),
        as_uid=options.as_uid,
        as_user_extra=tuple(_extra(pair) for pair in options.as_user_extra),
    )
    return load(overrides, os.environ)


def _extra(pair: str) -> tuple[str, str]:
    key, equals, value = pair.partition("=")
    if not key or not equals:
        raise UsageError(f"--as-user-extra {pair!r} is not KEY=VALUE")
    return key, value


def deadline(options: argparse.Namespace) -> Deadline:
    """The bound on the whole run."""
    from kdiag.collect.http import Deadline

    return Deadline(seconds(options.timeout))


def live(
    options: argparse.Namespace,
    kinds: Iterable[type[Fact]],
    *,
    tee: Callable[[Observation], None] | None = None,
    logs: bool = True,
    namespace: str | None = None,
    fallback: str = "",
) -> Seen:
    """Read what these facts need: the API, and the nodes where a way to them is known.

    When the API server cannot be used, the nodes alone are read, and that is said. Raises ConfigError, or CollectError
    when nothing at all can be read. ``namespace`` goes before the option; ``fallback`` is read when this user may not
    read all namespaces.
    """
    return _Run(options, tuple(kinds), tee, namespace, fallback).read(logs=logs)


class _Run:
    """One run against a live cluster."""

    def __init__(
        self,
        options: argparse.Namespace,
        kinds: tuple[type[Fact], ...],
        tee: Callable[[Observation], None] | None,
        namespace: str | None,
        fallback: str,
    ) -> None:
        from kdiag.engine.intake import Intake

        self._options = options
        self._kinds = kinds
        self._tee = tee
        self._scope = getattr(options, "namespace", "") if namespace is None else namespace
        self._fallback = fallback
        self._bound = deadline(options)
        self._progress = Progress()
        self._intake = Intake(kinds)
        self._notes: list[str] = []

    def read(self, *, logs: bool) -> Seen:
        """Read everything."""
        from kdiag.collect.inventory import Inventory, on_a_node
        from kdiag.errors import CollectError

        local = bool(getattr(self._options, "local", False)) or on_a_node()
        nodes = not getattr(self._options, "no_nodes", False)
        inventory = Inventory(
            os.environ, ssh_config=getattr(self._options, "ssh_config", ""), local=local, ask=passphrase()
        )
        where: Target | None = None
        try:
            where = self._target(local=local)
            self._api(where, logs=logs)
        except CollectError as exc:
            if not nodes or not self._nodes(inventory, where, str(exc)):
                raise
        else:
            if nodes:
                self._nodes(inventory, where, "")
        finally:
            self._progress.done()
        return Seen(facts=self._intake.finish(), source="api", notes=tuple(self._notes))

    def _emit(self, seen: Observation) -> None:
        if self._tee:
            self._tee(seen)
        self._intake.feed(seen)

    def _target(self, *, local: bool) -> Target:
        from kdiag.errors import ConfigError

        try:
            return target(self._options)
        except ConfigError:
            # On a control-plane node, root has a kubeconfig that kubectl must be told of.
            if not local or self._options.kubeconfig or not os.access(_ADMIN, os.R_OK):
                raise
            return target(argparse.Namespace(**{**vars(self._options), "kubeconfig": _ADMIN}))

    def _api(self, where: Target, *, logs: bool) -> None:
        from kdiag.collect.api import ApiSource
        from kdiag.engine.intake import sources
        from kdiag.engine.plan import logs_wanted
        from kdiag.facts import Logs

        api = ApiSource(where, deadline=self._bound, namespace=self._scope, progress=self._progress)
        try:
            api.probe()
            api.narrow(self._fallback)
            self._emit(api.run_record())
            api.observe(sources(self._kinds), self._emit)
            if logs and Logs in self._kinds:
                requests, left = logs_wanted(self._intake.finish())
                api.logs(((r.name, r.url) for r in requests), self._emit)
                self._emit(_end_of_logs(left, len(requests)))
            self._notes += api.notes
        finally:
            api.close()

    def _nodes(self, inventory: Inventory, where: Target | None, dead: str) -> bool:
        """Read the nodes; with ``dead`` (why the API server cannot be used) in its place. False when no way is known."""
        from kdiag.collect.batch import Command
        from kdiag.collect.inventory import Machine
        from kdiag.collect.nodes import read_nodes
        from kdiag.engine.plan import node_commands, node_follow
        from kdiag.facts import Nodes
        from kdiag.model.observation import Observation

        commands = node_commands(self._kinds)
        if not commands:
            return False
        server = where.server if where else ""
        seen = None if dead else self._intake.fact(Nodes)
        if isinstance(seen, Nodes) and seen.items:
            machines = tuple(
                Machine(name=n.name, addresses=tuple(a.address for a in n.status.addresses))
                for n in seen.items
                if not n.virtual
            )
            origin = "the Node objects"
            if trouble := inventory.remember(server, machines):
                self._notes.append(trouble)
        else:
            machines, origin = inventory.known(server, where.host if where else "")
        plan = inventory.plan(machines, origin)
        if not plan.targets:
            return False
        if dead:
            names = ", ".join(t.host for t in plan.targets[:6]) + (" …" if len(plan.targets) > 6 else "")
            self._notes.append(f"{dead}: reading {names} instead (names from {plan.origin})")
            self._without_api(server, where, dead)

        def run(some: Iterable[NodeCommand]) -> list[Command]:
            return [
                Command(
                    key=c.key,
                    argv=c.argv,
                    sudo=c.sudo,
                    seconds=c.seconds,
                    limit=c.limit,
                    name=c.name,
                    answers=c.answers,
                )
                for c in some
            ]

        read_nodes(
            plan.targets,
            run(commands),
            self._bound,
            emit=self._emit,
            progress=self._progress,
            follow=lambda host, found: run(node_follow(self._kinds, host, found)),
        )
        for name in plan.without:
            self._emit(
                Observation("node", "node", host=name, error="no way to it: no SSH entry by its name or address")
            )
        return True

    def _without_api(self, server: str, where: Target | None, reason: str) -> None:
        """Say of everything that the API would have told that it was not seen, and why."""
        import json
        from datetime import UTC, datetime

        from kdiag.engine.intake import sources
        from kdiag.facts.base import ApiGet, ApiList, PodLog
        from kdiag.model.observation import Observation

        record = {
            "taken": datetime.now(UTC).isoformat(),
            "server": server,
            "context": where.context if where else "",
            "namespace": self._scope,
            "dead": reason,
        }
        self._emit(Observation("api", "run", body=json.dumps(record).encode()))
        for source in sources(self._kinds):
            if isinstance(source, ApiList | ApiGet | PodLog):
                self._emit(Observation("api", source.key, scope=self._scope, error=reason))


def passphrase() -> Callable[[str], str | None] | None:
    """Asks for a passphrase, where somebody sits at a terminal; never from cron."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    import getpass

    return lambda prompt: getpass.getpass(prompt, stream=sys.stderr)


def _end_of_logs(left: int, read: int) -> Observation:
    from kdiag.model.observation import Observation

    if left:
        return Observation("api", "log", error=f"{left:,} more logs were wanted than the {read} that a run reads")
    return Observation("api", "log", absent=True)


def recorded(folder: str, kinds: Iterable[type[Fact]]) -> Seen:
    """Read these facts from a recording. Raises SnapshotError."""
    from kdiag.collect.snapshot import Snapshot
    from kdiag.engine.intake import Intake

    snapshot = Snapshot(Path(folder))
    intake = Intake(kinds)
    for seen in snapshot.observations():
        intake.feed(seen)
    return Seen(facts=intake.finish(), source=f"snapshot {folder}", notes=tuple(snapshot.notes))

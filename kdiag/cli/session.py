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
    from kdiag.collect.kubeconfig import Target
    from kdiag.engine.intake import Facts
    from kdiag.model.observation import Observation


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
    )
    return load(overrides, os.environ)


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
    """Read what these facts need from the cluster. Raises ConfigError, or CollectError when nothing can be read.

    ``namespace`` goes before the option; ``fallback`` is read when this user may not read all namespaces.
    """
    from kdiag.collect.api import ApiSource
    from kdiag.engine.intake import Intake, sources
    from kdiag.engine.plan import logs_wanted
    from kdiag.facts import Logs

    where = target(options)
    bound = deadline(options)
    progress = Progress()
    wanted = tuple(kinds)
    intake = Intake(wanted)
    scope = getattr(options, "namespace", "") if namespace is None else namespace
    api = ApiSource(where, deadline=bound, namespace=scope, progress=progress)

    def emit(seen: Observation) -> None:
        if tee:
            tee(seen)
        intake.feed(seen)

    try:
        api.probe()
        api.narrow(fallback)
        emit(api.run_record())
        api.observe(sources(wanted), emit)
        if logs and Logs in wanted:
            requests, left = logs_wanted(intake.finish())
            api.logs(((r.name, r.url) for r in requests), emit)
            emit(_end_of_logs(left, len(requests)))
    finally:
        progress.done()
        api.close()
    return Seen(facts=intake.finish(), source="api", notes=tuple(api.notes))


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

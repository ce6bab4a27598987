"""``kdiag verify``: look again until a finding is gone."""

from __future__ import annotations

import argparse
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from kdiag.cli.exits import Exit
from kdiag.cli.output import emit, style
from kdiag.errors import AccessDenied, CollectError, NoSuchNamespace, UsageError
from kdiag.model.text import clean_line, duration, shorten
from kdiag.session import Progress, live, seconds

if TYPE_CHECKING:
    from kdiag.check import Check
    from kdiag.engine.correlate import Node
    from kdiag.engine.intake import Facts
    from kdiag.engine.verify import Look
    from kdiag.engine.wanted import Wanted
    from kdiag.model.result import Finding


def run(options: argparse.Namespace) -> int:
    """Look, wait and look again; the exit code says whether it is gone."""
    from kdiag.engine.library import find
    from kdiag.engine.verify import State
    from kdiag.engine.wanted import Wanted

    check = find(options.check)
    wanted = Wanted.parse(options.object) if options.object else None
    wait, interval = _bound(options.wait, "--wait"), _bound(options.interval, "--interval")
    if not interval:
        raise UsageError("--interval 0 would ask the API server without a pause: write 2s, or --wait 0 for one look")
    watch = _Watch(check, wanted, options)
    line = Progress(patience=0)
    try:
        while True:
            begin = time.monotonic()
            seen = watch.look()
            age = time.monotonic() - watch.start
            # Once is not enough: what crashes is well between two crashes.
            if (seen.state is State.CLEARED and (watch.clear >= 2 or not wait)) or age >= wait:
                break
            line(shorten(clean_line(f"{duration(timedelta(seconds=age))}: {_told(seen)}"), 100))
            time.sleep(max(0.0, min(interval - (time.monotonic() - begin), wait - age)))
    finally:
        line.done()
    emit(_report(watch, seen, options))
    return {State.CLEARED: Exit.CLEAN, State.THERE: Exit.FINDINGS, State.UNSEEN: Exit.BLIND}[seen.state]


def _bound(text: str, flag: str) -> float:
    if text.strip() in ("0", "0s"):
        return 0.0
    try:
        return seconds(text)
    except UsageError:
        raise UsageError(f"{flag} {text!r} is no duration: write 2s, 90s or 2m") from None


@dataclass(slots=True)
class _Kept:
    """What the first look that showed the finding showed besides."""

    finding: Finding
    fingerprints: Collection[str]


class _Watch:
    """Looks at one finding again and again, and reads no more than its check needs."""

    def __init__(self, check: Check, wanted: Wanted | None, options: argparse.Namespace) -> None:
        from kdiag.engine.intake import needed
        from kdiag.facts import Cluster

        self.check = check
        self.wanted = wanted
        self.start = time.monotonic()
        self.clear = 0
        self.first: _Kept | None = None
        self.successors: list[Node] = []
        self.notes: dict[str, None] = {}
        self._options = options
        self._kinds = tuple(dict.fromkeys((*needed([check]), Cluster)))

    def look(self) -> Look:
        """Read what the check needs, and ask it."""
        from kdiag.engine.verify import Look, State, doubt, fingerprints, look, successors

        try:
            seen = live(self._options, self._kinds)
        except AccessDenied:
            raise  # waiting does not make it better
        except NoSuchNamespace as exc:
            if self.first is None:
                raise
            self.clear += 1
            return Look(state=State.CLEARED, reason=str(exc).partition(";")[0])
        except CollectError as exc:
            self.clear = 0
            return Look(state=State.UNSEEN, reason=str(exc))
        facts: Facts = seen.facts
        self.notes.update(dict.fromkeys(seen.notes))
        found = look(self.check, facts, self.wanted)
        if found.state is State.CLEARED:
            self.clear += 1
            if self.wanted and self.first is None and (said := doubt(self.check, facts, self.wanted)):
                self.notes[said] = None
            if self.first:
                self.successors = successors(self.first.fingerprints, facts, self.first.finding)
            return found
        self.clear = 0
        if found.finding and self.first is None:
            refs = (found.finding.subject, *found.finding.touches)
            self.first = _Kept(found.finding, frozenset(fingerprints(facts, refs)))
        return found


def _told(seen: Look) -> str:
    from kdiag.engine.verify import State

    match seen.state:
        case State.THERE if seen.finding:
            return f"still there: {seen.finding.message}"
        case State.UNSEEN:
            return f"cannot see: {seen.reason}"
        case _:
            return "gone; looking once more"


def _report(watch: _Watch, seen: Look, options: argparse.Namespace) -> str:
    from kdiag.engine.verify import State

    how = style(options)
    took = duration(timedelta(seconds=time.monotonic() - watch.start))
    about = str(watch.wanted) if watch.wanted else ""
    lines = [how.paint(f"note: {clean_line(note)}", "yellow") for note in watch.notes]
    match seen.state:
        case State.CLEARED if watch.first:
            lines.append(f"{how.paint('cleared', 'green')} after {took}: {watch.first.finding.message}")
            if seen.reason:
                lines.append(f"  {clean_line(seen.reason)}")
            for node in watch.successors:
                lines.append(f"  {how.severity(node.severity, 'instead')}  {node.finding.message}")
                lines.append(f"           {how.paint(f'$ kdiag explain {node.check.id}', 'dim')}")
        case State.CLEARED:
            of = f" about {about}" if about else ""
            lines.append(
                f"{how.paint('well', 'green')}: {watch.check.id} finds nothing{of}, and did not at the first look"
            )
            lines += [f"  {clean_line(seen.reason)}"] if seen.reason else []
        case State.THERE if seen.finding:
            lines.append(f"{how.paint('still there', 'red')} after {took}: {seen.finding.message}")
            subject = seen.finding.subject
            name = f"{subject.kind.lower()}/{subject.path}" if subject.kind != "Cluster" else ""
            lines.append(
                f"  next  {how.paint(f'$ kdiag runbook {watch.check.id} {name} --run'.replace('  ', ' '), 'cyan')}"
            )
        case _:
            lines.append(f"{how.paint('cannot see', 'yellow')} after {took}: {clean_line(seen.reason)}")
            lines.append("  that is no all-clear: kdiag doctor says what is missing")
    return "".join(f"{line}\n" for line in lines)

"""``kdiag runbook``: a page with the finding's own objects in its commands, walked to its end."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from kdiag.cli.exits import Exit
from kdiag.cli.output import emit, style
from kdiag.errors import CollectError
from kdiag.model.result import Finding, Result, Status
from kdiag.session import Progress, live, recorded

if TYPE_CHECKING:
    from kdiag.check import Check
    from kdiag.engine.intake import Facts
    from kdiag.engine.runbook import Runs, Step, Walked
    from kdiag.engine.wanted import Wanted
    from kdiag.report.runbook import Head

    Tell = Callable[[Step], None]

_WIDTH = 110


def run(options: argparse.Namespace) -> int:
    """Print the page; the exit code says whether the check finds the fault now."""
    from kdiag.engine.hints import hints
    from kdiag.engine.library import find
    from kdiag.engine.runbook import Walked, fill, page, walk
    from kdiag.engine.verify import doubt, unseen
    from kdiag.engine.wanted import Wanted, meant

    check = find(options.check)
    wanted = Wanted.parse(options.object) if options.object else None
    book = page(check.id)
    notes: list[str] = []
    result, facts, head_notes = _looked(options, check, notes)
    finding = meant(result.findings, wanted) if result else None
    notes += head_notes
    notes += _remarks(result, finding, wanted)
    if facts and wanted and finding is None and (said := doubt(check, facts, wanted)):
        notes.append(said)
    subject = finding or (Finding(wanted.ref(), "") if wanted else None)
    known = hints(subject, facts, group=check.group) if facts and subject else {}
    filled = fill(book, subject, known) if subject else book
    walked = Walked(page=filled)
    if options.walk:
        if facts is None and not options.snapshot:
            notes.append("the cluster could not be read: what needs it has no answer below")
        with _runner(options, facts, finding) as runs, _progress() as tell:
            walked = walk(filled, runs, tell)
    emit(_rendered(walked, _head(result, finding, facts, notes), options))
    if finding:
        return Exit.FINDINGS
    blind = result is None or facts is None or unseen(check, facts, result)
    return Exit.BLIND if blind else Exit.CLEAN


def _looked(
    options: argparse.Namespace, check: Check, notes: list[str]
) -> tuple[Result | None, Facts | None, list[str]]:
    """What the check comes to now; None where nothing can be read at all, with the reason in the notes."""
    from kdiag.engine.evaluate import evaluate
    from kdiag.engine.intake import needed
    from kdiag.facts import Cluster, Nodes, Version

    kinds = dict.fromkeys((*needed([check]), Cluster, Version, Nodes))
    try:
        seen = recorded(options.snapshot, kinds) if options.snapshot else live(options, kinds)
    except CollectError as exc:
        notes.append(str(exc))
        return None, None, []
    return evaluate(check, seen.facts), seen.facts, list(seen.notes)


def _remarks(result: Result | None, finding: Finding | None, wanted: Wanted | None) -> Iterator[str]:
    if result is None:
        yield "the commands hold the page's own examples" if wanted is None else "nothing could be seen of it"
        return
    if result.status is Status.UNKNOWN:
        yield "the check cannot see what it needs: " + "; ".join(map(str, result.gaps[:3]))
    elif result.status is Status.ERROR:
        yield f"the check broke: {result.reason}"
    elif result.status is Status.SKIPPED:
        yield f"the check does not apply: {result.reason}"
    elif finding is None:
        about = f" about {wanted}" if wanted else ""
        yield f"the check finds nothing{about} now" + ("" if wanted else ": the commands hold the page's own examples")
    if finding and len(result.findings) > 1 and wanted is None:
        others = len(result.findings) - 1
        names = ", ".join(str(f.subject) for f in result.findings if f is not finding)[:120]
        yield f"{others} more of this check: {names}; name one to walk the page for it"


def _head(result: Result | None, finding: Finding | None, facts: Facts | None, notes: list[str]) -> Head:
    from kdiag.facts import Cluster
    from kdiag.model.text import clean_line
    from kdiag.report.runbook import Head

    cluster = facts.get(Cluster) if facts else None
    where = " ".join(part for part in (cluster.context, cluster.server) if part) if cluster else ""
    return Head(
        where=clean_line(where),
        taken=cluster.taken.isoformat().replace("+00:00", "Z") if cluster else "",
        others=len(result.findings) - 1 if result and finding else 0,
        notes=tuple(dict.fromkeys(notes)),
    )


def _rendered(walked: Walked, head: Head, options: argparse.Namespace) -> str:
    from kdiag.report import runbook as report

    match options.output:
        case "markdown":
            return report.render_markdown_page(walked, head, ran=options.walk)
        case "html":
            return report.render_html(walked, head, ran=options.walk)
        case _:
            return report.render_text(walked, head, style(options, most=_WIDTH, plain=_WIDTH), ran=options.walk)


@contextlib.contextmanager
def _runner(options: argparse.Namespace, facts: Facts | None, finding: Finding | None) -> Iterator[Runs]:
    from kdiag import walk

    runs: Runs = walk.recorded(options.snapshot, finding) if options.snapshot else walk.executor(options, facts)
    try:
        yield runs
    finally:
        runs.close()


@contextlib.contextmanager
def _progress() -> Iterator[Tell]:
    from kdiag.model.text import clean_line, shorten

    line = Progress()
    try:
        yield lambda step: line(shorten(clean_line(f"{step.number}: {step.command}"), 100))
    finally:
        line.done()

"""``kdiag check``: examine, judge, report."""

from __future__ import annotations

import argparse
import gc
import re
import sys
import time
from typing import TYPE_CHECKING

from kdiag.cli.exits import Exit
from kdiag.cli.output import emit, style
from kdiag.errors import UsageError
from kdiag.model.result import Severity, Status
from kdiag.model.text import shorten
from kdiag.session import Seen, live, recorded

if TYPE_CHECKING:
    from kdiag.collect.last import Last
    from kdiag.engine.intake import Facts
    from kdiag.engine.verdict import Verdict
    from kdiag.facts import LabelSelector

#: What a run made. The process ends without letting go of it: to free 150,000 pods one by one takes 0.4 s.
_KEPT: list[object] = []


def run(options: argparse.Namespace) -> int:
    """Print the verdict; the exit code says whether something is wrong."""
    # The objects of a run live until its end: looking for garbage among them only takes time.
    gc.disable()
    # The threads that decode pages would else take turns every 5 ms: on a large cluster that costs 5 % of the CPU.
    sys.setswitchinterval(0.02)
    start = time.monotonic()
    from kdiag.engine.intake import needed
    from kdiag.engine.library import checks, choose
    from kdiag.engine.verdict import judge
    from kdiag.facts import Cluster, Version

    chosen = choose(options.checks if not options.all else (), risks=options.risks)
    labels = selector(options.selector) if options.selector else None
    kinds = dict.fromkeys((*needed(chosen), Cluster, Version))
    seen: Seen = recorded(options.snapshot, kinds, options.namespace) if options.snapshot else live(options, kinds)
    told = shorten(options.selector.strip(), 200)
    verdict = judge(
        chosen, seen.facts, checks(), source=seen.source, notes=seen.notes, labels=labels, selector=told, late=seen.late
    )
    _KEPT.extend((seen, verdict))
    took = None if options.snapshot else time.monotonic() - start
    if options.on_change:
        _tell_change(verdict, seen.facts, options, took)
    else:
        emit(_rendered(verdict, options, took, ()))
    least = Severity[options.fail_on.upper()]
    if verdict.worst is not None and verdict.worst >= least:
        return Exit.FINDINGS
    blind = verdict.count(Status.UNKNOWN) + verdict.count(Status.ERROR)
    # What saw less than it missed has not examined the cluster, whatever the few checks say that could look.
    if blind and (options.strict or verdict.count(Status.PASS) + verdict.count(Status.FAIL) < blind):
        return Exit.BLIND
    return Exit.CLEAN


def _tell_change(verdict: Verdict, facts: Facts, options: argparse.Namespace, took: float | None) -> None:
    """Print the report if it differs from the last run with the same question, and keep this run.

    In this order: what nobody got to read is told again by the next run.
    """
    import json
    import os

    from kdiag.collect.last import load, save
    from kdiag.collect.settings import state_folder

    question = (verdict.server, verdict.context, verdict.namespace, sorted(options.checks), options.selector)
    key = json.dumps([*question, options.risks, options.no_nodes])
    before = load(os.environ, key)
    now = _kept(verdict, facts, before)
    lines = _changed(verdict, before, now)
    if lines is not None and not emit(_rendered(verdict, options, took, lines)):
        return
    try:
        save(os.environ, key, now)
    except OSError as exc:
        # What stands in the place of the file is named itself; of what was to be written, the folder.
        place = exc.filename2 or state_folder(os.environ)
        raise UsageError(f"--on-change cannot keep what was found: {exc.strerror or exc} ({place})") from exc


def _kept(verdict: Verdict, facts: Facts, before: Last | None) -> Last:
    """This run, to be kept; with it those causes of before that a check does not find now and cannot rule out."""
    from kdiag.collect.last import Last
    from kdiag.engine.library import checks
    from kdiag.engine.verify import unseen

    causes = {c.fingerprint: c.finding.message for c in verdict.causes}
    whose = {c.fingerprint: c.check.id for c in verdict.causes}
    worst = {c.fingerprint: c.worst.name.lower() for c in verdict.causes}
    found = {node.fingerprint for cause in (*verdict.causes, *verdict.infos) for node in cause.walk()}
    library = checks()
    partly = {r.check_id for r in verdict.results if unseen(library[r.check_id], facts, r)}
    missing = set(before.causes) - found if before else set()
    unsure = {f for f in missing if before and before.checks.get(f) in partly}
    if before:
        causes |= {f: before.causes[f] for f in unsure}
        whose |= {f: before.checks[f] for f in unsure}
        worst |= {f: before.worst[f] for f in unsure & set(before.worst)}
    return Last(
        taken=verdict.taken,
        causes=causes,
        unknown=frozenset(r.check_id for r in verdict.results if r.status in (Status.UNKNOWN, Status.ERROR)),
        checks=whose,
        unsure=frozenset(unsure),
        worst=worst,
    )


def _changed(verdict: Verdict, before: Last | None, now: Last) -> tuple[str, ...] | None:
    """What differs from the last run, in lines; None when nothing does."""
    from kdiag.model.text import clean_line, plural

    if before is None:
        return ("first run with --on-change",) if now.causes or now.unknown else None
    below = {node.fingerprint: cause for cause in verdict.causes for node in cause.walk()}
    remarks = {node.fingerprint for info in verdict.infos for node in info.walk()}
    lines = [f"new   {m}" for f, m in now.causes.items() if f not in before.causes]
    lines += [
        f"worse {m}: {now.worst[f]} now, {before.worst[f]} before"
        for f, m in now.causes.items()
        if _rank(now.worst.get(f)) > _rank(before.worst.get(f)) >= 0
    ]
    for fingerprint, message in before.causes.items():
        told = clean_line(message)
        if fingerprint in now.unsure:
            if fingerprint not in before.unsure:
                lines.append(f"seen  no more, but its check cannot see everything: {told}")
        elif fingerprint in below and fingerprint not in now.causes:
            lines.append(f"under {told}: it follows from {below[fingerprint].finding.message}")
        elif fingerprint in remarks and fingerprint not in now.causes:
            lines.append(f"less  {told}: no more than a remark now (-o wide)")
        elif fingerprint not in now.causes:
            lines.append(f"gone  {told}")
    if now.unknown != before.unknown:
        count = plural(len(now.unknown), "check")
        lines.append(
            f"seen  {count} cannot see, {len(before.unknown)} before" if now.unknown else "seen  everything again"
        )
    return (f"changed since {clean_line(before.taken)}:", *(f"  {line}" for line in lines)) if lines else None


def _rank(severity: str | None) -> int:
    """How bad, of a name that was kept; -1 for none, and for one that no version of now writes."""
    return Severity[severity.upper()] if severity and severity.upper() in Severity.__members__ else -1


def _rendered(verdict: Verdict, options: argparse.Namespace, took: float | None, changed: tuple[str, ...]) -> str:
    if options.output == "json":
        from kdiag.report.document import render_json

        return render_json(verdict)
    if options.output == "yaml":
        from kdiag.report.document import render_yaml

        return render_yaml(verdict)
    if options.output in ("markdown", "html"):
        from kdiag.report.incident import render_html, render_incident

        return render_html(verdict) if options.output == "html" else render_incident(verdict)
    from kdiag.report.text import render

    return render(
        verdict,
        style(options),
        seconds=took,
        wide=options.output == "wide",
        quiet=options.quiet and not changed,
        changed=changed,
    )


def selector(text: str) -> LabelSelector:
    """A label selector as ``kubectl -l`` takes it. Raises UsageError."""
    from kdiag.facts import LabelSelector, Requirement

    labels: dict[str, str] = {}
    expressions: list[Requirement] = []
    for part in re.split(r",(?![^(]*\))", text):
        word = part.strip()
        if match := re.fullmatch(r"([\w./-]+)\s*(==?|!=)\s*([\w.-]*)", word):
            if match[2] == "!=":
                expressions.append(Requirement(match[1], "NotIn", (match[3],)))
            else:
                labels[match[1]] = match[3]
        elif match := re.fullmatch(r"([\w./-]+)\s+(in|notin)\s*\(([\w.,\s-]*)\)", word):
            values = tuple(v.strip() for v in match[3].split(","))
            expressions.append(Requirement(match[1], "In" if match[2] == "in" else "NotIn", values))
        elif match := re.fullmatch(r"(!?)\s*([\w./-]+)", word):
            expressions.append(Requirement(match[2], "DoesNotExist" if match[1] else "Exists"))
        else:
            raise UsageError(f"-l {text!r} is no label selector: {word!r} is not understood")
    return LabelSelector(labels, tuple(expressions))

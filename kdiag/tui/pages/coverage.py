"""What was looked at, what could not be seen and why, and how the reading went, source by source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kdiag.engine.verdict import Verdict
from kdiag.model.result import Status
from kdiag.model.text import plural
from kdiag.tui.glyphs import FANCY, Glyphs, literal
from kdiag.tui.model import Coverage
from kdiag.tui.page import Action, Line, line
from kdiag.tui.progress import SLOW, Reading, Source


def coverage_page(
    verdict: Verdict | None, coverage: Coverage | None, reading: Reading, signs: Glyphs = FANCY
) -> list[Line]:
    """The whole page."""
    lines: list[Line] = []
    if coverage is not None and verdict is not None:
        lines += _verdict(verdict, coverage, signs)
    lines += _sources(reading, signs)
    return lines


def _verdict(verdict: Verdict, coverage: Coverage, signs: Glyphs) -> Iterator[Line]:
    total = len(verdict.results)
    yield line((f"{plural(total, 'check')}", "bold"))
    for count, what, style in (
        (coverage.passed, "passed", "good"),
        (coverage.failed, "failed", "error"),
        (coverage.unknown, "unknown: could not see what they need", "warn"),
        (coverage.skipped, f"{'does' if coverage.skipped == 1 else 'do'} not apply here", "dim"),
        (coverage.broken, "broke", "error"),
    ):
        if count:
            yield line((f"{count:>6,} ", style), (what, style if style != "good" else ""))
    for note in verdict.notes:
        yield line((literal(note, plain=signs.plain), "warn"), hang=2, bar="  ")
    if coverage.reasons:
        yield line()
        yield line(("WHY UNKNOWN", "head"))
    for reason, checks in coverage.reasons:
        yield line(("? ", "warn"), (literal(reason, plain=signs.plain), ""), hang=2)
        for check in checks:
            yield line((check, "link"), bar="      ", action=Action("page", check))
    partly = [r for r in verdict.of(Status.FAIL) if r.gaps]
    if partly:
        yield line()
        yield line(("FAILED, AND COULD NOT SEE EVERYTHING: THERE MAY BE MORE", "head"))
        for result in partly:
            yield line((result.check_id, "link"), bar="  ", action=Action("page", result.check_id))
            for gap in result.gaps[:5]:
                yield line((literal(str(gap), plain=signs.plain), "dim"), bar="      ")
    broken = verdict.of(Status.ERROR)
    if broken:
        yield line()
        yield line(("BROKE", "head"))
        for result in broken:
            yield line(
                (f"{result.check_id}: ", "error"), (literal(result.reason, plain=signs.plain), ""), hang=2, bar="  "
            )
    skipped: dict[str, list[str]] = {}
    for result in verdict.of(Status.SKIPPED):
        skipped.setdefault(result.reason, []).append(result.check_id)
    if skipped:
        yield line()
        yield line(("DO NOT APPLY", "head"))
        for reason, ids in sorted(skipped.items(), key=lambda item: -len(item[1])):
            yield line(
                (f"{len(ids):>4} ", "dim"), (literal(reason or "no reason given", plain=signs.plain), ""), hang=5
            )
    yield line()


def _sources(reading: Reading, signs: Glyphs) -> Iterator[Line]:
    if not reading.sources:
        return
    yield line(("WHAT WAS READ", "head"))
    yield from _some("nodes", reading.of("node"), reading, signs)
    yield from _some("API", reading.of("api"), reading, signs)
    yield from _some("container logs", reading.of("log"), reading, signs)


def _some(title: str, sources: Sequence[Source], reading: Reading, signs: Glyphs) -> Iterator[Line]:
    if not sources:
        return
    done = sum(1 for s in sources if s.over)
    yield line((f"{title}: {done} of {len(sources)}", "bold"))
    slowest = sorted(sources, key=lambda s: -reading.seconds(s))
    for source in sorted(sources, key=lambda s: (not s.error, s.over, -reading.seconds(s)))[:200]:
        took = reading.seconds(source)
        slow = took >= SLOW and source in slowest[:3]
        mark, style = (
            ("x" if signs.plain else "✖", "error")
            if source.error
            else ("+" if signs.plain else "✔", "good")
            if source.over
            else (signs.dots, "warn")
        )
        what = "" if not source.began else f"{took:.1f} s" if took >= 0.05 else "at once"
        yield line(
            (f"  {mark} ", style),
            (f"{literal(source.name, plain=signs.plain)}  ", ""),
            (what, "warn" if slow else "dim"),
            ("  slow" if slow else "", "warn"),
            (f"  {literal(source.error, plain=signs.plain)}" if source.error else "", "error"),
            hang=4,
        )
